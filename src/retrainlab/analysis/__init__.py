"""One run -> does it overfit, and what would help?

Takes: the bottlenecks of the training and validation images with their table, the settings of the run, a budget.
Gives: one Finding a question: the gap over re-splits, what other settings, fewer steps or more images would bring,
    leaks, labels in doubt; made of them, the verdict and the advice.
May use: the foundations, pixels, images, backbones, bottlenecks, training.
"""
