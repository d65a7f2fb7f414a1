"""Tiny real networks for the tests of heatmaps, and the same networks written out by hand where they work in place."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class InPlaceDense(nn.Module):
    """As DenseNet is built: a dense concatenation, overwritten by an in-place ReLU; then a tail that is not linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(3, 4, 3, padding=1)
        self.third = nn.Conv2d(7, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 3)."""
        a = self.act(self.first(x))
        c = torch.cat([a, self.second(a)], 1)
        functional.relu(c, inplace=True)
        d = self.third(c)
        functional.relu(d, inplace=True)
        return self.fc(d.mean((2, 3)))

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """The concatenation after its ReLU, nothing in place."""
        a = functional.conv2d(x, self.first.weight, self.first.bias, padding=1).clamp(min=0)
        b = functional.conv2d(a, self.second.weight, self.second.bias, padding=1)
        return torch.cat([a, b], 1).clamp(min=0)

    def rest(self, c: torch.Tensor) -> torch.Tensor:
        """From there to the logits."""
        d = functional.conv2d(c, self.third.weight, self.third.bias, stride=2, padding=1).clamp(min=0)
        return d.mean((2, 3)) @ self.fc.weight.T + self.fc.bias


# The names of the nodes after the concatenation and before the mean.
DENSE, LAST = "relu", "relu_1"


def in_place_dense(seed: int = 0) -> InPlaceDense:
    """Random weights, large enough that no logit is close to another."""
    torch.manual_seed(seed)
    network = InPlaceDense().eval().requires_grad_(False)
    network.fc.weight.mul_(4)
    return network


def plain_steps(labels: int = 3, seed: int = 0) -> Any:
    """Convolutions and ReLUs, one step after the other, so that a hook of the package finds the same place ("3").

    Typed Any: the tests take it apart.
    """
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(1, 6, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(6, 10, 3, padding=1), nn.ReLU(),
            nn.Conv2d(10, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, labels),
        )
        .eval()
        .requires_grad_(False)
    )  # fmt: skip


def linear_steps(labels: int = 3, seed: int = 0) -> Any:
    """The same without its last convolution: pooling and one linear layer follow the layer "3"."""
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(1, 6, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(6, 10, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, labels),
        )
        .eval()
        .requires_grad_(False)
    )  # fmt: skip
