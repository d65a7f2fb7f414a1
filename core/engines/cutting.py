"""CutNetwork: a network cut at its target layer, so that one forward pass gives everything and nothing is stored on it.

The body runs from the picture to the target activations, the tail from there to the logits. No hooks: two readers can
use one network at the same time. Gradients, where they are needed at all, run through the tail only.
"""

import copy
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from core.engines.tracing import TracedNetwork

Node = fx.Node


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What one forward pass gave.

    ``logits`` (labels,), ``target`` (channels, h, w), ``layers`` name -> (channels, h, w) or (features,), and
    ``crossings``, the other values that the tail needs.
    """

    logits: torch.Tensor
    target: torch.Tensor
    layers: dict[str, torch.Tensor]
    crossings: tuple[torch.Tensor, ...]


class CutNetwork:
    """A traced network, cut at ``target_layer``. ``core.engines.hooked`` has the same for one that cannot be traced."""

    has_graph = True

    def __init__(self, traced: TracedNetwork, target_layer: str) -> None:
        self._traced = traced
        graph = traced.module.graph
        self._target = traced.node(target_layer)
        self._input = next(node for node in graph.nodes if node.op == "placeholder")
        output = next(node for node in graph.nodes if node.op == "output")
        self._logits: Node = output.args[0]
        self._below = _descendants(self._target)
        self._crossings = _crossings(graph, self._target, self._below)
        tail = _subgraph(traced.module, (self._target, *self._crossings), (self._logits,))
        self.tail: nn.Module = tail
        self.linear_tail = None if self._crossings else _pooled_linear(tail)
        self._parts = lru_cache(maxsize=8)(self._build_parts)

    def run(self, inputs: torch.Tensor, layers: Sequence[str] = ()) -> Pass:
        """One forward pass of one picture (1, channels, size, size), in inference mode.

        Raises UnknownLayer when one of ``layers`` does not exist.
        """
        return self.run_all(inputs, layers)[0]

    def run_all(self, inputs: torch.Tensor, layers: Sequence[str] = ()) -> list[Pass]:
        """One forward pass of n pictures (n, channels, size, size) -> what it gave for each.

        Raises UnknownLayer when one of ``layers`` does not exist.
        """
        body, tail, early, late = self._parts(tuple(layers))
        with torch.inference_mode():
            target, *rest = body(inputs)
            crossings, kept = rest[: len(self._crossings)], rest[len(self._crossings) :]
            logits, *kept_late = tail(target, *crossings)
            values = dict(zip(early + late, [*kept, *kept_late], strict=True))
            return [
                Pass(
                    logits[n],
                    target[n],
                    {name: values[name][n] for name in layers},
                    tuple(_one_of(value, n) for value in crossings),
                )
                for n in range(len(inputs))
            ]

    def graph_of(self, layers: Sequence[str]) -> tuple[fx.GraphModule, tuple[str, ...], dict[str, str]]:
        """The network as one graph, pictures -> a tuple of values; the names of these values, and layer -> name.

        They are the logits, the target activations, the crossings in their order, and the layers' outputs, each once.
        Raises UnknownLayer.
        """
        nodes = {layer: self._traced.node(layer) for layer in layers}
        outputs = tuple(dict.fromkeys((self._logits, self._target, *self._crossings, *nodes.values())))
        module = _subgraph(self._traced.module, (self._input,), outputs)
        return module, tuple(n.name for n in outputs), {layer: node.name for layer, node in nodes.items()}

    @property
    def crossings(self) -> int:
        """How many values from beside the target the tail reads."""
        return len(self._crossings)

    @property
    def layers(self) -> Collection[str]:
        """The names of all layers there are."""
        return self._traced.layers.keys()

    @property
    def traced(self) -> TracedNetwork:
        """The whole network as a graph, shared by all readers: to be read and run, never to be changed."""
        return self._traced

    def at(self, target_layer: str) -> "CutNetwork":
        """The same network, cut at another layer; the weights are shared.

        Raises UnknownLayer.
        """
        return CutNetwork(self._traced, target_layer)

    def answer(self, pictures: torch.Tensor) -> torch.Tensor:
        """The outputs for n pictures (n, channels, size, size), in inference mode."""
        with torch.inference_mode():
            return self._traced.module(pictures)

    def whole(self) -> nn.Module:
        """A copy of the network of one's own, weights included."""
        return copy.deepcopy(self._traced.module)

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """Copies of one's own of body, picture -> (target, *crossings), and tail, these -> (outputs,)."""
        body, tail, _, _ = self._parts(())
        return copy.deepcopy(body), copy.deepcopy(tail)

    def parts(self, picture: torch.Tensor) -> tuple[list[nn.Module], list[nn.Module]]:  # noqa: ARG002 - hooks need it
        """The modules with weights that run up to the target layer, it included, and after it; the network's own, not copies."""
        module = self._traced.module
        called = [node for node in module.graph.nodes if node.op == "call_module" or node is self._target]
        cut = called.index(self._target) + 1
        return _with_weights(module, called[:cut]), _with_weights(module, called[cut:])

    def _build_parts(
        self, layers: tuple[str, ...]
    ) -> tuple[fx.GraphModule, fx.GraphModule, tuple[str, ...], tuple[str, ...]]:
        nodes = {name: self._traced.node(name) for name in layers}
        early = tuple(name for name, node in nodes.items() if node not in self._below)
        late = tuple(name for name, node in nodes.items() if node in self._below)
        outputs = (self._target, *self._crossings, *(nodes[name] for name in early))
        body = _subgraph(self._traced.module, (self._input,), outputs)
        tail_inputs = (self._target, *self._crossings)
        tail = _subgraph(self._traced.module, tail_inputs, (self._logits, *(nodes[name] for name in late)))
        return body, tail, early, late


