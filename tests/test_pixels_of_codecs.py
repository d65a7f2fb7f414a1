"""Decoders: one picture in every lossless encoding is one picture, and a compressed picture is believed only in its own size."""

import struct
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from core.errors import DamagedScan, ScanError
from core.reading import read_preview
from core.reading.decoding import decode_scan
from core.reading.preview import decode_preview
from core.scan import Scan
from core.windowing import display_grey
from tests.files import BIG_ENDIAN, EXPLICIT, IMPLICIT, TEST_FILES, bundled, dicom_bytes, dicom_dataset

Array = npt.NDArray[Any]

# All bits in use, odd sides, steep and flat parts.
SIXTEEN = ((np.add.outer(np.arange(61) * 997, np.arange(47) * 613) % 65536) | 1).astype(np.uint16)
SIXTEEN[20:40, 10:30] = 65535
SIXTEEN[25:35, 15:25] = 0
RGB = np.stack([SIXTEEN >> 8, SIXTEEN & 255, (SIXTEEN >> 4) & 255], axis=-1).astype(np.uint8)


def saved(dataset: Dataset) -> bytes:
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def compressed(pixels: Array, syntax: UID, **tags: Any) -> bytes:
    """The picture encoded by pydicom's own encoders."""
    dataset = dicom_dataset(pixels, **tags)
    dataset.compress(syntax, generate_instance_uid=False)
    return saved(dataset)


def wrapped(pixels: Array, syntax: UID, *frames: bytes | bytearray, **tags: Any) -> bytes:
    """Pictures encoded elsewhere, in a file whose header describes ``pixels``."""
    dataset = dicom_dataset(pixels, **tags)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([bytes(frame) for frame in frames])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return saved(dataset)


def refused(data: bytes) -> str:
    with pytest.raises(DamagedScan) as caught:
        decode_scan(data)
    return str(caught.value)


# One picture ----------------------------------------------------------------------------------------------------------

ENCODINGS: dict[str, Callable[[Array], bytes]] = {
    "little endian": lambda pixels: dicom_bytes(pixels, EXPLICIT),
    "implicit": lambda pixels: dicom_bytes(pixels, IMPLICIT),
    "big endian": lambda pixels: dicom_bytes(pixels, BIG_ENDIAN),
    "deflated": lambda pixels: dicom_bytes(pixels, DeflatedExplicitVRLittleEndian),
    "RLE": lambda pixels: compressed(pixels, RLELossless),
    "JPEG-LS": lambda pixels: compressed(pixels, JPEGLSLossless),
    "JPEG-LS of another encoder": lambda pixels: wrapped(pixels, JPEGLSLossless, imagecodecs.jpegls_encode(pixels)),
    "JPEG 2000": lambda pixels: compressed(pixels, JPEG2000Lossless),
    "JPEG 2000 of another encoder": lambda pixels: wrapped(
        pixels, JPEG2000Lossless, imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k")
    ),
    "JPEG 2000 in its own file format": lambda pixels: wrapped(
        pixels, JPEG2000Lossless, imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="jp2")
    ),
    "High-Throughput JPEG 2000": lambda pixels: wrapped(
        pixels, HTJ2KLossless, imagecodecs.htj2k_encode(pixels, reversible=True)
    ),
    "lossless JPEG": lambda pixels: wrapped(pixels, JPEGLossless, imagecodecs.ljpeg_encode(pixels)),
}
COLOUR = [name for name in ENCODINGS if name != "lossless JPEG"]  # that encoder knows grey only


@pytest.mark.parametrize("name", ENCODINGS)
def test_sixteen_bits_come_back_bit_for_bit_from_every_lossless_encoding(name: str) -> None:
    scan = decode_scan(ENCODINGS[name](SIXTEEN))
    assert scan.stored.dtype == np.uint16
    assert scan.stored.dtype.isnative
    assert np.array_equal(scan.stored, SIXTEEN[None])


@pytest.mark.parametrize("name", COLOUR)
def test_colours_come_back_bit_for_bit_from_every_lossless_encoding(name: str) -> None:
    scan = decode_scan(ENCODINGS[name](RGB))
    assert scan.is_colour
    assert np.array_equal(scan.stored, RGB[None])


@pytest.mark.parametrize("name", ENCODINGS)
def test_twelve_bits_in_sixteen_come_back_bit_for_bit(name: str) -> None:
    twelve = (SIXTEEN >> 4).astype(np.uint16)
    dataset = dcmread(BytesIO(ENCODINGS[name](twelve)))
    if not dataset.file_meta.TransferSyntaxUID.is_compressed or name == "RLE":
        dataset.BitsStored, dataset.HighBit = 12, 11
    assert np.array_equal(decode_scan(saved(dataset)).stored, twelve[None])


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_signed_pixels_keep_their_sign_in_every_encoding(syntax: UID) -> None:
    signed = (SIXTEEN.astype(np.int32) - 32768).astype(np.int16)
    data = compressed(signed, syntax) if syntax.is_compressed else dicom_bytes(signed, syntax)
    scan = decode_scan(data)
    assert scan.stored.dtype == np.int16
    assert np.array_equal(scan.stored, signed[None])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
