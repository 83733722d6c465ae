"""The `retrainlab` command, and its flags.

Takes: what people type: options, flags of retrain.py and of label_image.py, grids of settings.
Gives: runs, exports, labels, pages; an error is one sentence, and an exit status.
May use: all above. Imported by nobody.
"""
