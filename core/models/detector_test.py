"""What a detector must show before anybody sees a box of it: finite, looking, the right way round, as it was published."""

from typing import Any

import torch
from torch import nn

from core.errors import ModelRejected
from core.models.card import InputSpec, ModelCard
from core.models.self_test import check_references, check_sides, reference_pictures

_LEAST_CHANGE = 1e-6


def self_test_detector(card: ModelCard, network: nn.Module) -> None:
    """Raise ModelRejected unless the detector answers as it should.

    Its boxes lie in the picture and are finite, its features differ between pictures, what is put into a corner changes that
    corner of its finest features, and its answers are those that the card's ``reference_logits`` name. Where its boxes lie
    cannot be asked of pictures without a finding: noise may rightly give none.
    """
    pictures = torch.cat(reference_pictures(card.input))
    finest, answers = _finest(network, pictures), _answers(network, pictures)
    if not bool(torch.isfinite(finest).all()):
        raise ModelRejected("The model failed its self-test: it answers with values that are not finite numbers.")
    for found in answers:
        _check_boxes(found, card)
    if float((finest - finest[:1]).abs().max()) < _LEAST_CHANGE:
        raise ModelRejected("The model failed its self-test: it gives the same answer to every picture.")
    check_sides(list(finest))
    check_references(_condensed(answers, card.outputs, card.input.size), card.reference_logits)


def reference_answers(network: nn.Module, spec: InputSpec, labels: int) -> tuple[tuple[float, ...], ...]:
    """For each reference picture each label's best score, and the mean of the boxes' edges weighed by their scores.

    Edges (left, top, right, bottom) in shares of the square; all 0 without a box.
    """
    answers = _condensed(_answers(network.eval(), torch.cat(reference_pictures(spec))), labels, spec.size)
    return tuple(tuple(round(float(value), 4) for value in row) for row in answers)


def _answers(network: nn.Module, pictures: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    with torch.inference_mode():
        found: list[dict[str, torch.Tensor]] = network(list(pictures))
    return found


def _finest(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """The backbone's features on its finest grid, (n, channels, h, w)."""
    backbone: Any = network.backbone
    with torch.inference_mode():
        features = backbone(pictures)
    finest: torch.Tensor = max(features.values(), key=lambda level: level.shape[-1])
    return finest


def _check_boxes(found: dict[str, torch.Tensor], card: ModelCard) -> None:
    boxes, scores, size = found["boxes"], found["scores"], card.input.size
    inside = bool(((boxes >= -1) & (boxes <= size + 1)).all()) and bool(((scores >= 0) & (scores <= 1)).all())
    # Not a number compares as false.
    if not inside:
        raise ModelRejected(
            "The model failed its self-test: its boxes are not finite numbers in the picture with scores from 0 to 1."
        )


def _condensed(answers: list[dict[str, torch.Tensor]], labels: int, size: int) -> torch.Tensor:
    return torch.stack([_row(found, labels, size) for found in answers])


def _row(found: dict[str, torch.Tensor], labels: int, size: int) -> torch.Tensor:
    scores, numbers = found["scores"], found["labels"]
    best = [
        float(scores[numbers == label + 1].max()) if bool((numbers == label + 1).any()) else 0.0
        for label in range(labels)
    ]
    edges = (found["boxes"] * scores[:, None]).sum(0) / scores.sum().clamp(min=1e-6) / size
    return torch.cat([torch.tensor(best), edges])
