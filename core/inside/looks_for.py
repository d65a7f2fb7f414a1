"""What a filter looks for: a picture made so that one cell of a channel, or one label, answers as strongly as it can.

Activation maximisation (Erhan et al. 2009; Simonyan et al. 2014, arXiv 1312.6034) in the Fourier basis with frequencies scaled
alike and under small shifts (Olah, Mordvintsev and Schubert 2017, Distill, doi:10.23915/distill.00007), with a penalty on total
variation (Mahendran and Vedaldi 2015, arXiv 1412.0035). Such a picture shows what excites a unit most, which no scan looks like.

Of a channel it is one cell that is excited, not the mean of its map: of a linear filter the mean is its kernel's sum times the
picture's mean, whatever else the picture shows. And it is only what this cell sees that is made and shown: of a first layer a
few pixels, which no one would find on a whole picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from core.analysis import FloatArray
from core.errors import AnalysisError, NotFollowed, UnknownLayer
from core.explaining.perturbation import NOBODY, Watch
from core.inside.receptive_field import receptive_field
from core.inside.recording import record_picture
from core.models.loading import Model
from core.preprocessing import Letterbox

# Both in shares of what a linear unit of this field would gain: smoothness, a little for what one cell sees and more for a whole
# picture; and what keeps the picture between black and white, at about one and a half in logits of grey.
_SMOOTHNESS, _SMOOTHNESS_OF_ALL = 0.1, 1.0
_GREY = 1 / 3
_RATE = 0.05
# A whole picture moves by up to so much of its side, so that nothing hangs on a single pixel. What a cell sees stays where it
# is: moved by less than the layer's stride, it would be asked of another place than the cell's.
_JITTER = 1 / 32
# Cycles a pixel: structures much wider than thirty pixels are held back, or every picture would be black beside white.
_WIDEST = 1 / 32
# How far grey noise strays from the middle, in shares of black to white; the start is fainter.
_NOISE = 0.25
_START = 0.1
_NOISES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """``picture`` (h, w), or (h, w, 3), 0..1: what the cell sees, or of a label the whole square, ``whole`` pixels wide.

    ``course``: the unit's answer to grey, after every step, and to the picture itself.
    """

    picture: FloatArray = field(repr=False)
    course: tuple[float, ...] = field(repr=False)
    whole: int

    @property
    def rose(self) -> bool:
        """Whether the unit answers more strongly to the picture than to a grey one."""
        return self.course[-1] > self.course[0]

    @property
    def span(self) -> tuple[float, float]:
        """The darkest and the brightest grey of the picture, 0 black and 1 white."""
        return float(self.picture.min()), float(self.picture.max())

    @property
    def stretched(self) -> FloatArray:
        """The picture with its darkest place black and its brightest white."""
        low, high = self.span
        found: FloatArray = (self.picture - low) / max(high - low, 1e-6)
        return found


@dataclass(frozen=True, slots=True)
class _Field:
    """The part of the network's square that is made: first row and column, height and width."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: torch.Tensor) -> torch.Tensor:
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def put(self, part: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        """A copy of the picture with this part in it."""
        found = picture.clone()
        self.cut(found).copy_(part)
        return found


# Pictures (n, channels, size, size), normalised -> the unit's answer to each, (n,).
_Unit = Callable[[torch.Tensor], torch.Tensor]


def picture_for_channel(
    model: Model, layer: str, channel: int, *, steps: int = 96, seed: int = 0, watch: Watch = NOBODY
) -> Wanted:
    """What makes the cell in the middle of a channel's map answer most strongly, as far as this cell sees.

    Raises UnknownLayer, AnalysisError when the unit cannot be excited, Stopped when the watch ended the work.
    """
    spec = model.card.input
    grey = torch.zeros(1, spec.channels, spec.size, spec.size)
    found = model.plain.run(grey, (layer,)).layers.get(layer)
    if found is None or found.ndim < 1 or not 0 <= channel < len(found):
        count = 0 if found is None else len(found)
        raise UnknownLayer(f"The layer {layer!r} has {count} channels; there is no channel {channel}.")
    middle = tuple(side // 2 for side in found.shape[1:])
    body, _ = model.plain.at(layer).halves()

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = body(pictures)[0]
        ours = values[:, channel]
        return ours[:, middle[0], middle[1]] if len(middle) == 2 else ours

    return _optimised(model, answer, _field(model, layer, middle), steps, seed, watch)


def picture_for_label(model: Model, label: str, *, steps: int = 96, seed: int = 0, watch: Watch = NOBODY) -> Wanted:
    """What makes a label's logit as high as it can be.

    Raises UnknownLayer when there is no such label, AnalysisError, Stopped.
    """
    codes = model.card.label_codes
    if label not in codes:
        raise UnknownLayer(f"The model has no label {label!r}; it knows: {', '.join(codes)}.")
    network = model.plain.whole()
    sign, output = (1.0, codes.index(label)) if model.card.head != "logit" else (2.0 * codes.index(label) - 1, 0)

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = network(pictures)
        return sign * outputs[:, output].reshape(len(outputs), -1).mean(1)

    size = model.card.input.size
    return _optimised(model, answer, _Field(0, 0, size, size), steps, seed, watch)


def _field(model: Model, layer: str, cell: tuple[int, ...]) -> _Field:
    """What a cell sees; the whole square where that cannot be told, or some path goes through all of it."""
    size = model.card.input.size
    blank = torch.zeros(1, model.card.input.channels, size, size)
    recording = record_picture(model, blank, Letterbox.fit(size, size, size))
    try:
        seen = receptive_field(recording, layer, *(cell or (0, 0)))
    except NotFollowed:
        return _Field(0, 0, size, size)
    if seen.sees_all or seen.rows is None or seen.columns is None:
        return _Field(0, 0, size, size)
    (top, bottom), (left, right) = seen.rows, seen.columns
    top, left = max(0, top), max(0, left)
    return _Field(top, left, min(size - 1, bottom) - top + 1, min(size - 1, right) - left + 1)


def _optimised(model: Model, answer: _Unit, seen: _Field, steps: int, seed: int, watch: Watch) -> Wanted:
    spec, random = model.card.input, torch.Generator().manual_seed(seed)
    grey = torch.full((spec.channels, spec.size, spec.size), 0.5)

    def asked(parts: torch.Tensor) -> torch.Tensor:
        """The unit's answer to parts (n, channels, h, w) on grey."""
        return answer((torch.stack([seen.put(part, grey) for part in parts]) - spec.mean) / spec.std)

    noises, strength = _noises(asked, seen, spec.channels, random)
    scales, gain = _scales(seen.height, seen.width), (seen.height * seen.width) ** 0.5
    waves = _waves(_START * noises, scales).requires_grad_(True)
    optimiser = torch.optim.Adam([waves], lr=_RATE)
    is_whole = min(seen.height, seen.width) == spec.size
    jitter, smoothness = (round(_JITTER * spec.size), _SMOOTHNESS_OF_ALL) if is_whole else (0, _SMOOTHNESS)
    course = [float(asked(seen.cut(grey)[None]).detach())]
    for step in range(steps):
        with torch.enable_grad():
            logits = _plane(waves, scales, seen)
            picture = torch.sigmoid(logits)
            down, right = (int(v) for v in torch.randint(-jitter, jitter + 1, (2,), generator=random))
            value = asked(picture.roll((down, right), (1, 2))[None])[0]
            held = _GREY * logits.square().mean() + smoothness * _variation(picture) / _NOISE
            loss = gain * held - value / strength
            optimiser.zero_grad()
            loss.backward()
        course.append(float(value.detach()))
        optimiser.step()
        watch.step(step + 1, steps)
    if not all(abs(value) < float("inf") for value in course):
        raise AnalysisError("This unit's answer became no finite number, so there is no picture of what it looks for.")
    with torch.no_grad():
        found = torch.sigmoid(_plane(waves, scales, seen))
        course.append(float(asked(found[None])))
    shown = found[0] if spec.channels == 1 else found.permute(1, 2, 0)
    return Wanted(shown.detach().numpy(), tuple(course), spec.size)


def _noises(asked: _Unit, seen: _Field, channels: int, random: torch.Generator) -> tuple[torch.Tensor, float]:
    """The one of a few noises (channels, h, w), in logits of grey, that the unit answers most; and how far answers spread.

    Beginning there, a unit that is silent on grey has something to climb. Answers in shares of their spread make all units alike.
    """
    noises = 4 * _NOISE * torch.randn(_NOISES, channels, seen.height, seen.width, generator=random)
    with torch.no_grad():
        answers = asked(torch.sigmoid(noises))
    spread = float(answers.std())
    return noises[int(answers.argmax())], spread if 0 < spread < float("inf") else 1.0


def _waves(logits: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """A plane (channels, h, w) as waves (channels, h, w / 2 + 1, 2), each in shares of its scale."""
    return torch.view_as_real(torch.fft.rfft2(logits, norm="ortho")) / scales


def _plane(waves: torch.Tensor, scales: torch.Tensor, seen: _Field) -> torch.Tensor:
    """The way back: logits of grey, (channels, h, w)."""
    spectrum = torch.view_as_complex((waves * scales).contiguous())
    return torch.fft.irfft2(spectrum, s=(seen.height, seen.width), norm="ortho")


def _scales(height: int, width: int) -> torch.Tensor:
    """About one over the frequency, so that every scale learns at the same pace; less for what is wider than a detail."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    return (1 / (frequency + max(_WIDEST, 1 / min(height, width))))[..., None]


def _variation(picture: torch.Tensor) -> torch.Tensor:
    """The mean step between neighbouring pixels."""
    steps = picture.diff(dim=1).abs().sum() + picture.diff(dim=2).abs().sum()
    return steps / picture.numel()
