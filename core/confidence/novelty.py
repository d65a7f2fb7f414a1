"""Novelty: whether a picture is unlike all that a model was made for. From the one forward pass, without torch.

A picture's features are what the target layer answers on average and what the picture looks like by itself. Their Mahalanobis
distance to the nearest of several looks is compared with a gate (Lee et al. 2018, arXiv 1807.03888; features of a layer and
the shared covariance as there, without its inputs made worse). Before it a cheap check of the picture alone.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from core.confidence.calibration import confidence_of
from core.confidence.picture_look import look_of, odd_look
from core.errors import AnalysisError, ModelRejected
from core.models.card import InputSpec, ModelCard
from core.preprocessing import Letterbox
from core.scan import Scan

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]

NOVELTY_FILE = "novelty.safetensors"
ODD = {
    "constant": "The picture is one grey all over.",
    "two-valued": "The picture has almost only two grey levels, as a drawing, a page of text or an outline has.",
    "noise": "Neighbouring pixels have nothing to do with each other: the picture is noise.",
    "colour": "The picture is in colour, as a photograph is.",
}
_LARGEST_FILE = 64 << 20
_COLOUR_SIDE = 128


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What ``novelty.safetensors`` holds, in float64.

    ``middle`` and ``scale`` (d,) of the features from ``start`` on; ``whitening`` (d, d) makes their covariance the identity;
    ``centres`` (looks, d) are whitened. ``gate``: the largest distance that passes. ``looks``: each centre in words.
    """

    middle: FloatArray = field(repr=False)
    scale: FloatArray = field(repr=False)
    whitening: FloatArray = field(repr=False)
    centres: FloatArray = field(repr=False)
    start: int
    gate: float
    looks: tuple[str, ...]

    def distances(self, features: FloatArray) -> FloatArray:
        """The distance of features (n, all) to every centre, (n, looks)."""
        wanted = features[:, self.start : self.start + len(self.middle)]
        white = ((wanted - self.middle) / self.scale) @ self.whitening.T
        return np.linalg.norm(white[:, None] - self.centres[None], axis=2)


@dataclass(frozen=True, slots=True)
class Novelty:
    """Whether a model may speak about a picture.

    ``distance`` to the ``nearest`` training look, in words, beside the ``gate``. ``outside``: the headline is to be withheld;
    ``reason`` says why in one sentence, or is None. ``odd``: what the picture itself is, a code of ODD, or None.
    """

    distance: float
    gate: float
    nearest: str
    outside: bool
    reason: str | None
    odd: str | None = None

    @property
    def times(self) -> float:
        """The distance in gates: above 1 is outside."""
        return self.distance / self.gate


def novelty_of(features: FloatArray, statistics: Statistics, odd: str | None = None) -> Novelty:
    """Whether a picture with these features (n,) is outside; ``odd`` is what ``odd_look`` said of it.

    Raises AnalysisError when a feature is not a finite number.
    """
    if not bool(np.isfinite(features).all()):
        raise AnalysisError("The network's answer is not a finite number, so there is no result for this scan.")
    distances = statistics.distances(features[None])[0]
    place = int(np.argmin(distances))
    distance, nearest = float(distances[place]), statistics.looks[place]
    far = distance > statistics.gate
    reason = ODD.get(odd or "") or (_far(distance / statistics.gate, nearest) if far else None)
    return Novelty(distance, statistics.gate, nearest, outside=reason is not None, reason=reason, odd=odd)


def features_of(target: npt.NDArray[np.floating], grey: FloatImage) -> FloatArray:
    """The features (channels + look,) of a picture: target activations (channels, h, w) and the grey that the network saw.

    Of each channel the mean over the cells, as its square root with the sign kept: activations have long tails.
    """
    means = target.reshape(len(target), -1).mean(1).astype(np.float64)
    return np.concatenate([np.sign(means) * np.sqrt(np.abs(means)), look_of(grey)])


