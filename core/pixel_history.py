"""PixelHistory: every step from the stored bits to the network's tensor, with its numbers and a small picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.scan import Scan, Window
from core.windowing import (
    FloatImage,
    apply_window,
    default_window,
    display_grey,
    display_rgb,
    is_padding,
    modality_values,
)

if TYPE_CHECKING:
    from core.models.card import InputSpec

# A small picture's longer side, in pixels.
THUMBNAIL = 160


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step: ``code``, its ``numbers`` by name as short texts, and ``picture``, grey or RGB 0..1, at most 160 pixels."""

    code: str
    numbers: Mapping[str, str]
    picture: FloatImage = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PixelHistory:
    """The steps in order, and the part of the scan that the model sees: left, top, right, bottom, or None without a model."""

    steps: tuple[Step, ...]
    seen: tuple[float, float, float, float] | None = None

    def as_json(self) -> list[dict[str, object]]:
        """The steps without their pictures."""
        return [{"step": step.code, **step.numbers} for step in self.steps]


def pixel_history(
    scan: Scan, frame: int = 0, window: Window | None = None, spec: "InputSpec | None" = None
) -> PixelHistory:
    """How one frame becomes grey (in ``window``, else the file's own), and with ``spec`` what the model makes of it.

    The order is the standard's (PS3.4 N.2). The model's part starts from the file's own window, never the reader's.
    """
    steps = list(_colour_steps(scan, frame) if scan.is_colour else _grey_steps(scan, frame, window))
    if spec is None:
        return PixelHistory(tuple(steps))
    model_steps, seen = _model_steps(scan, frame, spec)
    return PixelHistory((*steps, *model_steps), seen)


def _grey_steps(scan: Scan, frame: int, window: Window | None) -> Iterator[Step]:
    stored = scan.stored[frame]
    low, high = _ends(stored)
    kind = {"u": "unsigned", "i": "signed", "f": "floating point"}[stored.dtype.kind]
    yield Step(
        "stored",
        {"type": f"{kind}, {scan.bits_stored} bits", "lowest": _short(low), "highest": _short(high)},
        _stretched(_small(stored), low, high),
    )
    # From here on small pictures are worked on: each step acts on every pixel alike.
    values = modality_values(scan, frame)
    yield Step("rescale", _rescale_numbers(scan, values), _stretched(_small(values), *_ends(values)))
    windowed, numbers = _windowed(scan, values, window)
    yield Step("window", numbers, _small(windowed))
    grey = display_grey(scan, frame, window)
    yield Step("polarity", _polarity_numbers(scan, stored), _small(grey))


def _rescale_numbers(scan: Scan, values: FloatImage) -> dict[str, str]:
    lut = scan.modality_lut
    unit = f" {lut.unit}" if lut.unit else ""
    low, high = _ends(values)
    how = "lookup table" if lut.table is not None else f"{lut.slope:g} x stored + {lut.intercept:g}"
    return {"rule": how, "lowest": _short(low) + unit, "highest": _short(high) + unit}


def _windowed(scan: Scan, values: FloatImage, window: Window | None) -> tuple[FloatImage, dict[str, str]]:
    if window is None and scan.voi_lut is not None:
        table = scan.voi_lut
        return np.clip(table(values) / np.float32(2**table.bits - 1), 0, 1), {"rule": "the file's VOI LUT"}
    chosen = window or default_window(scan)
    grey = apply_window(values, chosen)
    cut = {
        "all black": f"{100 * float((grey <= 0).mean()):.1f} %",
        "all white": f"{100 * float((grey >= 1).mean()):.1f} %",
    }
    return grey, {"centre": f"{chosen.centre:g}", "width": f"{chosen.width:g}", "function": chosen.function} | cut


def _polarity_numbers(scan: Scan, stored: npt.NDArray[np.generic]) -> dict[str, str]:
    inverted = scan.photometric == "MONOCHROME1"
    numbers = {"polarity": "inverted (MONOCHROME1)" if inverted else "kept (MONOCHROME2)"}
    if scan.padding is not None:
        numbers["padding made black"] = f"{100 * float(is_padding(scan, stored).mean()):.1f} % of the pixels"
    return numbers


def _colour_steps(scan: Scan, frame: int) -> Iterator[Step]:
    stored = scan.stored[frame]
    numbers = {"type": "RGB, 8 bits each", "lowest": str(stored.min()), "highest": str(stored.max())}
    yield Step("stored", numbers, _small(display_rgb(scan, frame)))
    yield Step("luma", {"rule": "0.299 R + 0.587 G + 0.114 B"}, _small(display_grey(scan, frame)))


def _model_steps(scan: Scan, frame: int, spec: "InputSpec") -> tuple[list[Step], tuple[float, float, float, float]]:
    from core.preprocessing import to_model_input

    entry = to_model_input(scan, frame, spec)
    box, tensor = entry.letterbox, entry.tensor[0].numpy()
    left, top, right, bottom = box.seen
    rows, columns = scan.shape
    share = (right - left) * (bottom - top) / (rows * columns)
    square = np.clip(tensor[0] * spec.std + spec.mean, 0, 1).astype(np.float32)
    grey = display_grey(scan, frame)
    seen_part = grey[round(top) : round(bottom), round(left) : round(right)]
    content = square[max(0, box.top) : box.top + box.height, max(0, box.left) : box.left + box.width]
    low, high = _ends(tensor)
    return [
        Step("crop", {"seen": f"{100 * share:.0f} % of the picture", "columns": f"{left:.0f} to {right:.0f}",
                      "rows": f"{top:.0f} to {bottom:.0f}"}, _small(seen_part)),
        Step("resize", {"from": f"{columns} x {rows}", "to": f"{box.width} x {box.height}",
                        "scale": f"{box.width / columns:.3f}"}, _small(content)),
        Step("tensor", {"shape": " x ".join(map(str, entry.tensor.shape)), "rule": f"(grey - {spec.mean:g}) / {spec.std:g}",
                        "lowest": _short(low), "highest": _short(high)}, _small(square)),
    ], (left, top, right, bottom)  # fmt: skip


def _small(picture: npt.NDArray[np.generic]) -> FloatImage:
    """A copy whose longer side is at most THUMBNAIL pixels, averaged."""
    from core.overlay import resize

    floats = np.ascontiguousarray(picture, np.float32)
    scale = min(1.0, THUMBNAIL / max(floats.shape[:2]))
    return resize(floats, *(max(1, round(side * scale)) for side in floats.shape[:2]))


def _stretched(picture: FloatImage, low: float, high: float) -> FloatImage:
    return np.clip((picture - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)


def _ends(values: npt.NDArray[np.generic]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _short(number: float) -> str:
    return f"{number:.6g}"
