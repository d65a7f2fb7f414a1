"""Tiny real networks that outline, and their folders, for the tests."""

from pathlib import Path
from typing import Any

import torch

from core.models.card import InputSpec, Label, MaskThreshold, ModelCard, Scope
from core.models.weights import save_weights
from tests.networks import card, seeded

TARGET = "blocks.5.relu_1"
SIZE = 64


def outline_card(size: int = SIZE, threshold: float = 0.5, **changes: Any) -> ModelCard:
    """The card of a tiny breast model that outlines lesions."""
    stated: dict[str, Any] = {
        "id": "tiny-outline",
        "title": "Tiny breast model",
        "task": "segmentation",
        "architecture": "compact-unet",
        "labels": (Label(code="lesion", words="Lesion"),),
        "headline": "lesion",
        "input": InputSpec(channels=1, size=size, mean=0.5, std=0.25),
        "scope": Scope(modalities=("US",), body_parts=("BREAST",)),
        "target_layer": TARGET,
        "mask_threshold": MaskThreshold(value=threshold, rule="for tests", split="none", weights_sha256="0" * 64),
    }
    return card(**{**stated, **changes})


def outline_network(size: int = SIZE, labels: int = 1, seed: int = 0) -> Any:
    """A network whose logits lie on both sides of zero, so that part of a picture is outlined."""
    network = seeded("compact-unet", labels=labels, size=size, seed=seed)
    with torch.no_grad():
        network.head.bias -= network(torch.randn(4, 1, size, size)).mean((0, 2, 3))
    return network


def publish_outline(root: Path, **changes: Any) -> ModelCard:
    """A folder as in the catalogue, with the hashes made to fit."""
    folder = root / str(changes.get("id", "tiny-outline"))
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(outline_network(), folder / "weights.safetensors")
    threshold = MaskThreshold(
        value=changes.pop("threshold", 0.5), rule="for tests", split="none", weights_sha256=sha256
    )
    published = outline_card(weights_sha256=sha256, mask_threshold=threshold, **changes)
    (folder / "card.json").write_text(published.model_dump_json(), encoding="utf-8")
    return published
