"""Windowing: the formulas of DICOM PS3.3 C.11 worked by hand, and pydicom's own implementation as the second opinion."""

import math
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import UID

from core.reading import read_scan
from core.scan import Scan, VoiFunction, Window, is_usable_window
from core.windowing import (
    CT_WINDOWS,
    apply_window,
    automatic_window,
    default_window,
    display_grey,
    display_rgb,
    modality_values,
    window_choices,
)
from tests.files import BIG_ENDIAN, EXPLICIT, IMPLICIT, bundled, dicom_bytes, lut_item, png_bytes

Array = npt.NDArray[Any]

TWELVE_BITS = np.random.default_rng(11).integers(0, 4096, (24, 32)).astype(np.uint16)
EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(16, 16)


def dataset_of(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def grey_of(values: list[float], window: Window) -> list[float]:
    return apply_window(np.array([values], np.float32), window)[0].tolist()


# The functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, worked by hand -------------------------------------------------------


@pytest.mark.parametrize(
    ("centre", "width", "value", "expected"),
    [
        (40, 400, -160, 0.0),  # c - 0.5 - (w - 1) / 2 = -160: black
        (40, 400, 239, 1.0),  # c - 0.5 + (w - 1) / 2 = 239: white
        (40, 400, -1000, 0.0),
        (40, 400, 3000, 1.0),
        (40, 400, 40, 0.5 / 399 + 0.5),
        (40, 400, 39.5, 0.5),
        (40, 400, 0, -39.5 / 399 + 0.5),
        (2048, 4096, 0, 0.0),  # the standard's note: 2048 / 4096 passes 0..4095 through
        (2048, 4096, 1000, 1000 / 4095),
        (2048, 4096, 4095, 1.0),
        (0, 100, -50, 0.0),  # the standard's note: 0 / 100 is black at -50 and white at 49
        (0, 100, 49, 1.0),
        (2048, 1, 2047, 0.0),  # the standard's note: a width of 1 is a threshold, x <= c - 0.5 black
        (2048, 1, 2047.5, 0.0),
        (2048, 1, 2048, 1.0),
    ],
)
def test_linear_function_at_named_values(centre: float, width: float, value: float, expected: float) -> None:
    assert grey_of([value], Window(centre, width)) == [pytest.approx(expected, abs=1e-6)]


@pytest.mark.parametrize(
    ("centre", "width", "value", "expected"),
    [
        (0, 100, -50, 0.0),
        (0, 100, 50, 1.0),
        (0, 100, 0, 0.5),
        (0, 100, 25, 0.75),
        (0, 100, 49, 0.99),
        (40, 400, -60, 0.25),
        (0.5, 1, 0.3, 0.3),
        (10, 0.5, 10.125, 0.75),
    ],
)
def test_linear_exact_function_at_named_values(centre: float, width: float, value: float, expected: float) -> None:
    assert grey_of([value], Window(centre, width, "LINEAR_EXACT")) == [pytest.approx(expected, abs=1e-6)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (40, 0.5),
        (140, 1 / (1 + math.exp(-1))),  # a quarter of the width above the centre
        (-160, 1 / (1 + math.exp(2))),  # half the width below the centre
        (240, 1 / (1 + math.exp(-2))),
        (40_000, 1.0),
        (-40_000, 0.0),
    ],
)
def test_sigmoid_function_at_named_values(value: float, expected: float) -> None:
    assert grey_of([value], Window(40, 400, "SIGMOID")) == [pytest.approx(expected, abs=1e-6)]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", CT_WINDOWS)
def test_every_function_rises_within_0_and_1(window: Window, function: VoiFunction) -> None:
    values = np.linspace(-4000, 4000, 2001, dtype=np.float32)[None]
    grey = apply_window(values, Window(window.centre, window.width, function))
    assert grey.dtype == np.float32
    assert float(grey.min()) >= 0
    assert float(grey.max()) <= 1
    assert (np.diff(grey[0]) >= 0).all()


@pytest.mark.parametrize(
    ("centre", "width", "function", "usable"),
    [
        (0, 1, "LINEAR", True),
        (0, 0.9, "LINEAR", False),  # PS3.3 C.11.2.1.2.1: Window Width shall be at least 1
        (0, 0.1, "LINEAR_EXACT", True),  # C.11.2.1.3.2: greater than 0
        (0, 0.1, "SIGMOID", True),
        (0, 0, "LINEAR_EXACT", False),
        (0, -1, "SIGMOID", False),
        (math.nan, 10, "LINEAR", False),
        (0, math.inf, "LINEAR", False),
    ],
)
def test_window_is_usable_as_the_standard_says(centre: float, width: float, function: str, usable: bool) -> None:  # noqa: FBT001
    assert is_usable_window(centre, width, function) is usable


