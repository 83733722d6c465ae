"""A matrix and settings -> trained heads, many at once.

Takes: bottlenecks float32 [n, dim], their labels and splits, and HeadSettings in the terms of retrain.py.
Gives: heads (weights [dim, labels], biases [labels]), their accuracy and cross-entropy by step, the settings that
    validation chose, the predictions table.
May use: the foundations, backbones, bottlenecks.
"""
