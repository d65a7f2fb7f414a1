"""DICOM's PixelData -> stored values: sizes checked by arithmetic, then the fastest decoder that reads the syntax."""

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGTransferSyntaxes,
    RLELossless,
)

from core.errors import DamagedScan
from core.reading.jpeg import check_by_comparison, check_end, check_jpeg, check_tiles
from core.reading.limits import check_size

Array = npt.NDArray[Any]

_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2")
# What tells that nothing is missing of a compressed picture.
_COMPLETE: Mapping[str, Callable[[bytes], object]] = {
    JPEGBaseline8Bit: check_jpeg,
    JPEGLSLossless: check_end,
    JPEGLSNearLossless: check_end,
}
_COMPARED = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
# Two bytes of packbits give 128 at most (PS3.5 G.3.1).
_RLE_EXPANSION = 64
_JPEG_START, _J2K_START, _JP2_START = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
_FRAME_HEADERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


def has_pixels(dataset: Dataset) -> bool:
    """Whether there is a pixel element of any kind."""
    return any(name in dataset for name in _PIXEL_ELEMENTS)


def whole_number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """An element that must be one whole number.

    Raises DamagedScan where it is something else.
    """
    value = dataset.get(keyword)
    if value in (None, ""):
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as exc:
        raise DamagedScan(f"The DICOM element {keyword} is not one whole number; export the scan again.") from exc


