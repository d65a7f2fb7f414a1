"""Signed evidence as arrays, and its closed form behind global average pooling and one linear layer.

There a logit is z_c = sum_k W_ck mean_ij A_k(i, j) + b_c, so that the map W_ck A_k(i, j) / cells and the bias sum to it
(CAM, Zhou et al. 2016, arXiv 1512.04150). No torch needed: the first case is explained before it is imported.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LinearTail:
    """What follows the target layer: global average pooling, then ``weight`` (outputs, channels) and ``bias`` (outputs,)."""

    weight: FloatArray = field(repr=False)
    bias: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """``maps`` (labels, h, w) float32, before any ReLU; ``bias`` (labels,) what the cells leave to the logit, or None.

    With a bias the maps are exact contributions; without one they are first-order changes of the logit.
    """

    maps: FloatArray = field(repr=False)
    bias: FloatArray | None

    @property
    def is_exact(self) -> bool:
        """Whether cells plus bias sum to the logit."""
        return self.bias is not None

    def above_mean(self) -> "Evidence":
        """For softmax heads: the evidence for z_c minus the mean of all z, which a constant added to all cannot change."""
        bias = None if self.bias is None else self.bias - self.bias.mean()
        return Evidence(self.maps - self.maps.mean(0), bias)

    def both_signs(self) -> "Evidence":
        """For heads of one logit: what speaks against the positive label speaks for the negative one, which comes first."""
        bias = None if self.bias is None else np.concatenate([-self.bias, self.bias])
        return Evidence(np.concatenate([-self.maps, self.maps]), bias)

    def between(self, first: int, second: int) -> FloatArray:
        """Why ``first`` and not ``second``: the evidence (h, w) for the difference of two logits."""
        return self.maps[first] - self.maps[second]


def exact_evidence(tail: LinearTail, activations: FloatArray) -> Evidence:
    """The evidence of every output in the target activations (channels, h, w)."""
    cells = activations.shape[1] * activations.shape[2]
    flat = activations.reshape(len(activations), -1)
    maps = np.asarray((tail.weight / np.float32(cells)) @ flat, np.float32)
    return Evidence(maps.reshape(len(maps), *activations.shape[1:]), tail.bias.copy())
