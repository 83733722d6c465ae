"""Files -> the images table; pixels, upright, distorted.

Takes: a folder of labelled images, in any format that Pillow reads; what a `splits.csv` or a `labels.csv` says.
Gives: the images table, one row a file (path, label, split, sha256, bytes, modified, width, height, format, problem);
    pixels as RGB uint8 [height, width, 3], upright by EXIF, whatever the file was.
May use: the foundations.
"""
