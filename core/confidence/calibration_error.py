"""How far scores are from the shares they speak of: log loss, and the calibration error without most of its bias."""

import numpy as np
from scipy.special import ndtr

from core.confidence.held_out import FloatArray, IntArray
from core.models.card_fields import Interval

BINS = 15
# A bin of fewer pictures says little of its share.
LEAST_IN_BIN = 20
REPEATS = 1000
_AT_ONCE = 200
_TINY = 1e-12


def log_loss(truths: FloatArray, scores: FloatArray) -> float:
    """Mean of -log of what was given to what is true (Good 1952); scores are those of a label present or absent."""
    given = np.where(truths == 1, scores, 1 - scores)
    return float(-np.log(np.maximum(given, _TINY)).mean())


def class_log_loss(truths: IntArray, scores: FloatArray) -> float:
    """The same of labels that exclude each other: ``truths`` (n,) the class, ``scores`` (n, classes)."""
    return float(-np.log(np.maximum(scores[np.arange(len(truths)), truths], _TINY)).mean())


def calibration_error(
    truths: FloatArray, scores: FloatArray, groups: IntArray, *, repeats: int = REPEATS, seed: int = 0
) -> Interval:
    """Debiased expected calibration error with a bootstrap 95 % interval that draws whole groups.

    Over bins of equal counts, sum_b n_b / n |mean score - share|. Its plain form is too high, since a share of few pictures
    is off by chance: from each gap d is taken by how much gaps around d would come out higher on average, the share's
    standard error s known: d - (E|N(d, s)| - d) (Kumar et al. 2019, arXiv 1909.10155, appendix; on the bias itself Roelofs
    et al. 2022, arXiv 2012.08668). Where all is calibrated about half of the bias is left: the figure errs to the high side.
    Each sample of the bootstrap repeats the bias, so the interval is moved until the samples' mean is the figure.
    """
    bins = bins_of(scores)
    index, sums = np.unique(groups, return_inverse=True)[1], _sums_by_group(truths, scores, bins, groups)
    value = float(_debiased(sums.sum(0)[None])[0])
    random, count = np.random.default_rng(seed), int(index.max()) + 1
    draws = [min(_AT_ONCE, repeats - start) for start in range(0, repeats, _AT_ONCE)]
    samples = np.concatenate(
        [_debiased(np.tensordot(random.multinomial(count, np.full(count, 1 / count), n), sums, 1)) for n in draws]
    )
    low, high = np.percentile(samples, (2.5, 97.5)) - samples.mean() + value
    shown = max(value, 0.0)
    return Interval(value=shown, low=min(max(float(low), 0.0), shown), high=max(float(high), shown))


def plain_calibration_error(truths: FloatArray, scores: FloatArray) -> float:
    """The same without taking the bias off (Nixon et al. 2019, arXiv 1904.01685)."""
    groups = np.zeros(len(truths), np.int64)
    cases, positives, total = np.moveaxis(_sums_by_group(truths, scores, bins_of(scores), groups).sum(0), -1, 0)
    return float(np.abs(total - positives).sum() / cases.sum())


def bins_of(scores: FloatArray) -> IntArray:
    """The bin of each score: about as many in each, equal scores together, at least LEAST_IN_BIN where there are so many."""
    count = max(1, min(BINS, len(scores) // LEAST_IN_BIN))
    ranked = np.sort(scores)
    cuts = [int(len(scores) * part / count) for part in range(1, count)]
    edges = np.unique(ranked[cuts]) if cuts else np.empty(0)
    found = np.searchsorted(edges, scores, "right")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _sums_by_group(truths: FloatArray, scores: FloatArray, bins: IntArray, groups: IntArray) -> FloatArray:
    """(groups, bins, 3): pictures, those with the label, sum of scores."""
    index = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((int(index.max()) + 1, int(bins.max()) + 1, 3))
    np.add.at(sums, (index, bins), np.stack([np.ones(len(truths)), truths, scores], 1))
    return sums


def _debiased(sums: FloatArray) -> FloatArray:
    """The error of each row of sums (rows, bins, 3), (rows,)."""
    cases, positives, total = np.moveaxis(sums, -1, 0)
    safe = np.maximum(cases, 1)
    share = positives / safe
    # Unbiased variance of a share; a bin of one picture says nothing of it.
    error = np.sqrt(share * (1 - share) / np.maximum(cases - 1, 1))
    gap = np.abs(total / safe - share)
    return ((2 * gap - folded_mean(gap, error)) * cases).sum(1) / cases.sum(1)


def folded_mean(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """E|x| of x ~ N(mean, deviation) (Leone et al. 1961, Technometrics 3:543)."""
    safe = np.maximum(deviation, _TINY)
    z = mean / safe
    return safe * np.sqrt(2 / np.pi) * np.exp(-z * z / 2) + mean * (1 - 2 * ndtr(-z))
