"""Seg-Grad-CAM: what a segmentation network went by when it outlined what it outlined.

Vinogradova et al. 2020 (arXiv 2002.11434) put the sum of a label's logits over a set M of pixels in the place of
Grad-CAM's one logit: alpha_k = mean_uv d sum_(i,j in M) y(i, j) / d A_k(u, v), and the map is the positive part of
sum_k alpha_k A_k. Here M is the label's own outline, the map is kept before the ReLU, and it is divided by the number of
pixels in M, so that a large lesion does not look surer than a small one: it is then a first-order change of the mask's
mean logit.

A is the lowest grid of a U-Net, and the gradient runs through the decoder only. What the skip connections bring (the
crossings of the cut) is held fixed. That is no approximation: they come from above the target layer, so the logits do not
depend on A through them. But it is a limit of what the map tells: evidence that reached the outline through a skip
connection alone, such as a fine edge, is not in it.
"""

import torch

from core.engines.cutting import CutNetwork, Pass
from core.explaining.evidence import Evidence
from core.explaining.gradcam import weighted


def evidence_of_masks(network: CutNetwork, one_pass: Pass, outlined: torch.Tensor) -> Evidence:
    """Signed evidence for every label's outline, at the layer where the network is cut; zeros where nothing is outlined.

    ``outlined`` (labels, s, s) bool, on the grid of the pass's logits. No state is kept: readers can share the network.
    """
    with torch.enable_grad():
        # Clones: tensors made in inference mode cannot take part in autograd.
        leaf = one_pass.target.clone()[None].requires_grad_(True)
        logits = network.tail(leaf, *(value.clone() for value in one_pass.crossings))[0][0]
        pixels = outlined.sum((1, 2)).clamp(min=1)
        means = torch.where(outlined, logits, 0.0).sum((1, 2)) / pixels
        gradients = [torch.autograd.grad(mean, leaf, retain_graph=True)[0][0] for mean in means]
    alphas = torch.stack([gradient.mean((-2, -1)) for gradient in gradients])
    return Evidence(weighted(alphas, one_pass.target).numpy(), None)
