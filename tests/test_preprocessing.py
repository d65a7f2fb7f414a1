"""Preprocessing: a point, a dot or a map that goes to the model's square comes back to the same place on the scan."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.models.card import InputSpec
from core.preprocessing import Letterbox, ModelInput, to_model_input
from core.reading import read_scan
from core.scan import Scan
from tests.files import dicom_bytes, png_bytes

Array = npt.NDArray[Any]

# (rows, columns): 1:1, 3:4, 4:3, 1:3, 5:2, with odd numbers of pixels.
SHAPES = [(301, 301), (225, 301), (301, 225), (117, 351), (505, 203)]
SIZE = 96
GREY_SPEC = InputSpec(channels=1, size=SIZE, mean=0.45, std=0.22)
RGB_SPEC = InputSpec(channels=3, size=SIZE, mean=0.45, std=0.22)


def grey_scan(picture: Array) -> Scan:
    return read_scan(png_bytes(picture.astype(np.uint8)))


def picture_of(model_input: ModelInput, spec: InputSpec = GREY_SPEC, channel: int = 0) -> Array:
    """The square as 0..1, the normalisation undone."""
    square: Array = model_input.tensor[0, channel].numpy() * spec.std + spec.mean
    return square


def in_square(box: Letterbox, row: float, column: float) -> tuple[float, float]:
    """Where a scan's point lies in the square, from the resize by ``s`` that maps y to (y + 0.5) * s - 0.5."""
    return (
        (row + 0.5) * (box.height / box.rows) - 0.5 + box.top,
        (column + 0.5) * (box.width / box.columns) - 0.5 + box.left,
    )


@pytest.mark.parametrize(
    ("shape", "content", "corner"),
    [
        ((100, 100), (64, 64), (0, 0)),
        ((50, 100), (32, 64), (16, 0)),
        ((100, 50), (64, 32), (0, 16)),
        ((300, 100), (64, 21), (0, 21)),  # 64 / 3 = 21.33; (64 - 21) // 2 = 21
        ((1, 6400), (1, 64), (31, 0)),  # never less than one pixel
        ((32, 16), (64, 32), (0, 16)),  # a small picture is enlarged
    ],
)
def test_letterbox_at_named_sizes(shape: tuple[int, int], content: tuple[int, int], corner: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, 64)
    assert ((box.height, box.width), (box.top, box.left)) == (content, corner)


@pytest.mark.parametrize("size", [64, 96, 225])
@pytest.mark.parametrize("shape", SHAPES)
def test_content_is_the_largest_undistorted_and_centred(shape: tuple[int, int], size: int) -> None:
    box = Letterbox.fit(*shape, size)
    scale = size / max(shape)
    assert max(box.height, box.width) == size
    assert abs(box.height - shape[0] * scale) <= 0.5
    assert abs(box.width - shape[1] * scale) <= 0.5
    assert 0 <= (size - box.height - box.top) - box.top <= 1
    assert 0 <= (size - box.width - box.left) - box.left <= 1


@pytest.mark.parametrize("size", [64, 96, 225])
@pytest.mark.parametrize("shape", SHAPES)
def test_point_goes_to_the_model_and_back(shape: tuple[int, int], size: int) -> None:
    box = Letterbox.fit(*shape, size)
    draw = np.random.default_rng(3)
    for row, column in zip(draw.uniform(0, shape[0] - 1, 50), draw.uniform(0, shape[1] - 1, 50), strict=True):
        y, x = box.to_model(row, column)
        assert (y, x) == pytest.approx(in_square(box, row, column), abs=1e-9)
        assert box.to_scan(y, x) == pytest.approx((row, column), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_to_a_model_pixel_moves_a_point_by_less_than_that_pixel(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, SIZE)
    draw = np.random.default_rng(4)
    for row, column in zip(draw.uniform(0, shape[0] - 1, 50), draw.uniform(0, shape[1] - 1, 50), strict=True):
        y, x = box.to_model(row, column)
        back = box.to_scan(round(y), round(x))
        assert abs(back[0] - row) < box.rows / box.height
        assert abs(back[1] - column) < box.columns / box.width


@pytest.mark.parametrize("shape", SHAPES)
def test_corners_of_the_scan_are_corners_of_the_content(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, SIZE)
    # Edges lie half a pixel outside the centres of the outermost pixels.
    assert box.to_model(-0.5, -0.5) == pytest.approx((box.top - 0.5, box.left - 0.5))
    end = box.to_model(shape[0] - 0.5, shape[1] - 0.5)
    assert end == pytest.approx((box.top + box.height - 0.5, box.left + box.width - 0.5))


@pytest.mark.parametrize("shape", SHAPES)
def test_box_in_the_square_encloses_the_same_pixels(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, SIZE)
    x, y, width, height = box.box_to_model(20, 30, 40, 50)
    # A box counts edges, a point centres: the edge at 20 is the point 19.5.
    top, left = box.to_model(30 - 0.5, 20 - 0.5)
    bottom, right = box.to_model(30 + 50 - 0.5, 20 + 40 - 0.5)
    assert (x, y) == pytest.approx((left + 0.5, top + 0.5))
    assert (x + width, y + height) == pytest.approx((right + 0.5, bottom + 0.5))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [(0.1, 0.1), (0.5, 0.5), (0.9, 0.15), (0.33, 0.8)])
