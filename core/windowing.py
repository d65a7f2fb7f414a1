"""Stored values -> modality LUT -> VOI LUT -> polarity -> grey 0..1: the only place that does so.

The order is the standard's (PS3.4 N.2): modality LUT, VOI LUT or window, presentation (MONOCHROME1 is inverted last).
"""

import math

import numpy as np
import numpy.typing as npt

from core.scan import Scan, Window

FloatImage = npt.NDArray[np.float32]

EIGHT_BIT = Window(128.0, 256.0, "LINEAR", "full range")
# Share of the darkest and brightest values that an automatic window leaves out, so that a marker does not set the scale.
AUTOMATIC_TAIL = 0.5
_SAMPLE = 1_000_000
# Pixels from which a table of all stored values is cheaper than the arithmetic at every pixel.
_TABLE_PAYS = 1 << 18
# ITU-R BT.601 luma, as in PS3.3 C.7.6.3.1.2 for YBR_FULL.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

CT_WINDOWS: tuple[Window, ...] = (
    Window(40, 400, "LINEAR", "soft tissue"),
    Window(-600, 1500, "LINEAR", "lung"),
    Window(480, 2500, "LINEAR", "bone"),
    Window(40, 80, "LINEAR", "brain"),
    Window(50, 350, "LINEAR", "mediastinum"),
)


def modality_values(scan: Scan, frame: int = 0) -> FloatImage:
    """Values in modality units (HU for CT) of one frame of a grey scan, (rows, columns) float32 (PS3.3 C.11.1)."""
    return _apply_modality_lut(scan, scan.stored[frame])


def default_window(scan: Scan) -> Window:
    """The window the scan opens with: the file's first, else the full range of 8 bits, else an automatic one.

    Eight bits of a NIfTI volume are as a rule no grey levels but numbers of labels: they get an automatic window.
    """
    if scan.windows:
        return scan.windows[0]
    grey_levels = scan.bits_stored == 8 and scan.stored.dtype == np.uint8 and scan.modality_lut.is_identity
    if scan.is_colour or (grey_levels and scan.source_format != "NIfTI"):
        return EIGHT_BIT
    return automatic_window(scan)


def automatic_window(scan: Scan) -> Window:
    """From the 0.5th to the 99.5th percentile of all frames, pixel padding left out."""
    step = max(1, scan.stored.size // _SAMPLE)
    stored = scan.stored.reshape(-1)[::step]
    if scan.padding is not None:
        stored = stored[~is_padding(scan, stored)]
    if not stored.size:
        return Window(0.5, 1.0, "LINEAR_EXACT", "automatic")
    low, high = sorted(_tails(scan, stored))
    return Window((low + high) / 2, max(high - low, 1e-6), "LINEAR_EXACT", "automatic")


def _tails(scan: Scan, stored: npt.NDArray[np.generic]) -> tuple[float, float]:
    """The values between which all but the tails lie; all of them where that leaves nothing."""
    shares = (AUTOMATIC_TAIL, 100 - AUTOMATIC_TAIL)
    if scan.modality_lut.table is None and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        ends = _percentiles_by_counting(stored, shares)
        slope, intercept = scan.modality_lut.slope, scan.modality_lut.intercept
        return ends[0] * slope + intercept, ends[1] * slope + intercept
    values = _apply_modality_lut(scan, stored)
    low, high = (float(v) for v in np.percentile(values, shares))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _percentiles_by_counting(stored: npt.NDArray[np.generic], shares: tuple[float, float]) -> tuple[float, float]:
    """What ``np.percentile`` gives, without sorting: pixels take few different values."""
    first = int(stored.min())
    ends = np.cumsum(np.bincount(stored.astype(np.int64) - first))
    low, high = (float(_at_rank(ends, share / 100 * (stored.size - 1))) for share in shares)
    return (low + first, high + first) if low < high else (float(first), float(stored.max()))


def _at_rank(ends: npt.NDArray[np.int64], rank: float) -> float:
    """The value of a rank between two whole ones, interpolated; ``ends`` counts the values up to each."""
    lower, upper = np.searchsorted(ends, [math.floor(rank), math.ceil(rank)], side="right")
    return float(lower + (upper - lower) * (rank - math.floor(rank)))


def window_choices(scan: Scan) -> tuple[Window, ...]:
    """The windows to offer for a grey scan: the file's own, the automatic one and, for CT, the usual presets."""
    own = scan.windows or (default_window(scan),)
    presets = CT_WINDOWS if scan.modality == "CT" else ()
    others = (automatic_window(scan), *presets)
    return own + tuple(w for w in others if w not in own)


def apply_window(values: FloatImage, window: Window) -> FloatImage:
    """Modality values -> 0..1 by the window's VOI LUT function (PS3.3 C.11.2.1.2.1, C.11.2.1.3)."""
    c, w = window.centre, window.width
    if window.function == "SIGMOID":
        return (1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - c) / w, -60, 60)))).astype(np.float32)
    if window.function == "LINEAR_EXACT":
        return np.clip((values - c) / np.float32(w) + 0.5, 0, 1).astype(np.float32)
    if w == 1:
        return (values > c - 0.5).astype(np.float32)
    return np.clip((values - (c - 0.5)) / np.float32(w - 1) + 0.5, 0, 1).astype(np.float32)


