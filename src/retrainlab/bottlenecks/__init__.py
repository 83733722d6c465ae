"""Images and a Backbone -> a matrix, kept in a cache.

Takes: the images table, a Backbone, `bottleneck_dir`, and how training images are distorted.
Gives: float32 [n, dim], aligned row by row with the table; what the cache lacks is computed on every core, and known
    by the content of the image from then on.
May use: the foundations, pixels, backbones.
"""
