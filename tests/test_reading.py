"""Reading: every bit as stored, every file either a whole scan or one clear sentence, nothing of the patient kept."""

import hashlib
import logging
import re
import time
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.uid import UID

from core.errors import ConfigurationError, DamagedScan, NotAnImage, ScanError, ScanTooLarge
from core.reading import read_scan
from core.scan import Scan
from core.windowing import default_window, display_grey, modality_values
from tests.files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    TEST_FILES,
    bundled,
    bundled_names,
    dicom_bytes,
    dicom_dataset,
    flip_bit,
    image_bytes,
    jpeg_bytes,
    lut_item,
    patched,
    plain_tiff_bytes,
    png_bytes,
    png_of_size,
    tiff_bytes,
    tiff_tags,
)

Array = npt.NDArray[Any]

ALL_BUNDLED = sorted(path.name for path in TEST_FILES.iterdir() if path.is_file())
SAME_MR = [name for name in bundled_names("MR_small*.dcm") if name != "MR_small.dcm"]
GREY = (np.arange(30 * 40).reshape(30, 40) % 251).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
SIXTEEN = (np.arange(30 * 40, dtype=np.uint16) * 54).reshape(30, 40)
STRIPES = {5: (255, 0, 0), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0), 75: (64, 64, 64), 95: (255, 255, 255)}


@cache
def scan_of(name: str) -> Scan:
    return read_scan(bundled(name))


def assert_sentence(error: BaseException) -> None:
    text = str(error)
    assert 10 < len(text) <= 300, text
    assert text.endswith("."), text
    assert text[0].isupper(), text
    assert "Traceback" not in text
    assert "\n" not in text
    assert not re.search(r"(?:/[\w.-]+){2,}|[A-Za-z]:\\|\.py\b|0x[0-9a-f]{6,}", text), text


def refused(data: bytes, kind: type[ScanError] = ScanError) -> str:
    with pytest.raises(kind) as caught:
        read_scan(data)
    assert_sentence(caught.value)
    return str(caught.value)


def opened(data: bytes) -> Scan | None:
    """The scan, or None where the file is refused with a sentence; anything else escapes."""
    try:
        return read_scan(data)
    except ScanError as error:
        assert_sentence(error)
        return None


# What comes with pydicom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_BUNDLED)
def test_every_bundled_file_opens_or_is_refused_with_a_sentence(name: str) -> None:
    scan = opened(bundled(name))
    assert scan is None or scan.stored.size > 0


def test_at_least_58_bundled_files_open() -> None:
    assert sum(opened(bundled(name)) is not None for name in ALL_BUNDLED) >= 58


@pytest.mark.parametrize("name", SAME_MR)
def test_lossless_encodings_of_one_picture_give_equal_pixels(name: str) -> None:
    assert np.array_equal(scan_of(name).stored, scan_of("MR_small.dcm").stored)


# Values from pydicom's own references (its documentation and tests/pixels/pixels_reference.py).
@pytest.mark.parametrize(
    ("name", "frame", "row", "first_column", "expected"),
    [
        ("CT_small.dcm", 0, 0, 0, (175, 180, 166)),
        ("CT_small.dcm", 0, 0, 125, (203, 207, 216)),
        ("CT_small.dcm", 0, 1, 0, (186, 183, 157)),
        ("CT_small.dcm", 0, 127, 125, (911, 904, 909)),
        ("MR_small.dcm", 0, 0, 31, (422, 319, 361)),
        ("MR_small.dcm", 0, 31, 0, (366, 363, 322)),
        ("MR_small.dcm", 0, 63, 61, (1369, 1129, 862)),
        ("MR_small_RLE.dcm", 0, 63, 61, (1369, 1129, 862)),
        ("MR_small_jpeg_ls_lossless.dcm", 0, 0, 31, (422, 319, 361)),
        ("MR_small_jp2klossless.dcm", 0, 31, 0, (366, 363, 322)),
        ("MR_small_expb.dcm", 0, 63, 61, (1369, 1129, 862)),
        ("J2K_pixelrep_mismatch.dcm", 0, 0, 0, (-2000,)),
        ("JPGExtended.dcm", 0, 420, 140, (244,)),
        ("JPGExtended.dcm", 0, 230, 120, (95,)),
        ("image_dfl.dcm", 0, 300, 255, (138, 65, 65, 65, 65, 35, 35, 35)),
        ("liver_1frame.dcm", 0, 254, 304, (1, 0, 0, 1, 1, 0)),
        ("liver_expb_1frame.dcm", 0, 145, 250, (0, 0, 0, 0, 1, 1, 1, 1, 1, 0)),
        ("rtdose.dcm", 0, 4, 3, (1031000, 1029000, 1027000)),
        ("rtdose.dcm", 7, 0, 0, (1253000, 1253000, 1249000)),
        ("rtdose.dcm", 14, 9, 7, (801000, 800000, 799000)),
        ("rtdose_expb.dcm", 7, 4, 3, (1026000, 1023000, 1022000)),
        ("rtdose_rle.dcm", 14, 4, 3, (1031000, 1031000, 1031000)),
    ],
)
def test_stored_values_are_those_of_the_reference(
    name: str, frame: int, row: int, first_column: int, expected: tuple[int, ...]
) -> None:
    line = scan_of(name).stored[frame, row, first_column : first_column + len(expected)]
    assert tuple(line.tolist()) == expected


