"""Figures on scores and on heatmaps: AUROC with interval, operating points, calibration, localisation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.explaining.places import detected_boxes
from core.models.card import ReliabilityBin
from core.models.card_fields import Interval

Scores = npt.NDArray[np.floating]
Truths = npt.NDArray[np.integer]
Region = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]

# Fewer cases than this on one side give an interval too wide to print.
MIN_CASES = 5
_Z95 = 1.959964
# Replicates of the bootstrap that are held in memory at once.
_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class OperatingFigures:
    """What a threshold gives: score >= threshold counts as positive.

    ``ppv`` and ``npv`` hold for the share of positives among these cases; None where nothing was called so.
    """

    threshold: float
    sensitivity: Interval
    specificity: Interval
    ppv: Interval | None
    npv: Interval | None


def auroc(
    truths: Truths,
    scores: Scores,
    *,
    groups: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Area under the ROC curve with a bootstrap 95 % interval, or None below MIN_CASES on either side.

    Where ``groups`` (patients) hold several cases, whole groups are drawn (Field and Welsh 2007, J. R. Stat. Soc. B 69:369),
    else cases, positives and negatives apart. ``folds`` are scored by different networks, whose scores cannot be compared:
    the area is that within each fold, averaged by the number of its cases.
    """
    if min((truths == 1).sum(), (truths == 0).sum()) < MIN_CASES:
        return None
    fold = np.zeros(len(truths), np.int64) if folds is None else np.asarray(folds)
    members = [np.flatnonzero(fold == one) for one in np.unique(fold)]
    usable = [m for m in members if 0 < truths[m].sum() < len(m)]
    if not usable:
        return None
    names = np.arange(len(truths)).astype(str) if groups is None else np.asarray(groups)
    random, sizes = np.random.default_rng(seed), np.array([len(m) for m in usable], np.float64)
    areas = np.stack([_resampled(truths[m], scores[m], names[m], repeats, random) for m in usable])
    low, high = np.percentile(_averages(areas, sizes), (2.5, 97.5))
    from sklearn.metrics import roc_auc_score  # a second to import, which no page must wait for

    value = np.average([roc_auc_score(truths[m], scores[m]) for m in usable], weights=sizes)
    return Interval(value=float(value), low=float(low), high=float(high))


