"""A folder of images -> the images table, labelled and split.

Takes: a folder of labelled images; what its folders, a table of labels, a `splits.csv` and a person's decisions say.
Gives: the images table, one row a file; see `scanning`. How it was understood, a sentence each.
May use: the foundations, pixels.
"""
