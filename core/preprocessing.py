"""ModelInput: one frame of a scan -> what the network sees, and the exact way back to the scan's grid. No torch needed.

The picture is resized without distortion and centred: whole, on a black square (letterbox), or so that it fills the square
and loses its longer ends (crop), as the model's card says. All coordinates count pixel centres:
pixel (row, column) = (0, 0) is the centre of the first pixel, so that a resize by ``s`` maps ``y`` to ``(y + 0.5) * s - 0.5``.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.models.card import InputSpec
from core.resizing import resized
from core.scan import Scan
from core.windowing import FloatImage, display_grey, display_rgb

if TYPE_CHECKING:
    import torch


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
    """What the network sees: ``picture`` (1, channels, size, size) float32, read-only, and where each pixel comes from."""

    picture: FloatImage = field(repr=False)
    letterbox: Letterbox

    @property
    def tensor(self) -> "torch.Tensor":
        """The picture as a tensor of its own."""
        import torch

        return torch.tensor(self.picture)


def to_model_input(scan: Scan, frame: int, spec: InputSpec) -> ModelInput:
    """One frame as the card's input says: the file's own window, grey or RGB, letterbox, normalised.

    The reader's window never changes the input: the same file gives the same prediction.
    """
    box = Letterbox.fit(*scan.shape, spec.size, crop=spec.fit == "crop")
    content = resized(_channels(scan, frame, spec.channels), box.height, box.width)
    square = np.zeros((spec.size, spec.size, content.shape[2]), np.float32)
    square[_shown(box.top, box.height, spec.size), _shown(box.left, box.width, spec.size)] = content[
        _kept(box.top, spec.size), _kept(box.left, spec.size)
    ]
    picture = np.empty((1, spec.channels, spec.size, spec.size), np.float32)
    # Grey becomes three channels when it is small: resizing each of them would cost three times as much.
    picture[0] = (square.transpose(2, 0, 1) - np.float32(spec.mean)) / np.float32(spec.std)
    picture.setflags(write=False)
    return ModelInput(picture, box)


def _shown(start: int, length: int, size: int) -> slice:
    """The part of the square that content of this length covers, from ``start`` on, which is negative where it is cut."""
    return slice(max(0, start), min(size, start + length))


def _kept(start: int, size: int) -> slice:
    """The part of the content that the square shows."""
    return slice(max(0, -start), size - start)


def _channels(scan: Scan, frame: int, channels: int) -> FloatImage:
    """(rows, columns, 3) of a colour scan for a network of three channels, else (rows, columns, 1)."""
    if channels == 3 and scan.is_colour:
        return display_rgb(scan, frame)
    return display_grey(scan, frame)[:, :, None]


def _bilinear(values: FloatImage, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> FloatImage:
    rows = _interpolate_rows(values, y)
    return np.ascontiguousarray(_interpolate_rows(np.ascontiguousarray(rows.T), x).T)


def _interpolate_rows(values: FloatImage, position: npt.NDArray[np.float64]) -> FloatImage:
    lower = np.floor(position).astype(np.intp)
    upper = np.minimum(lower + 1, values.shape[0] - 1)
    share = (position - lower).astype(np.float32)[:, None]
    return values[lower] * (1 - share) + values[upper] * share
