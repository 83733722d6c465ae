"""Exports, anybody's frozen graphs -> labels of images.

Takes: a folder that `export` wrote, or a graph of retrain.py with the flags of label_image.py; image files.
Gives: the probabilities of every label, image by image, what is to be said of them, and the milliseconds that it took;
    or why that file has none.
May use: the foundations, pixels, images, backbones, bottlenecks, training, trust, export.
"""
