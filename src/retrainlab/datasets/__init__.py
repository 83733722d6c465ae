"""Named public data sets -> folders of labelled images.

Takes: the name of a data set; archives from the network, checked by size and digest.
Gives: a folder as `images` takes it, with a card that says where it comes from and on what terms.
May use: the foundations.
"""
