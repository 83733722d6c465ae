"""Retrain Lab: transfer learning of image classifiers, with cached bottlenecks and honest numbers.

The modules, in the order in which data flows through them: images, backbones, bottlenecks, heads, evaluation,
overfitting, export, labeling; around them runs (the run folder), summaries (TensorBoard), plots, datasets, reports
and cli.
"""

__version__ = "0.1.0"
