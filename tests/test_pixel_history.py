"""The pixel history: every step's numbers, and the part of the scan that the model sees, against arithmetic done by hand."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.models.card import InputSpec
from core.pixel_history import PixelHistory, Step, pixel_history
from core.preprocessing import Letterbox, to_model_input
from core.reading.decoding import decode_scan
from core.scan import Scan, Window
from tests.files import dicom_bytes, lut_item, png_bytes

Array = npt.NDArray[Any]

# (rows, columns): 1:1, 3:4, 4:3, 1:3, 5:2, with odd numbers of pixels.
SHAPES = [(301, 301), (225, 301), (301, 225), (117, 351), (505, 203)]
FITS = ["whole", "crop"]


def spec_of(fit: str = "whole", size: int = 96, channels: int = 1) -> InputSpec:
    return InputSpec.model_validate({"channels": channels, "size": size, "fit": fit, "mean": 0.45, "std": 0.22})


def step(history: PixelHistory, code: str) -> Step:
    (found,) = (step for step in history.steps if step.code == code)
    return found


def numbers(history: PixelHistory, code: str) -> dict[str, str]:
    return dict(step(history, code).numbers)


# CT -------------------------------------------------------------------------------------------------------------------

# Stored 0, 100, ... 2400 in 5 x 5; values are stored - 1024.
CT = (np.arange(25, dtype=np.uint16) * 100).reshape(5, 5)
CT_TAGS: dict[str, Any] = {
    "Modality": "CT",
    "BitsStored": 12,
    "HighBit": 11,
    "RescaleSlope": 1,
    "RescaleIntercept": -1024,
    "WindowCenter": 40,
    "WindowWidth": 400,
}


def windowed(value: float, centre: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, as the standard writes it, for an output of 0..1."""
    if value <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if value > centre - 0.5 + (width - 1) / 2:
        return 1.0
    return (value - (centre - 0.5)) / (width - 1) + 0.5


def test_steps_of_a_ct_slice_come_in_the_order_of_the_standard() -> None:
    history = pixel_history(decode_scan(dicom_bytes(CT, **CT_TAGS)), spec=spec_of())
    codes = ["stored", "rescale", "window", "polarity", "crop", "resize", "tensor"]
    assert [step.code for step in history.steps] == codes
    assert [record["step"] for record in history.as_json()] == codes


def test_numbers_of_a_ct_slice_are_those_of_the_arithmetic() -> None:
    history = pixel_history(decode_scan(dicom_bytes(CT, **CT_TAGS)))
    assert history.seen is None
    assert numbers(history, "stored") == {"type": "unsigned, 12 bits", "lowest": "0", "highest": "2400"}
    assert numbers(history, "rescale") == {"rule": "1 x stored + -1024", "lowest": "-1024 HU", "highest": "1376 HU"}
    # Black up to -160 HU: stored 0 to 800, nine of 25; white from 239 HU: stored 1300 to 2400, twelve of 25.
    assert numbers(history, "window") == {
        "centre": "40",
        "width": "400",
        "function": "LINEAR",
        "all black": "36.0 %",
        "all white": "48.0 %",
    }
    assert numbers(history, "polarity") == {"polarity": "kept (MONOCHROME2)"}


def test_pictures_of_a_ct_slice_are_those_of_the_arithmetic() -> None:
    history = pixel_history(decode_scan(dicom_bytes(CT, **CT_TAGS)))
    ramp = np.arange(25).reshape(5, 5) / 24
    expected = [windowed(v - 1024, 40, 400) for v in CT.ravel().tolist()]
    assert np.allclose(step(history, "stored").picture, ramp, atol=1e-6)
    assert np.allclose(step(history, "rescale").picture, ramp, atol=1e-6)
    assert np.allclose(step(history, "window").picture.ravel(), expected, atol=1e-6)
    assert np.allclose(step(history, "polarity").picture.ravel(), expected, atol=1e-6)


def test_reader_s_window_changes_what_is_shown_and_not_what_the_model_sees() -> None:
    scan = decode_scan(dicom_bytes(CT, **CT_TAGS))
    own = pixel_history(scan, spec=spec_of())
    lung = pixel_history(scan, window=Window(-600, 1500), spec=spec_of())
    assert numbers(lung, "window")["centre"] == "-600"
    assert not np.allclose(step(lung, "polarity").picture, step(own, "polarity").picture)
    for code in ("crop", "resize", "tensor"):
        assert numbers(own, code) == numbers(lung, code)
        assert np.array_equal(step(own, code).picture, step(lung, code).picture)


