"""As large a region somewhere else: what erasing just any place does, beside what erasing this one does.

Whatever is erased, the picture becomes one that the network has never seen, so that every answer moves a little. The change
of an answer says something about a place only where it is larger than that.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy import signal
from torch.nn import functional

Region = npt.NDArray[np.bool_]

# Places are tried on so many cells a side.
_CELLS = 64
# The share of the moved region that must lie where it may.
FITS = 0.9
_SEED = 0


def moved(region: Region, allowed: Region, count: int) -> tuple[Region, ...]:
    """Up to ``count`` copies of a region (size, size), moved within ``allowed`` and off the region itself.

    The places are drawn at random, always the same for the same region, and keep apart from each other by half the side of
    a square as large as the region; there are none where nothing as large finds room.
    """
    size, cells = len(region), min(_CELLS, len(region))
    step, side = size / cells, float(region.sum()) ** 0.5
    left = np.random.default_rng(_SEED).permutation(_shifts(region, allowed & ~region, cells))
    chosen: list[npt.NDArray[np.intp]] = []
    while len(left) and len(chosen) < count:
        chosen.append(left[0])
        left = left[np.hypot(*(left - left[0]).T) * step >= side / 2]
    return tuple(_shifted(region, *np.rint(shift * step).astype(int)) & allowed for shift in chosen)


def _shifts(region: Region, allowed: Region, cells: int) -> npt.NDArray[np.intp]:
    """Every shift in cells, (n, 2), that leaves FITS of the region on ``allowed``."""
    own, room = (_coarse(values, cells) for values in (region, allowed))
    overlap = signal.correlate(room, own, mode="full", method="fft")
    return np.argwhere(overlap >= FITS * own.sum()) - (cells - 1)


def _coarse(values: Region, cells: int) -> npt.NDArray[np.float64]:
    return functional.adaptive_avg_pool2d(torch.from_numpy(values)[None].double(), cells)[0].numpy()


def _shifted(region: Region, down: int, right: int) -> Region:
    """The region moved; what leaves the square is lost."""
    found = np.zeros_like(region)
    rows, columns = np.nonzero(region)
    rows, columns = rows + down, columns + right
    inside = (rows >= 0) & (rows < len(region)) & (columns >= 0) & (columns < len(region))
    found[rows[inside], columns[inside]] = True
    return found
