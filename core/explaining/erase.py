"""Erase a region and ask again: how far each answer moves when a part of the picture is not there to be seen.

What is erased is filled, and no fill is innocent: a blur keeps the brightness and loses the detail, the mean makes a flat patch
with an edge, neighbours (Telea 2004, J. Graph. Tools 9:23) continue what lies around it. The network has seen none of them
in training, so a small change of the answer means little (Hooker et al. 2019, arXiv 1806.10758).
"""

from typing import Literal, get_args

import cv2
import numpy as np
import torch

from core.errors import ConfigurationError
from core.preprocessing import Letterbox

Fill = Literal["blur", "mean", "neighbour"]

# Standard deviation of the blur, in shares of the square: what is smaller than about a fifth of the picture goes.
BLUR = 1 / 12


def content_of(letterbox: Letterbox) -> torch.Tensor:
    """The square's pixels that show the picture and no bar, (size, size) bool."""
    content = torch.zeros(letterbox.size, letterbox.size, dtype=torch.bool)
    top, left = max(0, letterbox.top), max(0, letterbox.left)
    content[top : letterbox.top + letterbox.height, left : letterbox.left + letterbox.width] = True
    return content


def filled(picture: torch.Tensor, content: torch.Tensor, region: torch.Tensor, fill: Fill) -> torch.Tensor:
    """A picture (1, channels, size, size) whose ``region`` (size, size) bool is filled; bars outside ``content`` stay.

    Raises ConfigurationError for a fill that does not exist.
    """
    if fill not in get_args(Fill):
        raise ConfigurationError(f"A region is filled by {', '.join(get_args(Fill))}, not by {fill!r}.")
    inside = region & content
    if fill == "neighbour":
        return torch.where(inside, _continued(picture, inside), picture)
    base = blurred(picture, content) if fill == "blur" else _mean(picture, content)
    return torch.where(inside, base, picture)


def blurred(picture: torch.Tensor, content: torch.Tensor, blur: float = BLUR) -> torch.Tensor:
    """The picture without its detail: Gaussian, of standard deviation ``blur``; nothing of the bars bleeds in."""
    spread = blur * picture.shape[-1]
    reach = round(3 * spread)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / spread) ** 2) / 2)
    # Divided by how much of the kernel lies on the picture (normalised convolution, Knutsson and Westin 1993).
    cover = _smooth(content[None, None].float(), kernel)
    smooth = torch.cat([_smooth(channel, kernel) for channel in (picture * content).split(1, 1)], 1)
    return torch.where(content, smooth / cover.clamp(min=1e-6), picture)


def _smooth(channel: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """By OpenCV, which is ten times faster here than a convolution of one channel with so wide a kernel."""
    taps, values = kernel.numpy(), np.ascontiguousarray(channel[0, 0].numpy())
    smooth = cv2.sepFilter2D(values, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_CONSTANT)
    return torch.from_numpy(smooth)[None, None]


def _mean(picture: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """The mean of each channel, (1, channels, 1, 1)."""
    return picture[..., content].mean(-1)[..., None, None]


def _continued(picture: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """What lies around the region, continued into it, channel by channel, in 256 steps between the picture's extremes."""
    low, high = float(picture.min()), float(picture.max())
    step = max(high - low, 1e-6) / 255
    mask = region.numpy().astype(np.uint8)
    steps = ((picture[0] - low) / step).round().to(torch.uint8).numpy()
    found = np.stack([cv2.inpaint(channel, mask, 3, cv2.INPAINT_TELEA) for channel in steps])
    return torch.from_numpy(found)[None].float() * step + low