def test_ct_values_are_hounsfield_units() -> None:
    scan = scan_of("CT_small.dcm")
    assert scan.modality_lut.unit == "HU"
    assert modality_values(scan)[0, :3].tolist() == [175 - 1024, 180 - 1024, 166 - 1024]


@pytest.mark.parametrize(
    ("name", "frame", "tolerance"),
    [
        ("SC_rgb_rle.dcm", 0, 0),
        ("SC_rgb_rle_2frame.dcm", 0, 0),
        ("SC_rgb_rle_16bit.dcm", 0, 0),
        ("SC_rgb_rle_32bit_2frame.dcm", 0, 0),
        ("SC_rgb_dcmtk_+eb+cr.dcm", 0, 0),
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", 0, 5),
        ("SC_rgb_dcmtk_+eb+cy+np.dcm", 0, 5),
        ("SC_ybr_full_422_uncompressed.dcm", 0, 5),
    ],
)
def test_colour_stripes_are_red_green_blue_black_grey_white(name: str, frame: int, tolerance: int) -> None:
    scan = scan_of(name)
    assert scan.is_colour
    assert scan.stored.dtype == np.uint8
    for row, colour in STRIPES.items():
        assert np.abs(scan.stored[frame, row, 50].astype(int) - colour).max() <= tolerance


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit_2frame.dcm"]
)
def test_second_frame_is_the_inverse_of_the_first(name: str) -> None:
    stored = scan_of(name).stored
    assert stored.shape == (2, 100, 100, 3)
    assert np.array_equal(stored[1, ::10, 50], 255 - stored[0, ::10, 50])


@pytest.mark.parametrize("name", ["SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"])
def test_odd_sized_colour_picture_has_the_reference_colours(name: str) -> None:
    assert scan_of(name).stored[0, :, 0].tolist() == [[166, 141, 52], [63, 87, 176], [158, 158, 158]]


def test_jpeg_2000_colour_has_the_reference_colours() -> None:
    stored = scan_of("GDCMJ2K_TextGBR.dcm").stored[0]
    assert [stored[45, 140].tolist(), stored[46, 140].tolist()] == [[223, 32, 32], [255, 0, 0]]
    assert stored[350, 195].tolist() == [128, 128, 128]


def test_uncompressed_rgb_equals_the_bytes_of_the_file() -> None:
    dataset = dcmread(BytesIO(bundled("examples_rgb_color.dcm")))
    stored = scan_of("examples_rgb_color.dcm").stored
    assert stored.shape == (1, 240, 320, 3)
    for row, column in ((0, 0), (17, 203), (120, 160), (239, 319)):
        place = (row * 320 + column) * 3
        assert tuple(stored[0, row, column]) == tuple(dataset.PixelData[place : place + 3])


@pytest.mark.parametrize("frame", [0, 13, 29])
def test_ybr_frames_become_rgb_as_pillow_decodes_them(frame: int) -> None:
    dataset = dcmread(BytesIO(bundled("examples_ybr_color.dcm")))
    scan = scan_of("examples_ybr_color.dcm")
    assert scan.frame_count == 30
    jpeg = get_frame(dataset.PixelData, frame, number_of_frames=30)
    expected = np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")).astype(int)
    difference = np.abs(scan.stored[frame].astype(int) - expected)
    assert float(np.mean(difference)) < 1
    assert float(np.mean(difference > 8)) < 0.01


