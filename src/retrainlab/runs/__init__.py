"""The run folder: tables, figures, TensorBoard's logs.

Takes: tables, metrics and settings of a run; Findings with figures; a training as it goes.
Gives: `reports/<run>/` with run.json, metrics.json, tables and event files, each whole or not there; what it says, read
    back; the list of all runs.
May use: the foundations, pixels, images, backbones, bottlenecks, training.
"""
