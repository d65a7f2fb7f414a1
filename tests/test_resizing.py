"""Resizing in numpy against fractions worked out by hand, Pillow, and torch, by which the models were trained."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from core.models.card import InputSpec
from core.models.reference_pictures import reference_array
from core.resizing import resized

SIZES = [
    ((64, 64), (32, 32)),
    ((300, 200), (224, 149)),
    ((37, 53), (64, 92)),
    ((28, 28), (224, 224)),
    ((500, 7), (90, 13)),
]


def test_the_weights_are_those_of_a_triangle() -> None:
    row = np.array([7, 70, 700, 7000], np.float32)
    # Halved: a place reaches two pixels to each side of its middle, with weights 3/4, 3/4 and 1/4.
    expected = [(3 * 7 + 3 * 70 + 700) / 7, (70 + 3 * 700 + 3 * 7000) / 7]
    assert np.allclose(resized(row[None, :, None], 1, 2)[0, :, 0], expected)
    # Doubled: a quarter of the neighbour, and at the ends the pixel itself.
    expected = [7, (3 * 7 + 70) / 4, (7 + 3 * 70) / 4, (3 * 70 + 700) / 4]
    assert np.allclose(resized(row[:, None, None], 8, 1)[:4, 0, 0], expected)


@pytest.mark.parametrize(("source", "wanted"), SIZES)
def test_it_is_pillows_and_torchs(source: tuple[int, int], wanted: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random((*source, 3)).astype(np.float32)
    found = resized(picture, *wanted)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    by_torch = functional.interpolate(tensor, wanted, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - by_torch).max() < 2e-6
    for channel in range(3):
        by_pillow = Image.fromarray(picture[..., channel]).resize(wanted[::-1], Image.Resampling.BILINEAR)
        assert np.abs(found[..., channel] - np.asarray(by_pillow)).max() < 5e-5


def test_the_reference_pictures_are_those_that_the_cards_answers_rest_on() -> None:
    spec = InputSpec(channels=3, size=48, mean=0.0, std=1.0)
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = 0.2 + 0.4 * functional.interpolate(coarse, 48, mode="bilinear")
    found = reference_array(spec)
    assert found.shape == (5, 3, 48, 48)
    assert np.abs(found[0] - noise[0].numpy()).max() < 1e-6
