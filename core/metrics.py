"""Figures on scores and on heatmaps: AUROC with interval, operating points, localisation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score, roc_curve

from core.models.card import Interval

Scores = npt.NDArray[np.floating]
Truths = npt.NDArray[np.integer]
Box = tuple[float, float, float, float]

# Fewer cases than this on one side give an interval too wide to print.
MIN_CASES = 5
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class OperatingFigures:
    """What a threshold gives: score >= threshold counts as positive."""

    threshold: float
    sensitivity: Interval
    specificity: Interval


def auroc(truths: Truths, scores: Scores, *, repeats: int = 2000, seed: int = 0) -> Interval | None:
    """Area under the ROC curve with a stratified bootstrap 95 % interval, or None below MIN_CASES on either side."""
    positives, negatives = np.flatnonzero(truths == 1), np.flatnonzero(truths == 0)
    if min(len(positives), len(negatives)) < MIN_CASES:
        return None
    value = float(roc_auc_score(truths, scores))
    resampled = list(_bootstrap(scores[positives], scores[negatives], repeats, seed))
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(value=value, low=float(low), high=float(high))


def wilson(successes: int, trials: int) -> Interval:
    """A proportion with Wilson's 95 % interval (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    if trials == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    p, z = successes / trials, _Z95
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return Interval(value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def operating_figures(truths: Truths, scores: Scores, threshold: float) -> OperatingFigures:
    """Sensitivity and specificity of ``score >= threshold`` with Wilson intervals."""
    called = scores >= threshold
    positive = truths == 1
    sensitivity = wilson(int((called & positive).sum()), int(positive.sum()))
    specificity = wilson(int((~called & ~positive).sum()), int((~positive).sum()))
    return OperatingFigures(threshold, sensitivity, specificity)


def threshold_for_sensitivity(truths: Truths, scores: Scores, sensitivity: float) -> float:
    """The highest threshold that still reaches the sensitivity on these cases."""
    _, true_positive_rate, thresholds = roc_curve(truths, scores, drop_intermediate=False)
    reached = np.flatnonzero(true_positive_rate >= sensitivity)
    return float(min(thresholds[reached[0]], 1.0))


def peak_in_box(evidence: npt.NDArray[np.float32], boxes: list[Box]) -> bool:
    """Pointing game (Zhang et al. 2016, arXiv 1608.00507): whether the map's maximum lies in one of the boxes.

    ``evidence`` and the boxes (x, y, width, height) are on the same grid.
    """
    row, column = np.unravel_index(int(np.argmax(evidence)), evidence.shape)
    return any(x <= column + 0.5 < x + w and y <= row + 0.5 < y + h for x, y, w, h in boxes)


def energy_in_box(evidence: npt.NDArray[np.float32], boxes: list[Box]) -> float:
    """Share of the positive evidence that lies in the boxes (Wang et al. 2020, arXiv 1910.01279), 0 without any."""
    positive = np.maximum(evidence, 0)
    inside = np.zeros(evidence.shape, np.bool_)
    for x, y, w, h in boxes:
        inside[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)] = True
    total = float(positive.sum())
    return float(positive[inside].sum()) / total if total > 0 else 0.0


def peak_in_mask(evidence: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> bool:
    """The pointing game on an outline instead of a box."""
    return bool(mask.reshape(-1)[int(np.argmax(evidence))])


def energy_in_mask(evidence: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> float:
    """Share of the positive evidence that lies in the outline, 0 without any."""
    positive = np.maximum(evidence, 0)
    total = float(positive.sum())
    return float(positive[mask].sum()) / total if total > 0 else 0.0


def confusion(truths: Truths, answers: Truths, classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts, a row a true class, a column an answered one."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truths, answers), 1)
    return tuple(tuple(int(n) for n in row) for row in table)


def expected_calibration_error(hits: npt.NDArray[np.bool_], confidences: Scores, bins: int = 15) -> float:
    """Mean gap between confidence and share of right answers over equal bins (Guo et al. 2017, arXiv 1706.04599)."""
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    gaps = [
        (index == b).mean() * abs(float(hits[index == b].mean()) - float(confidences[index == b].mean()))
        for b in range(bins)
        if bool((index == b).any())
    ]
    return float(sum(gaps))


def _bootstrap(positive: Scores, negative: Scores, repeats: int, seed: int) -> Iterator[float]:
    """AUROC of resampled cases as the Mann-Whitney statistic, ties counting half."""
    random = np.random.default_rng(seed)
    for _ in range(repeats):
        p = random.choice(positive, len(positive))
        n = np.sort(random.choice(negative, len(negative)))
        below = np.searchsorted(n, p, "left")
        not_above = np.searchsorted(n, p, "right")
        yield float((below + not_above).mean() / 2 / len(n))
