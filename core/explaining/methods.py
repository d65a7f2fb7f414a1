"""The CAM family from one forward pass: every method for every label at once, no state on the network.

All of them read the activations A (channels, h, w) of the layer where the network is cut, and g, the gradient of each
target with respect to A, which runs through the tail alone. Where the tail is global average pooling and one linear layer,
g is W / cells and no gradient is computed at all; then Grad-CAM, HiResCAM and XGrad-CAM are one and the same map.

* Grad-CAM (Selvaraju 2017): sum_k mean_ij(g_k) A_k, positive part; before that it is the evidence map.
* HiResCAM (Draelos and Carin 2020): sum_k g_k * A_k.
* Grad-CAM++ (Chattopadhay 2018, eq. 19 for a class score exp(z)): weights sum_ij alpha relu(g) with
  alpha = g^2 / (2 g^2 + (sum A) g^3) = 1 / (2 + (sum A) g), which is meant for activations that are not negative.
* XGrad-CAM (Fu 2020): weights sum_ij g * A / sum_ij A; a channel whose sum is 0 has none.
* LayerCAM (Jiang 2021): sum_k relu(g_k) * A_k, positive part.
* Eigen-CAM (Muhammad and Yeasin 2020): the projection of the cells on the first principal direction of the channels, each
  channel less its mean (as the grad-cam package does; the paper leaves it open). A direction has no sign of its own: here
  the map rises where the channels' sum rises, and is turned so that its strongest place is positive where that says nothing.
"""

from collections.abc import Callable, Iterable

import torch

from core.engines.cutting import CutNetwork, Pass
from core.explaining.gradcam import weighted
from core.explaining.targets import Targets

# So many targets share one run of the batched backward pass: more cost memory and win no time.
_TOGETHER = 8


def maps_of(names: Iterable[str], network: CutNetwork, one_pass: Pass, targets: Targets) -> dict[str, torch.Tensor]:
    """The maps (targets, h, w) of each method named, from one pass; all share one computation of the gradients.

    Methods without a sign come as their positive part.
    """
    wanted = list(names)
    needs = any(name in BY_GRADIENT for name in wanted)
    gradients = gradients_of(network, one_pass, targets) if needs else torch.empty(len(targets), 0)
    return {name: map_of(name, gradients, one_pass.target) for name in wanted}


def map_of(name: str, gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """The maps (targets, h, w) of a method from the gradients that ``gradients_of`` gave."""
    with torch.inference_mode():
        if name == "eigencam":
            return eigencam(activations).expand(len(gradients), -1, -1)
        return BY_GRADIENT[name](gradients, activations)


def gradients_of(network: CutNetwork, one_pass: Pass, targets: Targets) -> torch.Tensor:
    """The gradients of the targets by the activations, (targets, channels, h, w).

    Where they are the same in every cell, (targets, channels, 1, 1).
    """
    linear, activations = network.linear_tail, one_pass.target
    if linear is not None and targets.outlined is None:
        with torch.inference_mode():
            return (targets.mix @ linear.weight / activations[0].numel())[..., None, None]
    with torch.enable_grad():
        # Clones: tensors made in inference mode cannot take part in autograd.
        leaf = activations.clone()[None].requires_grad_(True)
        values = targets.of(network.tail(leaf, *(value.clone() for value in one_pass.crossings))[0])[0]
        if not values.requires_grad:
            return torch.zeros(len(targets), *activations.shape)
        each = torch.eye(len(values)).split(_TOGETHER)
        gradients = torch.cat([_gradient(values, leaf, directions) for directions in each])
    # As behind global average pooling, whatever comes after it: then every product is a small one.
    is_even = bool((gradients == gradients[..., :1, :1]).all())
    return gradients[..., :1, :1] if is_even else gradients


def _gradient(values: torch.Tensor, leaf: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    (gradients,) = torch.autograd.grad(values, leaf, directions, retain_graph=True, is_grads_batched=True)
    return gradients[:, 0]


def evidence(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Grad-CAM before its ReLU."""
    return weighted(gradients.mean((-2, -1)), activations)


def gradcam(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Grad-CAM."""
    return evidence(gradients, activations).clamp(min=0)


def hirescam(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """HiResCAM, before any ReLU."""
    return _cell_by_cell(gradients, activations)


def gradcam_plus_plus(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Grad-CAM++: positive gradients only, and the positive part of the map."""
    alphas = 1 / (2 + activations.sum((-2, -1))[:, None, None] * gradients)
    # Where the gradient is 0 or negative, nothing is added, whatever alpha is there.
    shares = torch.where(gradients > 0, alphas * gradients, 0.0)
    cells = activations[0].numel()
    maps = weighted(shares.mean((-2, -1)) * cells, activations)
    # Activations below 0 can make alpha infinite: that must not pass for nothing.
    return torch.where(torch.isfinite(maps), maps.clamp(min=0), torch.nan)


def xgradcam(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """XGrad-CAM, before any ReLU."""
    sums = activations.sum((-2, -1))
    shares = torch.where(sums[:, None, None] == 0, 0.0, activations / sums[:, None, None])
    return weighted((gradients * shares).sum((-2, -1)), activations)


def layercam(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """LayerCAM."""
    return _cell_by_cell(gradients.clamp(min=0), activations).clamp(min=0)


def eigencam(activations: torch.Tensor) -> torch.Tensor:
    """Eigen-CAM (h, w), by the eigenvector of whichever Gram matrix is smaller: cells by cells or channels by channels."""
    cells = activations.flatten(1).T.double()
    centred = cells - cells.mean(0)
    if centred.shape[0] <= centred.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        projection = vectors[:, -1] * values[-1].clamp(min=0).sqrt()
    else:
        projection = centred @ torch.linalg.eigh(centred.T @ centred)[1][:, -1]
    return (projection * _sign(projection, centred.sum(1))).reshape(activations.shape[1:]).float()


def _sign(projection: torch.Tensor, strength: torch.Tensor) -> float:
    likeness = float(projection @ strength)
    size = float(projection.norm() * strength.norm())
    if abs(likeness) > 1e-9 * size:
        return 1.0 if likeness > 0 else -1.0
    return 1.0 if float(projection.max()) >= -float(projection.min()) else -1.0


def _cell_by_cell(gradients: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """sum_k g_k * A_k -> (targets, h, w); one matrix product where the gradient is the same in every cell."""
    if gradients.shape[-2:] == (1, 1):
        return weighted(gradients[..., 0, 0], activations)
    return torch.stack([(gradient * activations).sum(0) for gradient in gradients])


BY_GRADIENT: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "evidence": evidence,
    "gradcam": gradcam,
    "hirescam": hirescam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
}
