"""ModelInput: one frame of a scan -> the network's tensor, and the exact way back to the scan's grid.

The picture is resized without distortion and centred: whole, on a black square (letterbox), or so that it fills the square
and loses its longer ends (crop), as the model's card says. All coordinates count pixel centres:
pixel (row, column) = (0, 0) is the centre of the first pixel, so that a resize by ``s`` maps ``y`` to ``(y + 0.5) * s - 0.5``.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.models.card import InputSpec
from core.scan import Scan
from core.windowing import FloatImage, display_grey, display_rgb


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture of ``rows`` x ``columns`` lies in a square of ``size``.

    Its content is ``height`` x ``width`` pixels at (``top``, ``left``); the rest of the square is black. Where the
    content is larger than the square, ``top`` or ``left`` is negative and the ends are not seen by the model.
    """

    rows: int
    columns: int
    size: int
    height: int
    width: int
    top: int
    left: int

    @classmethod
    def fit(cls, rows: int, columns: int, size: int, *, crop: bool = False) -> "Letterbox":
        """The largest undistorted content that fits the square, or with ``crop`` the smallest that fills it, centred."""
        scale = size / (min if crop else max)(rows, columns)
        height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
        return cls(rows, columns, size, height, width, (size - height) // 2, (size - width) // 2)

    @property
    def seen(self) -> tuple[float, float, float, float]:
        """The part of the scan that the model sees: left, top, right, bottom in pixels, edges, not centres."""
        sx, sy = self.columns / self.width, self.rows / self.height
        right, bottom = (self.size - self.left) * sx, (self.size - self.top) * sy
        return max(0, -self.left) * sx, max(0, -self.top) * sy, min(self.columns, right), min(self.rows, bottom)

    def to_model(self, row: float, column: float) -> tuple[float, float]:
        """A point of the scan, in the model's square."""
        y = (row + 0.5) * self.height / self.rows - 0.5 + self.top
        x = (column + 0.5) * self.width / self.columns - 0.5 + self.left
        return y, x

    def to_scan(self, y: float, x: float) -> tuple[float, float]:
        """A point of the model's square, on the scan (outside it for points on the letterbox's bars)."""
        row = (y - self.top + 0.5) * self.rows / self.height - 0.5
        column = (x - self.left + 0.5) * self.columns / self.width - 0.5
        return row, column

    def box_to_model(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """A box (x, y of its upper left corner, width, height; edges, not centres) in the model's square."""
        sx, sy = self.width / self.columns, self.height / self.rows
        return x * sx + self.left, y * sy + self.top, width * sx, height * sy

    def to_scan_grid(
        self, values: npt.NDArray[np.float32], rows: int | None = None, columns: int | None = None
    ) -> FloatImage:
        """A map over the whole square, at any resolution (h, w), resampled to the scan's grid (rows, columns), bilinear.

        Every scan pixel takes the value at its own place in the square, so that a shifted letterbox or a rounded size
        never moves the map. ``rows`` and ``columns`` give the same map for a copy of the scan in another size.
        """
        y, sees_y = self._grid_positions(rows or self.rows, self.height, self.top, values.shape[0])
        x, sees_x = self._grid_positions(columns or self.columns, self.width, self.left, values.shape[1])
        grid = _bilinear(np.ascontiguousarray(values, np.float32), y, x)
        # What the model does not see is evidence for nothing.
        grid[~sees_y], grid[:, ~sees_x] = 0, 0
        return grid

    def _grid_positions(
        self, count: int, content: int, start: int, cells: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        in_square = (np.arange(count) + 0.5) * content / count + start
        inside = (in_square >= 0) & (in_square <= self.size)
        return np.clip(in_square * cells / self.size - 0.5, 0, cells - 1), inside


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """What the network sees: ``tensor`` (1, channels, size, size) float32, and where each of its pixels comes from."""

    tensor: torch.Tensor = field(repr=False)
    letterbox: Letterbox


def to_model_input(scan: Scan, frame: int, spec: InputSpec) -> ModelInput:
    """One frame as the card's input says: the file's own window, grey or RGB, letterbox, normalised.

    The reader's window never changes the input: the same file gives the same prediction.
    """
    box = Letterbox.fit(*scan.shape, spec.size, crop=spec.fit == "crop")
    content = _channels(scan, frame, spec.channels)
    content = functional.interpolate(content, (box.height, box.width), mode="bilinear", antialias=True)
    # Grey becomes three channels when it is small: resizing each of them would cost three times as much.
    content = content.expand(1, spec.channels, box.height, box.width)
    # Bars where the content is smaller than the square, cuts where it is larger.
    bars = (box.left, spec.size - box.width - box.left, box.top, spec.size - box.height - box.top)
    square = functional.pad(content, bars)
    return ModelInput((square - spec.mean) / spec.std, box)


def _channels(scan: Scan, frame: int, channels: int) -> torch.Tensor:
    if channels == 3 and scan.is_colour:
        return torch.from_numpy(display_rgb(scan, frame)).permute(2, 0, 1)[None].contiguous()
    return torch.from_numpy(np.ascontiguousarray(display_grey(scan, frame)))[None, None]


def _bilinear(values: FloatImage, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> FloatImage:
    rows = _interpolate_rows(values, y)
    return np.ascontiguousarray(_interpolate_rows(np.ascontiguousarray(rows.T), x).T)


def _interpolate_rows(values: FloatImage, position: npt.NDArray[np.float64]) -> FloatImage:
    lower = np.floor(position).astype(np.intp)
    upper = np.minimum(lower + 1, values.shape[0] - 1)
    share = (position - lower).astype(np.float32)[:, None]
    return values[lower] * (1 - share) + values[upper] * share
