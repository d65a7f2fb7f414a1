"""Tiny real networks and model folders for the tests."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.models.architectures import build_network
from core.models.card import InputSpec, Label, ModelCard, Scope
from core.models.weights import save_weights


def card(**changes: Any) -> ModelCard:
    """A card of a tiny chest model with two labels, changed where said."""
    stated: dict[str, Any] = {
        "id": "tiny",
        "version": "1.0.0",
        "title": "Tiny chest model",
        "task": "classification",
        "architecture": "compact-resnet",
        "head": "sigmoid",
        "labels": (Label(code="abnormal", words="Any abnormality"), Label(code="mass", words="Mass (3 cm or larger)")),
        "headline": "abnormal",
        "input": InputSpec(channels=1, size=64, mean=0.5, std=0.25),
        "scope": Scope(modalities=("DX", "CR"), body_parts=("CHEST",), views=("PA", "AP")),
        "target_layer": "blocks.5.relu_1",
        "evidence_limit": 0.01,
        "weights_sha256": "0" * 64,
        "intended_use": "Tests.",
        "limits": ("Untrained.",),
        "licence": "MIT",
    }
    return ModelCard.model_validate({**stated, **changes})


def seeded(architecture: str, *, channels: int = 1, labels: int = 2, size: int = 64, seed: int = 0) -> Any:
    """A network with random weights and batch norm statistics as after a step of training, so that no layer is dead.

    Typed Any: the tests reach for its layers by name.
    """
    torch.manual_seed(seed)
    network = build_network(architecture, channels=channels, labels=labels)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.weight.data.uniform_(0.8, 1.2)
        norm.bias.data.uniform_(-0.1, 0.1)
    network.train()
    with torch.no_grad():
        network(torch.randn(8, channels, size, size))
    for norm in norms:
        norm.momentum = 0.1
    return network.eval().requires_grad_(False)


def publish(root: Path, network: nn.Module | None = None, **changes: Any) -> ModelCard:
    """A model folder as in the catalogue, with the card's hash made to fit."""
    folder = root / str(changes.get("id", "tiny"))
    folder.mkdir(parents=True, exist_ok=True)
    stated = card(**changes)
    own = network or seeded(stated.architecture, channels=stated.input.channels, labels=stated.outputs)
    sha256 = save_weights(own, folder / "weights.safetensors")
    published = stated.model_copy(update={"weights_sha256": sha256})
    (folder / "card.json").write_text(published.model_dump_json(), encoding="utf-8")
    return published
