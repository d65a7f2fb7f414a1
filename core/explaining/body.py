"""Where the body lies on a picture, found in the picture itself, without a network.

A coarse outline, good enough to say that heat lies on a marker, in the air or on the rim of the film: all but the darkest of
three classes of grey (Otsu 1979, IEEE Trans. SMC 9:62, with two thresholds: air, lungs or fat, dense tissue), its largest
connected region with small gaps closed, and what that region encloses (lungs, stomach gas). It covers too much where nothing
dark surrounds the body or where a bright frame touches it. What is written on the body itself belongs to it.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

FloatArray = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]

# The rim of the picture that counts as border, in shares of its sides: collimator edges and burned-in words lie here.
BORDER = 0.04
# Half the width of gaps that are closed, in shares of the square, such as where a lung meets the air beside a thin wall.
GAP = 0.015


def body_of(picture: torch.Tensor, content: torch.Tensor, *, fills: bool = False) -> Region | None:
    """The body on a picture (1, channels, size, size), without the ``content``'s rim, (size, size) bool.

    ``content`` (size, size) bool is the picture without the bars of its letterbox. ``fills``: the body fills the picture,
    as in ultrasound, where a lesion may be the darkest place of all. None where the picture is of one grey.
    """
    grey, shown = picture[0].mean(0).numpy(), content.numpy()
    low, high = float(grey[shown].min()), float(grey[shown].max())
    if high - low <= 0:
        return None
    if fills:
        return _off_the_rim(shown)
    steps = np.rint(np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    bright = (steps >= darkest_below(np.bincount(steps[shown], minlength=256))) & shown
    return _enclosed(_largest(bright), shown) & _off_the_rim(shown)


def darkest_below(histogram: npt.NDArray[np.integer]) -> int:
    """The first grey above the darkest of three classes whose means lie as far apart as can be (Otsu), from 256 counts."""
    counts = np.concatenate([[0.0], np.cumsum(histogram, dtype=np.float64)])
    sums = np.concatenate([[0.0], np.cumsum(histogram * np.arange(256.0))])

    def between(low: npt.NDArray[np.intp] | int, high: npt.NDArray[np.intp] | int) -> FloatArray:
        """Count times squared mean of the greys from ``low`` to below ``high``."""
        count = counts[high] - counts[low]
        return np.asarray((sums[high] - sums[low]) ** 2 / np.maximum(count, 1.0))

    first, second = (grid + 1 for grid in np.triu_indices(255))
    best = between(0, first) + between(first, second) + between(second, 256)
    return int(first[int(best.argmax())])


def share_on(evidence: Map, region: Region) -> float | None:
    """The share of a map's positive evidence (h, w) that lies in a region of the square, by the cover of its cells.

    None where nothing is positive.
    """
    positive = np.maximum(evidence, 0)
    cover = functional.adaptive_avg_pool2d(torch.from_numpy(region)[None].float(), positive.shape)[0].numpy()
    total = float(positive.sum(dtype=np.float64))
    return float((positive * cover).sum(dtype=np.float64)) / total if total > 0 else None


def _largest(region: Region) -> Region:
    parts, count = ndimage.label(region)
    if count == 0:
        return region
    sizes = np.bincount(parts.ravel())
    return np.asarray(parts == 1 + int(sizes[1:].argmax()))


def _enclosed(region: Region, shown: Region) -> Region:
    """The region with gaps up to twice GAP closed, and what it encloses."""
    reach = max(1, round(GAP * len(region)))
    wide = np.pad(region, reach)
    grown = ndimage.distance_transform_edt(~wide) <= reach
    closed = ndimage.distance_transform_edt(grown) > reach
    inside = ndimage.binary_fill_holes(closed[reach:-reach, reach:-reach] | region)
    return np.asarray(inside) & shown


def _off_the_rim(shown: Region) -> Region:
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    kept = np.zeros_like(shown)
    inner = []
    for places in (rows, columns):
        rim = round(BORDER * len(places))
        inner.append(slice(int(places[0]) + rim, int(places[-1]) + 1 - rim))
    kept[inner[0], inner[1]] = True
    return kept
