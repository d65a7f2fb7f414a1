"""What the reader marked in the viewer: from the browser's words, which may be anything, to a region over the scan."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The viewer's grid has 128 cells along the longer side.
_MOST_SIDE = 256


@dataclass(frozen=True, slots=True)
class Marked:
    """``runs``: first and count of marked cells, row by row, of a grid (rows, columns) over the scan's ``frame``.

    ``number`` tells one mark from the next.
    """

    frame: int
    number: int
    rows: int
    columns: int
    runs: tuple[int, ...]

    @property
    def region(self) -> "npt.NDArray[np.bool_]":
        """The marked cells, (rows, columns) bool."""
        import numpy as np

        cells = np.zeros(self.rows * self.columns, np.bool_)
        for first, count in zip(self.runs[::2], self.runs[1::2], strict=True):
            cells[first : first + count] = True
        return cells.reshape(self.rows, self.columns)


def marked_by(value: Any) -> Marked | None:
    """The mark that the viewer told of, None where there is none or what came is not one."""
    if not isinstance(value, dict):
        return None
    runs = value.get("runs")
    numbers = [_whole(value.get(name)) for name in ("frame", "number", "rows", "columns")]
    if not isinstance(runs, list) or None in numbers:
        return None
    frame, number, rows, columns = (int(one or 0) for one in numbers)
    steps = [_whole(run) for run in runs[: _MOST_SIDE**2]]
    if not (0 < rows <= _MOST_SIDE and 0 < columns <= _MOST_SIDE) or len(steps) % 2 or not steps or None in steps:
        return None
    return Marked(frame, number, rows, columns, tuple(int(step or 0) for step in steps))


def _whole(value: Any) -> int | None:
    """A number of the browser's as a whole one that is not negative, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 2**53 and value == int(value) else None
