"""A card without a network, for what can be said of scores alone."""

from typing import Any

from core.models.card import InputSpec, Label, ModelCard, Scope

SHA = "a" * 64


def card_of(head: str, labels: int, **changes: Any) -> ModelCard:
    """A card with labels ``label-0``, ``label-1`` and so on."""
    return ModelCard.model_validate(
        {
            "id": "paper", "version": "1.0.0", "title": "A card alone", "task": "classification",
            "architecture": "compact-resnet", "head": head, "headline": "label-0", "target_layer": "none",
            "labels": tuple(Label(code=f"label-{n}", words=f"Label {n}") for n in range(labels)),
            "input": InputSpec(channels=1, size=32, mean=0.5, std=0.25), "evidence_limit": 1.0, "weights_sha256": SHA,
            "scope": Scope(modalities=("DX",), body_parts=("CHEST",)), "intended_use": "Tests.", "limits": (),
            "licence": "none", **changes,
        }
    )  # fmt: skip
