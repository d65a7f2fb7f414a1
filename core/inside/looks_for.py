"""What a filter looks for: a picture made so that one channel, or one label, answers as strongly as it can.

Activation maximisation (Erhan et al. 2009; Simonyan et al. 2014, arXiv 1312.6034) in the Fourier basis with frequencies scaled
alike and under small shifts (Olah, Mordvintsev and Schubert 2017, Distill, doi:10.23915/distill.00007), with a penalty on total
variation (Mahendran and Vedaldi 2015, arXiv 1412.0035). Such a picture shows what excites a unit most, which no scan looks like.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from core.analysis import FloatArray
from core.errors import AnalysisError, UnknownLayer
from core.explaining.perturbation import NOBODY, Watch
from core.models.loading import Model

_SMOOTHNESS = 1e-3
_RATE = 0.05
_JITTER = 8
# Cycles a pixel: structures much wider than thirty pixels are held back, or every picture would be black beside white.
_WIDEST = 1 / 32
# What keeps the picture between black and white.
_GREY = 0.05
# Frequencies start this faint, so that the picture grows from grey.
_START = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """``picture`` (size, size), or (size, size, 3), 0..1; ``course`` the unit's answer after every step, from grey on."""

    picture: FloatArray = field(repr=False)
    course: tuple[float, ...] = field(repr=False)

    @property
    def rose(self) -> bool:
        """Whether the unit answers more strongly to the picture than to the grey one it began with."""
        return self.course[-1] > self.course[0]


def picture_for_channel(
    model: Model, layer: str, channel: int, *, steps: int = 96, seed: int = 0, watch: Watch = NOBODY
) -> Wanted:
    """What makes a channel of a layer, on average over its map, answer most strongly.

    Raises UnknownLayer, AnalysisError when the unit cannot be excited, Stopped when the watch ended the work.
    """
    network = model.plain.at(layer)
    body, _ = network.halves()

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        maps = body(pictures)[0]
        if maps.ndim < 2 or not 0 <= channel < maps.shape[1]:
            raise UnknownLayer(f"The layer {layer!r} has {maps.shape[1]} channels; there is no channel {channel}.")
        return maps[:, channel].mean()

    return _optimised(model, answer, steps, seed, watch)


def picture_for_label(model: Model, label: str, *, steps: int = 96, seed: int = 0, watch: Watch = NOBODY) -> Wanted:
    """What makes a label's logit as high as it can be.

    Raises UnknownLayer when there is no such label, AnalysisError, Stopped.
    """
    codes = model.card.label_codes
    if label not in codes:
        raise UnknownLayer(f"The model has no label {label!r}; it knows: {', '.join(codes)}.")
    network = model.plain.whole()
    sign, output = (1.0, codes.index(label)) if model.card.head != "logit" else (2.0 * codes.index(label) - 1, 0)
    return _optimised(model, lambda pictures: sign * network(pictures)[:, output].mean(), steps, seed, watch)


def _optimised(
    model: Model, answer: Callable[[torch.Tensor], torch.Tensor], steps: int, seed: int, watch: Watch
) -> Wanted:
    spec = model.card.input
    random = torch.Generator().manual_seed(seed)
    size, channels = spec.size, spec.channels
    waves = torch.randn(channels, size, size // 2 + 1, 2, generator=random) * _START
    waves.requires_grad_(True)
    scales = _scales(size)
    optimiser = torch.optim.Adam([waves], lr=_RATE)
    course: list[float] = []
    for step in range(steps):
        with torch.enable_grad():
            picture = _picture(waves, scales)
            # The whole picture moves by a few pixels, so that nothing hangs on a single one.
            down, right = (int(v) for v in torch.randint(-_JITTER, _JITTER + 1, (2,), generator=random))
            value = answer((picture.roll((down, right), (1, 2))[None] - spec.mean) / spec.std)
            loss = _SMOOTHNESS * _variation(picture) + _GREY * picture.logit(1e-6).square().mean() - value
            optimiser.zero_grad()
            loss.backward()
        course.append(float(value.detach()))
        optimiser.step()
        watch.step(step + 1, steps)
    if not all(abs(value) < float("inf") for value in course):
        raise AnalysisError("This unit's answer became no finite number, so there is no picture of what it looks for.")
    with torch.no_grad():
        found = _picture(waves, scales)
        course.append(float(answer((found[None] - spec.mean) / spec.std)))
    shown = found[0] if channels == 1 else found.permute(1, 2, 0)
    return Wanted(shown.detach().numpy(), tuple(course))


def _scales(size: int) -> torch.Tensor:
    """About one over the frequency, so that every scale learns at the same pace; less for what is wider than a detail."""
    frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])
    return (1 / (frequency + _WIDEST))[..., None]


def _picture(waves: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Waves (channels, size, size / 2 + 1, 2) -> picture (channels, size, size) between 0 and 1."""
    size = waves.shape[1]
    plane = torch.fft.irfft2(torch.view_as_complex((waves * scales).contiguous()), s=(size, size), norm="ortho")
    return torch.sigmoid(plane)


def _variation(picture: torch.Tensor) -> torch.Tensor:
    """The total of all steps between neighbouring pixels."""
    return picture.diff(dim=1).abs().sum() + picture.diff(dim=2).abs().sum()