# Against pydicom ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 500), (3000.5, 1), (100, 3999.5), (-200, 800)])
def test_window_agrees_with_pydicom(centre: float, width: float, function: VoiFunction) -> None:
    data = dicom_bytes(
        TWELVE_BITS, BitsStored=12, HighBit=11, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function
    )
    with np.errstate(over="ignore"):  # pydicom's sigmoid overflows on its way to 0
        expected = apply_windowing(TWELVE_BITS, dataset_of(data)) / 4095
    scan = read_scan(data)
    assert default_window(scan) == Window(centre, width, function)
    assert np.allclose(display_grey(scan), expected, atol=1e-5)


@pytest.mark.parametrize("window", [(40, 400), (-600, 1500), (480, 2500)])
def test_ct_window_agrees_with_pydicom(window: tuple[float, float]) -> None:
    dataset = dataset_of(bundled("CT_small.dcm"))
    dataset.WindowCenter, dataset.WindowWidth = window
    # Pixels are signed 16 bits: pydicom's output runs over the whole modality range.
    low, high = -32768 - 1024, 32767 - 1024
    hounsfield = apply_modality_lut(dataset.pixel_array, dataset)
    expected = (apply_windowing(hounsfield, dataset) - low) / (high - low)
    scan = read_scan(bundled("CT_small.dcm"))
    shown = display_grey(scan, window=Window(*window))
    content = scan.stored[0] != -2000  # the padding value of this file
    assert np.allclose(shown[content], expected[content], atol=1e-5)