@pytest.mark.parametrize(
    ("function", "black", "white"), [("LINEAR", "36.0 %", "48.0 %"), ("LINEAR_EXACT", "36.0 %", "48.0 %")]
)
def test_function_of_the_window_is_named(function: str, black: str, white: str) -> None:
    said = numbers(pixel_history(decode_scan(dicom_bytes(CT, **CT_TAGS, VOILUTFunction=function))), "window")
    assert (said["function"], said["all black"], said["all white"]) == (function, black, white)


def test_sigmoid_is_half_at_its_centre() -> None:
    tags = CT_TAGS | {"WindowCenter": 1000 - 1024, "VOILUTFunction": "SIGMOID"}
    history = pixel_history(decode_scan(dicom_bytes(CT, **tags)))
    assert step(history, "window").picture.ravel()[10] == pytest.approx(0.5)
    # 1 / (1 + exp(-4 (100 / 400))) a quarter of a width further.
    assert step(history, "window").picture.ravel()[11] == pytest.approx(1 / (1 + np.exp(-1)))


# MONOCHROME1, padding, tables, colour ---------------------------------------------------------------------------------


def test_film_whose_zero_is_white_is_inverted_after_the_window() -> None:
    tags: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1200, "WindowWidth": 2401}
    history = pixel_history(decode_scan(dicom_bytes(CT, **tags)))
    before, after = step(history, "window").picture, step(history, "polarity").picture
    assert numbers(history, "polarity") == {"polarity": "inverted (MONOCHROME1)"}
    assert np.allclose(before.ravel(), [windowed(v, 1200, 2401) for v in CT.ravel().tolist()], atol=1e-6)
    assert np.allclose(after, 1 - before, atol=1e-6)
    assert float(after[0, 0]) > 0.99


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_counted_and_black_whatever_the_polarity(photometric: str) -> None:
    tags: dict[str, Any] = {
        "PixelPaddingValue": 0,
        "PixelPaddingRangeLimit": 300,
        "WindowCenter": 1200,
        "WindowWidth": 2400,
    }
    history = pixel_history(decode_scan(dicom_bytes(CT, PhotometricInterpretation=photometric, **tags)))
    # Stored 0, 100, 200 and 300 of 25.
    assert numbers(history, "polarity")["padding made black"] == "16.0 % of the pixels"
    picture = step(history, "polarity").picture.ravel()
    assert not picture[:4].any()
    assert (picture[5:24] > 0).all()


def test_voi_lookup_table_is_named_and_applied() -> None:
    table = [0, 65535, 32768, 16384]
    stored = np.array([[0, 1], [2, 3]], np.uint16)
    history = pixel_history(decode_scan(dicom_bytes(stored, VOILUTSequence=lut_item(0, table))))
    assert numbers(history, "window") == {"rule": "the file's VOI LUT"}
    assert np.allclose(step(history, "window").picture.ravel(), np.array(table) / 65535, atol=1e-6)
    assert np.allclose(step(history, "polarity").picture.ravel(), np.array(table) / 65535, atol=1e-6)


def test_modality_lookup_table_is_named_with_the_ends_of_its_values() -> None:
    stored = np.array([[0, 1], [2, 3]], np.uint16)
    history = pixel_history(
        decode_scan(dicom_bytes(stored, ModalityLUTSequence=lut_item(0, [7, 70, 700, 5], kind="OD")))
    )
    assert numbers(history, "rescale") == {"rule": "lookup table", "lowest": "5 OD", "highest": "700 OD"}


def test_signed_and_floating_point_pixels_are_named_as_such() -> None:
    signed = pixel_history(decode_scan(dicom_bytes(np.array([[-5, 7]], np.int16))))
    assert numbers(signed, "stored") == {"type": "signed, 16 bits", "lowest": "-5", "highest": "7"}
    real = pixel_history(decode_scan(dicom_bytes(np.array([[-0.5, 7.25]], np.float32))))
    assert numbers(real, "stored") == {"type": "floating point, 32 bits", "lowest": "-0.5", "highest": "7.25"}


def test_colour_becomes_its_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)
    history = pixel_history(decode_scan(dicom_bytes(colours)))
    assert [step.code for step in history.steps] == ["stored", "luma"]
    assert numbers(history, "stored") == {"type": "RGB, 8 bits each", "lowest": "0", "highest": "255"}
    assert np.allclose(step(history, "stored").picture, colours / 255, atol=1e-6)
    expected = [0.299, 0.587, 0.114, (0.299 * 10 + 0.587 * 20 + 0.114 * 30) / 255]
    assert np.allclose(step(history, "luma").picture.ravel(), expected, atol=1e-6)


