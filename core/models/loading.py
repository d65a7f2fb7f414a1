"""Card + weights -> Model: hash, allow-listed architecture, every weight used, self-test."""

from dataclasses import dataclass, field

import torch
from torch import nn

from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.errors import ModelRejected
from core.models.architectures import build_network
from core.models.card import InputSpec, ModelCard
from core.models.catalogue import read_catalogue
from core.models.weights import fill, read_checked

WEIGHTS_FILE = "weights.safetensors"
_LEAST_CHANGE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network ready to use, shared by all readers: nothing is ever stored on it.

    ``network`` is as trained (what teaching shows); ``fast`` is the same function, fused, cut at the card's target
    layer; ``plain`` is the unfused network cut at the same layer, with every layer's output to be had.
    """

    card: ModelCard
    network: nn.Module = field(repr=False)
    fast: CutNetwork = field(repr=False)
    plain: CutNetwork = field(repr=False)


def load_model(model_id: str) -> Model:
    """The model of that id from the catalogue, tested.

    Raises UnknownModel, or ModelRejected when the card, the weights' hash or the self-test does not hold.
    """
    catalogue = read_catalogue()
    card = catalogue.card(model_id)
    tensors = read_checked(catalogue.folders[card.id] / WEIGHTS_FILE, card.weights_sha256)
    network = build_network(card.architecture, channels=card.input.channels, labels=len(card.labels))
    fill(network, tensors)
    return prepare(card, network)


def prepare(card: ModelCard, network: nn.Module) -> Model:
    """A Model around a network that is already filled.

    Raises ModelRejected when the target layer is missing or the self-test fails.
    """
    network.eval().requires_grad_(False)
    plain = trace(network)
    fused = fuse(plain)
    if card.target_layer not in plain.layers or card.target_layer not in fused.layers:
        raise ModelRejected(f"The card's target layer {card.target_layer!r} does not exist in {card.architecture}.")
    model = Model(card, network, CutNetwork(fused, card.target_layer), CutNetwork(plain, card.target_layer))
    self_test(model)
    return model


def self_test(model: Model) -> None:
    """Raise ModelRejected unless the network's answers are finite, differ between pictures and survive tracing and fusing."""
    pictures = _test_pictures(model.card.input)
    fast = torch.stack([model.fast.run(picture).logits for picture in pictures])
    with torch.inference_mode():
        plain = torch.stack([model.network(picture)[0] for picture in pictures])
    if not bool(torch.isfinite(plain).all() and torch.isfinite(fast).all()):
        raise ModelRejected("The model failed its self-test: it answers with values that are not finite numbers.")
    if float((plain.amax(0) - plain.amin(0)).max()) < _LEAST_CHANGE:
        raise ModelRejected("The model failed its self-test: it gives the same answer to every picture.")
    if float((fast - plain).abs().max()) > 1e-3 * max(1.0, float(plain.abs().max())):
        raise ModelRejected(
            "The model failed its self-test: its fused form answers differently from the network itself."
        )


def _test_pictures(spec: InputSpec) -> list[torch.Tensor]:
    """Mid grey, and smooth seeded noise: enough to tell a network that looks from one that does not."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, spec.channels, 8, 8, generator=random)
    noise = torch.nn.functional.interpolate(coarse, spec.size, mode="bilinear")
    grey = torch.full_like(noise, 0.5)
    return [(picture - spec.mean) / spec.std for picture in (grey, noise)]
