"""What a filter looks for: of a planted kernel it is that kernel, and what is shown is what one cell sees."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from core.errors import Stopped, UnknownLayer
from core.explaining.perturbation import Watch
from core.inside.looks_for import Wanted, picture_for_channel, picture_for_label
from core.models.loading import Model, prepare
from tests.networks import card, seeded

SIDE, FREQUENCY = 13, 0.2
ANGLES = (0.0, 30.0, 90.0, 135.0)


class Oriented(nn.Module):
    """A first layer of Gabor kernels, one an angle, and one that only averages; then pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, len(ANGLES) + 1, SIDE, padding=SIDE // 2), nn.ReLU()
        self.fc = nn.Linear(len(ANGLES) + 1, 2)
        with torch.no_grad():
            self.conv.bias.zero_()  # type: ignore[union-attr]
            for number, angle in enumerate(ANGLES):
                self.conv.weight[number, 0] = torch.from_numpy(gabor(angle))
            self.conv.weight[-1] = 1 / SIDE**2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2)."""
        pooled: torch.Tensor = self.fc(self.act(self.conv(x)).mean((2, 3)))
        return pooled


def gabor(angle: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A wave of FREQUENCY cycles a pixel along ``angle`` degrees from the columns' axis, under a bell; its mean is 0."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
    wave = np.cos(2 * math.pi * FREQUENCY * along) * np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    return np.asarray(wave - wave.mean(), np.float32) * 0.05


def wave_of(picture: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[float, float]:
    """The frequency and the angle, in degrees up to 180, of the strongest wave in a picture."""
    size = 128
    spectrum = np.abs(np.fft.fft2(picture - picture.mean(), (size, size)))
    row, column = np.unravel_index(int(spectrum.argmax()), spectrum.shape)
    down, right = np.fft.fftfreq(size)[row], np.fft.fftfreq(size)[column]
    return math.hypot(down, right), math.degrees(math.atan2(down, right)) % 180


@pytest.fixture(scope="module")
def oriented() -> Model:
    torch.manual_seed(0)
    return prepare(card(target_layer="act"), Oriented().eval())


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.mark.parametrize(("layer", "number"), [("conv", 0), ("act", 1), ("conv", 2), ("act", 3)])
def test_the_picture_of_a_planted_kernel_has_its_frequency_and_orientation(
    layer: str, number: int, oriented: Model
) -> None:
    found = picture_for_channel(oriented, layer, number, steps=48)
    assert found.picture.shape == (SIDE, SIDE)
    assert found.rose
    frequency, angle = wave_of(found.picture)
    assert frequency == pytest.approx(FREQUENCY, abs=0.03)
    assert abs((angle - ANGLES[number] + 90) % 180 - 90) < 8
    # In the kernel's phase as well: bright where it is positive.
    assert np.corrcoef(found.picture.ravel(), gabor(ANGLES[number]).ravel())[0, 1] > 0.8


def test_a_kernel_that_only_averages_looks_for_brightness(oriented: Model) -> None:
    found = picture_for_channel(oriented, "conv", len(ANGLES), steps=48)
    assert found.picture.min() > 0.6
    assert np.ptp(found.picture) < 0.2


def test_what_is_shown_is_stretched_and_says_from_where(oriented: Model) -> None:
    found = picture_for_channel(oriented, "conv", 0, steps=24)
    low, high = found.span
    assert 0 < low < 0.5 < high < 1
    assert (float(found.stretched.min()), float(found.stretched.max())) == pytest.approx((0, 1), abs=1e-6)
    assert np.allclose(low + found.stretched * (high - low), found.picture, atol=1e-6)
    flat = Wanted(np.full((5, 5), 0.4, np.float32), (0.0, 0.0), 64)
    assert np.array_equal(flat.stretched, np.zeros((5, 5)))
    assert not flat.rose


def test_the_optimised_picture_excites_the_cell_more_than_any_noise(model: Model) -> None:
    network = model.plain.at("blocks.1.relu_1")
    wanted = picture_for_channel(model, "blocks.1.relu_1", 3, steps=40)
    assert wanted.rose
    rows, columns = wanted.picture.shape
    # Cell 8 of 16, four pixels apart; the stem and two blocks see 41 pixels, of which the square's edge cuts none.
    top = 8 * 4 - rows // 2
    noise = torch.rand(64, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    own = torch.full((1, 1, 64, 64), 0.5)

    def answers(pictures: torch.Tensor) -> torch.Tensor:
        return torch.stack([network.run((picture[None] - 0.5) / 0.25).target[3, 8, 8] for picture in pictures])

    own[0, 0, top : top + rows, top : top + columns] = torch.from_numpy(wanted.picture)
    assert float(answers(own)[0]) == pytest.approx(wanted.course[-1], rel=1e-4)
    assert float(answers(own)[0]) > 1.5 * float(answers(noise).max())
    # What lies outside of it does not matter.
    around = functional.pad(
        torch.zeros(1, 1, rows, columns), (top, 64 - top - columns, top, 64 - top - rows), value=1.0
    )
    assert float(answers(torch.where(around > 0, noise[:1], own))[0]) == pytest.approx(wanted.course[-1], rel=1e-4)
    again = picture_for_channel(model, "blocks.1.relu_1", 3, steps=40)
    assert np.array_equal(again.picture, wanted.picture)


def test_a_label_can_be_excited_and_the_work_stopped(model: Model) -> None:
    wanted = picture_for_label(model, "mass", steps=20)
    assert wanted.rose
    assert wanted.picture.shape == (64, 64)
    done: list[int] = []
    with pytest.raises(Stopped):
        picture_for_label(model, "mass", watch=Watch(lambda at, _total: done.append(at), lambda: len(done) >= 3))
    assert done == [1, 2, 3]
    with pytest.raises(UnknownLayer, match="no label"):
        picture_for_label(model, "cat")
    with pytest.raises(UnknownLayer, match="no channel 99"):
        picture_for_channel(model, "stem.0", 99, steps=1)
    with pytest.raises(UnknownLayer, match="no layer"):
        picture_for_channel(model, "nowhere", 0, steps=1)
