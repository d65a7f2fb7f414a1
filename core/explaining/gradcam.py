"""Grad-CAM of every label from one forward pass, kept as signed evidence on the feature grid.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weighs the target activations A_k by the mean gradient of a logit,
alpha_k = mean_ij d z / d A_k(i, j), and keeps the positive part of sum_k alpha_k A_k. The evidence here is that sum before
the ReLU. Where the tail is global average pooling and one linear layer, the gradient is W_k / cells, so the map is
W_k A_k(i, j) / cells, and all cells plus the bias sum to the logit (CAM, Zhou et al. 2016, arXiv 1512.04150).
"""

import numpy as np
import torch
from torch import nn

from core.engines.cutting import CutNetwork, Pass
from core.explaining.evidence import Evidence, LinearTail, exact_evidence


def evidence_of_all_labels(network: CutNetwork, one_pass: Pass) -> Evidence:
    """Signed evidence for every logit of a pass, at the layer where the network is cut."""
    if network.linear_tail is not None:
        return exact_evidence(tail_of(network.linear_tail), one_pass.target.numpy())
    return Evidence(weighted(_mean_gradients(network, one_pass), one_pass.target).numpy(), None)


def tail_of(linear: nn.Linear) -> LinearTail:
    """The linear layer behind the pooling as arrays; they share its memory."""
    weight = linear.weight.detach().numpy()
    bias = np.zeros(len(weight), np.float32) if linear.bias is None else linear.bias.detach().numpy()
    return LinearTail(weight, bias)


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