def check_dimensions(dataset: Dataset) -> None:
    """Refuse a header that describes no possible picture, or one larger than the limits, before anything is decoded."""
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    frames, samples = whole_number(dataset, "NumberOfFrames", 1), whole_number(dataset, "SamplesPerPixel", 1)
    bits = whole_number(dataset, "BitsAllocated", 64 if "DoubleFloatPixelData" in dataset else 32)
    if min(rows, columns, frames, samples) < 1 or samples not in (1, 3, 4) or bits not in (1, 8, 16, 32, 64):
        raise DamagedScan(
            f"The DICOM header describes no possible picture ({columns} x {rows}, {frames} frames, {samples} samples "
            f"of {bits} bits); export the scan again."
        )
    check_size(rows, columns, samples, frames, max(1, bits // 8))


def decode_pixels(dataset: Dataset) -> Array:
    """Pixels as (frames, rows, columns) or (frames, rows, columns, 3): colour as RGB of 8 bits, grey as stored.

    Raises DamagedScan where the compressed pictures are not those that the header describes.
    """
    if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
        _check_codestreams(dataset)
    pixels = _decoded(dataset)
    _check_by_comparison(dataset, pixels)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    colour = dataset.PhotometricInterpretation == "PALETTE COLOR" or int(dataset.SamplesPerPixel) > 1
    stored = pixels[None] if pixels.ndim == (3 if colour else 2) else pixels
    # Data beyond the declared frames is no picture.
    stored = stored[: whole_number(dataset, "NumberOfFrames", 1)]
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return _eight_bit_colour(stored[..., :3], dataset) if colour else _significant_bits(stored, dataset)


def _decoded(dataset: Dataset) -> Array:
    syntax = dataset.file_meta.TransferSyntaxUID
    # Grey is neither copied nor masked here: ``_significant_bits`` does that.
    grey = dataset.PhotometricInterpretation in _GREY
    options: dict[str, Any] = {"view_only": True, "correct_unused_bits": False} if grey else {}
    if syntax in _JPEG_LS:
        # Several times faster than the decoder that pydicom prefers, which makes up what is missing and says nothing.
        return pixel_array(dataset, decoding_plugin="pyjpegls", **options)
    if not syntax.is_compressed:
        return pixel_array(dataset, **options)
    try:
        return pixel_array(dataset)
    except RuntimeError:
        if syntax not in JPEGTransferSyntaxes or int(dataset.SamplesPerPixel) != 1:
            raise
        return _last_resort(dataset)


def _last_resort(dataset: Dataset) -> Array:
    """JPEG that the usual decoders refuse (a header out of order, odd precision), by imagecodecs."""
    import imagecodecs

    frames = [imagecodecs.jpeg_decode(frame) for frame in _frames(dataset)]
    if any(frame.shape != (dataset.Rows, dataset.Columns) for frame in frames):
        raise DamagedScan("The compressed picture has another size than the DICOM header says; export the scan again.")
    return np.stack(frames)


def _frames(dataset: Dataset) -> list[bytes]:
    count = whole_number(dataset, "NumberOfFrames", 1)
    return list(generate_frames(dataset.PixelData, number_of_frames=count))[:count]


def _check_codestreams(dataset: Dataset) -> None:
    """What each compressed picture says of its own size, against the header: a decoder believes the picture."""
    rows, columns, syntax = int(dataset.Rows), int(dataset.Columns), dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless:
        _check_rle(dataset, rows * columns)
        return
    for frame in _frames(dataset):
        size = codestream_size(frame)
        if size is not None and size != (rows, columns):
            raise DamagedScan(
                f"The compressed picture is {size[1]} x {size[0]} where the DICOM header says {columns} x {rows}; "
                "export the scan again."
            )
        if syntax in _COMPLETE:
            _COMPLETE[syntax](frame)
        if (start := _codestream_start(frame)) is not None:
            check_tiles(frame[start:])


def _check_by_comparison(dataset: Dataset, pixels: Array) -> None:
    """Kinds of JPEG of which nothing else tells whether they are whole, where they are grey."""
    bits = whole_number(dataset, "BitsStored", 16)
    if dataset.file_meta.TransferSyntaxUID in _COMPARED and int(dataset.SamplesPerPixel) == 1 and 1 <= bits <= 16:
        for frame, decoded in zip(_frames(dataset), pixels.reshape(-1, *pixels.shape[-2:]), strict=False):
            check_by_comparison(frame, decoded, bits)


def _check_rle(dataset: Dataset, pixels: int) -> None:
    frames = whole_number(dataset, "NumberOfFrames", 1)
    wanted = pixels * frames * int(dataset.SamplesPerPixel) * math.ceil(int(dataset.BitsAllocated) / 8)
    if wanted > _RLE_EXPANSION * len(dataset.PixelData):
        raise DamagedScan("The compressed pixels are too few for the picture that the header describes; copy it again.")


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream states itself, or None where it states none."""
    if (start := _codestream_start(data)) is not None:
        return _j2k_size(data[start:])
    return _jpeg_size(data) if data.startswith(_JPEG_START) else None


def _codestream_start(data: bytes) -> int | None:
    """Where the JPEG 2000 stream begins, also within its own file format; None where there is none."""
    start = data.find(_J2K_START) if data.startswith(_JP2_START) else 0
    return start if start >= 0 and data.startswith(_J2K_START, start) else None


def _j2k_size(data: bytes) -> tuple[int, int] | None:
    """SIZ: reference grid less its offset (ISO 15444-1 A.5.1)."""
    if len(data) < 24:
        return None
    columns, rows, left, top = struct.unpack(">4I", data[8:24])
    return rows - top, columns - left


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The frame header's lines and samples per line (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2)."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAME_HEADERS:
            rows, columns = struct.unpack(">2H", data[at + 5 : at + 9])
            return rows, columns
        else:
            at += 2 + (0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _eight_bit_colour(pixels: Array, dataset: Dataset) -> Array:
    bits = pixels.dtype.itemsize * 8 if pixels.dtype.kind == "u" else int(dataset.BitsStored)
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        bits = int(dataset.BitsStored)
    return np.ascontiguousarray(pixels >> (bits - 8) if bits > 8 else pixels).astype(np.uint8, copy=False)


def _significant_bits(stored: Array, dataset: Dataset) -> Array:
    """Only BitsStored bits are pixels; the others may hold overlays or rubbish (PS3.5 8.1.1)."""
    allocated = stored.dtype.itemsize * 8
    bits = whole_number(dataset, "BitsStored", allocated)
    if stored.dtype.kind not in "iu" or not 1 <= bits < allocated:
        return np.ascontiguousarray(stored)
    if stored.dtype.kind == "u":
        clean = not stored.size or int(stored.max()) < 1 << bits
        return np.ascontiguousarray(stored) if clean else np.bitwise_and(stored, (1 << bits) - 1, dtype=stored.dtype)
    up = allocated - bits
    return np.right_shift(np.left_shift(stored, up), up)