# DICOM made by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_every_number_type_comes_back_in_native_order(dtype: str, syntax: UID) -> None:
    kind = np.dtype(dtype)
    limits = (-1.5, 1e6) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    pixels = np.array([[limits[0], 0, 1], [2, 3, limits[1]]], kind)
    stored = read_scan(dicom_bytes(pixels, syntax)).stored
    assert stored.dtype.isnative
    assert stored.dtype.kind == kind.kind
    assert np.array_equal(stored[0], pixels)


def test_monochrome1_keeps_stored_values_and_says_so() -> None:
    scan = read_scan(dicom_bytes(SIXTEEN, PhotometricInterpretation="MONOCHROME1"))
    assert scan.photometric == "MONOCHROME1"
    assert np.array_equal(scan.stored[0], SIXTEEN)


@pytest.mark.parametrize("bits", [10, 12, 15])
def test_rubbish_above_bits_stored_is_masked(bits: int) -> None:
    clean = (SIXTEEN % (1 << bits)).astype(np.uint16)
    rubbish = clean | np.uint16(0xFFFF << bits & 0xFFFF)
    scan = read_scan(dicom_bytes(rubbish, BitsStored=bits, HighBit=bits - 1))
    assert np.array_equal(scan.stored[0], clean)


def test_signed_values_extend_the_sign_of_bits_stored() -> None:
    # 12 bits in two's complement: 0x800 is -2048, 0xFFF is -1; the upper four bits hold an overlay of ones or zeros.
    words = np.array([[0x0800, 0x0FFF, 0x0000], [0x07FF, 0xF7FF, 0xF800]], np.uint16)
    scan = read_scan(dicom_bytes(words.view(np.int16), BitsStored=12, HighBit=11))
    assert scan.stored[0].tolist() == [[-2048, -1, 0], [2047, 2047, -2048]]


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_frames_are_counted_and_kept_in_order(frames: int) -> None:
    pixels = np.stack([np.full((6, 8), 10 * n, np.uint16) for n in range(frames)])
    scan = read_scan(dicom_bytes(pixels))
    assert scan.frame_count == frames
    assert scan.shape == (6, 8)
    assert scan.stored[:, 0, 0].tolist() == [10 * n for n in range(frames)]


@pytest.mark.parametrize("side", [3, 4])
def test_grey_frames_three_or_four_pixels_wide_are_not_taken_for_colour(side: int) -> None:
    pixels = np.arange(5 * side * side, dtype=np.uint8).reshape(5, side, side)
    dataset = dicom_dataset(pixels[0], NumberOfFrames=5)
    dataset.PixelData = pixels.tobytes() + bytes(pixels.size % 2)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    scan = read_scan(out.getvalue())
    assert not scan.is_colour
    assert scan.stored.shape == (5, side, side)


@pytest.mark.parametrize(("bits", "factor"), [(16, 257), (8, 1)])
def test_palette_colour_becomes_rgb(bits: int, factor: int) -> None:
    red, green, blue = [0, 255, 10, 0], [0, 0, 20, 255], [0, 128, 30, 0]
    palette: dict[str, Any] = {}
    for name, values in (("Red", red), ("Green", green), ("Blue", blue)):
        kind = np.uint16 if bits == 16 else np.uint8
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        palette[f"{name}PaletteColorLookupTableData"] = (np.array(values) * factor).astype(kind).tobytes()
    index = np.array([[0, 1], [2, 3]], np.uint8)
    scan = read_scan(dicom_bytes(index, PhotometricInterpretation="PALETTE COLOR", **palette))
    assert scan.is_colour
    assert scan.stored[0].tolist() == [[[0, 0, 0], [255, 0, 128]], [[10, 20, 30], [0, 255, 0]]]


def test_planar_colour_is_interleaved() -> None:
    planes = np.moveaxis(COLOUR, -1, 0)
    data = dicom_bytes(COLOUR, PlanarConfiguration=1, PixelData=planes.tobytes())
    assert np.array_equal(read_scan(data).stored[0], COLOUR)


def test_file_without_preamble_and_meta_header_opens() -> None:
    dataset = dicom_dataset(SIXTEEN, IMPLICIT)
    out = BytesIO()
    del dataset.file_meta
    dataset.save_as(out, implicit_vr=True, little_endian=True)
    assert np.array_equal(read_scan(out.getvalue()).stored[0], SIXTEEN)


