"""Score drift: whether a network's scores of late are like those before. A change says that cases or machines changed, not why.

The latest period is compared with all before it by the two-sample Kolmogorov-Smirnov test (Massey 1951, J. Am. Stat. Assoc.
46:68). Few answers are not compared, nor shown by themselves: a single score would tell a reader what they may not know yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
from scipy.stats import ks_2samp

from core.reviews.worklist import GivenScores

Period = Literal["day", "week"]
PERIODS: tuple[Period, ...] = ("week", "day")
# Fewer answers than this have no quartiles worth a line, and could be told apart.
LEAST_SHOWN = 5
# On either side of a comparison.
LEAST_COMPARED = 20
_SURE = 0.01


@dataclass(frozen=True, slots=True)
class PeriodScores:
    """The scores of one period that begins on ``start`` (UTC): how many, their quartiles and median."""

    start: date
    count: int
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The scores of one model for one label by period, the oldest first; periods of few answers are counted in ``left_out``.

    ``statistic`` and ``p_value`` compare the latest period with all before; None where either side is too small.
    """

    model_id: str
    weights_sha256: str
    label: str
    periods: tuple[PeriodScores, ...]
    left_out: int
    latest: int
    before: int
    statistic: float | None
    p_value: float | None

    @property
    def differs(self) -> bool:
        """Whether the latest period is unlike those before, by more than chance would do in one of a hundred looks."""
        return self.p_value is not None and self.p_value < _SURE


def score_drift(answers: Iterable[GivenScores], label: str, period: Period = "week") -> tuple[Drift, ...]:
    """The drift of every model (by its weights) that gave a score for this label."""
    found: dict[tuple[str, str], list[GivenScores]] = {}
    for answer in answers:
        if label in answer.scores:
            found.setdefault((answer.model_id, answer.weights_sha256), []).append(answer)
    return tuple(_drift(model, weights, label, given, period) for (model, weights), given in sorted(found.items()))


def _drift(model_id: str, weights: str, label: str, given: Sequence[GivenScores], period: Period) -> Drift:
    by_period: dict[date, list[float]] = {}
    for answer in given:
        by_period.setdefault(_start(answer.at, period), []).append(answer.scores[label])
    starts = sorted(by_period)
    shown = tuple(
        PeriodScores(start, len(by_period[start]), *map(float, np.percentile(by_period[start], [25, 50, 75])))
        for start in starts
        if len(by_period[start]) >= LEAST_SHOWN
    )
    latest = by_period[starts[-1]]
    before = [score for start in starts[:-1] for score in by_period[start]]
    statistic, p_value = _compared(latest, before)
    left_out = len(given) - sum(one.count for one in shown)
    return Drift(model_id, weights, label, shown, left_out, len(latest), len(before), statistic, p_value)


def _compared(latest: Sequence[float], before: Sequence[float]) -> tuple[float | None, float | None]:
    if min(len(latest), len(before)) < LEAST_COMPARED:
        return None, None
    found = ks_2samp(latest, before)
    return float(found.statistic), float(found.pvalue)


def _start(at: datetime, period: Period) -> date:
    day = at.date()
    return day if period == "day" else day - timedelta(days=day.weekday())
