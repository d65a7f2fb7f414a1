"""A JPEG 2000 film at a quarter of its size, decoded from the first resolutions of its own stream, while the rest decodes."""

import hashlib
import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000TransferSyntaxes

from core.errors import ScanError
from core.reading.dicom import parse_dicom, scan_of
from core.reading.dicom_pixels import check_dimensions, codestream_size
from core.scan import Geometry, Scan

Array = npt.NDArray[Any]

# Halvings left out: 4 x 4 pixels become one.
REDUCTION = 2
_FACTOR = 2**REDUCTION
# Smaller pictures are decoded before a preview could be drawn.
_WORTH_PIXELS = 1_000_000
_PAD = 1


def decode_preview(data: bytes) -> Scan | None:
    """The first picture of a JPEG 2000 DICOM file at a quarter of its size, or None where there is nothing to gain.

    Its values are those of the wavelet's low-pass band, moved to where they lie in the picture: sample ``k`` of the band
    stands over pixel ``4 k`` and not over the middle of its four pixels (ISO 15444-1 B.5).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = parse_dicom(data)
            if not _is_worth_it(dataset):
                return None
            check_dimensions(dataset)
            picture = get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
            if codestream_size(picture) != (dataset.Rows, dataset.Columns):
                return None
            small = _in_phase(_reduced(picture, int(dataset.BitsStored)))
            return _reduced_scan(dataset, small, hashlib.sha256(data).hexdigest())
        except (ScanError, Image.DecompressionBombError, OSError, ValueError, AttributeError, SyntaxError):
            # The full decode that follows says what is wrong.
            return None


def _is_worth_it(dataset: Dataset) -> bool:
    plain = dataset.get("SamplesPerPixel") == 1 and dataset.get("PixelRepresentation") == 0
    large = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) >= _WORTH_PIXELS
    return dataset.file_meta.TransferSyntaxUID in JPEG2000TransferSyntaxes and plain and large


def _reduced(picture: bytes, bits: int) -> Array:
    with Image.open(BytesIO(picture), formats=["JPEG2000"]) as image:
        # Pillow rounds the reduced sides to the nearest and then gives up where the codec rounded them up.
        image._size = tuple(-(-side // _FACTOR) * _FACTOR for side in image.size)  # noqa: SLF001
        image.reduce = REDUCTION  # type: ignore[method-assign,assignment]
        image.load()
        pixels = np.asarray(image)
    # Pillow stretches to 16 bits what has between 9 and 15.
    return pixels >> (16 - bits) if pixels.dtype.itemsize == 2 else pixels


def _in_phase(band: Array) -> Array:
    """The band sampled at the middle of each block of pixels: (2^r - 1) / 2 pixels further, that is a part of one sample."""
    share = np.float32((_FACTOR - 1) / 2 / _FACTOR)
    moved = np.pad(band.astype(np.float32), ((0, _PAD), (0, _PAD)), mode="edge")
    moved = moved[:-1] * (1 - share) + moved[1:] * share
    moved = moved[:, :-1] * (1 - share) + moved[:, 1:] * share
    return np.rint(moved).astype(band.dtype)


def _reduced_scan(dataset: Dataset, small: Array, digest: str) -> Scan:
    scan = scan_of(dataset, np.ascontiguousarray(small)[None], digest)
    spacing = scan.geometry.spacing_mm
    wider = (spacing[0] * _FACTOR, spacing[1] * _FACTOR) if spacing else None
    return replace(scan, geometry=Geometry(wider, scan.geometry.orientation), overlays=(), notes=())
