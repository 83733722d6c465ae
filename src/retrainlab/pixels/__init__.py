"""Image files of any kind -> pixels, upright, of 8 bits, distorted.

Takes: image files or their bytes, in a format of `formats.py`, DICOM or camera raw; a size; a distortion or a
    condition.
Gives: RGB uint8 [height, width, 3], upright by EXIF, whatever the file was; of more than 8 bits, on one scale for a
    folder (`ImageFolder`). Or in a sentence why that cannot be.
May use: the foundations.
"""