def test_number_of_frames_that_is_empty_means_one() -> None:
    assert read_scan(dicom_bytes(SIXTEEN, NumberOfFrames="")).frame_count == 1


def test_geometry_and_codes_come_from_the_header() -> None:
    data = dicom_bytes(
        SIXTEEN, PixelSpacing=[0.5, 0.25], PatientOrientation=["L", "F"], BodyPartExamined="CHEST", ViewPosition="PA"
    )
    scan = read_scan(data)
    assert scan.geometry.spacing_mm == (0.5, 0.25)
    assert scan.geometry.orientation == ("L", "F")
    assert (scan.modality, scan.body_part, scan.view) == ("DX", "CHEST", "PA")


def test_spacing_at_the_detector_is_not_spacing_in_the_patient() -> None:
    assert read_scan(dicom_bytes(SIXTEEN, ImagerPixelSpacing=[0.1, 0.1])).geometry.spacing_mm is None


def test_direction_cosines_name_the_patient_s_directions() -> None:
    # Rows run to the patient's left (+x), columns to the back (+y): the usual axial slice (PS3.3 C.7.6.2.1.1).
    scan = read_scan(dicom_bytes(SIXTEEN, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
    assert scan.geometry.orientation == ("L", "P")


def test_digest_is_the_hash_of_the_bytes() -> None:
    data = png_bytes(GREY)
    assert read_scan(data).digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [dicom_bytes(SIXTEEN), png_bytes(GREY), tiff_bytes(GREY)])
def test_stored_pixels_cannot_be_written(data: bytes) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_scan(data).stored[0, 0, 0] = 1


# PNG, JPEG, TIFF ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [png_bytes, tiff_bytes, plain_tiff_bytes, lambda a: plain_tiff_bytes(a, ">")])
def test_sixteen_bits_stay_sixteen_bits(make: Callable[[Array], bytes]) -> None:
    scan = read_scan(make(SIXTEEN))
    assert scan.bits_stored == 16
    assert np.array_equal(scan.stored[0], SIXTEEN)
    assert len(np.unique(scan.stored)) == SIXTEEN.size


def test_sixteen_bit_picture_above_255_is_not_shown_white() -> None:
    grey = display_grey(read_scan(png_bytes(SIXTEEN)))
    assert float(np.mean(grey >= 1)) < 0.02
    assert len(np.unique(grey)) > 1000


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_whose_zero_is_white_is_shown_with_zero_white(order: str) -> None:
    # TIFF 6.0: PhotometricInterpretation 0, WhiteIsZero: 0 is imaged as white, the largest value as black.
    scan = opened(plain_tiff_bytes(SIXTEEN, order, photometric=0))
    if scan is not None:  # Pillow refuses the Motorola order, which is right as well
        grey = display_grey(scan)
        assert grey[0, 0] > 0.9
        assert grey[-1, -1] < 0.1


@pytest.mark.parametrize("data", [png_bytes(GREY), jpeg_bytes(GREY, 100), tiff_bytes(GREY)])
def test_eight_bit_grey_is_one_channel_of_eight_bits(data: bytes) -> None:
    scan = read_scan(data)
    assert scan.stored.dtype == np.uint8
    assert scan.stored.shape == (1, 30, 40)
    assert np.abs(scan.stored[0].astype(int) - GREY).max() <= (0 if scan.source_format != "JPEG" else 3)


@pytest.mark.parametrize("make", [png_bytes, tiff_bytes])
def test_grey_saved_as_rgb_becomes_one_channel(make: Callable[[Array], bytes]) -> None:
    scan = read_scan(make(np.stack([GREY] * 3, axis=-1)))
    assert not scan.is_colour
    assert np.array_equal(scan.stored[0], GREY)


@pytest.mark.parametrize("make", [png_bytes, tiff_bytes])
def test_colour_stays_colour(make: Callable[[Array], bytes]) -> None:
    scan = read_scan(make(COLOUR))
    assert scan.is_colour
    assert np.array_equal(scan.stored[0], COLOUR)


def test_transparency_lies_over_black() -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    assert read_scan(png_bytes(pixels)).stored[0].tolist() == [[[200, 100, 50], [0, 0, 0], [40, 20, 10]]]


def test_grey_with_transparency_lies_over_black() -> None:
    pixels = np.array([[[200, 255], [200, 0], [200, 51]]], np.uint8)
    scan = read_scan(image_bytes(Image.frombytes("LA", (3, 1), pixels.tobytes()), "PNG"))
    assert scan.stored[0].tolist() == [[200, 0, 40]]


def test_black_and_white_png_is_0_and_255() -> None:
    assert read_scan(png_bytes(np.array([[True, False], [False, True]]))).stored[0].tolist() == [[255, 0], [0, 255]]


def test_cmyk_jpeg_opens_in_its_colours() -> None:
    patches = np.zeros((16, 48, 3), np.uint8)
    patches[:, :16], patches[:, 16:32], patches[:, 32:] = (255, 0, 0), (0, 255, 0), (255, 255, 255)
    stored = read_scan(jpeg_bytes(patches, mode="CMYK")).stored[0].astype(int)
    for column, colour in ((8, (255, 0, 0)), (24, (0, 255, 0)), (40, (255, 255, 255))):
        assert np.abs(stored[8, column] - colour).max() < 12


# EXIF 2.3, tag 0x0112: where the stored first row and first column lie when the picture is upright.
# The first name is the corner that holds the stored first pixel, the second the one that holds the end of its row.
CORNERS = {
    1: ("top left", "top right"), 2: ("top right", "top left"), 3: ("bottom right", "bottom left"),
    4: ("bottom left", "bottom right"), 5: ("top left", "bottom left"), 6: ("top right", "bottom right"),
    7: ("bottom right", "top right"), 8: ("bottom left", "top left"),
}  # fmt: skip


def marked(dtype: type[np.generic]) -> Array:
    picture = np.zeros((24, 40), dtype)
    picture[:8, :8], picture[:8, -8:] = 250, 120
    return picture


def corner(picture: Array, name: str) -> float:
    vertical, horizontal = name.split()
    rows = slice(1, 7) if vertical == "top" else slice(-7, -1)
    columns = slice(1, 7) if horizontal == "left" else slice(-7, -1)
    return float(picture[rows, columns].mean())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "TIFF of 16 bits"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = {
        "JPEG": lambda: jpeg_bytes(marked(np.uint8), orientation=orientation),
        "PNG": lambda: png_bytes(marked(np.uint8), exif=exif.tobytes()),
        "TIFF": lambda: tiff_tags(marked(np.uint8), Orientation=orientation),
        "TIFF of 16 bits": lambda: tiff_tags(marked(np.uint16), Orientation=orientation),
    }[kind]()
    upright = read_scan(data).stored[0]
    assert upright.shape == ((24, 40) if orientation <= 4 else (40, 24))
    first, end_of_row = CORNERS[orientation]
    assert corner(upright, first) == pytest.approx(250, abs=4)
    assert corner(upright, end_of_row) == pytest.approx(120, abs=4)


def test_pages_of_a_tiff_are_frames_in_order() -> None:
    scan = read_scan(tiff_bytes(SIXTEEN, SIXTEEN // 2, SIXTEEN // 3))
    assert scan.frame_count == 3
    for frame, divisor in enumerate((1, 2, 3)):
        assert np.array_equal(scan.stored[frame], SIXTEEN // divisor)


def test_tiff_pages_of_another_size_are_left_out_with_a_note() -> None:
    scan = read_scan(tiff_bytes(GREY, GREY[:5], GREY))
    assert scan.frame_count == 2
    assert any("left out" in note for note in scan.notes)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png_bytes(GREY), "PNG"),
        (jpeg_bytes(GREY), "JPEG"),
        (tiff_bytes(GREY), "TIFF"),
        (dicom_bytes(GREY), "DICOM"),
    ],
)
def test_format_is_told_by_content_alone(data: bytes, expected: str) -> None:
    assert read_scan(data).source_format == expected


def test_dicom_whose_preamble_looks_like_a_tiff_is_read_as_dicom() -> None:
    # PS3.10 7.1 leaves the preamble free, and whole-slide files use it to be TIFF as well.
    data = b"II*\x00" + dicom_bytes(SIXTEEN)[4:]
    assert read_scan(data).source_format == "DICOM"


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", DamagedScan, "empty"),
        (b"Dear colleague, please find the films attached.\n" * 4, NotAnImage, "text"),
        ("Prüfbericht: kein Befund.\n".encode() * 10, NotAnImage, ""),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", NotAnImage, "PDF"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(range(200)), NotAnImage, "ZIP"),
        (b"GIF89a" + bytes(100), NotAnImage, "GIF"),
        (b"<?xml version='1.0'?><a/>", NotAnImage, "XML"),
        (bytes(4096), NotAnImage, "zeros"),
        (bytes(range(256)) * 8, NotAnImage, ""),
        (b"\x89", NotAnImage, ""),
        (b"\xff\xd8\xff", DamagedScan, "JPEG"),
        (b"\x89PNG\r\n\x1a\n", DamagedScan, "PNG"),
        (b"II*\x00", DamagedScan, "TIFF"),
        (bytes(128) + b"DICM", DamagedScan, ""),
        (bytes(128) + b"DICM" + b"This text was renamed to scan.dcm by somebody in a hurry.", ScanError, ""),
    ],
)
def test_file_that_is_no_picture_is_refused_with_what_it_is(data: bytes, kind: type[ScanError], words: str) -> None:
    assert words in refused(data, kind)