def test_bright_dot_appears_where_to_model_says(shape: tuple[int, int], place: tuple[float, float]) -> None:
    row, column = round(place[0] * shape[0]), round(place[1] * shape[1])
    picture = np.zeros(shape, np.uint8)
    picture[row - 1 : row + 2, column - 1 : column + 2] = 255
    result = to_model_input(grey_scan(picture), 0, GREY_SPEC)
    light = np.clip(picture_of(result), 0, None)
    light[light < 1e-4] = 0
    y, x = (float((axis * light).sum() / light.sum()) for axis in np.indices(light.shape))
    expected = in_square(result.letterbox, row, column)
    assert abs(y - expected[0]) < 0.5
    assert abs(x - expected[1]) < 0.5
    brightest = np.unravel_index(int(light.argmax()), light.shape)
    assert max(abs(brightest[0] - expected[0]), abs(brightest[1] - expected[1])) <= 1


def test_content_of_the_model_s_size_is_taken_pixel_by_pixel() -> None:
    picture = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    square = picture_of(to_model_input(grey_scan(picture), 0, GREY_SPEC))
    assert np.allclose(square, picture / 255, atol=1e-6)


def test_halving_averages_so_that_fine_stripes_do_not_alias() -> None:
    picture = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    picture[:, ::2] = 200
    square = picture_of(to_model_input(grey_scan(picture), 0, GREY_SPEC))
    assert np.allclose(square[4:-4, 4:-4], 100 / 255, atol=0.02)


@pytest.mark.parametrize("spec", [GREY_SPEC, RGB_SPEC])
@pytest.mark.parametrize("shape", SHAPES)
def test_bars_are_exactly_normalised_black(shape: tuple[int, int], spec: InputSpec) -> None:
    result = to_model_input(grey_scan(np.full(shape, 180)), 0, spec)
    box = result.letterbox
    inside = np.zeros((SIZE, SIZE), np.bool_)
    inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
    values = result.tensor.numpy()
    black = (np.float32(0) - np.float32(spec.mean)) / np.float32(spec.std)
    assert values.shape == (1, spec.channels, SIZE, SIZE)
    assert values.dtype == np.float32
    assert (values[:, :, ~inside] == black).all()
    assert np.allclose(values[:, :, inside], (180 / 255 - spec.mean) / spec.std, atol=1e-5)


def test_grey_is_repeated_in_three_channels() -> None:
    picture = np.random.default_rng(6).integers(0, 256, (50, 70)).astype(np.uint8)
    one, three = (to_model_input(grey_scan(picture), 0, spec).tensor.numpy() for spec in (GREY_SPEC, RGB_SPEC))
    for channel in range(3):
        assert np.array_equal(three[0, channel], one[0, 0])


