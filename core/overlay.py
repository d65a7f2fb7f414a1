"""Heatmap over grey -> RGB and colour scale: the only place with colour and 8 bits.

Colours are perceptually even and safe for colour-blind readers: evidence for a label runs from transparent to yellow
(inferno), signed evidence from purple (against) to orange (for). Opacity follows the strength of the evidence, so a
weak map looks weak.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from core.windowing import FloatImage

RgbImage = npt.NDArray[np.uint8]
Mode = Literal["for", "signed"]

_FOR = colormaps["inferno"]
_SIGNED = colormaps["PuOr_r"]
# The dark end of inferno would blacken the film: the scale starts where it is visible on grey.
_FOR_START = 0.25
# Neither in the scales of evidence nor grey.
OUTLINE_COLOUR = (53, 224, 210)
FEATURE_PALETTE = "viridis"
FILTER_PALETTE = "PuOr_r"


def to_eight_bits(grey: FloatImage) -> RgbImage:
    """Grey 0..1 (rows, columns), or RGB 0..1 (rows, columns, 3), -> RGB of 8 bits."""
    levels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, -1) if levels.ndim == 2 else levels


def blend(
    picture: FloatImage, evidence: FloatImage, *, limit: float, opacity: float = 0.6, mode: Mode = "for"
) -> RgbImage:
    """Evidence over a grey or RGB picture of the same rows and columns -> RGB of 8 bits.

    ``limit`` is the evidence that takes the end of the scale, the same for every scan of a model. ``mode`` "for" shows
    positive evidence only, as Grad-CAM does; "signed" shows both.
    """
    base = picture if picture.ndim == 3 else picture[..., None]
    strength = np.clip(evidence / np.float32(limit), -1, 1)
    colour = scale_colours(strength, mode)
    amount = np.maximum(strength, 0) if mode == "for" else np.abs(strength)
    alpha = (opacity * np.sqrt(amount))[..., None]
    return to_eight_bits((np.clip(base, 0, 1) * (1 - alpha) + colour * alpha).astype(np.float32))


def outlined(picture: RgbImage, mask: npt.NDArray[np.bool_]) -> RgbImage:
    """RGB of 8 bits with a line around a mask of the same rows and columns, as thick as a two-hundredth of the longer side."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thick = max(1, round(max(mask.shape) / 200))
    return np.asarray(cv2.drawContours(picture.copy(), lines, -1, OUTLINE_COLOUR, thick), np.uint8)


def scale_colours(strength: FloatImage, mode: Mode) -> FloatImage:
    """Strength -1..1 -> RGB 0..1 of the scale."""
    if mode == "signed":
        return np.asarray(_SIGNED((strength + 1) / 2)[..., :3], np.float32)
    return np.asarray(_FOR(_FOR_START + (1 - _FOR_START) * np.maximum(strength, 0))[..., :3], np.float32)


def tinted(picture: RgbImage, indices: npt.NDArray[np.uint8], palette: str, opacity: float) -> RgbImage:
    """RGB of 8 bits under the palette's colours of the same rows and columns: 0 shows the picture alone, 1 the colours alone."""
    colours = _colours_of(palette)[indices].astype(np.float32)
    return np.rint(picture * (1 - opacity) + colours * opacity).astype(np.uint8)


def resize(picture: FloatImage, rows: int, columns: int) -> FloatImage:
    """A grey or RGB picture in another size, averaged when smaller, bilinear when larger."""
    if picture.shape[:2] == (rows, columns):
        return picture
    way = cv2.INTER_AREA if rows < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (columns, rows), interpolation=way), np.float32)


def encode_png(rgb: RgbImage) -> bytes:
    """RGB of 8 bits -> PNG, lossless, at the fast end of the compression."""
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def encode_indexed_png(indices: npt.NDArray[np.uint8], palette: str, *, clear_gaps: bool = False) -> bytes:
    """Palette indices (rows, columns) -> indexed PNG: one byte a pixel, coloured by the reader.

    ``clear_gaps``: index 0 is no value but the gap between tiles, and lets the page through.
    """
    picture = Image.frombytes("P", (indices.shape[1], indices.shape[0]), np.ascontiguousarray(indices).tobytes())
    picture.putpalette(_colours_of(palette).tobytes())
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1, **({"transparency": 0} if clear_gaps else {}))
    return stream.getvalue()


def mosaic(
    tiles: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8], columns: int, gap: int = 1
) -> npt.NDArray[np.uint8]:
    """Equal tiles (n, h, w) of palette indices side by side, ``columns`` in a row, with a gap of index 0 between them."""
    stack = np.asarray(tiles)
    count, height, width = stack.shape
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height + gap, width + gap), np.uint8)
    padded[:count, :height, :width] = stack
    grid = padded.reshape(rows, columns, height + gap, width + gap).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid.reshape(rows * (height + gap), columns * (width + gap)))


def _colours_of(palette: str) -> npt.NDArray[np.uint8]:
    """The 256 colours of a palette, (256, 3)."""
    return (np.asarray(colormaps[palette](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)
