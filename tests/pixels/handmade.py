"""Image files written byte by byte, as no library here writes them: TIFFs of any numbers, PNGs, camera raw, DICOM."""

import io
import struct
import zlib

import numpy as np

SHORT, LONG, FLOAT, RATIONAL, SIGNED_RATIONAL = 3, 4, 11, 5, 10
_PACKED = {1: "B", 2: "B", SHORT: "H", LONG: "I", FLOAT: "f", RATIONAL: "II", SIGNED_RATIONAL: "ii"}


def tiff(values: np.ndarray, *more: tuple[int, int, list]) -> bytes:
    """A TIFF of one channel, in the byte order of its values, [height, width]; `more`: (tag, type, values)."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    (height, width), data = values.shape, values.tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [8 * values.itemsize]), 259: (SHORT, [1]),
            262: (SHORT, [1]), 273: (LONG, [8]), 277: (SHORT, [1]), 278: (LONG, [height]), 279: (LONG, [len(data)]),
            339: (SHORT, [kind])}  # fmt: skip
    tags |= {tag: (kind, numbers) for tag, kind, numbers in more}
    tags = {tag: (kind, numbers) for tag, (kind, numbers) in tags.items() if numbers}
    start = 8 + len(data)
    rest, entries = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(order + _PACKED[kind] * (len(numbers) // len(_PACKED[kind])), *numbers)
        count = len(numbers) // len(_PACKED[kind])
        if len(packed) > 4:
            packed, rest = struct.pack(order + "I", start + 6 + 12 * len(tags) + len(rest)), rest + packed
        entries += struct.pack(order + "HHI", tag, kind, count) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return head + data + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + rest


def png(width: int, height: int, bits: int, colour: int, rows: bytes = b"", *more: tuple[bytes, bytes]) -> bytes:
    """A PNG: its rows, each after a 0; `more`: chunks as (kind, content), before the pixels. Without rows all is 0."""
    pixels = zlib.compressobj(9)
    if rows:
        packed = pixels.compress(rows)
    else:
        row = bytes(1 + (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8)
        packed = b"".join(pixels.compress(row * len(part)) for part in np.array_split(range(height), height // 99 + 1))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", packed + pixels.flush()), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def raw(orientation: int = 1, height: int = 64, width: int = 96) -> bytes:
    """A DNG file: what a sensor with red, green and blue pixels sees of something red, without white balance."""
    pattern = np.array([[12000, 4000], [4000, 1000]], "<u2")
    tags = [(262, SHORT, [32803]), (274, SHORT, [orientation]), (33421, SHORT, [2, 2]), (33422, 1, [0, 1, 1, 2]),
            (50706, 1, [1, 4, 0, 0]), (50717, SHORT, [16383]), (50728, RATIONAL, [1, 1] * 3), (50778, SHORT, [21]),
            (50721, SIGNED_RATIONAL, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
            (271, 2, [*b"Made\0"]), (272, 2, [*b"by hand\0"]), (50708, 2, [*b"Made by hand\0"])]  # fmt: skip
    return tiff(np.tile(pattern, (height // 2, width // 2)), *tags)


def dicom(values: np.ndarray, **more) -> bytes:
    """A DICOM file of values [height, width] or [height, width, 3]; `more`: attributes by keyword."""
    import pydicom

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = more.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=not more.get("EncapsulatedPixelData"))
    return file.getvalue()
