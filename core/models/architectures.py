"""The networks that RadLens builds by name. A model card may name one of these and nothing else.

Weights never bring code with them: the architecture is code in this file or in torchvision, the weights are numbers.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import nn
from torchvision import models as torchvision_models

from core.errors import ModelRejected


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al. 2016, arXiv 1512.03385), post-activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
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


class CompactResNet(nn.Module):
    """RadLens' own network: a small residual network that ends in global average pooling and one linear layer.

    Total stride 16: an input of 256 gives a feature grid of 16 x 16. The tail makes the evidence of every label exact:
    the logit is the sum of ``weight . activation / cells`` over the grid plus the bias (Zhou et al. 2016, arXiv 1512.04150).
    """

    def __init__(self, channels: int = 1, labels: int = 9, widths: tuple[int, ...] = (24, 40, 80, 192)) -> None:
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
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(widths[-1], labels)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> activations (n, widths[-1], s / 16, s / 16), not negative."""
        return self.blocks(self.stem(x))

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """Activations -> logits (n, labels): mean over the grid, then one linear layer."""
        return self.fc(self.dropout(torch.flatten(self.pool(features), 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, s, s) -> logits (n, labels)."""
        return self.tail(self.features(x))


class ArticleCnn28(nn.Sequential):
    """The first article's network for 28 x 28 x 1: conv32-pool-conv64-pool-dense. Softmax is the card's head."""

    def __init__(self, channels: int = 1, labels: int = 10) -> None:
        super().__init__(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 5 * 5, labels),
        )  # fmt: skip


class ArticleCnn224(nn.Sequential):
    """The second article's network for 224 x 224 x 3: conv32-pool-conv64-pool-conv128-dense512-dense.

    ``size`` other than 224 makes the same network for smaller pictures: at 224 the first dense layer has 177 million weights.
    """

    def __init__(self, channels: int = 3, labels: int = 2, size: int = 224) -> None:
        side = ((size - 2) // 2 - 2) // 2 - 2
        super().__init__(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * side * side, 512), nn.ReLU(), nn.Linear(512, labels),
        )  # fmt: skip


def _torchvision(name: str, *, channels: int, labels: int) -> nn.Module:
    if channels != 3:
        raise ModelRejected(
            f"The architecture {name} takes 3 channels, the card says {channels}; set input.channels to 3."
        )
    return torchvision_models.get_model(name, weights=None, num_classes=labels)


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "compact-resnet": CompactResNet,
    "article-cnn-28": ArticleCnn28,
    "article-cnn-224": ArticleCnn224,
    **{
        name: partial(_torchvision, name)
        for name in ("resnet18", "resnet50", "densenet121", "mobilenet_v3_large", "efficientnet_b0")
    },
}


def build_network(architecture: str, *, channels: int, labels: int) -> nn.Module:
    """A fresh network of that name with random weights, in evaluation mode.

    Raises ModelRejected when the name is not on the list.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelRejected(f"The card asks for the architecture {architecture!r}; RadLens builds only: {known}.")
    return ARCHITECTURES[architecture](channels=channels, labels=labels).eval()