def _with_weights(module: fx.GraphModule, nodes: Iterable[Node]) -> list[nn.Module]:
    called = (module.get_submodule(str(node.target)) for node in nodes if node.op == "call_module")
    return [part for part in called if next(part.parameters(), None) is not None]


def _one_of(value: Any, number: int) -> Any:
    """One picture's share of a value, as a batch of one; of a size, the size."""
    return value[number : number + 1] if isinstance(value, torch.Tensor) else value


def _descendants(node: Node) -> set[Node]:
    found: set[Node] = set()
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        if user not in found:
            found.add(user)
            waiting.extend(user.users)
    return found


def _crossings(graph: fx.Graph, target: Node, below: set[Node]) -> tuple[Node, ...]:
    """Values from beside the target that the tail reads: shortcuts and concatenations around it."""
    needed = {source for node in below for source in node.all_input_nodes}
    return tuple(n for n in graph.nodes if n in needed and n not in below and n is not target and n.op != "get_attr")


def _subgraph(module: fx.GraphModule, inputs: Sequence[Node], outputs: Sequence[Node]) -> fx.GraphModule:
    """The part of the graph that computes ``outputs`` from ``inputs``; returns a tuple, shares the weights."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    needed = _ancestors(outputs, stop=set(inputs))
    for node in module.graph.nodes:
        if node in needed and node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in outputs))
    return fx.GraphModule(module, graph)


def _ancestors(nodes: Iterable[Node], stop: set[Node]) -> set[Node]:
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend([] if node in stop else node.all_input_nodes)
    return found


def _pooled_linear(tail: fx.GraphModule) -> nn.Linear | None:
    """The linear layer of a tail that is global average pooling, flattening, dropout and that layer; else None."""
    expected = [_is_global_pool, _is_flatten, _is_linear]
    steps = [node for node in tail.graph.nodes if node.op.startswith("call") and not _is_dropout(tail, node)]
    if len(steps) == 2:
        expected = [_is_mean_over_grid, _is_linear]
    matches = len(steps) == len(expected) and all(test(tail, n) for test, n in zip(expected, steps, strict=True))
    if not matches:
        return None
    linear = tail.get_submodule(str(steps[-1].target))
    return linear if isinstance(linear, nn.Linear) else None


def _module(tail: fx.GraphModule, node: Node) -> nn.Module | None:
    return tail.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_global_pool(tail: fx.GraphModule, node: Node) -> bool:
    module = _module(tail, node)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return module.output_size in (1, (1, 1))
    return node.target is functional.adaptive_avg_pool2d and node.args[1] in (1, (1, 1))


def _is_mean_over_grid(tail: fx.GraphModule, node: Node) -> bool:
    if _module(tail, node) is not None:
        return False
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    is_mean = node.target in ("mean", torch.mean)
    return (
        is_mean
        and isinstance(dims, (list, tuple))
        and list(dims) in ([2, 3], [-2, -1])
        and not node.kwargs.get("keepdim")
    )


def _is_flatten(tail: fx.GraphModule, node: Node) -> bool:
    if isinstance(_module(tail, node), nn.Flatten):
        return True
    dims = (*node.args[1:], *(node.kwargs[name] for name in ("start_dim", "end_dim") if name in node.kwargs))
    return node.target in (torch.flatten, "flatten") and dims in ((1,), (1, -1))


def _is_linear(tail: fx.GraphModule, node: Node) -> bool:
    return isinstance(_module(tail, node), nn.Linear)


def _is_dropout(tail: fx.GraphModule, node: Node) -> bool:
    return isinstance(_module(tail, node), (nn.Dropout, nn.Identity))