def test_chosen_frame_is_the_one_that_is_told_of() -> None:
    frames = np.stack([np.full((4, 4), value, np.uint16) for value in (3, 50, 700)])
    scan = decode_scan(dicom_bytes(frames))
    assert [numbers(pixel_history(scan, frame), "stored")["highest"] for frame in range(3)] == ["3", "50", "700"]


def test_picture_of_one_value_has_a_history_too() -> None:
    history = pixel_history(decode_scan(dicom_bytes(np.full((4, 4), 9, np.uint16))), spec=spec_of())
    assert all(np.isfinite(step.picture).all() for step in history.steps)


@pytest.mark.parametrize("shape", [(1000, 700), (33, 1601), (161, 20)])
@pytest.mark.parametrize("fit", FITS)
def test_pictures_of_the_steps_are_small_and_undistorted(shape: tuple[int, int], fit: str) -> None:
    scan = decode_scan(dicom_bytes(np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)))
    for found in pixel_history(scan, spec=spec_of(fit)).steps:
        assert max(found.picture.shape) <= 160
        assert found.picture.dtype == np.float32
        assert 0 <= float(found.picture.min()) <= float(found.picture.max()) <= 1
    shown = step(pixel_history(scan), "polarity").picture
    assert shown.shape[0] == pytest.approx(shape[0] * 160 / max(shape), abs=0.51)
    assert shown.shape[1] == pytest.approx(shape[1] * 160 / max(shape), abs=0.51)


# The model's part -----------------------------------------------------------------------------------------------------


def grey_scan(picture: Array) -> Scan:
    return decode_scan(png_bytes(picture.astype(np.uint8)))


def test_whole_picture_is_seen_and_the_numbers_say_how_it_is_resized() -> None:
    history = pixel_history(grey_scan(np.full((100, 300), 255)), spec=spec_of("whole", 96))
    assert history.seen == pytest.approx((0, 0, 300, 100))
    assert numbers(history, "crop") == {"seen": "100 % of the picture", "columns": "0 to 300", "rows": "0 to 100"}
    assert numbers(history, "resize") == {"from": "300 x 100", "to": "96 x 32", "scale": "0.320"}
    # White is (1 - 0.45) / 0.22, the black bars are (0 - 0.45) / 0.22.
    assert numbers(history, "tensor") == {
        "shape": "1 x 1 x 96 x 96",
        "rule": "(grey - 0.45) / 0.22",
        "lowest": f"{-0.45 / 0.22:.6g}",
        "highest": f"{0.55 / 0.22:.6g}",
    }
    square = step(history, "tensor").picture
    assert square.shape == (96, 96)
    assert np.allclose(square[32:64], 1, atol=1e-6)
    assert np.allclose(square[:32], 0, atol=1e-6)
    assert np.allclose(square[64:], 0, atol=1e-6)


def test_cropped_picture_is_seen_in_its_middle_third() -> None:
    picture = np.zeros((96, 288), np.uint8)
    picture[:, 96:192] = 200
    history = pixel_history(grey_scan(picture), spec=spec_of("crop", 96))
    assert history.seen == pytest.approx((96, 0, 192, 96))
    assert numbers(history, "crop") == {"seen": "33 % of the picture", "columns": "96 to 192", "rows": "0 to 96"}
    assert numbers(history, "resize") == {"from": "288 x 96", "to": "288 x 96", "scale": "1.000"}
    for code in ("crop", "resize", "tensor"):
        assert step(history, code).picture.shape == (96, 96)
        assert np.allclose(step(history, code).picture, 200 / 255, atol=1e-5)


def test_cropped_tall_picture_is_seen_in_its_middle_half() -> None:
    history = pixel_history(grey_scan(np.full((400, 200), 90)), spec=spec_of("crop", 50))
    assert history.seen == pytest.approx((0, 100, 200, 300))
    assert numbers(history, "crop") == {"seen": "50 % of the picture", "columns": "0 to 200", "rows": "100 to 300"}
    assert numbers(history, "resize") == {"from": "200 x 400", "to": "50 x 100", "scale": "0.250"}


def test_tensor_of_three_channels_says_so() -> None:
    history = pixel_history(grey_scan(np.full((20, 20), 80)), spec=spec_of(channels=3))
    assert numbers(history, "tensor")["shape"] == "1 x 3 x 96 x 96"