def test_each_of_a_file_s_windows_agrees_with_pydicom() -> None:
    dataset = dataset_of(bundled("examples_overlay.dcm"))
    scan = read_scan(bundled("examples_overlay.dcm"))
    assert [(w.centre, w.width) for w in scan.windows] == [(450, 790), (200, 443)]
    for index, window in enumerate(scan.windows):
        expected = apply_windowing(dataset.pixel_array, dataset, index=index) / 4095
        assert np.allclose(display_grey(scan, window=window), expected, atol=1e-5)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, 0), (-1, 100), (0.001, -3.5)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_slope_and_intercept_agree_with_pydicom(dtype: type[np.generic], slope: float, intercept: float) -> None:
    pixels = TWELVE_BITS.astype(dtype)
    data = dicom_bytes(pixels, RescaleSlope=slope, RescaleIntercept=intercept)
    expected = apply_modality_lut(pixels, dataset_of(data))
    assert np.allclose(modality_values(read_scan(data)), expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_modality_table_agrees_with_pydicom(syntax: UID) -> None:
    table = lut_item(10, [7, 300, 4000, 65535])
    if syntax == BIG_ENDIAN:  # OW is written as it is: the table's words must be in the file's own order (PS3.5 7.3)
        table[0].LUTData = np.array([7, 300, 4000, 65535], ">u2").tobytes()
    pixels = np.array([[0, 10, 11], [12, 13, 200]], np.uint16)
    data = dicom_bytes(pixels, syntax, ModalityLUTSequence=table)
    values = modality_values(read_scan(data))
    assert values.tolist() == [[7, 7, 300], [4000, 65535, 65535]]
    assert np.array_equal(values, apply_modality_lut(pixels, dataset_of(data)))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_table_may_begin_at_a_negative_value(syntax: UID) -> None:
    data = dicom_bytes(
        np.array([[-9, -3, -2], [-1, 0, 9]], np.int16), syntax, ModalityLUTSequence=lut_item(-3, [10, 20, 30, 40])
    )
    assert modality_values(read_scan(data)).tolist() == [[10, 10, 20], [30, 40, 40]]


def test_table_of_65536_entries_is_described_as_0_entries() -> None:
    table = lut_item(0, list(range(65535, -1, -1)))
    assert table[0].LUTDescriptor[0] == 0
    data = dicom_bytes(np.array([[0, 1], [65534, 65535]], np.uint16), ModalityLUTSequence=table)
    assert modality_values(read_scan(data)).tolist() == [[65535, 65534], [1, 0]]


def test_table_of_8_bits_may_be_packed_in_bytes() -> None:
    # PS3.3 C.11.1.1.1: entries of 8 bits are stored as 8 bits allocated; some files use 16 bits.
    table = lut_item(0, [0, 0, 0, 0], bits=8)
    table[0].LUTData = bytes([5, 50, 100, 250])
    data = dicom_bytes(np.array([[0, 1], [2, 3]], np.uint16), ModalityLUTSequence=table)
    assert modality_values(read_scan(data)).tolist() == [[5, 50], [100, 250]]


@pytest.mark.parametrize(
    ("bits", "entries"), [(8, [0, 20, 90, 255]), (12, [4095, 2000, 30, 0]), (16, [0, 1, 2, 65535])]
)
def test_voi_table_of_full_range_agrees_with_pydicom(bits: int, entries: list[int]) -> None:
    pixels = np.array([[0, 1, 2], [3, 4, 100]], np.uint16)
    data = dicom_bytes(pixels, VOILUTSequence=lut_item(0, entries, bits))
    expected = apply_voi_lut(pixels, dataset_of(data)) / (2**bits - 1)
    assert np.allclose(display_grey(read_scan(data)), expected, atol=1e-6)


def test_voi_table_counts_its_grey_from_its_bits() -> None:
    # PS3.3 C.11.2.1.1: the output range is from 0 to 2^n - 1, n the third value of LUT Descriptor.
    data = dicom_bytes(np.array([[0, 1], [2, 3]], np.uint16), VOILUTSequence=lut_item(0, [10, 50, 100, 200], 8))
    assert np.allclose(display_grey(read_scan(data)), np.array([[10, 50], [100, 200]]) / 255, atol=1e-6)


def test_voi_table_wins_over_the_window_until_a_window_is_chosen() -> None:
    pixels = np.array([[0, 1], [2, 3]], np.uint16)
    scan = read_scan(
        dicom_bytes(pixels, VOILUTSequence=lut_item(0, [255, 90, 20, 0], 8), WindowCenter=2, WindowWidth=4)
    )
    assert display_grey(scan)[0, 0] == 1
    assert np.allclose(display_grey(scan, window=scan.windows[0]), pixels / 3, atol=1e-6)


def test_voi_table_looks_up_modality_values() -> None:
    # Stored 0..3 are modality 10, 12, 14, 16: every other entry of a table that begins at 10.
    table = lut_item(10, [0, 30, 60, 90, 120, 150, 180, 255], 8)
    tags: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": 10, "VOILUTSequence": table}
    scan = read_scan(dicom_bytes(np.array([[0, 1], [2, 3]], np.uint16), **tags))
    assert np.allclose(display_grey(scan) * 255, [[0, 60], [120, 180]], atol=1e-4)


# Polarity, padding, defaults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_monochrome1_is_inverted_after_the_window(function: VoiFunction) -> None:
    tags: dict[str, Any] = {"WindowCenter": 1000, "WindowWidth": 1500, "VOILUTFunction": function}
    plain = display_grey(read_scan(dicom_bytes(TWELVE_BITS, **tags)))
    inverted = display_grey(read_scan(dicom_bytes(TWELVE_BITS, PhotometricInterpretation="MONOCHROME1", **tags)))
    assert np.allclose(inverted, 1 - plain, atol=1e-6)
    # Worked by hand for the exact function: (1375 - 1000) / 1500 + 0.5 = 0.75 is shown as 0.25.
    one = dicom_bytes(np.array([[1375]], np.uint16), PhotometricInterpretation="MONOCHROME1")
    shown = display_grey(read_scan(one), window=Window(1000, 1500, "LINEAR_EXACT"))
    assert float(shown[0, 0]) == pytest.approx(0.25, abs=1e-6)


def test_monochrome1_is_inverted_after_the_voi_table() -> None:
    tags: dict[str, Any] = {"VOILUTSequence": lut_item(0, [0, 51, 102, 255], 8)}
    data = dicom_bytes(np.array([[0, 1], [2, 3]], np.uint16), PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.allclose(display_grey(read_scan(data)), [[1, 0.8], [0.6, 0]], atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_shift_the_automatic_window(photometric: str) -> None:
    content = TWELVE_BITS.astype(np.int16)
    padded = np.concatenate([content, np.full_like(content, -2000)], axis=1)
    with_padding = read_scan(dicom_bytes(padded, PixelPaddingValue=-2000, PhotometricInterpretation=photometric))
    without = read_scan(dicom_bytes(content, PhotometricInterpretation=photometric))
    assert automatic_window(with_padding) == automatic_window(without)
    grey = display_grey(with_padding)
    assert (grey[:, 32:] == 0).all()
    assert np.array_equal(grey[:, :32], display_grey(without))


def test_range_of_padding_values_is_black() -> None:
    pixels = np.array([[0, 10, 15, 20], [21, 100, 200, 300]], np.uint16)
    scan = read_scan(
        dicom_bytes(pixels, PixelPaddingValue=10, PixelPaddingRangeLimit=20, PhotometricInterpretation="MONOCHROME1")
    )
    assert (display_grey(scan)[0] == 0).tolist() == [False, True, True, True]


def test_picture_of_nothing_but_padding_is_black() -> None:
    scan = read_scan(dicom_bytes(np.full((4, 4), 7, np.uint16), PixelPaddingValue=7))
    assert (display_grey(scan) == 0).all()


def test_full_range_of_8_bits_is_value_over_255() -> None:
    scan = read_scan(png_bytes(EVERY_BYTE))
    assert np.allclose(display_grey(scan), EVERY_BYTE / 255, atol=1e-6)


def test_colour_is_shown_as_stored_and_its_luma_as_grey() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]]], np.uint8)
    scan = read_scan(png_bytes(pixels))
    assert np.allclose(display_rgb(scan), pixels / 255, atol=1e-6)
    # ITU-R BT.601, as in PS3.3 C.7.6.3.1.2.
    expected = [0.299, 0.587, 0.114, 1.0, (0.299 * 10 + 0.587 * 20 + 0.114 * 30) / 255]
    assert np.allclose(display_grey(scan)[0], expected, atol=1e-6)


