"""The block that RadLens' own networks are built from."""

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al. 2016, arXiv 1512.03385), post-activation.

    A ``local`` block looks at 3x3 cells only where it makes the grid coarser, and at single cells else.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, local: bool = False) -> None:
        super().__init__()
        first, second = (3 if stride > 1 else 1, 1) if local else (3, 3)
        self.conv1 = nn.Conv2d(inputs, outputs, first, stride, first // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, second, 1, second // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride), not negative."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))
