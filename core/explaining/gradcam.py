"""Grad-CAM of every label from one forward pass, kept as signed evidence on the feature grid.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weighs the target activations A_k by the mean gradient of a logit,
alpha_k = mean_ij d z / d A_k(i, j), and keeps the positive part of sum_k alpha_k A_k. The evidence here is that sum before
the ReLU. Where the tail is global average pooling and one linear layer, the gradient is W_k / cells, so the map is
W_k A_k(i, j) / cells, and all cells plus the bias sum to the logit (CAM, Zhou et al. 2016, arXiv 1512.04150).
"""

from dataclasses import dataclass, field

import torch

from core.engines.cutting import CutNetwork, Pass


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """``maps`` (labels, h, w) float32, before any ReLU; ``bias`` (labels,) what the cells leave to the logit, or None.

    With a bias the maps are exact contributions; without one they are first-order changes of the logit.
    """

    maps: torch.Tensor = field(repr=False)
    bias: torch.Tensor | None

    @property
    def is_exact(self) -> bool:
        """Whether cells plus bias sum to the logit."""
        return self.bias is not None

    def above_mean(self) -> "Evidence":
        """For softmax heads: the evidence for z_c minus the mean of all z, which a constant added to all cannot change."""
        bias = None if self.bias is None else self.bias - self.bias.mean()
        return Evidence(self.maps - self.maps.mean(0, keepdim=True), bias)

    def both_signs(self) -> "Evidence":
        """For heads of one logit: what speaks against the positive label speaks for the negative one, which comes first."""
        bias = None if self.bias is None else torch.cat([-self.bias, self.bias])
        return Evidence(torch.cat([-self.maps, self.maps]), bias)

    def between(self, first: int, second: int) -> torch.Tensor:
        """Why ``first`` and not ``second``: the evidence (h, w) for the difference of two logits."""
        return self.maps[first] - self.maps[second]


def evidence_of_all_labels(network: CutNetwork, one_pass: Pass) -> Evidence:
    """Signed evidence for every logit of a pass, at the layer where the network is cut."""
    activations = one_pass.target
    cells = activations.shape[-2] * activations.shape[-1]
    linear = network.linear_tail
    if linear is not None:
        with torch.inference_mode():
            weights = linear.weight / cells
            bias = torch.zeros(len(weights)) if linear.bias is None else linear.bias
            return Evidence(weighted(weights, activations), bias.clone())
    return Evidence(weighted(_mean_gradients(network, one_pass), activations), None)


def weighted(weights: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """sum_k weights(label, k) * A_k(i, j) as one matrix product -> (labels, h, w)."""
    flat = activations.reshape(activations.shape[0], -1)
    return (weights @ flat).reshape(len(weights), *activations.shape[1:])


def _mean_gradients(network: CutNetwork, one_pass: Pass) -> torch.Tensor:
    """The weights alpha (labels, channels): the gradient of every logit through the tail alone, averaged over the grid."""
    with torch.enable_grad():
        # Clones: tensors made in inference mode cannot take part in autograd.
        leaf = one_pass.target.clone()[None].requires_grad_(True)
        logits = network.tail(leaf, *(value.clone() for value in one_pass.crossings))[0][0]
        each = torch.eye(len(logits))
        (gradients,) = torch.autograd.grad(logits, leaf, each, is_grads_batched=True)
    return gradients[:, 0].mean((-2, -1))