def test_colour_keeps_its_channels_or_becomes_its_luma() -> None:
    scan = grey_scan(np.broadcast_to(np.array([200, 100, 50], np.uint8), (40, 60, 3)))
    colour = to_model_input(scan, 0, RGB_SPEC)
    middle = [float(picture_of(colour, RGB_SPEC, channel)[SIZE // 2, SIZE // 2]) for channel in range(3)]
    assert middle == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=1e-5)
    luma = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    grey = picture_of(to_model_input(scan, 0, GREY_SPEC))
    assert float(grey[SIZE // 2, SIZE // 2]) == pytest.approx(luma, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_inverted_monochrome1_copy_gives_the_same_tensor(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(7).integers(0, 4096, shape).astype(np.uint16)
    tags: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    copy = dicom_bytes((4095 - picture).astype(np.uint16), PhotometricInterpretation="MONOCHROME1", **tags)
    first = to_model_input(read_scan(dicom_bytes(picture, **tags)), 0, GREY_SPEC).tensor
    second = to_model_input(read_scan(copy), 0, GREY_SPEC).tensor
    assert np.allclose(first.numpy(), second.numpy(), atol=1e-4)


def test_inverted_monochrome1_copy_of_8_bits_gives_the_same_tensor() -> None:
    picture = np.random.default_rng(8).integers(0, 256, (61, 83)).astype(np.uint8)
    copy = dicom_bytes(255 - picture, PhotometricInterpretation="MONOCHROME1")
    first = to_model_input(read_scan(dicom_bytes(picture)), 0, GREY_SPEC).tensor
    assert np.allclose(first.numpy(), to_model_input(read_scan(copy), 0, GREY_SPEC).tensor.numpy(), atol=1e-5)


def test_same_pixels_as_png_and_dicom_give_the_same_tensor() -> None:
    picture = np.random.default_rng(9).integers(0, 256, (61, 83)).astype(np.uint8)
    first = to_model_input(grey_scan(picture), 0, GREY_SPEC).tensor
    second = to_model_input(read_scan(dicom_bytes(picture)), 0, GREY_SPEC).tensor
    assert np.array_equal(first.numpy(), second.numpy())


def test_chosen_frame_is_the_one_that_is_seen() -> None:
    frames = np.stack([np.full((40, 40), value, np.uint8) for value in (0, 100, 200)])
    scan = read_scan(dicom_bytes(frames))
    seen = [float(picture_of(to_model_input(scan, frame, GREY_SPEC))[48, 48]) for frame in range(3)]
    assert seen == pytest.approx([0, 100 / 255, 200 / 255], abs=1e-5)


# The way back ---------------------------------------------------------------------------------------------------------


def cell_centres(cells: int) -> Array:
    """Where the centres of a map's cells lie in the square, in the square's pixels."""
    return (np.arange(cells) + 0.5) * SIZE / cells - 0.5


@pytest.mark.parametrize("cells", [6, 12, 13, SIZE])
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_ramp_returns_to_the_scan_as_the_same_ramp(shape: tuple[int, int], cells: int) -> None:
    box = Letterbox.fit(*shape, SIZE)
    centres = cell_centres(cells)
    ramp = (0.3 + 0.5 * centres[:, None] / SIZE - 0.2 * centres[None, :] / SIZE).astype(np.float32)
    result = box.to_scan_grid(ramp)
    assert result.shape == shape
    y = np.array([in_square(box, row, 0)[0] for row in range(shape[0])])
    x = np.array([in_square(box, 0, column)[1] for column in range(shape[1])])
    expected = 0.3 + 0.5 * y[:, None] / SIZE - 0.2 * x[None, :] / SIZE
    inside_y = (y >= centres[0]) & (y <= centres[-1])
    inside_x = (x >= centres[0]) & (x <= centres[-1])
    inside = inside_y[:, None] & inside_x[None, :]
    assert inside.mean() > 0.5
    assert float(np.abs(result - expected)[inside].max()) < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cells", [6, 7, 12])
def test_one_hot_cell_peaks_at_its_centre_on_the_scan(shape: tuple[int, int], cells: int) -> None:
    box = Letterbox.fit(*shape, SIZE)
    centres = cell_centres(cells)
    tried = 0
    for i in range(cells):
        for j in range(cells):
            row, column = box.to_scan(centres[i], centres[j])
            if not (0 <= row <= shape[0] - 1 and 0 <= column <= shape[1] - 1):
                continue  # a cell on the letterbox's bars
            values = np.zeros((cells, cells), np.float32)
            values[i, j] = 1
            returned = box.to_scan_grid(values)
            peak = np.argwhere(returned == returned.max()).mean(axis=0)
            # A cell at the square's rim keeps its value out to the rim: there the peak is an edge, not a point.
            if 0 < i < cells - 1:
                assert abs(peak[0] - row) <= 1
            if 0 < j < cells - 1:
                assert abs(peak[1] - column) <= 1
            assert float(returned.max()) <= 1
            tried += 1
    assert tried >= cells


@pytest.mark.parametrize("shape", SHAPES)
def test_constant_map_returns_constant(shape: tuple[int, int]) -> None:
    result = Letterbox.fit(*shape, SIZE).to_scan_grid(np.full((7, 7), 0.375, np.float32))
    assert np.allclose(result, 0.375, atol=1e-7)


def test_map_of_a_square_scan_of_the_same_grid_is_unchanged() -> None:
    values = np.random.default_rng(10).random((SIZE, SIZE), np.float32)
    assert np.allclose(Letterbox.fit(SIZE, SIZE, SIZE).to_scan_grid(values), values, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_map_for_a_smaller_copy_is_the_same_map(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, SIZE)
    centres = cell_centres(12)
    ramp = (centres[:, None] + 2 * centres[None, :]).astype(np.float32)
    small = box.to_scan_grid(ramp, 50, 40)
    assert small.shape == (50, 40)
    # Pixel (r, c) of the copy covers the same part of the picture: its place in the content is (r + 0.5) / 50.
    y = (np.arange(50) + 0.5) / 50 * box.height + box.top - 0.5
    x = (np.arange(40) + 0.5) / 40 * box.width + box.left - 0.5
    clip = (centres[0], centres[-1])
    expected = np.clip(y, *clip)[:, None] + 2 * np.clip(x, *clip)[None, :]
    assert np.allclose(small, expected, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_dot_goes_through_the_model_s_square_and_returns_to_its_place(shape: tuple[int, int]) -> None:
    row, column = shape[0] * 2 // 3, shape[1] // 4
    picture = np.zeros(shape, np.uint8)
    picture[row - 2 : row + 3, column - 2 : column + 3] = 255
    result = to_model_input(grey_scan(picture), 0, GREY_SPEC)
    returned = result.letterbox.to_scan_grid(np.ascontiguousarray(picture_of(result), np.float32))
    peak = np.unravel_index(int(returned.argmax()), returned.shape)
    pixel = max(shape) / SIZE
    assert abs(peak[0] - row) <= pixel
    assert abs(peak[1] - column) <= pixel
