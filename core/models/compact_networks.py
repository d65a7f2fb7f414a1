"""RadLens' own classifiers: small residual networks that end in global average pooling and one linear layer."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from core.models.residual_block import ResidualBlock

_WIDTHS = (24, 40, 80, 192)
_JOINED, _MERGED = 96, 128


class CompactResNet(nn.Module):
    """The plain one: a stem and three stages of two residual blocks.

    Total stride 16: an input of 256 gives a feature grid of 16 x 16. The tail makes the evidence of every label exact:
    the logit is the sum of ``weight . activation / cells`` over the grid plus the bias (Zhou et al. 2016, arXiv 1512.04150).
    """

    # Pixels a cell of the feature grid is wide.
    stride = 16

    def __init__(self, channels: int = 1, labels: int = 9, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, 2, 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        stages = [self._stage(number, *pair) for number, pair in enumerate(pairwise(widths))]
        self.blocks = nn.Sequential(*(block for stage in stages for block in stage))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(widths[-1], labels)

    def _stage(self, _number: int, inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        return ResidualBlock(inputs, outputs, 2), ResidualBlock(outputs, outputs, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> activations (n, widths[-1], s / 16, s / 16), not negative."""
        return self.blocks(self.stem(x))

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """Activations -> logits (n, labels): mean over the grid, then one linear layer."""
        return self.fc(self.dropout(torch.flatten(self.pool(features), 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> logits (n, labels)."""
        return self.tail(self.features(x))


class CompactLocal(CompactResNet):
    """The plain one with a last stage that looks no further around: a cell sees 105 pixels instead of 201.

    What a cell says can then come only from its own surroundings (bags of local features, Brendel and Bethge 2019,
    arXiv 1904.00760): what lies at the border of a picture cannot speak through its middle.
    """

    def _stage(self, number: int, inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        if number < len(_WIDTHS) - 2:
            return super()._stage(number, inputs, outputs)
        return ResidualBlock(inputs, outputs, 2, local=True), ResidualBlock(outputs, outputs, 1, local=True)


class CompactPyramid(CompactResNet):
    """The plain one whose last maps are joined with finer ones (feature pyramid, Lin et al. 2017, arXiv 1612.03144).

    Total stride 8: an input of 256 gives a feature grid of 32 x 32, for findings that are small. The tail is the same,
    so the evidence stays exact.
    """

    stride = 8

    def __init__(self, channels: int = 1, labels: int = 9, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__(channels, labels, widths)
        self.lateral = nn.Conv2d(widths[-2], _JOINED, 1, bias=False)
        self.top = nn.Conv2d(widths[-1], _JOINED, 1, bias=False)
        self.merge = nn.Sequential(
            nn.BatchNorm2d(_JOINED),
            nn.ReLU(),
            nn.Conv2d(_JOINED, _MERGED, 3, 1, 1, bias=False),
            nn.BatchNorm2d(_MERGED),
            nn.ReLU(),
        )
        self.fc = nn.Linear(_MERGED, labels)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> activations (n, 128, s / 8, s / 8), not negative; s a multiple of 16."""
        *fine_blocks, first_coarse, last_coarse = self.blocks
        fine = self.stem(x)
        for block in fine_blocks:
            fine = block(fine)
        coarse = functional.interpolate(self.top(last_coarse(first_coarse(fine))), scale_factor=2.0, mode="nearest")
        return self.merge(self.lateral(fine) + coarse)
