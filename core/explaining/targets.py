"""What is explained: a number for each label, made of the network's outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

Head = Literal["sigmoid", "softmax", "logit"]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """``mix`` (targets, outputs) float32: each target is a weighted sum of the network's outputs.

    ``outlined`` (outputs, s, s) bool for a segmentation network, whose output is then the mean logit over its outline.
    """

    mix: torch.Tensor = field(repr=False)
    outlined: torch.Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.mix)

    def of(self, logits: torch.Tensor) -> torch.Tensor:
        """Outputs of n pictures, (n, outputs) or (n, outputs, s, s), -> the targets (n, targets)."""
        if self.outlined is not None:
            pixels = self.outlined.sum((1, 2)).clamp(min=1)
            logits = torch.where(self.outlined, logits, 0.0).sum((-2, -1)) / pixels
        return logits @ self.mix.T

    def against(self, other: int) -> "Targets":
        """Why each label and not that one: the differences of two logits, or of two masks' mean logits."""
        return Targets(self.mix - self.mix[other], self.outlined)

    def only(self, chosen: Sequence[int]) -> "Targets":
        """These targets alone."""
        return Targets(self.mix[list(chosen)], self.outlined)


def targets_of(head: Head, outputs: int, outlined: torch.Tensor | None = None) -> Targets:
    """A target for each label: its own logit.

    Softmax: the logit minus the mean of all, since adding a constant to every class changes no answer. One logit z for two
    labels: -z for the negative one, z for the positive one.
    """
    if head == "logit":
        return Targets(torch.tensor([[-1.0], [1.0]]), outlined)
    own = torch.eye(outputs)
    return Targets(own - 1 / outputs if head == "softmax" else own, outlined)
