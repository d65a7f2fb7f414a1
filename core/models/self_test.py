"""What a network must show before anybody sees an answer of it: finite, looking, the right way round, as it was published."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from core.engines.cutting import CutNetwork
from core.errors import ModelRejected
from core.models.card import InputSpec, ModelCard
from core.models.reference_pictures import CORNERS, reference_array

_LEAST_CHANGE = 1e-5
# Between machines sums are rounded in another order.
_TOLERANCE = 1e-2
# Of the change that a blob in one corner makes, the share that must lie in that quarter of the target layer.
_OWN_QUARTER = 0.6
# Coarser grids cannot tell quarters apart: the receptive field of a cell is wider than one.
_LEAST_GRID = 11


def self_test(card: ModelCard, network: nn.Module, fused: CutNetwork) -> None:
    """Raise ModelRejected unless the network, and its fused form, answer as they should.

    Its answers are finite, differ between pictures, survive tracing and fusing, and are those that the card's
    ``reference_logits`` name; what is put into a corner changes that corner of the target layer; the head is trained.
    """
    pictures = reference_pictures(card.input)
    runs = [fused.run(picture) for picture in pictures]
    fast = torch.stack([run.logits for run in runs])
    plain = _answers(network, pictures)
    _check_task(plain, card)
    _check_answers(fast, plain)
    check_references(condensed(plain), card.reference_logits)
    check_sides([run.target for run in runs])


def reference_pictures(spec: InputSpec) -> list[torch.Tensor]:
    """Five normalised inputs (1, channels, size, size): smooth seeded noise, and the same with a bright blob in each corner."""
    return [torch.from_numpy(picture[None]) for picture in reference_array(spec)]


def reference_logits(network: nn.Module, spec: InputSpec) -> tuple[tuple[float, ...], ...]:
    """The network's answers to the reference pictures, for the card; of a map of logits its mean."""
    logits = condensed(_answers(network.eval(), reference_pictures(spec)))
    return tuple(tuple(round(float(value), 4) for value in row) for row in logits)


def _answers(network: nn.Module, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
    """One picture at a time: the course of some networks depends on all that they are given."""
    with torch.inference_mode():
        return torch.cat([network(picture) for picture in pictures])


def condensed(logits: torch.Tensor) -> torch.Tensor:
    """(n, labels), or of maps (n, labels, s, s) the mean of each -> (n, labels)."""
    return logits.flatten(2).mean(2) if logits.ndim > 2 else logits


def has_untrained_head(network: nn.Module) -> bool:
    """Whether the last linear layer still looks as it was drawn: evenly within 1 / sqrt(inputs), or with a bias of zeros."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].weight.numel() < 64:
        return False
    if linear[-1].bias is not None and not bool(linear[-1].bias.any()):
        return True
    weight, bound = linear[-1].weight.detach().float(), 1 / math.sqrt(linear[-1].in_features)
    # An even spread has a standard deviation of bound / sqrt(3), and its largest value close to the bound.
    spread = float(weight.std()) / (bound / math.sqrt(3))
    largest = float(weight.abs().max()) / bound
    return abs(spread - 1) < 0.1 and 0.9 < largest <= 1.0


def _check_task(plain: torch.Tensor, card: ModelCard) -> None:
    """A map of logits is no score, and a score is no map."""
    if plain.ndim == (4 if card.task == "segmentation" else 2):
        return
    wanted = "a map of logits for each label" if card.task == "segmentation" else "one number for each label"
    raise ModelRejected(
        f"The model failed its self-test: its card says {card.task}, which needs {wanted}; choose another architecture."
    )


def _check_answers(fast: torch.Tensor, plain: torch.Tensor) -> None:
    if not bool(torch.isfinite(plain).all() and torch.isfinite(fast).all()):
        raise ModelRejected("The model failed its self-test: it answers with values that are not finite numbers.")
    if float((plain.amax(0) - plain.amin(0)).max()) < _LEAST_CHANGE:
        raise ModelRejected("The model failed its self-test: it gives the same answer to every picture.")
    if float((fast - plain).abs().max()) > 1e-3 * max(1.0, float(plain.abs().max())):
        raise ModelRejected(
            "The model failed its self-test: its fused form answers differently from the network itself."
        )


def check_references(plain: torch.Tensor, wanted: Sequence[Sequence[float]]) -> None:
    """Raise ModelRejected where answers are not those on the card, if it names any."""
    if not wanted:
        return
    expected = torch.tensor(wanted)
    if expected.shape != plain.shape or float((plain - expected).abs().max()) > _TOLERANCE * max(
        1.0, float(expected.abs().max())
    ):
        raise ModelRejected(
            "The model failed its self-test: its answers to the reference pictures are not those on its card."
        )


def check_sides(targets: list[torch.Tensor]) -> None:
    """Raise ModelRejected where a blob in a corner changes features elsewhere.

    Each target is (channels, h, w), the first of a picture without a blob; coarse grids cannot tell.
    """
    rows, columns = targets[0].shape[-2:]
    if targets[0].ndim != 3 or min(rows, columns) < _LEAST_GRID:
        return
    for (down, right), target in zip(CORNERS, targets[1:], strict=True):
        change = (target - targets[0]).abs().sum(0)
        own = change[down * rows // 2 : (down + 1) * rows // 2, right * columns // 2 : (right + 1) * columns // 2]
        if float(own.sum()) < _OWN_QUARTER * float(change.sum()):
            raise ModelRejected(
                "The model failed its self-test: what is put into one corner of a picture changes another part of its "
                "features, so what it shows would point to the wrong place."
            )
