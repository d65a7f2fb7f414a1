"""Thresholds: what each of them gives on pictures that were not trained on, and those for a stated sensitivity or specificity."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.confidence.held_out import FloatArray, HeldOut
from core.errors import ConfigurationError
from core.metrics import MIN_CASES, wilson
from core.models.card_fields import Interval
from core.models.confidence_card import RocTable

# Steps of sensitivity plus specificity that a table keeps apart, in shares: a slider needs no more.
_STEP = 0.01
# Thresholds are multiples of this.
_GRID = 1e-6
Figure = Literal["sensitivity", "specificity"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one threshold gave: sensitivity and specificity with Wilson's 95 % intervals.

    ``counts`` of pictures: hits, misses, false alarms, rejections.
    """

    threshold: float
    sensitivity: Interval
    specificity: Interval
    counts: tuple[int, int, int, int]


def curves(held_out: HeldOut, split: str) -> dict[str, RocTable]:
    """The table of every label with at least MIN_CASES pictures with it and without it."""
    found = {}
    for column, code in enumerate(held_out.codes):
        truths = held_out.truths[:, column]
        known = ~np.isnan(truths)
        if min((truths == 1).sum(), (truths == 0).sum()) >= MIN_CASES:
            found[code] = points_along(truths[known], held_out.scores[known, column], split)
    return found


def points_along(truths: FloatArray, scores: FloatArray, split: str, step: float = _STEP) -> RocTable:
    """Thresholds (n,) falling from one that calls nothing to one that calls all, thinned to steps of ``step``.

    A point is kept when hits and false alarms, as shares, have together grown by ``step`` since the last one.
    """
    reached = np.floor(np.round(scores / _GRID, 3)) * _GRID
    order = np.argsort(-reached, kind="stable")
    last = np.flatnonzero(np.append(np.diff(reached[order]) != 0, True))
    hits, alarms = (np.cumsum(truths[order] == side)[last] for side in (1, 0))
    positives, negatives = int(hits[-1]), int(alarms[-1])
    walked = np.floor((hits / max(positives, 1) + alarms / max(negatives, 1)) / step)
    kept = np.union1d(np.flatnonzero(np.append(True, np.diff(walked) > 0)), [len(last) - 1])
    thresholds = reached[order][last][kept].round(6).tolist()
    # Nothing may be called: a first point is added where no score is 1.
    above = [(1.0, 0, 0)] if thresholds[0] < 1 else []
    points = [*above, *zip(thresholds, hits[kept].tolist(), alarms[kept].tolist(), strict=True)]
    return RocTable(
        thresholds=tuple(point[0] for point in points),
        hits=tuple(point[1] for point in points),
        false_alarms=tuple(point[2] for point in points),
        positives=positives,
        negatives=negatives,
        split=split,
    )


def outcome_at(table: RocTable, threshold: float) -> Outcome:
    """What the lowest kept threshold that is not below the wanted one gives; below all of them, the last."""
    reached = [place for place, at in enumerate(table.thresholds) if at >= threshold]
    return _outcome(table, reached[-1] if reached else 0)


def outcome_for(table: RocTable, figure: Figure, wanted: float) -> Outcome:
    """The threshold that reaches the stated sensitivity (the highest) or specificity (the lowest) on these pictures.

    Chosen and measured on the same pictures, so it flatters a little. Raises ConfigurationError for a share outside 0 to 1.
    """
    if not 0 <= wanted <= 1:
        raise ConfigurationError("A sensitivity or specificity lies between 0 and 100 %.")
    if figure == "sensitivity":
        return _outcome(table, next(i for i, n in enumerate(table.hits) if n >= wanted * table.positives))
    alarms = [i for i, n in enumerate(table.false_alarms) if table.negatives - n >= wanted * table.negatives]
    return _outcome(table, alarms[-1] if alarms else 0)


def _outcome(table: RocTable, place: int) -> Outcome:
    hits, alarms = table.hits[place], table.false_alarms[place]
    misses, rejections = table.positives - hits, table.negatives - alarms
    return Outcome(
        threshold=table.thresholds[place],
        sensitivity=wilson(hits, table.positives),
        specificity=wilson(rejections, table.negatives),
        counts=(hits, misses, alarms, rejections),
    )
