"""Stability: how far a score moves when the picture changes by less than a reader would notice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from core.analysis import Prediction, prediction_of
from core.confidence.calibration import apply, confidence_of
from core.errors import AnalysisError, Stopped
from core.explaining.perturbation import BATCH, NOBODY, Watch
from core.models.card_fields import Interval
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]

COPIES = 32
# Within these a film stays the same film: shares of its side, degrees, factors and shares of the grey scale.
SHIFT = 0.015
TURN = 1.0
CONTRAST = 0.04
BRIGHTNESS = 0.02
NOISE = 0.01
# The middle 90 % of the copies.
_ENDS = (5, 95)
_NOT_FINITE = "The network's answer is not a finite number, so there is no result for this scan."
_STOPPED = "The stability was not measured to its end, because the work was stopped; start it again to see it."


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """The scores of ``copies`` changed pictures: the scan's own score with the middle 90 % of theirs, by label code.

    ``calibrated`` the same of calibrated scores, for labels with a calibration. ``turned``: the share of copies that lie on
    the other side of the label's threshold than the scan itself, for labels with one.
    """

    copies: int
    scores: Mapping[str, Interval]
    calibrated: Mapping[str, Interval]
    turned: Mapping[str, float]
    every: FloatArray = field(repr=False)


def stability(
    model: Model, scan: Scan, frame: int = 0, watch: Watch = NOBODY, *, copies: int = COPIES, seed: int = 0
) -> Stability:
    """Ask the network again about copies that are moved, turned, and changed in contrast, brightness and noise.

    The same ``seed`` gives the same copies. Raises Stopped when the watch says so, AnalysisError when an answer is not a
    finite number.
    """
    entry = to_model_input(scan, frame, model.card.input)
    copied = changed(entry.picture, copies, seed, grey_step=1 / model.card.input.std)
    pictures = np.concatenate([entry.picture, copied])
    rows: list[list[float]] = []
    try:
        watch.step(0, len(pictures))
        for start in range(0, len(pictures), BATCH):
            rows += _scores(model, scan, entry.letterbox, pictures[start : start + BATCH])
            watch.step(len(rows), len(pictures))
    except Stopped as exc:
        raise Stopped(_STOPPED) from exc
    every = np.array(rows, np.float64)
    if not bool(np.isfinite(every).all()):
        raise AnalysisError(_NOT_FINITE)
    return _stability(model, every)


def changed(picture: FloatImage, copies: int, seed: int, *, grey_step: float) -> FloatImage:
    """Copies (n, channels, size, size) of a normalised picture (1, channels, size, size).

    ``grey_step``: what the whole grey scale is in normalised values. Edges are continued, not filled with black.
    """
    random = np.random.default_rng(seed)
    side = picture.shape[-1]
    found = np.empty((copies, *picture.shape[1:]), np.float32)
    for copy in found:
        shift, angle = random.uniform(-SHIFT, SHIFT, 2) * side, np.deg2rad(random.uniform(-TURN, TURN))
        factor, brighter = (
            random.uniform(1 - CONTRAST, 1 + CONTRAST),
            random.uniform(-BRIGHTNESS, BRIGHTNESS) * grey_step,
        )
        # One noise for all channels: the picture is grey.
        noise = random.normal(0, NOISE * grey_step, (side, side))
        for place, channel in enumerate(picture[0]):
            moved = _moved(channel, angle, shift)
            copy[place] = (moved - moved.mean()) * factor + moved.mean() + brighter + noise
    return found


def _moved(channel: FloatImage, angle: float, shift: FloatArray) -> FloatImage:
    """A channel (size, size) turned about its middle and shifted, bilinear."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(channel.shape) - 1) / 2
    return np.asarray(ndimage.affine_transform(channel, turn, middle - turn @ middle + shift, order=1, mode="nearest"))


def _scores(model: Model, scan: Scan, letterbox: Letterbox, pictures: FloatImage) -> list[list[float]]:
    """The scores of some pictures, a row a picture, in the card's order."""
    rows = []
    for outputs in model.engines.giving(()).run(np.ascontiguousarray(pictures)):
        if not bool(np.isfinite(outputs.logits).all()):
            raise AnalysisError(_NOT_FINITE)
        rows.append(list(_prediction(model, scan, letterbox, outputs.logits).scores.values()))
    return rows


def _prediction(model: Model, scan: Scan, letterbox: Letterbox, logits: FloatImage) -> Prediction:
    if model.card.task != "segmentation":
        return prediction_of(model, logits)
    import torch

    from core.masks import masks_of, presence_logits

    masks = masks_of(model.card, torch.from_numpy(logits), letterbox, scan.geometry.spacing_mm)
    return prediction_of(model, presence_logits(masks))


def _stability(model: Model, every: FloatArray) -> Stability:
    card = model.card
    found = confidence_of(card)
    known = {} if found is None else found.calibration
    calibrated = _intervals(card.label_codes, apply(card, known, every))
    thresholds = {code: card.threshold(code) for code in card.label_codes}
    turned = {
        code: float(((every[1:, column] >= at) != (every[0, column] >= at)).mean())
        for column, code in enumerate(card.label_codes)
        if (at := thresholds[code]) is not None
    }
    return Stability(
        copies=len(every) - 1,
        scores=MappingProxyType(_intervals(card.label_codes, every)),
        calibrated=MappingProxyType({code: calibrated[code] for code in known}),
        turned=MappingProxyType(turned),
        every=every,
    )


def _intervals(codes: Sequence[str], every: FloatArray) -> dict[str, Interval]:
    """The first row with the middle of the others, widened where it lies outside it."""
    low, high = np.percentile(every[1:], _ENDS, axis=0)
    return {
        code: Interval(value=float(own), low=float(min(own, at_least)), high=float(max(own, at_most)))
        for code, own, at_least, at_most in zip(codes, every[0], low, high, strict=True)
    }
