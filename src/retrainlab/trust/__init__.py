"""A trained run -> may one answer be believed?

Takes: the bottlenecks of a run's images with their table, its head, and images that nobody has labelled.
Gives: one Finding a question of 07: where it looks, what it goes by, when it should not answer, where it fails; and
    what an export needs to say the same of new images.
May use: the foundations, pixels, images, backbones, bottlenecks, training, analysis.
"""