def test_compressed_frames_keep_their_order(syntax: UID) -> None:
    frames = np.stack([SIXTEEN, SIXTEEN[::-1], 65535 - SIXTEEN])
    data = compressed(frames, syntax) if syntax.is_encapsulated else dicom_bytes(frames, syntax)
    assert np.array_equal(decode_scan(data).stored, frames)


def test_frames_beyond_those_that_are_declared_are_no_pictures() -> None:
    frames = [imagecodecs.jpegls_encode(SIXTEEN), imagecodecs.jpegls_encode(SIXTEEN[::-1].copy())]
    assert np.array_equal(decode_scan(wrapped(SIXTEEN, JPEGLSLossless, *frames)).stored, SIXTEEN[None])


# The picture's own size -----------------------------------------------------------------------------------------------


def sized(stream: bytes | bytearray, marker: bytes, at: int, layout: str, *size: int) -> bytes:
    """The codestream with the size after its one frame header replaced."""
    assert stream.count(marker) == 1
    changed = bytearray(stream)
    struct.pack_into(layout, changed, stream.index(marker) + at, *size)
    return bytes(changed)


JPEG_LS = imagecodecs.jpegls_encode(SIXTEEN)
J2K = imagecodecs.jpeg2k_encode(SIXTEEN, level=0, reversible=True, codecformat="j2k")
JPEG = imagecodecs.jpeg_encode(RGB[..., 0].copy(), level=95)
HTJ2K = imagecodecs.htj2k_encode(SIXTEEN, reversible=True)


@pytest.mark.parametrize("size", [(60, 47), (61, 46), (65535, 65535), (1, 1), (47, 61)])
@pytest.mark.parametrize(
    ("pixels", "syntax", "stream", "marker", "at", "layout"),
    [
        (SIXTEEN, JPEGLSLossless, JPEG_LS, b"\xff\xf7", 5, ">2H"),
        (RGB[..., 0], JPEGBaseline8Bit, JPEG, b"\xff\xc0", 5, ">2H"),
    ],
)
def test_jpeg_of_another_size_than_the_header_s_is_refused(
    pixels: Array, syntax: UID, stream: bytes, marker: bytes, at: int, layout: str, size: tuple[int, int]
) -> None:
    text = refused(wrapped(pixels, syntax, sized(stream, marker, at, layout, *size)))
    assert f"{size[1]} x {size[0]} where the DICOM header says 47 x 61" in text


@pytest.mark.parametrize("size", [(60, 47), (61, 46), (2**31, 2**31), (1, 1), (47, 61)])
@pytest.mark.parametrize(("syntax", "stream"), [(JPEG2000Lossless, J2K), (HTJ2KLossless, HTJ2K)])
def test_jpeg_2000_of_another_size_than_the_header_s_is_refused(
    syntax: UID, stream: bytes, size: tuple[int, int]
) -> None:
    rows, columns = size
    changed = sized(stream, b"\xff\x4f\xff\x51", 8, ">2I", columns, rows)
    assert f"{columns} x {rows} where the DICOM header says 47 x 61" in refused(wrapped(SIXTEEN, syntax, changed))


def test_size_of_a_jpeg_2000_picture_is_its_grid_less_the_offset() -> None:
    # ISO 15444-1 A.5.1: the picture is Xsiz - XOsiz wide.
    changed = sized(J2K, b"\xff\x4f\xff\x51", 16, ">2I", 7, 5)
    assert "40 x 56" in refused(wrapped(SIXTEEN, JPEG2000Lossless, changed))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_second_frame_of_another_size_is_refused(syntax: UID) -> None:
    encode = imagecodecs.jpegls_encode if syntax == JPEGLSLossless else imagecodecs.jpeg2k_encode
    frames = np.stack([SIXTEEN, SIXTEEN])
    data = wrapped(frames, syntax, encode(SIXTEEN), encode(SIXTEEN[:50].copy()))
    assert "47 x 50" in refused(data)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_header_larger_than_the_compressed_picture_is_refused(syntax: UID) -> None:
    dataset = dcmread(BytesIO(compressed(SIXTEEN, syntax)))
    dataset.Rows = dataset.Columns = 5000
    text = refused(saved(dataset))
    assert "too few" in text or "47 x 61 where" in text


