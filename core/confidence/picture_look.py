"""What a picture looks like before any network: grey levels, coarse layout, edges by scale, symmetry. Cheap, without torch."""

import math

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.floating]
FloatArray = npt.NDArray[np.float64]

# The picture is shrunk to squares of these sides, averaged; the last one is its layout.
_SIDES = (64, 32, 16, 8)
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_PLACES = tuple(round(share * (_SIDES[0] ** 2 - 1)) for share in _QUANTILES)
# Quantiles and ends, layout, likeness, and two figures each way for the finest steps and every scale.
LOOK_LENGTH = len(_QUANTILES) + 3 + _SIDES[-1] ** 2 + 3 + 4 * (1 + len(_SIDES))
_LEVELS = 16
_LEAST = 1e-4
# Nothing smaller than this can be told apart by eye.
_FLAT = 0.01
# So much of a picture in two of sixteen grey levels is a drawing, a page or a mask.
_TWO_VALUED = 0.97
# Colour of more than this, as mean spread of the channels, is a colour picture.
_COLOUR = 0.06
# Of von Neumann's ratio: 2 in white noise, far below 1 in any picture.
_UNLIKE = 1.2


def look_of(grey: FloatImage) -> FloatArray:
    """The picture (rows, columns), grey 0..1, as LOOK_LENGTH numbers (n,), whatever its size.

    Grey quantiles, shares of near black and near white and the spread of grey; an 8 x 8 layout and its likeness to its mirror
    images; for the finest steps between neighbours, and those of squares of 64, 32, 16 and 8, across and down, the logarithm
    of their mean size and how far a few large ones outdo it: noise, drawings and smooth pictures each have their own.
    """
    scales = [_shrunk(grey, _SIDES[0])]
    scales += [_shrunk(scales[0], side) for side in _SIDES[1:]]
    ranked, layout = np.sort(scales[0], axis=None), scales[-1].astype(np.float64)
    dark, bright = np.searchsorted(ranked, (0.02, 0.98)) / len(ranked)
    figures = [*ranked[list(_PLACES)].tolist(), dark, 1 - bright, float(ranked.std()), *_likeness(layout)]
    figures += _steps(grey[:: _thinning(grey)], 1) + _steps(grey[:, :: _thinning(grey)], 0)
    for scale in scales:
        figures += _steps(scale, 0) + _steps(scale, 1)
    return np.concatenate([layout.ravel(), figures])


def odd_look(grey: FloatImage, colour: FloatImage | None = None) -> str | None:
    """Why a picture is none at all, or no scan in grey, as a code, or None: "constant", "two-valued", "noise", "colour".

    ``colour`` (rows, columns, 3) 0..1 where the file has colours. Noise: neighbours differ as much as pixels far apart.
    """
    if float(grey.max() - grey.min()) < _FLAT:
        return "constant"
    step = max(1, min(grey.shape) // 64)
    levels = (grey[::step, ::step] * (_LEVELS - 1) + 0.5).astype(np.int64).ravel().clip(0, _LEVELS - 1)
    counts = np.sort(np.bincount(levels, minlength=2))
    if counts[-2:].sum() >= _TWO_VALUED * len(levels) and counts[-2] >= _FLAT * len(levels):
        return "two-valued"
    if _is_noise(grey):
        return "noise"
    if colour is not None and float((colour.max(-1) - colour.min(-1)).mean()) > _COLOUR:
        return "colour"
    return None


def _is_noise(grey: FloatImage) -> bool:
    """Whether neighbours know nothing of each other: von Neumann's ratio (1941, Ann. Math. Stat. 12:367) near its 2."""
    lines = grey[:: _thinning(grey)]
    variance = float(lines.var())
    steps = lines[:, 1:] - lines[:, :-1]
    return variance > _LEAST and float(np.vdot(steps, steps)) / steps.size / variance > _UNLIKE


def _thinning(grey: FloatImage) -> int:
    """Every how many lines are enough to know the finest steps."""
    return max(1, min(grey.shape) // 64)


def _shrunk(grey: FloatImage, side: int) -> npt.NDArray[np.float32]:
    """Mean grey of side x side fields, (side, side)."""
    import cv2

    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _likeness(layout: FloatArray) -> list[float]:
    """Correlation of the layout with itself mirrored left to right, and upside down; its centre less its border."""
    flat = layout - layout.mean()
    power = max(float((flat * flat).sum()), _LEAST)
    mirrored = [float((flat * flat[:, ::-1]).sum()) / power, float((flat * flat[::-1]).sum()) / power]
    inner = layout[2:-2, 2:-2].mean()
    return [*mirrored, float(inner - (layout.sum() - layout[1:-1, 1:-1].sum()) / (4 * _SIDES[-1] - 4))]


def _steps(grey: FloatImage, axis: int) -> list[float]:
    """The steps between neighbours: logarithm of their mean size, and how far a few large ones outdo it."""
    if grey.shape[axis] < 2:
        return [math.log(_LEAST), 0.0]
    steps = grey[1:] - grey[:-1] if axis == 0 else grey[:, 1:] - grey[:, :-1]
    power = float(np.vdot(steps, steps)) / steps.size
    mean = math.log(float(np.abs(steps, out=steps).mean()) + _LEAST)
    return [mean, math.log(power + _LEAST**2) - 2 * mean]
