"""Retrain Lab: transfer learning of image classifiers, with cached bottlenecks and honest numbers.

A room for each kind of part, in the order in which data flows. A room may import those above it, never those below;
its docstring says which of them it needs, what it takes and what it gives.

    ground       errors escaping shapes sealing asides files publishing project
    foundations  evaluation plots
    rooms        pixels images datasets backbones bottlenecks training analysis
    rooms        trust export labeling runs comparison pages
    doors        lab new_training cli

The ground is everybody's. `docs/house.py` reads this list, holds every import to it, and draws the plan in the README.
"""

__version__ = "0.1.0"
