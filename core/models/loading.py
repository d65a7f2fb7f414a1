"""Card + weights -> Model: hash, allow-listed architecture, every weight used, self-test."""

from dataclasses import dataclass, field

from torch import nn

from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.errors import ModelRejected
from core.models.architectures import build_unfilled
from core.models.card import ModelCard
from core.models.catalogue import WEIGHTS_FILE, read_catalogue
from core.models.self_test import has_untrained_head, self_test
from core.models.weights import fill, read_checked


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network ready to use, shared by all readers: nothing is ever stored on it.

    ``network`` is as trained (what teaching shows); ``fast`` is the same function, fused, cut at the card's target
    layer; ``plain`` is the unfused network cut at the same layer, with every layer's output to be had. ``untrained`` says
    that the last layer looks as it was drawn at random: then no score means anything.
    """

    card: ModelCard
    network: nn.Module = field(repr=False)
    fast: CutNetwork = field(repr=False)
    plain: CutNetwork = field(repr=False)
    untrained: bool = False


def load_model(model_id: str) -> Model:
    """The model of that id from the catalogue, tested.

    Raises UnknownModel, or ModelRejected when the card, the weights' hash or the self-test does not hold.
    """
    catalogue = read_catalogue()
    card = catalogue.card(model_id)
    tensors = read_checked(catalogue.folders[card.id] / WEIGHTS_FILE, card.weights_sha256)
    network = build_unfilled(card.architecture, channels=card.input.channels, labels=card.outputs)
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
    fast, whole = CutNetwork(fused, card.target_layer), CutNetwork(plain, card.target_layer)
    model = Model(card, network, fast, whole, has_untrained_head(network))
    self_test(model)
    return model
