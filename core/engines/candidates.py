"""Where a network's heatmap can be taken: found by running it once and watching its grids, not from a table."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from core.engines.cutting import CutNetwork
from core.engines.hooked import HookedNetwork, WatchedNetwork
from core.engines.tracing import TracedNetwork, fuse, trace
from core.errors import NotFollowed

# What passes a grid on, smaller or thinned, and finds nothing new in it.
_PASSES_ON = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten,
)  # fmt: skip
_LEAST_GRID = 2
_MOST = 4
# Without a graph so many of the last layers of a grid are asked whether a shortcut passes them by.
_ASKED = 3


@dataclass(frozen=True, slots=True)
class CandidateLayer:
    """A layer that can be the target: its ``name``, ``channels`` and grid.

    ``exact`` says that its cells and the bias sum to the logit; ``alone`` that everything the answer depends on passes it.
    """

    name: str
    channels: int
    rows: int
    columns: int
    exact: bool
    alone: bool


def candidate_layers(network: nn.Module, *, channels: int, size: int) -> tuple[CandidateLayer, ...]:
    """The last layer of each of the deepest grids, the deepest first, at most four.

    A layer that only pools or drops does not count, nor one whose name is lost when batch norms are folded. Layers that
    the whole answer passes go before those beside a shortcut; on the deepest grid this is the map before global pooling.
    Of a network that cannot be traced they are modules that ran for every picture that was tried.
    """
    try:
        traced = trace(network)
    except NotFollowed:
        return _watched_layers(network, channels, size)
    fused = fuse(traced)
    shapes = _Shapes(traced, torch.zeros(1, channels, size, size)).found
    names = {node: name for name, node in traced.layers.items() if name in fused.layers}
    cuts = _cuts(traced.module.graph)
    last: dict[tuple[int, ...], fx.Node] = {}
    for node in traced.module.graph.nodes:
        shape = shapes.get(node.name)
        if shape is not None and node.name in names and not _passes_on(traced.module, node):
            grid = shape[2:]
            if node.name in cuts or last.get(grid) is None or last[grid].name not in cuts:
                last[grid] = node
    deepest = sorted(last.items(), key=lambda item: item[0][0] * item[0][1])[:_MOST]
    return tuple(_candidate(traced, names[node.name], shapes[node.name], node.name in cuts) for _, node in deepest)


def _watched_layers(network: nn.Module, channels: int, size: int) -> tuple[CandidateLayer, ...]:
    """The same where there is no graph: what ran for seeded noise, its opposite and an empty picture."""
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    trials = (noise, -noise, torch.zeros_like(noise))
    watched = WatchedNetwork(network, noise)
    shapes = [
        {ran.name: tuple(ran.value.shape) for ran in watched.course(trial) if not isinstance(ran.module, _PASSES_ON)}
        for trial in trials
    ]
    grids: dict[tuple[int, ...], list[str]] = {}
    for name, shape in shapes[0].items():
        always = all(other.get(name) == shape for other in shapes)
        if always and len(shape) == 4 and min(shape[2:]) >= _LEAST_GRID:
            grids.setdefault(shape[2:], []).insert(0, name)
    found = []
    for _, names in sorted(grids.items(), key=lambda item: item[0][0] * item[0][1])[:_MOST]:
        alone = next((name for name in names[:_ASKED] if _is_alone(watched, name, trials)), None)
        rows, columns = shapes[0][names[0]][2:]
        name = alone or names[0]
        found.append(CandidateLayer(name, shapes[0][name][1], rows, columns, exact=False, alone=alone is not None))
    return tuple(found)


def _is_alone(watched: WatchedNetwork, layer: str, pictures: tuple[torch.Tensor, ...]) -> bool:
    """Whether the same activations give the same answer whatever the picture is."""
    cut = HookedNetwork(watched, layer)
    with torch.inference_mode():
        target = cut.run(pictures[0]).target[None]
        first, *others = (cut.tail(target, picture)[0] for picture in pictures)
    return all(bool(torch.allclose(first, other, rtol=1e-5, atol=1e-6)) for other in others)


class _Shapes(fx.Interpreter):
    """Runs a network once; ``found`` holds the shapes of its grids by node: (1, channels, h, w) of at least 2 x 2."""

    def __init__(self, traced: TracedNetwork, inputs: torch.Tensor) -> None:
        super().__init__(traced.module)
        self.found: dict[str, tuple[int, ...]] = {}
        with torch.inference_mode():
            self.run(inputs)

    def run_node(self, n: fx.Node) -> Any:
        """The node's value, its shape kept."""
        value = super().run_node(n)
        if n.op.startswith("call") and isinstance(value, torch.Tensor) and value.ndim == 4:
            shape = tuple(value.shape)
            if min(shape[2:]) >= _LEAST_GRID:
                self.found[n.name] = shape
        return value


def _cuts(graph: fx.Graph) -> set[str]:
    """The nodes that every path from the input to the output passes."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    reach, found = 0, set()
    for node, place in order.items():
        if node.op != "get_attr" and place >= reach:
            found.add(node.name)
        if node.op != "get_attr":
            reach = max([reach, *(order[user] for user in node.users)])
    return found


def _passes_on(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), _PASSES_ON)
    name = str(getattr(node.target, "__name__", node.target))
    return any(word in name for word in ("pool", "dropout", "flatten", "permute", "view", "reshape", "transpose"))


def _candidate(traced: TracedNetwork, name: str, shape: tuple[int, ...], alone: bool) -> CandidateLayer:  # noqa: FBT001
    exact = CutNetwork(traced, name).linear_tail is not None
    return CandidateLayer(name, shape[1], shape[2], shape[3], exact, alone)
