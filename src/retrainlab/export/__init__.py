"""A classifier -> files for other programs; a contract.

Takes: a Backbone, a trained head, its labels and what it has learnt from.
Gives: a folder with a SavedModel, and beside it a frozen graph, LiteRT, labels, and contract.json: what a client must
    feed and may expect, with reference images to check it by.
May use: the foundations, pixels, images, backbones, training, trust.
"""