@pytest.mark.parametrize(
    ("uid", "modality", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "SR", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "SR", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", "structure set"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN", "plan"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", "PDF"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR", "presentation state"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KO", "key object"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG", "waveform"),
    ],
)
def test_dicom_objects_without_a_picture_are_named(uid: str, modality: str, words: str) -> None:
    document: dict[str, Any] = {"EncapsulatedDocument": b"%PDF-1.4 "} if modality == "DOC" else {}
    data = dicom_bytes(None, SOPClassUID=UID(uid), Modality=modality, **document)
    assert words.lower() in refused(data, NotAnImage).lower()


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "image_dfl.dcm"],
)
@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_truncated_dicom_is_refused_or_whole(name: str, percent: int) -> None:
    data = bundled(name)
    scan = opened(data[: len(data) * percent // 100])
    assert scan is None or np.array_equal(scan.stored, scan_of(name).stored)


RASTERS = {
    "PNG": png_bytes(GREY),
    "PNG of 16 bits": png_bytes(SIXTEEN),
    "PNG in colour": png_bytes(COLOUR),
    "JPEG": jpeg_bytes(GREY),
    "progressive JPEG": image_bytes(Image.fromarray(COLOUR), "JPEG", progressive=True),
    "TIFF": tiff_bytes(GREY),
    "TIFF of three pages": tiff_bytes(GREY, 255 - GREY, GREY // 2),
    "TIFF in Motorola order": plain_tiff_bytes(SIXTEEN, ">"),
    "TIFF with LZW": tiff_bytes(GREY, compression="tiff_lzw"),
}


@pytest.mark.parametrize("kind", RASTERS)
@pytest.mark.parametrize("percent", range(10, 100, 10))
def test_truncated_raster_is_refused_or_whole(kind: str, percent: int) -> None:
    data = RASTERS[kind]
    scan = opened(data[: len(data) * percent // 100])
    assert scan is None or np.array_equal(scan.stored, read_scan(data).stored)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm"])
def test_one_flipped_bit_in_the_first_400_bytes_never_escapes(name: str) -> None:
    data = bundled(name)
    draw = np.random.default_rng(28)
    for position, bit in zip(draw.integers(0, 400, 150).tolist(), draw.integers(0, 8, 150).tolist(), strict=True):
        opened(flip_bit(data, position, bit))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"])
def test_one_flipped_bit_in_the_picture_s_description_never_escapes(name: str) -> None:
    data = bundled(name)
    start, end = data.index(b"\x28\x00\x02\x00"), data.rindex(b"\xe0\x7f\x10\x00") + 12
    draw = np.random.default_rng(28)
    for position, bit in zip(draw.integers(start, end, 150).tolist(), draw.integers(0, 8, 150).tolist(), strict=True):
        opened(flip_bit(data, position, bit))


@pytest.mark.filterwarnings("ignore")
def test_every_flipped_bit_of_a_small_file_never_escapes() -> None:
    data = dicom_bytes(np.arange(6, dtype=np.uint16).reshape(2, 3), WindowCenter=2, WindowWidth=4, RescaleSlope=1)
    start = data.index(b"\x28\x00\x02\x00")
    for position in range(start, len(data)):
        opened(flip_bit(data, position, position % 8))


@pytest.mark.parametrize("kind", RASTERS)
def test_one_flipped_bit_in_a_raster_never_escapes(kind: str) -> None:
    data = RASTERS[kind]
    draw = np.random.default_rng(4)
    for position, bit in zip(
        draw.integers(0, min(600, len(data)), 80).tolist(), draw.integers(0, 8, 80).tolist(), strict=True
    ):
        opened(flip_bit(data, position, bit))


# Limits ---------------------------------------------------------------------------------------------------------------


@cache
def four_hundred_megapixels() -> bytes:
    return png_of_size(20_000, 20_000)


def test_huge_png_is_refused_without_decoding() -> None:
    data = four_hundred_megapixels()
    assert len(data) < 1 << 20
    started = time.perf_counter()
    refused(data, ScanTooLarge)
    assert time.perf_counter() - started < 0.5


def test_limit_is_ours_and_not_the_decoder_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_MEGAPIXELS", "1000")
    monkeypatch.setenv("RADLENS_MAX_DECODED_MIB", "1")
    assert "1 MiB" in refused(four_hundred_megapixels(), ScanTooLarge)


def test_largest_rows_and_columns_are_refused_by_arithmetic() -> None:
    data = dicom_bytes(np.zeros((10, 5), np.uint16), Rows=65535, Columns=65535)
    assert "65535 x 65535" in refused(data, ScanTooLarge)


def test_picture_larger_than_its_pixel_data_is_damaged() -> None:
    refused(dicom_bytes(np.zeros((10, 5), np.uint16), Rows=10000, Columns=10000), DamagedScan)


def test_absurd_number_of_frames_is_refused_by_arithmetic() -> None:
    refused(dicom_bytes(np.zeros((10, 5), np.uint16), NumberOfFrames=2**31 - 1), ScanTooLarge)


@pytest.mark.parametrize("tags", [{"Rows": 0}, {"Columns": 0}, {"SamplesPerPixel": 2}, {"BitsAllocated": 12}])
def test_impossible_dimensions_are_damaged(tags: dict[str, Any]) -> None:
    refused(dicom_bytes(np.zeros((10, 5), np.uint16), **tags), DamagedScan)


@pytest.mark.parametrize("make", [dicom_bytes, png_bytes, tiff_bytes])
def test_limit_on_megapixels_can_be_set(make: Callable[[Array], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_MEGAPIXELS", "1")
    assert read_scan(make(np.zeros((1000, 1000), np.uint8))).shape == (1000, 1000)
    refused(make(np.zeros((1001, 1000), np.uint8)), ScanTooLarge)


@pytest.mark.parametrize("make", [dicom_bytes, tiff_bytes])
def test_limit_on_decoded_size_can_be_set(make: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_DECODED_MIB", "1")
    page = np.zeros((1000, 600), np.uint16)
    refused(make(page), ScanTooLarge)


@pytest.mark.parametrize("name", ["RADLENS_MAX_MEGAPIXELS", "RADLENS_MAX_DECODED_MIB"])
@pytest.mark.parametrize("value", ["lots", "0", "-5", "1.5"])
@pytest.mark.parametrize("data", [dicom_bytes(SIXTEEN), png_bytes(GREY), tiff_bytes(GREY)])
def test_wrong_limit_is_a_configuration_error(
    data: bytes, value: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_scan(data)
    assert_sentence(caught.value)


# Numbers that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [dicom_bytes, tiff_bytes])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_without_a_number_are_refused(
    make: Callable[[Array], bytes], value: float, dtype: type[np.floating[Any]]
) -> None:
    if make is tiff_bytes:
        dtype = np.float32  # Pillow writes no TIFF of 64 bits
    refused(make(np.array([[0.0, 1.0], [value, 2.0]], dtype)), DamagedScan)


@pytest.mark.parametrize("value", [b"0", b"nan", b"inf", b"-1e400", b"abc"])
def test_rescale_slope_that_gives_no_values_is_refused(value: bytes) -> None:
    data = dicom_bytes(SIXTEEN, RescaleSlope="7654321", RescaleIntercept="0")
    refused(patched(data, b"7654321", value))


@pytest.mark.parametrize("value", [b"nan", b"inf", b"abc"])
def test_rescale_intercept_that_gives_no_values_is_refused(value: bytes) -> None:
    data = dicom_bytes(SIXTEEN, RescaleSlope="1", RescaleIntercept="7654321")
    refused(patched(data, b"7654321", value))


@pytest.mark.parametrize("value", [b"0", b"-4", b"nan", b"inf", b"abc"])
def test_window_that_cannot_be_used_falls_back_with_a_note(value: bytes) -> None:
    scan = read_scan(patched(dicom_bytes(SIXTEEN, WindowCenter="100", WindowWidth="7654321"), b"7654321", value))
    assert scan.windows == ()
    assert any("window" in note for note in scan.notes)
    assert default_window(scan).explanation == "automatic"
    assert np.isfinite(display_grey(scan)).all()


def test_all_windows_of_a_file_are_kept_in_order() -> None:
    data = dicom_bytes(
        SIXTEEN, WindowCenter=[40, -600], WindowWidth=[400, 1500], WindowCenterWidthExplanation=["soft", "lung"]
    )
    scan = read_scan(data)
    assert [(w.centre, w.width, w.explanation) for w in scan.windows] == [(40, 400, "soft"), (-600, 1500, "lung")]
    assert scan.notes == ()


def test_one_bad_window_of_two_leaves_the_good_one() -> None:
    scan = read_scan(dicom_bytes(SIXTEEN, WindowCenter=[40, -600], WindowWidth=[0, 1500]))
    assert [(w.centre, w.width) for w in scan.windows] == [(-600, 1500)]


def test_lookup_table_with_missing_entries_is_refused() -> None:
    table = lut_item(0, [1, 2, 3, 4])
    table[0].LUTDescriptor = [9, 0, 16]
    refused(dicom_bytes(SIXTEEN, ModalityLUTSequence=table), DamagedScan)


# Privacy --------------------------------------------------------------------------------------------------------------

SECRETS: dict[str, Any] = {
    "PatientName": "DOE^JANE",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19500203",
    "InstitutionName": "Saint Elsewhere",
    "ReferringPhysicianName": "HOUSE^GREGORY",
    "PatientAddress": "Cherry Tree Lane",
    "StudyDescription": "Follow-up of Mrs Doe",
}
TELLTALES = ("DOE", "Doe", "JANE", "4711", "19500203", "Elsewhere", "HOUSE", "GREGORY", "Cherry")


@cache
def identified() -> bytes:
    return dicom_bytes(SIXTEEN, **SECRETS, Rows=30, Columns=40)


def assert_silent(text: str) -> None:
    assert not [word for word in TELLTALES if word.lower() in text.lower()], ascii(text)


def shown(scan: Scan) -> str:
    return f"{scan!r} {dict(scan.facts)} {scan.notes} {scan.windows} {scan.modality} {scan.body_part} {scan.view}"


def test_scan_holds_nothing_of_the_patient() -> None:
    scan = read_scan(identified())
    assert all(secret.encode() in identified() for secret in SECRETS.values())
    assert_silent(shown(scan))


@pytest.mark.filterwarnings("ignore")
def test_errors_of_a_damaged_file_hold_nothing_of_the_patient() -> None:
    data = identified()
    draw = np.random.default_rng(7)
    damaged = [data[: len(data) * part // 40] for part in range(1, 40)]
    places = zip(draw.integers(132, len(data) - 2500, 200).tolist(), draw.integers(0, 8, 200).tolist(), strict=True)
    damaged += [flip_bit(data, position, bit) for position, bit in places]
    errors = 0
    for file in damaged:
        try:
            assert_silent(shown(read_scan(file)))
        except ScanError as error:
            errors += 1
            assert_silent(str(error))
    assert errors > 30


@pytest.mark.parametrize(
    ("keyword", "number"),
    [("SeriesNumber", "7654321"), ("StudyInstanceUID", "1.7.6.5.4.3.2.1"), ("StudyTime", "101112")],
)
def test_warnings_and_log_hold_nothing_of_the_patient(
    keyword: str, number: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # A damaged element may hold its neighbour's text; pydicom repeats the value it finds wrong.
    tags: dict[str, Any] = {keyword: number}
    data = patched(dicom_bytes(SIXTEEN, **tags), number.encode(), b"DOE^J")
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        opened(data)
    assert_silent(" ".join(str(warning.message) for warning in caught))
    assert_silent(caplog.text)
    assert_silent("".join(capfd.readouterr()))
