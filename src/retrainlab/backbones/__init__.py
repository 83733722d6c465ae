"""A handle -> a Backbone, the pretrained network.

Takes: an embedded name, the folder of a SavedModel, or an address on TF Hub or Kaggle.
Gives: a Backbone (digest, image size, dim) that turns pixels [n, size, size, 3] into bottlenecks float32 [n, dim];
    TensorFlow and LiteRT, imported late and quietly.
May use: the foundations, datasets.
"""
