"""Where a picture carries side markers, burned-in words and other small bright things at its edges, found without a network.

What is narrow and much brighter than what lies around it (white top-hat, Serra 1982), and not in the middle of the body. Ribs
and vessels are as narrow but far less bright; leads, clips and ports at the edges are found as well, and the question that is
asked of them is the same. What is written across the middle of the body is not found.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch

Region = npt.NDArray[np.bool_]

# What is narrower than this share of the square counts: whole plates beside the body, strokes of letters on it.
PLATE, STROKE = 1 / 8, 1 / 24
# How much brighter than its surroundings, in shares of the picture's range: at its brightest place, and at its edge.
PEAK, EDGE = 0.25, 0.15
# What lies on the body must stand out more: the chest wall is as narrow where a lung lies beside it.
ON_BODY = 1.5
# The rim in which things are looked for on the body too, in shares of the picture's sides: markers lie over the shoulders.
RIM = 1 / 7
# Letters are joined over gaps of this share of the square; a thing's surroundings go with it by as much.
GAP = 1 / 64
LEAST_PIXELS = 4
# A larger thing is no marker, in shares of the picture.
MOST_AREA = 0.03
MOST_MARKS = 6


def marks_on(picture: torch.Tensor, content: torch.Tensor, body: Region | None) -> tuple[Region, ...]:
    """Each mark as a region (size, size) bool with a margin, the most striking first, at most MOST_MARKS of them.

    ``picture`` (1, channels, size, size), ``content`` (size, size) without the letterbox's bars, ``body`` (size, size) as
    ``core.explaining.body`` finds it; None where there is none: then only the rim is looked at.
    """
    shown = content.numpy()
    grey = picture[0].mean(0).numpy()
    contrast = _contrast(grey, shown, STROKE) / ON_BODY
    if body is not None:
        contrast[~body] = _contrast(grey, shown, PLATE)[~body]
    edges = _rim(shown) if body is None else shown & (~body | _rim(shown))
    joined = _grown((contrast >= EDGE) & edges, len(shown))
    count, parts = cv2.connectedComponents(joined.astype(np.uint8))
    found = [(parts == index) & shown for index in range(1, count)]
    striking = [part for part in found if _is_mark(part, contrast, edges, shown)]
    return tuple(sorted(striking, key=lambda part: -float(contrast[part].sum()))[:MOST_MARKS])


def _contrast(grey: npt.NDArray[np.float32], shown: Region, width: float) -> npt.NDArray[np.float32]:
    """By how much each pixel is brighter than what lies around things of that width, in shares of the picture's range."""
    low, high = float(grey[shown].min()), float(grey[shown].max())
    scaled = np.where(shown, (grey - low) / max(high - low, 1e-6), 0).astype(np.float32)
    kernel = np.ones((round(width * len(grey)) | 1,) * 2, np.uint8)
    return np.asarray(cv2.morphologyEx(scaled, cv2.MORPH_TOPHAT, kernel), np.float32)


def _is_mark(part: Region, contrast: npt.NDArray[np.float32], edges: Region, shown: Region) -> bool:
    strokes = part & edges & (contrast >= EDGE)
    is_small = int(strokes.sum()) >= LEAST_PIXELS and int(part.sum()) <= MOST_AREA * int(shown.sum())
    return is_small and float(contrast[strokes].max()) >= PEAK


def _grown(region: Region, size: int) -> Region:
    side = 2 * max(1, round(GAP * size)) + 1
    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((side, side), np.uint8)), np.bool_)


def _rim(shown: Region) -> Region:
    """The outer RIM of the picture."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    down, across = max(1, round(RIM * len(rows))), max(1, round(RIM * len(columns)))
    rim = shown.copy()
    rim[rows[0] + down : rows[-1] + 1 - down, columns[0] + across : columns[-1] + 1 - across] = False
    return rim
