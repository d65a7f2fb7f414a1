"""Networks that answer every pixel: logits (n, labels, s, s) for a picture of s x s."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from core.models.residual_block import ResidualBlock

# The picture is halved so often on the way down: its side must be a multiple of this.
TOTAL_STRIDE = 16


class UpBlock(nn.Module):
    """Twice the resolution, the encoder's features of that resolution beside it, two 3x3 convolutions with batch norm."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs + skipped, outputs, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) and (n, skipped, 2 h, 2 w) -> (n, outputs, 2 h, 2 w), not negative."""
        wide = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        out = self.relu(self.bn1(self.conv1(torch.cat([wide, skipped], 1))))
        return self.relu(self.bn2(self.conv2(out)))


class CompactUNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with the residual encoder of ``compact-resnet``.

    The encoder's layers have the names and sizes of that network's, so that one can start from the other. The lowest grid
    is a sixteenth of the picture's side (224 gives 14 x 14: the target layer of Seg-Grad-CAM); the logits are computed at
    half the side and stretched to the whole, bilinear.
    """

    def __init__(
        self,
        channels: int = 1,
        labels: int = 1,
        widths: tuple[int, ...] = (24, 40, 80, 192),
        up_widths: tuple[int, ...] = (64, 32, 16),
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, 2, 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            blocks += [ResidualBlock(inputs, outputs, 2), ResidualBlock(outputs, outputs, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout2d(0.2)
        lower = (widths[-1], *up_widths[:-1])
        sizes = zip(lower, reversed(widths[:-1]), up_widths, strict=True)
        self.up = nn.ModuleList(UpBlock(inputs, skipped, outputs) for inputs, skipped, outputs in sizes)
        self.head = nn.Conv2d(up_widths[-1], labels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> logits (n, labels, s, s); s is a multiple of 16."""
        levels = [self.stem(x)]
        for level in range(0, len(self.blocks), 2):
            levels.append(self.blocks[level + 1](self.blocks[level](levels[-1])))
        out = self.dropout(levels.pop())
        for up in self.up:
            out = up(out, levels.pop())
        return functional.interpolate(self.head(out), scale_factor=2.0, mode="bilinear", align_corners=False)
