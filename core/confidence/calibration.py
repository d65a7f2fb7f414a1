"""calibrated(card, prediction): scores that keep their word, or why there are none.

Without torch: a page can calibrate what an earlier analysis gave. All maps rise with the score and never reach 0 or 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.errors import AnalysisError
from core.models.card import ModelCard
from core.models.card_fields import Interval
from core.models.confidence_card import Calibration, CalibrationMap, Confidence

if TYPE_CHECKING:
    from core.analysis import Prediction

FloatArray = npt.NDArray[np.float64]

# Scores of float32 closer than this to 0 and 1 cannot be told from them.
_EDGE = 1e-7


@dataclass(frozen=True, slots=True)
class Calibrated:
    """``scores`` and their 95 % ``intervals`` by label code; labels without a calibration are left out.

    An interval says how far the calibration itself would have come out elsewhere, had other patients been measured.
    ``missing`` says in a sentence why some or all labels have none, or is None. ``shares``: how many of the pictures that the
    calibration was made from have the label; the scores hold where as many patients have it.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    shares: Mapping[str, float]
    missing: str | None = None


def confidence_of(card: ModelCard) -> Confidence | None:
    """What the card says of the confidence of its own weights; None where it says nothing, or speaks of other weights."""
    found = card.confidence
    return found if found is not None and found.weights_sha256 == card.weights_sha256 else None


def calibrated(card: ModelCard, prediction: "Prediction") -> Calibrated:
    """The calibrated score of every label that the card can calibrate.

    Raises AnalysisError when a score is not a number from 0 to 1.
    """
    scores = np.array([prediction.scores[code] for code in card.label_codes], np.float64)
    if not bool(np.isfinite(scores).all()) or not bool(((scores >= 0) & (scores <= 1)).all()):
        raise AnalysisError("A score is not a number from 0 to 1, so there is no result for this scan.")
    found = confidence_of(card)
    known = {} if found is None else found.calibration
    values = dict(zip(card.label_codes, apply(card, known, scores[None])[0].tolist(), strict=True))
    return Calibrated(
        MappingProxyType({code: values[code] for code in known}),
        MappingProxyType({code: _interval(known[code], values[code]) for code in known}),
        MappingProxyType({code: calibration.prevalence for code, calibration in known.items()}),
        _missing(card, known),
    )


def calibrated_threshold(card: ModelCard, prediction: "Prediction", code: str) -> float | None:
    """Where the label's threshold, which is one of raw scores, lies among its calibrated ones; None without either.

    The calibrated score is on the same side of it as the score is of the threshold. Of labels that exclude each other the
    others are taken in the proportion that they have here.
    """
    found, point = confidence_of(card), card.threshold(code)
    if found is None or code not in found.calibration or point is None:
        return None
    place = card.label_codes.index(code)
    # Where the others have nothing, they have equal parts.
    row = np.array([max(prediction.scores[one], np.finfo(np.float64).tiny) for one in card.label_codes])
    row[place] = 0.0
    row *= (1 - point) / max(row.sum(), np.finfo(np.float64).tiny)
    row[place] = point
    return float(apply(card, found.calibration, row[None])[0, place])


def apply(card: ModelCard, known: Mapping[str, CalibrationMap], scores: FloatArray) -> FloatArray:
    """Scores (n, labels) in the card's order, calibrated; columns of labels without a calibration stay as they are."""
    calibrations = [known.get(code) for code in card.label_codes]
    if card.is_exclusive:
        complete = [calibration for calibration in calibrations if calibration is not None]
        return of_classes(complete, scores) if len(complete) == len(calibrations) else scores
    columns = zip(calibrations, scores.T, strict=True)
    return np.stack([column if one is None else of_label(one, column) for one, column in columns], 1)


def of_label(calibration: CalibrationMap, scores: FloatArray) -> FloatArray:
    """Scores (n,) of a label that stands for itself, calibrated."""
    if calibration.method == "isotonic":
        values = np.interp(scores, calibration.knots, calibration.values)
    else:
        values = expit(calibration.slope * log_odds(scores) + calibration.offset)
    return off_the_edges(values, calibration.floor, 2)


def of_classes(calibrations: Sequence[CalibrationMap], scores: FloatArray) -> FloatArray:
    """Scores (n, labels) of labels that exclude each other, calibrated: they still sum to one."""
    slopes, offsets = np.array([(one.slope, one.offset) for one in calibrations]).T
    return off_the_edges(softmax(slopes * log_scores(scores) + offsets), calibrations[0].floor, len(calibrations))


def off_the_edges(scores: FloatArray, floor: float, answers: int) -> FloatArray:
    """Scores drawn towards each other, so that none is below ``floor``: what is sure would need more pictures to say so.

    With a floor of 1 / (n + answers) this is Laplace's rule of succession for n pictures of one kind.
    """
    return scores * (1 - answers * floor) + floor


def log_odds(scores: FloatArray) -> FloatArray:
    """Logarithms of p / (1 - p), finite also at 0 and 1."""
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


def log_scores(scores: FloatArray) -> FloatArray:
    """Logarithms, finite also at 0."""
    return np.log(np.clip(scores, _EDGE, 1.0))


def expit(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def softmax(logits: FloatArray) -> FloatArray:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _interval(calibration: Calibration, score: float) -> Interval:
    """The score with what the calibration may be off by, in log-odds."""
    band, floor = calibration.tolerance, calibration.floor
    if not band:
        return Interval(value=score, low=floor, high=1 - floor)
    at = [one.at for one in band]
    moves = [float(np.interp(score, at, [getattr(one, side) for one in band])) for side in ("low", "high")]
    low, high = expit(log_odds(np.array([score])) + np.array(moves))
    return Interval(value=score, low=min(score, float(low)), high=max(score, float(high)))


def _missing(card: ModelCard, known: Mapping[str, Calibration]) -> str | None:
    """Why some scores are shown as they come out of the network."""
    without = [code for code in card.label_codes if code not in known]
    if not without:
        return None
    if card.confidence is None:
        return "The model has no calibration: its scores are shown as they come out of the network and are no probabilities."
    if confidence_of(card) is None:
        return (
            "The model's calibration was made for other weights and is not used: its scores are shown as they come out of the "
            "network. Calibrate the model again."
        )
    return f"Too few pictures to calibrate {', '.join(without)}: shown as they come out of the network."
