"""The ablation bench: filters of the real network silenced or swapped, on a copy of its graph that shares its weights.

The network that all readers share is never touched: an altered one is another graph, and undoing is to go back to the first.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx

from core.engines.choosing import EngineChoice, Later
from core.engines.cutting import CutNetwork
from core.engines.torch_engine import TorchEngine
from core.engines.tracing import TracedNetwork
from core.errors import NOT_FOLLOWED, NotFollowed, UnknownLayer
from core.inside.steps import step_of
from core.models.loading import Model


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to one layer's maps: ``silenced`` become 0 everywhere, the two of each pair in ``swapped`` change places.

    Of a convolution with a batch norm behind it the maps are those after the norm: a 0 before it would not be one after.
    """

    silenced: frozenset[int] = frozenset()
    swapped: tuple[tuple[int, int], ...] = ()

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (n, channels, h, w) with the change."""
        order = list(range(maps.shape[1]))
        for first, second in self.swapped:
            order[first], order[second] = order[second], order[first]
        changed = maps[:, order] if self.swapped else maps.clone()
        changed[:, list(self.silenced)] = 0
        return changed

    @property
    def channels(self) -> set[int]:
        """All channels that it names."""
        return set(self.silenced) | {channel for pair in self.swapped for channel in pair}


def altered(model: Model, changes: Mapping[str, Change]) -> Model:
    """The model with changed maps, to be analysed like any other; without changes it is the model itself.

    Raises UnknownLayer when a layer or a channel does not exist, NotFollowed where the network has no graph to be copied.
    """
    if not changes:
        return model
    if not model.plain.has_graph:
        raise NotFollowed(f"{NOT_FOLLOWED} So none of its filters can be silenced or swapped.")
    cut = CutNetwork(_altered(model.plain.traced, changes), model.card.target_layer)
    built = replace(model.networks.get(), cuts=(cut, cut))
    engine = TorchEngine(cut, cut)
    # The gate knows the activations of the network as trained.
    return replace(model, networks=Later(lambda: built), engines=EngineChoice(Later(lambda: engine)), novelty=None)


def heard_as(model: Model, layer: str) -> str:
    """The layer whose output the next ones hear: of a convolution its batch norm, where one is known to follow alone."""
    if not model.plain.has_graph:
        return layer
    traced = model.plain.traced
    users = list(traced.node(layer).users)
    names = {step: name for name, step in traced.layers.items()}
    is_norm = len(users) == 1 and step_of(traced.module, users[0]).kind == "normalisation"
    return names.get(users[0].name, layer) if is_norm else layer


def _altered(traced: TracedNetwork, changes: Mapping[str, Change]) -> TracedNetwork:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(traced.module.graph, copies))
    layers = {name: copies[traced.node(name)].name for name in traced.layers}
    module = fx.GraphModule(traced.module, graph)
    for layer, change in changes.items():
        node = _heard(module, copies[traced.node(layer)])
        _check(module, layer, node, change.channels)
        with graph.inserting_after(node):
            after = graph.call_function(_Changed(change), (node,))
        node.replace_all_uses_with(after, delete_user_cb=lambda user, own=after: user is not own)  # type: ignore[misc]
        layers = {name: after.name if step == node.name else step for name, step in layers.items()}
    module.recompile()
    return TracedNetwork(module, layers)


def _heard(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The step whose output the next layers hear: of a convolution, its batch norm's where one follows alone."""
    users = list(node.users)
    if len(users) == 1 and step_of(module, users[0]).kind == "normalisation":
        return users[0]
    return node


def _check(module: fx.GraphModule, layer: str, node: fx.Node, channels: Collection[int]) -> None:
    step = step_of(module, node)
    count = getattr(step.module, "out_channels", None) or getattr(step.module, "num_features", None)
    if count is None:
        raise UnknownLayer(f"Filters belong to convolutions; {layer!r} is none.")
    if any(not 0 <= channel < count for channel in channels):
        raise UnknownLayer(f"The layer {layer!r} has {count} filters, numbered from 0 to {count - 1}.")


class _Changed:
    """A change as a step of a graph, with a name that code can be written with."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.__name__ = self.__qualname__ = "changed"
        self.__module__ = __name__

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        return self._change(maps)

    def __deepcopy__(self, memo: dict[int, object]) -> "_Changed":
        return _Changed(copy.deepcopy(self._change, memo))
