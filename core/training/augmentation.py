"""What varies in training: framing, rotations, exposure, sharpness, noise.

Left and right are exchanged only where the configuration says so: a chest that is mirrored is another diagnosis.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from core.metrics import Box
from core.training.configuration import AugmentSection


class Augmentation:
    """Seeded random changes of a batch, the same geometric change for a picture and its boxes."""

    def __init__(self, seed: int, settings: AugmentSection) -> None:
        self._settings = settings
        self._random = torch.Generator().manual_seed(seed)

    def __call__(
        self, pictures: torch.Tensor, boxes: Sequence[Mapping[str, list[Box]]]
    ) -> tuple[torch.Tensor, list[dict[str, list[Box]]]]:
        """(n, c, s, s) grey 0..1 and their boxes in pixels -> the same, changed. Values stay within 0..1."""
        matrices = self._matrices(len(pictures))
        grid = functional.affine_grid(matrices, list(pictures.shape), align_corners=False)
        moved = functional.grid_sample(pictures, grid, mode="bilinear", align_corners=False)
        exposed = self._exposure(self._blur(moved))
        moved_boxes = [
            {code: [_moved(box, matrix, pictures.shape[-1]) for box in found] for code, found in one.items()}
            for one, matrix in zip(boxes, matrices, strict=True)
        ]
        return self._bars(exposed), moved_boxes

    def _uniform(self, count: int, low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=self._random) * (high - low) + low

    def _matrices(self, count: int) -> torch.Tensor:
        """Output -> input coordinates, (n, 2, 3), for ``affine_grid``; rows and columns scale apart a little."""
        turn, reach, scales = math.radians(self._settings.rotation), 2 * self._settings.shift, self._settings.scales
        angle = self._uniform(count, -turn, turn)
        scale_x, scale_y = self._uniform(count, *scales), self._uniform(count, *scales)
        cos, sin = torch.cos(angle), torch.sin(angle)
        shift = torch.stack([self._uniform(count, -reach, reach) for _ in range(2)], 1)
        linear = torch.stack(
            [torch.stack([cos * scale_x, -sin * scale_y], 1), torch.stack([sin * scale_x, cos * scale_y], 1)], 1
        )
        if self._settings.mirror:
            linear[:, :, 0] *= torch.where(self._uniform(count, 0, 1) < 0.5, -1.0, 1.0)[:, None]
        return torch.cat([linear, shift[:, :, None]], 2)

    def _exposure(self, pictures: torch.Tensor) -> torch.Tensor:
        """Gamma, contrast and brightness, as between detectors, and noise."""
        count, ranges = len(pictures), self._settings
        gamma, contrast, brightness, noise = (
            self._uniform(count, low, high)[:, None, None, None]
            for low, high in (ranges.gammas, ranges.contrasts, ranges.brightnesses, ranges.noises)
        )
        changed = (pictures.clamp(0, 1) ** gamma - 0.5) * contrast + 0.5 + brightness
        grain = torch.randn(pictures.shape, generator=self._random)
        return (changed + grain * noise).clamp(0, 1)

    def _blur(self, pictures: torch.Tensor) -> torch.Tensor:
        """Some pictures lose resolution, as after a smaller export."""
        chosen = torch.rand(len(pictures), generator=self._random) < self._settings.soften
        if not bool(chosen.any()):
            return pictures
        size = pictures.shape[-1]
        smaller = int(self._uniform(1, 0.6, 0.9).item() * size)
        coarse = functional.interpolate(pictures[chosen], smaller, mode="bilinear", antialias=True)
        blurred = pictures.clone()
        blurred[chosen] = functional.interpolate(coarse, size, mode="bilinear")
        return blurred

    def _bars(self, pictures: torch.Tensor) -> torch.Tensor:
        """Some pictures get the black bars that a letterbox gives to a film that is not square."""
        size, settings = pictures.shape[-1], self._settings
        for index in (
            torch.nonzero(torch.rand(len(pictures), generator=self._random) < settings.bar_share).flatten().tolist()
        ):
            bar = int(self._uniform(1, 0.01, settings.bars).item() * size)
            axis = 1 + int(torch.randint(2, (1,), generator=self._random).item())
            pictures[index].narrow(axis, 0, bar).zero_()
            pictures[index].narrow(axis, size - bar, bar).zero_()
        return pictures


def _moved(box: Box, matrix: torch.Tensor, size: int) -> Box:
    """The upright box around the moved corners of a box, cut to the picture."""
    x, y, w, h = box
    corners = torch.tensor([[x, y], [x + w, y], [x, y + h], [x + w, y + h]]) * 2 / size - 1
    moved = torch.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    edges = ((moved + 1) * size / 2).clamp(0, size)
    (left, top), (right, bottom) = edges.amin(0).tolist(), edges.amax(0).tolist()
    return left, top, right - left, bottom - top
