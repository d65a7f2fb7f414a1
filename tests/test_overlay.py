"""Colour: the hottest value gets the hottest colour, nothing where there is nothing."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from core.overlay import blend, encode_indexed_png, encode_png, mosaic, resize, scale_colours, to_eight_bits


def luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.2126, 0.7152, 0.0722]


def test_no_evidence_leaves_the_scan_as_it_is() -> None:
    grey = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    untouched = blend(grey, np.zeros((16, 16), np.float32), limit=1.0)
    assert (untouched == np.arange(256).reshape(16, 16, 1)).all()
    against = blend(grey, np.full((16, 16), -3, np.float32), limit=1.0)
    assert (against == untouched).all()


def test_the_hottest_value_gets_the_hottest_colour_and_brightness_only_rises() -> None:
    evidence = np.linspace(0, 2, 64, dtype=np.float32)[None]
    rgb = blend(np.zeros((1, 64), np.float32), evidence, limit=2.0, opacity=1.0)
    end = np.asarray(colormaps["inferno"](1.0))[:3] * 255
    assert np.abs(rgb[0, -1] - end).max() <= 1
    assert (np.diff(luminance(rgb[0])) >= -0.6).all()


def test_evidence_beyond_the_limit_stays_at_the_end_of_the_scale() -> None:
    grey = np.full((1, 2), 0.5, np.float32)
    rgb = blend(grey, np.array([[1.0, 50.0]], np.float32), limit=1.0)
    assert (rgb[0, 0] == rgb[0, 1]).all()


def test_a_weak_map_looks_weak_whatever_else_is_in_it() -> None:
    grey = np.full((1, 1), 0.5, np.float32)
    weak = blend(grey, np.array([[0.02]], np.float32), limit=1.0)
    strong = blend(grey, np.array([[1.0]], np.float32), limit=1.0)
    distance = [np.abs(rgb[0, 0].astype(int) - 128).max() for rgb in (weak, strong)]
    assert distance[0] < 0.25 * distance[1]


def test_signed_colours_differ_for_and_against_and_meet_at_zero() -> None:
    colours = scale_colours(np.array([-1, 0, 1], np.float32), "signed")
    assert colours[0, 2] > colours[0, 1]  # purple: blue above green
    assert colours[2, 0] > colours[2, 2]  # orange: red above blue
    assert colours[1].min() > 0.9


def test_opacity_zero_shows_the_scan_alone() -> None:
    grey = np.random.default_rng(0).random((4, 4), np.float32)
    assert (blend(grey, np.ones((4, 4), np.float32), limit=1.0, opacity=0.0) == to_eight_bits(grey)).all()


def test_png_holds_the_same_pixels() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert (np.asarray(Image.open(BytesIO(encode_png(rgb)))) == rgb).all()


def test_an_indexed_png_is_coloured_by_the_palette() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = np.asarray(Image.open(BytesIO(encode_indexed_png(indices, "viridis"))).convert("RGB"))
    expected = np.asarray(colormaps["viridis"](indices))[..., :3] * 255
    assert np.abs(decoded - expected).max() <= 0.51


def test_the_mosaic_puts_every_tile_in_reading_order() -> None:
    tiles = np.stack([np.full((2, 3), n, np.uint8) for n in range(1, 6)])
    grid = mosaic(tiles, columns=2, gap=1)
    assert grid.shape == (9, 8)
    assert [int(grid[3 * (n // 2), 4 * (n % 2)]) for n in range(5)] == [1, 2, 3, 4, 5]
    assert grid[6:, 4:].max() == 0
    assert grid[2].max() == 0


def test_resizing_keeps_the_mean_and_the_place() -> None:
    picture = np.zeros((40, 60), np.float32)
    picture[10:20, 30:40] = 1
    smaller = resize(picture, 20, 30)
    assert smaller.mean() == pytest.approx(picture.mean(), abs=1e-6)
    assert (smaller[5:10, 15:20] == 1).all()
    assert resize(np.zeros((4, 4, 3), np.float32), 8, 8).shape == (8, 8, 3)
