"""A picture in another size, bilinear and without aliasing, in numpy alone: the first case is read before torch is imported.

Every pixel of the result is a weighted mean of the pixels around its place. The weights fall off linearly over one pixel of
the result, or of the source where that is the coarser one: a triangle (the filter that Pillow calls BILINEAR and torch
``interpolate(mode="bilinear", antialias=True)``).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def resized(picture: FloatArray, rows: int, columns: int) -> FloatArray:
    """(h, w, channels) float32 -> (rows, columns, channels)."""
    channels = picture.shape[2]
    lower = _rows_resized(np.ascontiguousarray(picture, np.float32).reshape(len(picture), -1), rows)
    turned = lower.reshape(rows, -1, channels).transpose(1, 0, 2)
    across = _rows_resized(np.ascontiguousarray(turned).reshape(len(turned), -1), columns)
    return np.ascontiguousarray(across.reshape(columns, rows, channels).transpose(1, 0, 2))


def _rows_resized(values: FloatArray, count: int) -> FloatArray:
    """(rows, anything) -> (count, anything)."""
    if count == len(values):
        return values
    result = np.empty((count, values.shape[1]), np.float32)
    for row, (first, weights) in enumerate(_taps(len(values), count)):
        np.dot(weights, values[first : first + len(weights)], out=result[row])
    return result


@lru_cache(maxsize=32)
def _taps(source: int, count: int) -> tuple[tuple[int, FloatArray], ...]:
    """For each of ``count`` places along ``source`` pixels: the first pixel that counts, and the weights from there on."""
    # In torch's own precision: the models were trained on pictures that it resized.
    scale = np.float32(source / count)
    reach = max(scale, np.float32(1))
    centres = (float(scale) * (np.arange(count) + 0.5)).astype(np.float32)
    first = np.maximum((centres - reach + np.float32(0.5)).astype(np.intp), 0)
    ends = np.minimum((centres + reach + np.float32(0.5)).astype(np.intp), source)
    pixels = np.arange((ends - first).max())
    distances = pixels + (first - centres).astype(np.float32)[:, None] + np.float32(0.5)
    weights = np.maximum(1 - np.abs(distances) / reach, 0) * (pixels < (ends - first)[:, None])
    shares = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return tuple((int(a), row[: b - a]) for a, b, row in zip(first, ends, shares, strict=True))