def display_grey(scan: Scan, frame: int = 0, window: Window | None = None) -> FloatImage:
    """Grey as shown, 0 black to 1 white, (rows, columns) float32; colour becomes its luma.

    ``window`` None means the file's own way: its VOI LUT if it has one, else ``default_window``. Padding is black.
    """
    if scan.is_colour:
        return display_rgb(scan, frame) @ _LUMA
    stored = scan.stored[frame]
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and stored.size > _TABLE_PAYS:
        return _looked_up(stored, grey_of(scan, _all_values(stored.dtype), window))
    return grey_of(scan, stored, window)


def grey_of(scan: Scan, stored: npt.NDArray[np.generic], window: Window | None = None) -> FloatImage:
    """Stored values of a grey scan, in any shape -> grey as shown, 0 black to 1 white."""
    values = _apply_modality_lut(scan, stored)
    if window is None and scan.voi_lut is not None:
        # The table's output runs from 0 to 2^bits - 1 (PS3.3 C.11.2.1.1).
        grey = np.clip(scan.voi_lut(values) / np.float32(2**scan.voi_lut.bits - 1), 0, 1)
    else:
        grey = apply_window(values, window or default_window(scan))
    if scan.photometric == "MONOCHROME1":
        grey = 1 - grey
    if scan.padding is not None:
        grey[is_padding(scan, stored)] = 0
    return grey


def _all_values(kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Every value of an 8- or 16-bit type, in the order of its bits."""
    return np.arange(2 ** (8 * kind.itemsize), dtype=f"u{kind.itemsize}").view(kind)


def _looked_up(stored: npt.NDArray[np.generic], table: FloatImage) -> FloatImage:
    """``table`` at every pixel's bits. Far faster than the arithmetic at every pixel, and the same numbers."""
    import cv2

    bits = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    return np.asarray(cv2.LUT(bits, table), np.float32)


def display_rgb(scan: Scan, frame: int = 0) -> FloatImage:
    """Colour as stored, 0..1, (rows, columns, 3) float32."""
    return scan.stored[frame].astype(np.float32) / np.float32(255)


def _apply_modality_lut(scan: Scan, stored: npt.NDArray[np.generic]) -> FloatImage:
    lut = scan.modality_lut
    if lut.table is not None:
        return lut.table(stored)
    return (stored.astype(np.float64) * lut.slope + lut.intercept).astype(np.float32)


def is_padding(scan: Scan, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Which stored values are padding, no picture (PS3.3 C.7.5.1.1.2)."""
    if scan.padding is None:
        return np.zeros(stored.shape, np.bool_)
    low, high = scan.padding
    numbers = stored.astype(np.float64)
    return (numbers >= low) & (numbers <= high)
