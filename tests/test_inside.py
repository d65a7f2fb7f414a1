"""Feature maps and filters: order, colour scale, and the numbers behind the pictures."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.analysis import Analysis, analyse
from core.errors import UnknownLayer
from core.inside.feature_maps import (
    FeatureMaps,
    channel_png,
    convolution_layers,
    feature_maps,
    grid_png,
    layers_with_maps,
    over_scan_png,
    recorded_maps,
    strongest_places,
)
from core.inside.filters import kernels, kernels_png, strongest_input, strongest_slices
from core.inside.glance import thumbnails_png
from core.inside.recording import Recording, record
from core.models.loading import Model, prepare
from core.overlay import to_eight_bits
from core.samples import simulated_scan
from core.windowing import display_grey
from tests.networks import card, seeded


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def analysis(model: Model) -> Analysis:
    scan, _ = simulated_scan(1, rows=96, columns=64)
    return analyse(model, scan, layers=[layer.name for layer in convolution_layers(model.network)])


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


def test_every_convolution_is_listed_with_its_arithmetic(model: Model) -> None:
    layers = {layer.name: layer for layer in convolution_layers(model.network)}
    # Stem, six blocks of two, and a 1 x 1 shortcut in the three that change size.
    assert len(layers) == 1 + 6 * 2 + 3
    stem = layers["stem.0"]
    assert (stem.inputs, stem.outputs, stem.kernel, stem.stride, stem.parameters) == (1, 24, (5, 5), (2, 2), 600)


def test_maps_are_the_convolutions_own_output_in_the_order_asked_for(analysis: Analysis) -> None:
    values = analysis.activations["stem.0"]
    assert feature_maps(analysis, "stem.0").channels == tuple(range(24))
    strongest = feature_maps(analysis, "stem.0", order="strength")
    means = np.abs(values).mean((1, 2))
    assert strongest.channels[0] == means.argmax()
    assert strongest.channels[-1] == means.argmin()
    varied = feature_maps(analysis, "stem.0", order="variance")
    assert varied.channels[0] == values.var((1, 2)).argmax()
    assert np.array_equal(varied.maps[0], values[varied.channels[0]])


def test_a_flat_map_is_counted() -> None:
    maps = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    maps[1] = 0.25
    assert FeatureMaps("x", maps, (0, 1, 2)).silent == 1


def test_a_layer_that_was_not_asked_for_is_named(analysis: Analysis) -> None:
    with pytest.raises(UnknownLayer, match=r"stem\.99"):
        feature_maps(analysis, "stem.99")


def test_the_grid_scales_each_map_or_the_whole_layer() -> None:
    low, high = np.zeros((28, 28), np.float32), np.zeros((28, 28), np.float32)
    low[0, 0], high[0, 0] = 1, 10
    maps = np.stack([low, high])
    each = pixels(grid_png(maps, columns=2, scale="map"))
    assert (each[0, 0], each[0, 29]) == (255, 255)
    layer = pixels(grid_png(maps, columns=2, scale="layer"))
    # 1 is a tenth of 10: a tenth of the way from index 1 to 255.
    assert (layer[0, 0], layer[0, 29]) == (1 + round(25.4), 255)
    assert layer[5, 5] == 1
    assert layer[5, 28] == 0


def test_a_single_map_is_laid_out_as_the_scan_without_the_letterbox(analysis: Analysis) -> None:
    picture = pixels(channel_png(analysis, analysis.activations["stem.0"][0], side=96))
    assert picture.shape == (96, 64)
    assert (picture.min(), picture.max()) == (1, 255)


def test_kernels_are_the_networks_weights(model: Model) -> None:
    weights = kernels(model.network, "stem.0")
    assert weights.shape == (24, 1, 5, 5)
    network: Any = model.network
    assert np.array_equal(weights, network.stem[0].weight.numpy())
    with pytest.raises(UnknownLayer, match=r"stem\.1"):
        kernels(model.network, "stem.1")


def test_the_filter_picture_has_zero_in_the_middle_of_the_scale() -> None:
    weights = np.zeros((2, 3, 5, 5), np.float32)
    weights[0, 2, 0, 0], weights[1, 1, 4, 4] = 2.0, -1.0
    assert strongest_input(weights[0]) == 2
    assert np.array_equal(strongest_slices(weights)[1], weights[1, 1])
    picture = pixels(kernels_png(weights, columns=2))
    tile = 35 + 3
    assert picture[0, 0] == 255
    assert picture[10, 10] == 128
    assert picture[34, tile + 34] == 64  # half of the largest weight, negative: 128 - 127 / 2, rounded to even


def recorded() -> Recording:
    scan, _ = simulated_scan(1, rows=96, columns=64)
    return record(prepare(card(), seeded("compact-resnet")), scan)


def test_any_layer_with_places_has_maps_and_the_others_say_why() -> None:
    recording = recorded()
    names = layers_with_maps(recording)
    assert {"stem.0", "stem.1", "stem.2", "blocks.5.relu_1"} <= set(names)
    assert "fc" not in names
    relu = recorded_maps(recording, "stem.2")
    assert relu.maps.min() >= 0
    assert np.array_equal(relu.maps, np.maximum(recorded_maps(recording, "stem.1").maps, 0))
    with pytest.raises(UnknownLayer, match="2 numbers without places"):
        recorded_maps(recording, "fc")
    with pytest.raises(UnknownLayer, match="no layer"):
        recorded_maps(recording, "nowhere")


def test_maps_of_one_cell_are_compared_with_each_other() -> None:
    maps = FeatureMaps("x", np.array([[[0.0]], [[1.0]]], np.float32), (0, 1))
    assert (maps.dead, maps.duplicates) == ((), ())
    grid = pixels(grid_png(maps.maps, columns=2, scale="map"))
    assert (grid[0, 0], grid[0, 29]) == (1, 255)


def test_the_strongest_places_keep_apart() -> None:
    values = np.zeros((16, 16), np.float32)
    values[3, 3], values[3, 4], values[12, 2] = 9, 8, 5
    assert strongest_places(values, 3) == ((3, 3), (12, 2))
    assert strongest_places(np.ones((4, 4), np.float32)) == ()


def test_a_map_lies_over_the_scan_cell_by_cell() -> None:
    """The network's square is 64 x 64 with 10 black columns before a scan of 96 x 64, which is 43 wide there."""
    scan, _ = simulated_scan(1, rows=96, columns=64)
    recording = recorded()
    values = np.zeros((8, 8), np.float32)
    values[0, 1] = 1.0  # columns 8 to 16 of the square: the scan's from its edge to (16 - 10) x 64 / 43 = 8.9
    picture = np.asarray(
        Image.open(BytesIO(over_scan_png(scan, 0, recording.letterbox, values, opacity=1.0))).convert("RGB")
    )
    bright = (picture[..., 0] > 200) & (picture[..., 1] > 200)
    assert picture.shape == (96, 64, 3)
    assert bright[:12, :9].all()
    assert not bright[12:].any()
    assert not bright[:, 9:].any()
    plain = np.asarray(Image.open(BytesIO(over_scan_png(scan, 0, recording.letterbox, values, opacity=0.0))))
    assert np.array_equal(plain, to_eight_bits(display_grey(scan, 0)))


def test_gaps_between_tiles_let_the_page_through() -> None:
    png = grid_png(np.random.default_rng(0).random((4, 28, 28)).astype(np.float32), columns=2)
    shown = np.asarray(Image.open(BytesIO(png)).convert("RGBA"))
    assert shown[0, 28, 3] == 0
    assert shown[:28, :28, 3].min() == 255


def test_thumbnails_stand_in_order() -> None:
    ramp = np.linspace(0, 1, 22 * 22, dtype=np.float32).reshape(22, 22)
    picture = pixels(thumbnails_png([ramp, np.flipud(ramp), ramp], 2))
    assert picture.shape == (88, 88)
    assert picture[0, 0] < picture[43, 43]
    assert picture[0, 44] > picture[43, 44]
    assert np.array_equal(picture[44:, :44], picture[:44, :44])