def wilson(successes: int, trials: int) -> Interval:
    """A proportion with Wilson's 95 % interval (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    if trials == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    p, z = successes / trials, _Z95
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return Interval(value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def operating_figures(truths: Truths, scores: Scores, threshold: float) -> OperatingFigures:
    """Sensitivity, specificity and predictive values of ``score >= threshold`` with Wilson intervals."""
    called, positive = scores >= threshold, truths == 1
    hits, rejections = int((called & positive).sum()), int((~called & ~positive).sum())
    yes, no = int(called.sum()), int((~called).sum())
    return OperatingFigures(
        threshold,
        sensitivity=wilson(hits, int(positive.sum())),
        specificity=wilson(rejections, int((~positive).sum())),
        ppv=wilson(hits, yes) if yes else None,
        npv=wilson(rejections, no) if no else None,
    )


def threshold_for_sensitivity(truths: Truths, scores: Scores, sensitivity: float) -> float:
    """The highest threshold that still reaches the sensitivity on these cases."""
    from sklearn.metrics import roc_curve

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
    return energy_in_mask(evidence, region_of(boxes, evidence.shape))


def region_of(boxes: list[Box], shape: tuple[int, ...]) -> Region:
    """The pixels that boxes cover, their edges rounded to pixels: (rows, columns) bool."""
    inside = np.zeros(shape, np.bool_)
    for x, y, w, h in boxes:
        inside[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = True
    return inside


def iobb(evidence: npt.NDArray[np.float32], region: Region) -> list[float]:
    """Intersection over the detected box's area, of every box that the map draws (Wang et al. 2017, arXiv 1705.02315).

    ``region`` (rows, columns) is where the finding lies: pixels of its boxes or its outline. A finding counts as found at
    T when one of the boxes reaches T.
    """
    return [float(region[box].mean()) for box in detected_boxes(evidence)]


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


def reliability(truths: Truths, scores: Scores, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Mean score against the share that has the label, over bins of about as many cases each, by rising score.

    Equal scores stay in one bin, so there may be fewer bins than asked for; none below MIN_CASES a bin.
    """
    order = np.argsort(scores, kind="stable")
    ranked, count = scores[order], min(bins, len(scores) // MIN_CASES)
    if count == 0:
        return ()
    cuts = [len(part) for part in np.array_split(ranked, count)]
    starts = np.unique(np.searchsorted(ranked, ranked[np.cumsum([0, *cuts[:-1]])], "left"))
    return tuple(_bin(truths[part], scores[part]) for part in np.split(order, starts[1:]))


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Mean gap between score and share over bins of equal counts (Nixon et al. 2019, arXiv 1904.01685), None without bins."""
    cases = sum(one.cases for one in bins)
    return sum(one.cases * abs(one.mean_score - one.share.value) for one in bins) / cases if cases else None


def _bin(truths: Truths, scores: Scores) -> ReliabilityBin:
    share = wilson(int((truths == 1).sum()), len(truths))
    return ReliabilityBin(cases=len(truths), mean_score=float(scores.mean()), share=share)


def _resampled(
    truths: Truths, scores: Scores, groups: npt.NDArray[np.str_], repeats: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The areas of ``repeats`` bootstrap samples, (repeats,); NaN where a sample holds one side only."""
    index = np.unique(groups, return_inverse=True)[1]
    draw = _cases_drawn(truths, random) if index.max() + 1 == len(truths) else groups_drawn(index, random)
    sizes = [min(_AT_ONCE, repeats - start) for start in range(0, repeats, _AT_ONCE)]
    return np.concatenate([weighted_areas(truths, scores, draw(size)) for size in sizes])


def _cases_drawn(truths: Truths, random: np.random.Generator) -> Callable[[int], npt.NDArray[np.int64]]:
    """How often each case is drawn, (repeats, cases), positives and negatives apart."""

    def draw(repeats: int) -> npt.NDArray[np.int64]:
        counts = np.zeros((repeats, len(truths)), np.int64)
        for side in (0, 1):
            members = np.flatnonzero(truths == side)
            counts[:, members] = random.multinomial(len(members), [1 / len(members)] * len(members), repeats)
        return counts

    return draw


def groups_drawn(index: npt.NDArray[np.intp], random: np.random.Generator) -> Callable[[int], npt.NDArray[np.int64]]:
    """How often each case is drawn, (repeats, cases), when whole groups are."""
    count = int(index.max()) + 1
    return lambda repeats: random.multinomial(count, [1 / count] * count, repeats)[:, index]


def weighted_areas(truths: Truths, scores: Scores, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """AUROC as the Mann-Whitney statistic, ties counting half, for each row of weights (rows, cases); NaN without pairs."""
    order = np.argsort(scores, kind="stable")
    ranked, weighed, positive = scores[order], weights[:, order], truths[order] == 1
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ill = np.add.reduceat(weighed * positive, starts, axis=1).astype(np.float64)
    well = np.add.reduceat(weighed * ~positive, starts, axis=1).astype(np.float64)
    ordered = (ill * (well.cumsum(1) - well / 2)).sum(1)
    pairs = ill.sum(1) * well.sum(1)
    return np.divide(ordered, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _averages(areas: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Areas (folds, repeats) averaged by the folds' sizes, without those that are NaN; samples without any are left out."""
    known = ~np.isnan(areas)
    total = (known * sizes[:, None]).sum(0)
    sums = (np.nan_to_num(areas) * sizes[:, None]).sum(0)
    return sums[total > 0] / total[total > 0] if bool((total > 0).any()) else np.array([0.0, 1.0])
