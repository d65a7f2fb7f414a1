"""What a training makes small: masked loss of both heads, imbalance weights, box supervision of the evidence map.

Box supervision works on the cells of the evidence map, as patches are taught in Li et al. 2018 (arXiv 1711.06373): cells
inside a box should speak for its finding, cells outside it, and all cells of a picture without the finding, against it;
and the strongest cell should lie in the box.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.training.configuration import FitSection, TrainingConfiguration

# The exponent gamma of the focal loss (Lin et al. 2017, arXiv 1708.02002).
_FOCUS = 2.0
_SHARPNESS = 4.0
# The half axes of the ellipse in which findings lie, in shares of half the side.
_CENTRE = 0.86


def loss_of(
    logits: torch.Tensor, truths: torch.Tensor, weights: torch.Tensor, settings: FitSection, head: str
) -> torch.Tensor:
    """The loss of the card's head: one class of several (softmax), or every label on its own (sigmoid)."""
    if head == "softmax":
        return class_loss(logits, truths, weights, settings)
    return classification_loss(logits, truths, weights, settings.label_smoothing, focal=settings.imbalance == "focal")


def class_loss(logits: torch.Tensor, truths: torch.Tensor, weights: torch.Tensor, settings: FitSection) -> torch.Tensor:
    """Cross entropy over the examples whose class is known: a missing class (NaN) teaches nothing."""
    known = ~torch.isnan(truths).any(1)
    if not bool(known.any()):
        return logits.sum() * 0
    logits, classes = logits[known], truths[known].argmax(1)
    smoothing = settings.label_smoothing
    loss = functional.cross_entropy(logits, classes, weights, reduction="none", label_smoothing=smoothing)
    if settings.imbalance == "focal":
        share = torch.softmax(logits, 1).gather(1, classes[:, None])[:, 0]
        return ((1 - share) ** _FOCUS * loss).mean()
    return loss.sum() / weights[classes].sum()


def classification_loss(
    logits: torch.Tensor,
    truths: torch.Tensor,
    positive_weights: torch.Tensor,
    smoothing: float = 0.0,
    *,
    focal: bool = False,
) -> torch.Tensor:
    """Binary cross entropy over the known labels only: a missing label (NaN) teaches nothing."""
    known = ~torch.isnan(truths)
    wanted = torch.where(known, truths, 0.0)
    targets = wanted * (1 - 2 * smoothing) + smoothing
    loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weights, reduction="none")
    if focal:
        loss = loss * torch.abs(wanted - torch.sigmoid(logits)) ** _FOCUS
    return (loss * known).sum() / known.sum().clamp(min=1)


def label_weights(truths: npt.NDArray[np.float32], configuration: TrainingConfiguration) -> torch.Tensor:
    """How much more a rare label counts: square root of negatives over positives (sigmoid), or of the rarity of a class.

    The square root lets rare findings count more without drowning the rest. Ones unless ``imbalance`` is "weighted".
    """
    known = torch.from_numpy(truths)
    if configuration.fit.imbalance != "weighted":
        return torch.ones(known.shape[1])
    positives, negatives = (known == 1).sum(0), (known == 0).sum(0)
    if configuration.model.head == "softmax":
        return torch.sqrt(positives.sum() / (positives.clamp(min=1) * known.shape[1]))
    return torch.sqrt(negatives / positives.clamp(min=1)).clamp(1, 10)


def cell_loss(
    evidence: torch.Tensor, cells: torch.Tensor, truths: torch.Tensor, place_weight: float = 0.3
) -> torch.Tensor:
    """Box supervision of evidence (n, labels, h, w) by box cover 0..1; 0 where no finding of the batch has a box.

    The mean loss of cells inside a finding's boxes (small boxes count as much as large ones), half that of cells outside
    them, half that of cells of pictures known to be without the finding (each as binary cross entropy of the sign), and
    ``place_weight`` times the cross entropy of where the strongest cell is.
    """
    boxed = (cells.sum((2, 3)) > 0) & (truths == 1)
    if not bool(boxed.any()):
        return evidence.sum() * 0
    own, cover = evidence[boxed].flatten(1), cells[boxed].flatten(1)
    # The largest cover stands in where a box is smaller than half a cell.
    covered = cover >= cover.amax(1, keepdim=True).clamp(max=0.5)
    inside = ((functional.softplus(-own) * covered).sum(1) / covered.sum(1)).mean()
    outside = functional.softplus(own)[cover == 0].mean()
    healthy = functional.softplus(evidence[truths == 0]).mean()
    place = -torch.log((torch.softmax(own, 1) * cover).sum(1) + 1e-6).mean()
    return inside + 0.5 * torch.nan_to_num(outside) + 0.5 * torch.nan_to_num(healthy) + place_weight * place


def smooth_maximum(evidence: torch.Tensor) -> torch.Tensor:
    """Evidence (n, labels, h, w) -> (n, labels): between the mean and the strongest cell, led by the strongest.

    Log-sum-exp pooling with r = 4 (Pinheiro and Collobert 2015, arXiv 1411.6228): taught beside the mean, it lets few cells
    decide, where a finding is small and nobody drew where it is.
    """
    cells = evidence.flatten(2)
    return (torch.logsumexp(_SHARPNESS * cells, 2) - math.log(cells.shape[2])) / _SHARPNESS


def centre_loss(evidence: torch.Tensor) -> torch.Tensor:
    """The mean square of evidence (n, labels, h, w) in the cells outside the ellipse that fills 86 % of either side.

    What lies there (letters, arms, the edge of the film) shall speak neither for nor against: right for the right reasons,
    Ross et al. 2017, arXiv 1703.03717, with evidence in place of gradients.
    """
    rows, columns = evidence.shape[-2:]
    down, right = (torch.linspace(-1, 1, count, device=evidence.device) for count in (rows, columns))
    outside = (down[:, None] ** 2 + right[None] ** 2 > _CENTRE**2).to(evidence.dtype)
    return (evidence.square() * outside).sum() / (outside.sum().clamp(min=1) * evidence.shape[0] * evidence.shape[1])
