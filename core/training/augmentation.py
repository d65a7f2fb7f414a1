"""What varies in training: framing, rotations, exposure, sharpness, noise, compression, borders.

Left and right are exchanged only where the configuration says so: a chest that is mirrored is another diagnosis.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

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
        exposed = self._stored(self._exposure(self._blur(moved)))
        moved_boxes = [
            {code: [_moved(box, matrix, pictures.shape[-1]) for box in found] for code, found in one.items()}
            for one, matrix in zip(boxes, matrices, strict=True)
        ]
        return self._bars(self._foreign_borders(exposed)), moved_boxes

    def with_masks(self, pictures: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, c, s, s) grey 0..1 and masks (n, labels, s, s) of 0 and 1 -> the same, changed: a mask moves with its picture.

        No bars: they would cover what the mask outlines.
        """
        grid = functional.affine_grid(self._matrices(len(pictures)), list(pictures.shape), align_corners=False)
        moved = functional.grid_sample(pictures, grid, mode="bilinear", align_corners=False)
        outlines = functional.grid_sample(masks, grid, mode="nearest", align_corners=False)
        return self._stored(self._exposure(self._blur(moved))), outlines

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
        smaller = int(self._uniform(1, *self._settings.resolutions).item() * size)
        coarse = functional.interpolate(pictures[chosen], smaller, mode="bilinear", antialias=True)
        blurred = pictures.clone()
        blurred[chosen] = functional.interpolate(coarse, size, mode="bilinear")
        return blurred

    def _stored(self, pictures: torch.Tensor) -> torch.Tensor:
        """Some pictures go through JPEG."""
        settings = self._settings
        for index in self._drawn(len(pictures), settings.jpeg):
            quality = round(self._uniform(1, *settings.jpeg_qualities).item())
            grey = (pictures[index] * 255).round().to(torch.uint8)
            pictures[index] = decode_jpeg(encode_jpeg(grey, quality), ImageReadMode.UNCHANGED).float() / 255
        return pictures

    def _foreign_borders(self, pictures: torch.Tensor) -> torch.Tensor:
        """Some pictures get the outer ring of another one."""
        size, settings = pictures.shape[-1], self._settings
        lenders = pictures[torch.randperm(len(pictures), generator=self._random)]
        for index in self._drawn(len(pictures), settings.borders):
            width = int(self._uniform(1, *settings.border_widths).item() * size)
            inner = pictures[index, :, width : size - width, width : size - width].clone()
            pictures[index] = lenders[index]
            pictures[index, :, width : size - width, width : size - width] = inner
        return pictures

    def _drawn(self, count: int, share: float) -> list[int]:
        """The pictures that something happens to."""
        return torch.nonzero(torch.rand(count, generator=self._random) < share).flatten().tolist()

    def _bars(self, pictures: torch.Tensor) -> torch.Tensor:
        """Some pictures get the black bars that a letterbox gives to a film that is not square."""
        size, settings = pictures.shape[-1], self._settings
        for index in self._drawn(len(pictures), settings.bar_share):
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
