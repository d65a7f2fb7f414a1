"""How well two outlines agree: Dice, intersection over union, and their means with an interval over groups."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.models.card_fields import Interval

Outline = npt.NDArray[np.bool_]


def dice(one: Outline, other: Outline) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297); 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def intersection_over_union(one: Outline, other: Outline) -> float:
    """|A and B| / |A or B| (Jaccard 1901); 1 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def mean_over_groups(values: Sequence[float], groups: Sequence[str], *, repeats: int = 2000, seed: int = 0) -> Interval:
    """The mean of all values with a bootstrap 95 % interval that draws whole groups: pictures of one patient are alike."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(index, np.asarray(values, np.float64)), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(names), size=(repeats, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(value=float(np.mean(values)), low=float(low), high=float(high))