def test_automatic_window_spans_the_middle_99_percent() -> None:
    ramp = np.arange(1001, dtype=np.uint16).reshape(7, 143)
    window = automatic_window(read_scan(dicom_bytes(ramp)))
    assert window.centre == pytest.approx(500)
    assert window.width == pytest.approx(990)
    assert window.function == "LINEAR_EXACT"


def test_automatic_window_ignores_a_bright_marker() -> None:
    pixels = TWELVE_BITS.copy()
    pixels[0, 0] = 65535
    with_marker = automatic_window(read_scan(dicom_bytes(pixels)))
    assert with_marker.width < 4096


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_constant_picture_has_a_usable_window(value: int) -> None:
    scan = read_scan(dicom_bytes(np.full((4, 4), value, np.uint16)))
    window = automatic_window(scan)
    assert is_usable_window(window.centre, window.width, window.function)
    assert np.isfinite(display_grey(scan)).all()


def test_ct_offers_its_presets_and_a_radiograph_does_not() -> None:
    ct = read_scan(bundled("CT_small.dcm"))
    assert set(CT_WINDOWS) <= set(window_choices(ct))
    assert not set(CT_WINDOWS) & set(window_choices(read_scan(dicom_bytes(TWELVE_BITS))))
    assert default_window(ct) == window_choices(ct)[0]


def every_view(scan: Scan) -> None:
    for window in window_choices(scan):
        display_grey(scan, window=window)
    display_grey(scan)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_reader_s_window_changes_neither_pixels_nor_modality_values(photometric: str) -> None:
    scan = read_scan(
        dicom_bytes(TWELVE_BITS, Modality="CT", PixelPaddingValue=0, PhotometricInterpretation=photometric)
    )
    values = modality_values(scan).copy()
    every_view(scan)
    assert np.array_equal(scan.stored[0], TWELVE_BITS)
    assert np.array_equal(modality_values(scan), values)
    assert not scan.stored.flags.writeable


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_each_frame_is_shown_by_its_own_pixels(frame: int) -> None:
    frames = np.stack([np.full((4, 5), 60 * n, np.uint8) for n in range(3)])
    assert np.allclose(display_grey(read_scan(dicom_bytes(frames)), frame), 60 * frame / 255, atol=1e-6)


def test_window_reads_as_words_and_numbers() -> None:
    assert str(Window(40, 400, "LINEAR", "soft tissue")) == "soft tissue (40 / 400)"
    assert str(Window(40.5, 400)) == "40.5 / 400"