@pytest.mark.parametrize("shape", SHAPES)
def test_cropped_picture_fills_the_square_and_is_centred(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, 96, crop=True)
    assert min(box.height, box.width) == 96
    assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=0.01)
    for start, content in ((box.top, box.height), (box.left, box.width)):
        assert abs(start + (content - 96) / 2) <= 0.5


def edges(box: Letterbox, shape: tuple[int, int], size: int) -> tuple[float, float, float, float]:
    """The scan's pixel edges under the square's edges, from the affine map of two points; clipped to the scan."""
    y0, x0 = box.to_model(0, 0)
    y1, x1 = box.to_model(shape[0] - 1, shape[1] - 1)
    per_row, per_column = (y1 - y0) / (shape[0] - 1), (x1 - x0) / (shape[1] - 1)
    left, right = ((at - x0) / per_column + 0.5 for at in (-0.5, size - 0.5))
    top, bottom = ((at - y0) / per_row + 0.5 for at in (-0.5, size - 0.5))
    return max(0, left), max(0, top), min(shape[1], right), min(shape[0], bottom)


@pytest.mark.parametrize(
    ("shape", "fit"),
    [(shape, fit) for shape in SHAPES for fit in ("whole", "crop")],
)
@pytest.mark.parametrize("size", [96, 225])
def test_part_that_is_seen_is_what_lies_in_the_square(shape: tuple[int, int], size: int, fit: str) -> None:
    box = Letterbox.fit(*shape, size, crop=fit == "crop")
    assert box.seen == pytest.approx(edges(box, shape, size), abs=1e-6)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_point_comes_back_to_its_own_pixel(shape: tuple[int, int], fit: str) -> None:
    box = Letterbox.fit(*shape, 96, crop=fit == "crop")
    draw = np.random.default_rng(3)
    for row, column in zip(draw.uniform(0, shape[0] - 1, 50), draw.uniform(0, shape[1] - 1, 50), strict=True):
        back = box.to_scan(*box.to_model(row, column))
        assert abs(back[0] - row) < 1e-6
        assert abs(back[1] - column) < 1e-6


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.45, 0.55), (0.58, 0.41)])
def test_bright_dot_is_in_the_tensor_where_to_model_says(
    shape: tuple[int, int], place: tuple[float, float], fit: str
) -> None:
    # A soft dot whose centre of mass lies between pixels, in the part that both fits see.
    row, column = place[0] * shape[0], place[1] * shape[1]
    i, j = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    dot = np.rint(255 * np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * 4.0**2)))
    scan = grey_scan(dot)
    found = to_model_input(scan, 0, spec_of(fit))
    light = found.tensor[0, 0].numpy().astype(np.float64) * 0.22 + 0.45
    light[light < 1e-3] = 0
    y, x = (float((light * axis).sum() / light.sum()) for axis in np.mgrid[: light.shape[0], : light.shape[1]])
    expected = found.letterbox.to_model(row, column)
    assert y == pytest.approx(expected[0], abs=0.1)
    assert x == pytest.approx(expected[1], abs=0.1)
    # And back: less than one pixel of the scan off.
    back = found.letterbox.to_scan(y, x)
    assert abs(back[0] - row) < 1
    assert abs(back[1] - column) < 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cells", [7, 12, 96])
def test_evidence_outside_the_part_that_is_seen_is_zero(shape: tuple[int, int], cells: int) -> None:
    box = Letterbox.fit(*shape, 96, crop=True)
    left, top, right, bottom = edges(box, shape, 96)
    evidence = box.to_scan_grid(np.ones((cells, cells), np.float32))
    assert evidence.shape == shape
    centres = np.arange(max(shape)) + 0.5
    rows = (centres[: shape[0]] >= top - 1e-9) & (centres[: shape[0]] <= bottom + 1e-9)
    columns = (centres[: shape[1]] >= left - 1e-9) & (centres[: shape[1]] <= right + 1e-9)
    assert np.array_equal(evidence == 1, rows[:, None] & columns[None, :])
    assert np.array_equal(evidence == 0, ~(rows[:, None] & columns[None, :]))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_seen_does_not_reach_the_tensor(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, 96, crop=True)
    left, top, right, bottom = edges(box, shape, 96)
    # White wherever the model does not look, two model pixels away from where it does (the filter's reach).
    reach = 2 * min(shape) / 96
    picture = np.full(shape, 255, np.uint8)
    picture[max(0, int(top - reach)) : int(bottom + reach) + 1, max(0, int(left - reach)) : int(right + reach) + 1] = 0
    found = to_model_input(grey_scan(picture), 0, spec_of("crop"))
    assert np.allclose(found.tensor.numpy(), -0.45 / 0.22, atol=1e-5)
