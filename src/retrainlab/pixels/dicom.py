"""DICOM images, as hospitals and their machines write them, by the optional package pydicom."""

import io
from typing import Any

import numpy as np

from ..errors import RetrainLabError
from .bounds import Hold

_WEIGHT = 2  # of a pixel, see `bounds`: its numbers of 64 bits are held twice
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # a transfer syntax, as the head names it
_BEYOND = 1e9  # further than any value that is stored


def is_dicom(head: bytes) -> bool:
    """Tell by the first 132 bytes of a file: the names of such files often have no extension."""
    return head[128:132] == b"DICM"


def read(data: bytes, hold: Hold) -> tuple[np.ndarray, float | None]:
    """Read the first frame of a DICOM file: (pixels, the brightest value that it declares, or None).

    Pixels are uint8, [height, width] or RGB [height, width, 3], where the file is in colour, of 8 bits, or says by a
    window or a table how it is to be shown (VOI LUT). Others are its rescaled values, [height, width]. MONOCHROME1,
    whose darkest values are shown white, is inverted.

    Raises:
        RetrainLabError: pydicom is not installed, there is no image, or it is compressed by what pydicom cannot read.
    """
    try:
        import pydicom
        from pydicom import pixels as how
    except ImportError as error:
        raise RetrainLabError("a DICOM image, which needs the package pydicom: pip install pydicom") from error
    if _DEFLATED in data[:1024]:  # a few megabytes may become any number of gigabytes
        raise RetrainLabError("a deflated DICOM file, whose size cannot be told before; save it in another syntax")
    dataset = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in dataset:
        raise RetrainLabError("a DICOM file that holds no image")
    hold(dataset.Rows * dataset.Columns, _WEIGHT)
    stored, kind, bits = _first_frame(dataset, how), dataset.PhotometricInterpretation, dataset.BitsStored
    if kind == "PALETTE COLOR":
        colours = how.apply_color_lut(stored, dataset)
        return (colours >> 8 * (colours.itemsize - 1)).astype(np.uint8), None
    if stored.ndim == 3:
        return (stored >> max(0, bits - 8)).astype(np.uint8), None
    values, inverted = how.apply_modality_lut(stored, dataset), kind == "MONOCHROME1"
    window = [dataset.get("WindowCenter"), dataset.get("WindowWidth")]
    if dataset.get("VOILUTSequence") or not any(part in (None, "") for part in window):
        shown = np.rint(255 * _shown(values, dataset, how)).astype(np.uint8)
        return 255 - shown if inverted else shown, None
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    ends = np.array([lowest, lowest + 2**bits - 1], stored.dtype)
    least, most = how.apply_modality_lut(ends, dataset).astype(np.float64)
    if inverted:
        values = least + most - values
    if bits <= 8 and (least, most) == (0, 2**bits - 1):
        return (values * (255 // most)).astype(np.uint8), None
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int32)
    return values, most if bits < dataset.BitsAllocated else None  # all bits that there is room for tell nothing


def _first_frame(dataset: Any, how: Any) -> np.ndarray:
    try:
        return how.pixel_array(dataset, index=0)
    except (RuntimeError, NotImplementedError) as error:  # what pydicom says fills a page
        raise RetrainLabError(
            f"a DICOM image compressed as {dataset.file_meta.TransferSyntaxUID.name}, which pydicom cannot read by "
            "itself; it may with more packages: pip install pylibjpeg[all]"
        ) from error


def _shown(values: np.ndarray, dataset: Any, how: Any) -> np.ndarray:
    """Show rescaled values by the file's own table or window, the first if it has several: 0 to 1."""
    if dataset.get("VOILUTSequence"):
        return how.apply_voi(values, dataset) / (2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1)
    least, most = how.apply_windowing(np.array([-_BEYOND, _BEYOND]), dataset)
    return (how.apply_windowing(values, dataset) - least) / (most - least)
