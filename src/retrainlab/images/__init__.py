"""Files -> the images table; pixels, upright, distorted.

Takes: a folder of labelled images, in any format that Pillow reads, HEIC, DICOM or camera raw; what a `splits.csv` or
    a `labels.csv` says.
Gives: the images table, one row a file; see `scanning`. Pixels as RGB uint8 [height, width, 3], upright by EXIF,
    whatever the file was; of 16 bits, on one scale for the folder.
May use: the foundations.
"""