@pytest.mark.parametrize("side", [700, 5000, 10000])
def test_run_lengths_that_cannot_fill_the_picture_are_refused_by_arithmetic(side: int) -> None:
    # Two bytes give 128 at most (PS3.5 G.3.1): a flat picture of 64 x 64 takes 64 + 2 x 64 bytes or so, which at 64
    # times its size is no picture of 700 x 700 x 2 bytes.
    dataset = dcmread(BytesIO(compressed(np.zeros((64, 64), np.uint16), RLELossless)))
    dataset.Rows = dataset.Columns = side
    assert len(dataset.PixelData) * 64 < side * side * 2
    assert "too few" in refused(saved(dataset))


def test_flattest_picture_that_run_lengths_can_hold_opens() -> None:
    flat = np.full((512, 512), 4660, np.uint16)
    data = compressed(flat, RLELossless)
    assert len(data) < flat.nbytes / 20
    assert np.array_equal(decode_scan(data).stored[0], flat)


@pytest.mark.parametrize(
    "name", [name for name in ENCODINGS if name not in ("little endian", "implicit", "big endian")]
)
@pytest.mark.parametrize("percent", [30, 60, 90])
def test_compressed_file_that_is_cut_short_is_refused_or_whole(name: str, percent: int) -> None:
    data = ENCODINGS[name](SIXTEEN)
    start = len(data) // 4
    try:
        scan = decode_scan(data[: start + (len(data) - start) * percent // 100])
    except ScanError:
        return
    assert scan.stored.shape == (1, *SIXTEEN.shape)


# What comes with pydicom ----------------------------------------------------------------------------------------------

REFUSED = {
    # The size of the codestream is overwritten by the delimiter that the file is about.
    "JPEG2000-embedded-sequence-delimiter.dcm": "3722445056 x 1024 where the DICOM header says 256 x 1024",
    # Half of the pixels are missing.
    "MR_truncated.dcm": "pixels cannot be decoded",
    # Number of Frames is "1A".
    "badVR.dcm": "NumberOfFrames is not one whole number",
    # Pixel Data without Rows and Columns.
    "meta_missing_tsyntax.dcm": "no possible picture (0 x 0",
    "nested_priv_SQ.dcm": "no possible picture (0 x 0",
}


@cache
def with_pixels() -> tuple[Path, ...]:
    found = []
    for path in sorted(TEST_FILES.rglob("*")):
        if path.is_file():
            try:
                dataset = dcmread(path, force=True)
            except Exception:  # noqa: BLE001, S112 - files that pydicom itself cannot parse hold no pixels
                continue
            if any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                found.append(path)
    return tuple(found)


@pytest.mark.filterwarnings("ignore")
def test_all_of_pydicom_s_files_with_pixels_open_but_those_named_with_their_reason() -> None:
    reasons = {}
    for path in with_pixels():
        try:
            scan = decode_scan(path.read_bytes())
        except ScanError as error:
            reasons[path.name] = str(error)
        else:
            assert scan.stored.ndim in (3, 4)
    assert len(with_pixels()) >= 76
    assert len(with_pixels()) - len(reasons) >= 71
    assert set(reasons) == set(REFUSED)
    assert [name for name, words in REFUSED.items() if words not in reasons[name]] == []


def test_lossy_jpeg_of_twelve_bits_opens() -> None:
    scan = decode_scan(bundled("JPEG-lossy.dcm"))
    dataset = dcmread(BytesIO(bundled("JPEG-lossy.dcm")))
    assert scan.shape == (dataset.Rows, dataset.Columns)
    assert int(scan.stored.max()) < 1 << dataset.BitsStored
    assert len(np.unique(scan.stored)) > 50


def test_segmentation_of_one_bit_opens_as_zeros_and_ones() -> None:
    scan = decode_scan(bundled("liver_1frame.dcm"))
    packed = np.frombuffer(dcmread(BytesIO(bundled("liver_1frame.dcm"))).PixelData, np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[: scan.stored.size]
    assert np.array_equal(scan.stored.ravel(), bits)
    assert scan.signs["not-intensities"] == "SEG"


def test_dose_opens_in_32_bits() -> None:
    dataset = dcmread(BytesIO(bundled("rtdose.dcm")))
    scan = decode_scan(bundled("rtdose.dcm"))
    numbers = np.frombuffer(dataset.PixelData, "<u4")
    assert np.array_equal(scan.stored.ravel(), numbers)
    assert scan.frame_count == 15
    assert scan.signs["not-intensities"] == "RTDOSE"


# The preview of a JPEG 2000 film --------------------------------------------------------------------------------------

WINDOW: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096, "PixelSpacing": [0.15, 0.2]}


@cache
def phantom() -> Array:
    """A smooth body of 1600 x 1400 in 12 bits: two lungs and a heart with soft borders, and the film's own noise."""
    y, x = np.mgrid[:1600, :1400].astype(np.float32)
    picture = 2600 + 700 * np.sin(y / 310) * np.cos(x / 270)
    for row, column, height, width, depth in (
        (800, 400, 420, 210, -1500),
        (780, 1010, 400, 200, -1300),
        (980, 760, 190, 230, 700),
    ):
        picture += depth / (1 + np.exp(8 * (np.hypot((y - row) / height, (x - column) / width) - 1)))
    picture += np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(np.rint(picture), 0, 4095).astype(np.uint16)


def film(pixels: Array, **tags: Any) -> bytes:
    stream = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k", bitspersample=12)
    return wrapped(pixels, JPEG2000Lossless, stream, **({"BitsStored": 12, "HighBit": 11} | tags))


@cache
def preview_of_phantom() -> tuple[Scan, Scan]:
    """The preview and the whole film."""
    data = film(phantom(), **WINDOW)
    preview = decode_preview(data)
    assert preview is not None
    return preview, decode_scan(data)


def averaged(picture: Array, side: int = 4) -> Array:
    rows, columns = picture.shape
    mean: Array = picture.reshape(rows // side, side, columns // side, side).mean(axis=(1, 3))
    return mean


def test_preview_looks_like_the_averaged_film() -> None:
    preview, whole = preview_of_phantom()
    assert np.array_equal(whole.stored[0], phantom())
    assert preview.stored.shape == (1, 400, 350)
    difference = np.abs(display_grey(preview) - averaged(display_grey(whole)))
    assert float(difference.mean()) < 0.003
    assert float(difference.max()) < 0.02


def test_preview_of_the_film_says_all_else_that_the_film_says() -> None:
    preview, whole = preview_of_phantom()
    assert preview.geometry.spacing_mm == pytest.approx((0.6, 0.8))
    assert preview.digest == whole.digest
    assert preview.windows == whole.windows
    assert (preview.modality, preview.photometric, preview.bits_stored) == ("DX", "MONOCHROME2", 12)


@pytest.mark.parametrize(("row", "column"), [(512.3, 700.8), (300.0, 301.5), (801.25, 200.6), (1000.9, 1100.1)])
def test_dot_lies_in_the_preview_where_it_should(row: float, column: float) -> None:
    y, x = np.mgrid[:1101, :1201]
    dot = np.rint(3500 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 12.0**2))).astype(np.uint16)
    preview = decode_preview(film(dot, **WINDOW))
    assert preview is not None
    light = preview.stored[0].astype(np.float64)
    found = [float((light * axis).sum() / light.sum()) for axis in np.mgrid[: light.shape[0], : light.shape[1]]]
    # Pixel centres: a reduction by four maps y to (y + 0.5) / 4 - 0.5.
    assert found == pytest.approx([(row + 0.5) / 4 - 0.5, (column + 0.5) / 4 - 0.5], abs=0.1)


@pytest.mark.parametrize("shape", [(1021, 1023), (1022, 1021), (1024, 1025), (1023, 1022)])
def test_sides_that_are_no_multiple_of_four_are_rounded_up(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 1000, np.uint16)
    preview = decode_preview(film(pixels, **WINDOW))
    assert preview is not None
    assert preview.shape == (-(-shape[0] // 4), -(-shape[1] // 4))
    assert np.abs(preview.stored.astype(int) - 1000).max() <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: film(np.full((900, 1000), 9, np.uint16)),  # small enough to be decoded at once
        lambda: dicom_bytes(np.zeros((1100, 1100), np.uint16)),
        lambda: wrapped(
            np.zeros((1100, 1100), np.uint16),
            JPEG2000Lossless,
            imagecodecs.jpeg2k_encode(np.zeros((1100, 1000), np.uint16), level=0, reversible=True),
        ),
        lambda: wrapped(np.zeros((1100, 1100), np.uint16), JPEG2000Lossless, b"\xff\x4f\xff\x51" + bytes(40)),
        lambda: bundled("CT_small.dcm"),
        lambda: b"",
        lambda: b"1.2.840.10008.1.2.4.90",
    ],
)
def test_file_without_a_preview_gives_none_and_raises_nothing(make: Callable[[], bytes]) -> None:
    assert decode_preview(make()) is None


def test_guarded_preview_is_the_same_preview() -> None:
    preview = read_preview(film(phantom(), **WINDOW))
    assert preview is not None
    assert np.array_equal(preview.stored, preview_of_phantom()[0].stored)
    assert read_preview(b"1.2.840.10008.1.2.4.90") is None
