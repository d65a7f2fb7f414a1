"""Card + weights -> Model: hash, allow-listed architecture, every weight used, self-test.

Where a model's export holds, torch is not needed before somebody asks for the network itself.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.confidence.novelty import Statistics, load_statistics
from core.engines.choosing import EngineChoice, Later
from core.errors import BOXES_ONLY, ModelRejected, NoHeatmap, NotFollowed, UnknownLayer
from core.models.card import ModelCard
from core.models.catalogue import WEIGHTS_FILE, read_catalogue
from core.models.exports import stored_engine
from core.models.weights import read_bytes_checked, read_checked

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from core.engines.cutting import CutNetwork
    from core.engines.engine import Engine


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """A network as torch runs it.

    ``network`` is as trained (what teaching shows); ``fast`` is the same function, fused, cut at the card's target
    layer; ``plain`` is the unfused network cut at the same layer, with every layer's output to be had. ``untrained`` says
    that the last layer looks as it was drawn at random: then no score means anything. A detector has no layer to be cut at.
    """

    network: "nn.Module" = field(repr=False)
    cuts: "tuple[CutNetwork, CutNetwork] | None" = field(repr=False)
    untrained: bool
    convolutions: tuple[str, ...]

    @property
    def fast(self) -> "CutNetwork":
        """The fused network, cut at the card's target layer. Raises NoHeatmap for a detector."""
        return self._both()[0]

    @property
    def plain(self) -> "CutNetwork":
        """The unfused network, cut at the same layer. Raises NoHeatmap for a detector."""
        return self._both()[1]

    def _both(self) -> "tuple[CutNetwork, CutNetwork]":
        if self.cuts is None:
            raise NoHeatmap(BOXES_ONLY)
        return self.cuts


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network ready to use, shared by all readers: nothing of a reader's is ever stored on it.

    ``engines`` say who answers. The torch networks are built when somebody first asks for them. ``novelty``: what tells
    pictures that it was not made for, None where the card has no gate for these weights.
    """

    card: ModelCard
    networks: Later[Networks] = field(repr=False)
    engines: EngineChoice = field(repr=False)
    novelty: Statistics | None = field(default=None, repr=False)

    @property
    def engine(self) -> "Engine":
        """What runs the network now."""
        return self.engines.current

    @property
    def engine_note(self) -> str | None:
        """Why torch answers where a fast engine could, in one sentence; else None."""
        return self.engines.note

    @property
    def network(self) -> "nn.Module":
        """The network as trained."""
        return self.networks.get().network

    @property
    def fast(self) -> "CutNetwork":
        """The fused network, cut at the card's target layer. Raises NoHeatmap for a detector."""
        return self.networks.get().fast

    @property
    def plain(self) -> "CutNetwork":
        """The unfused network, cut at the same layer. Raises NoHeatmap for a detector."""
        return self.networks.get().plain

    @property
    def untrained(self) -> bool:
        """Whether the last layer looks as it was drawn at random."""
        record = self.engines.record
        return self.networks.get().untrained if record is None else record.untrained

    @property
    def convolutions(self) -> tuple[str, ...]:
        """The names of the network's convolutions, in the order of its modules."""
        record = self.engines.record
        return self.networks.get().convolutions if record is None else tuple(record.layers)


def load_model(model_id: str) -> Model:
    """The model of that id from the catalogue, tested.

    With an export that holds, the fast engine answers and torch is not imported; the export was made of a network that
    passed its self-test. Raises UnknownModel, or ModelRejected when the card, the weights' hash, the novelty gate's file or
    the self-test does not hold.
    """
    catalogue = read_catalogue()
    card = catalogue.card(model_id)
    path = catalogue.folders[card.id] / WEIGHTS_FILE
    data = read_bytes_checked(path, card.weights_sha256)
    networks = Later(lambda: _read_networks(card, path))
    if card.task == "detection":
        networks.get()
        return Model(card, networks, EngineChoice(Later(lambda: _reference(networks))))
    fast, note = stored_engine(card, path.parent, data)
    engines = EngineChoice(Later(lambda: _reference(networks)), fast, note)
    model = Model(card, networks, engines, load_statistics(card, path.parent))
    if fast is None:
        networks.get()
    return model


def prepare(card: ModelCard, network: "nn.Module") -> Model:
    """A Model around a network that is already filled; torch answers.

    Raises ModelRejected when the target layer is missing or the self-test fails.
    """
    built = _networks(card, network)
    networks = Later(lambda: built)
    networks.get()
    return Model(card, networks, EngineChoice(Later(lambda: _reference(networks))))


def _read_networks(card: ModelCard, path: "Path") -> Networks:
    from core.models.architectures import build_unfilled
    from core.models.weights import fill

    tensors = read_checked(path, card.weights_sha256)
    network = build_unfilled(card.architecture, channels=card.input.channels, labels=card.outputs)
    fill(network, tensors)
    return _networks(card, network)


def _networks(card: ModelCard, network: "nn.Module") -> Networks:
    """Traced, fused, cut and tested; a network that cannot be traced is watched by hooks."""
    if card.task == "detection":
        from core.models.detector_test import self_test_detector

        self_test_detector(card, network.eval().requires_grad_(False))
        return Networks(network, None, untrained=False, convolutions=())
    from torch import nn

    from core.models.self_test import has_untrained_head, self_test

    network.eval().requires_grad_(False)
    try:
        fast, whole = _cuts(card, network)
    except UnknownLayer as exc:
        raise ModelRejected(
            f"The card's target layer {card.target_layer!r} does not exist in {card.architecture}."
        ) from exc
    self_test(card, network, fast)
    convolutions = tuple(
        name for name, part in network.named_modules() if isinstance(part, nn.Conv2d) and name in whole.layers
    )
    return Networks(network, (fast, whole), has_untrained_head(network), convolutions)


def _cuts(card: ModelCard, network: "nn.Module") -> "tuple[CutNetwork, CutNetwork]":
    """Fused and unfused; where there is no graph to be fused, twice the same. Raises UnknownLayer."""
    from core.engines.cutting import CutNetwork
    from core.engines.hooked import HookedNetwork, WatchedNetwork
    from core.engines.tracing import fuse, trace
    from core.models.self_test import reference_pictures

    try:
        plain = trace(network)
    except NotFollowed:
        hooked = HookedNetwork(WatchedNetwork(network, reference_pictures(card.input)[0]), card.target_layer)
        return hooked, hooked
    return CutNetwork(fuse(plain), card.target_layer), CutNetwork(plain, card.target_layer)


def _reference(networks: Later[Networks]) -> "Engine":
    from core.engines.torch_engine import TorchEngine

    built = networks.get()
    return TorchEngine(built.fast, built.plain)