def seen_grey(tensor: npt.NDArray[np.floating], letterbox: Letterbox, spec: InputSpec) -> FloatImage:
    """What the network saw of the picture, without bars, (rows, columns) grey 0..1, from its input (channels, size, size)."""
    top, left = max(0, letterbox.top), max(0, letterbox.left)
    inside = tensor[:, top : letterbox.top + letterbox.height, left : letterbox.left + letterbox.width]
    grey = inside[0] if len(inside) == 1 else inside.mean(0)
    return np.ascontiguousarray(grey * spec.std + spec.mean, np.float32)


def some_colour(scan: Scan, frame: int = 0) -> FloatImage | None:
    """Some of a colour scan's pixels, (rows, columns, 3) 0..1, or None of a grey one."""
    if not scan.is_colour:
        return None
    step = max(1, max(scan.shape) // _COLOUR_SIDE)
    return scan.stored[frame, ::step, ::step].astype(np.float32) / np.float32(255)


def novelty(
    target: npt.NDArray[np.floating],
    tensor: npt.NDArray[np.floating],
    letterbox: Letterbox,
    spec: InputSpec,
    statistics: Statistics,
    colour: FloatImage | None = None,
) -> Novelty:
    """Both checks on what a forward pass has at hand: target activations (channels, h, w) and input (channels, size, size).

    ``colour``: what ``some_colour`` gives of the scan. Raises AnalysisError as novelty_of.
    """
    grey = seen_grey(tensor, letterbox, spec)
    if not bool(np.isfinite(grey).all()):
        raise AnalysisError(
            "The picture holds values that are not finite numbers, so there is no result for this scan."
        )
    return novelty_of(features_of(target, grey), statistics, odd_look(grey, colour))


def save_statistics(statistics: Statistics, path: Path) -> str:
    """Write the arrays as float32 and return the file's SHA-256; gate and looks are for the card."""
    # safetensors writes memory as it lies: an array that is transposed would come back untransposed.
    arrays = {name: np.ascontiguousarray(getattr(statistics, name), np.float32) for name in _ARRAYS}
    data = save_tensors({**arrays, "start": np.array([statistics.start], np.int64)})
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_statistics(card: ModelCard, folder: Path) -> Statistics | None:
    """The statistics beside a card, None where the card has no gate for its own weights.

    Raises ModelRejected when the file is missing, is not the one that the card speaks of, or does not fit it.
    """
    found = confidence_of(card)
    if found is None or found.novelty is None:
        return None
    gate = found.novelty
    try:
        path = folder / NOVELTY_FILE
        data = path.read_bytes() if path.stat().st_size <= _LARGEST_FILE else b""
    except OSError as exc:
        raise ModelRejected("The model's novelty.safetensors is missing; restore it beside the card.") from exc
    if hashlib.sha256(data).hexdigest() != gate.file_sha256:
        raise ModelRejected("The model's novelty.safetensors is not the one its card speaks of; restore it.")
    try:
        return _statistics(load_tensors(data), gate.gate, gate.looks)
    except (SafetensorError, KeyError, ValueError) as exc:
        raise ModelRejected("The model's novelty.safetensors cannot be used; calibrate the model again.") from exc


_ARRAYS = ("middle", "scale", "whitening", "centres")


def _statistics(arrays: dict[str, npt.NDArray[np.generic]], gate: float, looks: tuple[str, ...]) -> Statistics:
    middle, scale, whitening, centres = (np.asarray(arrays[name], np.float64) for name in _ARRAYS)
    width = len(middle)
    fits = scale.shape == (width,) and whitening.shape == (width, width) and centres.shape == (len(looks), width)
    finite = all(bool(np.isfinite(part).all()) for part in (middle, scale, whitening, centres))
    if not (fits and finite and bool((scale > 0).all()) and looks):
        raise ValueError("arrays that do not fit each other")
    return Statistics(middle, scale, whitening, centres, int(np.asarray(arrays["start"]).item()), gate, looks)


def _far(times: float, nearest: str) -> str:
    return (
        f"The picture is unlike those that the model was made from ({times:.1f} times as far off as the limit); the nearest of "
        f"them look like: {nearest}."
    )
