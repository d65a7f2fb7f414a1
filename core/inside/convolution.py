"""The kernel bench: a kernel of one's own on a picture, window by window, with the articles' formulas.

y(r, q) = b + sum_i sum_j k(i, j) x(r s - p + i d, q s - p + j d), which is torch's conv2d (a cross-correlation: the kernel is not
turned round). Output size: floor((n + 2 p - d (k - 1) - 1) / s) + 1 (Dumoulin and Visin 2016, arXiv 1603.07285).
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.analysis import FloatArray
from core.errors import ConfigurationError
from core.overlay import encode_png, resize, to_eight_bits
from core.scan import Scan
from core.windowing import display_grey

Kernel = npt.NDArray[np.float64]
Pooling = Literal["max", "average", "min"]

_SIDES = (1, 3, 5, 7)
_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class Sliding:
    """How a window slides: every ``stride`` pixels, over a frame of ``padding`` zeros, its cells ``dilation`` apart."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.stride <= 64 and 1 <= self.dilation <= 16 and 0 <= self.padding <= 64):
            raise ConfigurationError(
                f"A stride of 1 to 64, a padding of 0 to 64 and a dilation of 1 to 16 are expected, not {self.stride}, "
                f"{self.padding} and {self.dilation}."
            )

    def size(self, side: int, kernel: int) -> int:
        """How many windows fit along a side.

        Raises ConfigurationError when none does.
        """
        count = (side + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
        if side + 2 * self.padding < self.dilation * (kernel - 1) + 1 or count < 1:
            raise ConfigurationError(
                f"A window of {self.dilation * (kernel - 1) + 1} does not fit into {side} pixels with a padding of "
                f"{self.padding}; choose a smaller kernel or dilation, or more padding."
            )
        return count

    def formula(self, side: int, kernel: int) -> str:
        """The output size with its numbers put in."""
        return (
            f"floor(({side} + 2 x {self.padding} - {self.dilation} x ({kernel} - 1) - 1) / {self.stride}) + 1 = "
            f"{self.size(side, kernel)}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class WindowStep:
    """One step of the sliding window: the ``patch`` under it (zeros outside the picture), and where it lies there."""

    row: int
    column: int
    top: int
    left: int
    patch: Kernel = field(repr=False)
    kernel: Kernel = field(repr=False)
    bias: float

    @property
    def products(self) -> Kernel:
        """Patch x kernel, cell by cell."""
        product: Kernel = self.patch * self.kernel
        return product

    @property
    def value(self) -> float:
        """The sum of the products and the bias."""
        return float(self.products.sum()) + self.bias


def grey_levels(scan: Scan, frame: int, side: int) -> FloatArray:
    """The displayed grey of a frame as whole numbers 0..255, averaged down to ``side`` pixels on the longer side."""
    scale = min(1.0, side / max(scan.shape))
    rows, columns = (max(1, round(length * scale)) for length in scan.shape)
    return np.rint(255 * np.clip(resize(display_grey(scan, frame), rows, columns), 0, 1)).astype(np.float32)


def grey_png(values: FloatArray) -> bytes:
    """Numbers (rows, columns) as a grey PNG, black at the lowest and white at the highest."""
    low, high = float(values.min()), float(values.max())
    return encode_png(to_eight_bits(((values - low) / max(high - low, 1e-12)).astype(np.float32)))


def convolve(picture: FloatArray, kernel: Kernel, sliding: Sliding, bias: float = 0.0) -> FloatArray:
    """A grey picture (rows, columns) under a kernel (k, l) -> (rows', columns') float32.

    Raises ConfigurationError when the window does not fit.
    """
    windows = _windows(picture, kernel.shape, sliding, 0.0)
    return np.asarray(np.einsum("rcij,ij->rc", windows, kernel) + bias, np.float32)


def window_step(
    picture: FloatArray, kernel: Kernel, sliding: Sliding, row: int, column: int, bias: float = 0.0
) -> WindowStep:
    """The window that makes the output's value (row, column).

    Raises ConfigurationError when there is no such value.
    """
    windows = _windows(picture, kernel.shape, sliding, 0.0)
    if not (0 <= row < windows.shape[0] and 0 <= column < windows.shape[1]):
        raise ConfigurationError(
            f"The output has {windows.shape[0]} x {windows.shape[1]} values; there is none at {row}, {column}."
        )
    top, left = (at * sliding.stride - sliding.padding for at in (row, column))
    return WindowStep(row, column, top, left, windows[row, column].astype(np.float64), kernel, bias)


def pool(picture: FloatArray, way: Pooling, side: int, sliding: Sliding) -> FloatArray:
    """The largest, smallest or mean value of every window of ``side`` x ``side``.

    What is padded never is the largest or smallest, and counts as 0 in the mean, as in torch.
    Raises ConfigurationError when the window does not fit, or the padding is more than half of it (as in torch).
    """
    if sliding.padding > side // 2:
        raise ConfigurationError(f"Padding of at most half the window is expected, {side // 2}, not {sliding.padding}.")
    outside = {"max": -math.inf, "min": math.inf, "average": 0.0}[way]
    windows = _windows(picture, (side, side), sliding, outside)
    if way == "average":
        return np.asarray(windows.mean((2, 3)), np.float32)
    return np.asarray(windows.max((2, 3)) if way == "max" else windows.min((2, 3)), np.float32)


def parse_kernel(text: str) -> Kernel:
    """A kernel as somebody types it: rows on lines or between semicolons, numbers between blanks or commas.

    Raises ConfigurationError unless it is a square of 1, 3, 5 or 7 finite numbers a side.
    """
    lines = [line for line in text.replace(";", "\n").splitlines() if line.strip()]
    try:
        rows = [[float(word) for word in line.replace(",", " ").split()] for line in lines]
    except ValueError as exc:
        raise ConfigurationError("A kernel is made of numbers, such as 0 -1 0; one of its cells is not one.") from exc
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or widths[0] != len(rows) or len(rows) not in _SIDES:
        found = f"{len(rows)} x {' or '.join(str(width) for width in widths)}" if rows else "nothing"
        raise ConfigurationError(f"A kernel of 1 x 1, 3 x 3, 5 x 5 or 7 x 7 numbers is expected; this is {found}.")
    kernel = np.array(rows, np.float64)
    if not np.isfinite(kernel).all() or np.abs(kernel).max() > _LARGEST:
        raise ConfigurationError("A kernel's numbers must be finite and at most a million; one of its cells is not.")
    return kernel


def kernel_text(kernel: Kernel) -> str:
    """The kernel as ``parse_kernel`` reads it."""
    return "\n".join(" ".join(f"{value:.4g}" for value in row) for row in kernel)


def gabor(side: int, degrees: float, wavelength: float = 4.0, spread: float = 2.0) -> Kernel:
    """A wave under a bell: answers to stripes of one direction and width, as simple cells do (Daugman 1985); sums to 0."""
    reach = np.arange(side) - side // 2
    y, x = np.meshgrid(reach, reach, indexing="ij")
    along = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
    wave = np.exp(-(x**2 + y**2) / (2 * spread**2)) * np.cos(2 * math.pi * along / wavelength)
    bell = np.exp(-(x**2 + y**2) / (2 * spread**2))
    kernel: Kernel = wave - bell * wave.sum() / bell.sum()
    return kernel / np.abs(kernel).sum()


def gaussian(side: int, spread: float) -> Kernel:
    """A bell that sums to 1: blurs."""
    reach = np.arange(side) - side // 2
    bell = np.exp(-(reach**2) / (2 * spread**2))
    kernel: Kernel = np.outer(bell, bell)
    return kernel / kernel.sum()


def _unit(side: int) -> Kernel:
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2] = 1
    return kernel


# The classic ones, by the key of their words.
KERNELS: dict[str, Kernel] = {
    "identity": _unit(3),
    "edges": np.array([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sobel_across": np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "sobel_down": np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "mean": np.full((3, 3), 1 / 9),
    "gaussian": gaussian(7, 1.5),
    "sharpen": np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "unsharp": 2 * _unit(7) - gaussian(7, 2.0),
    "emboss": np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    "gabor_upright": gabor(7, 0),
    "gabor_lying": gabor(7, 90),
    "gabor_slanted": gabor(7, 45),
}


def _windows(picture: FloatArray, kernel: tuple[int, ...], sliding: Sliding, outside: float) -> npt.NDArray[np.float64]:
    """A view of every window, (rows', columns', k, l)."""
    counts = [sliding.size(side, cells) for side, cells in zip(picture.shape, kernel, strict=True)]
    padded = np.pad(picture.astype(np.float64), sliding.padding, constant_values=outside)
    reach = tuple(sliding.dilation * (cells - 1) + 1 for cells in kernel)
    views = np.lib.stride_tricks.sliding_window_view(padded, reach)
    found = views[:: sliding.stride, :: sliding.stride, :: sliding.dilation, :: sliding.dilation]
    return found[: counts[0], : counts[1]]
