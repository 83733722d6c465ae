"""Many runs -> which is better, is it real, and why?

Takes: what runs have recorded: parameters, settings, versions, metrics and predictions.
Gives: differences paired on the images that runs share, which setting matters, where a change came from, which
    backbone is worth its time.
May use: the foundations, runs.
"""
