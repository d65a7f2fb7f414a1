"""A network as a graph of named steps, with fresh tensors everywhere, as it stands or fused for speed.

In-place operations are turned into ordinary ones: an in-place ReLU overwrites the tensor that a hook or a feature
extractor has kept, so that libraries disagree about the map of the same layer (DenseNet). Here a layer's output is what
the layer put out, always.
"""

import copy
import inspect
import math
import operator
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
import torchvision
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.feature_extraction import NodePathTracer

from core.errors import NOT_FOLLOWED, NotFollowed, UnknownLayer

_OUT_OF_PLACE: dict[object, Callable[..., object]] = {
    operator.iadd: operator.add,
    operator.imul: operator.mul,
    operator.isub: operator.sub,
}


# Two traces at once would each put back what the other has put in the place of torch's own calls.
_TRACING = threading.Lock()


class _OwnThreadTracer(NodePathTracer):  # type: ignore[misc]  # torchvision is not typed
    """Follows what its own thread calls, and lets all others through.

    While torch.fx traces, every call of every module in the process comes by here, another reader's analysis as well.
    """

    def __init__(self, autowrap_modules: tuple[ModuleType, ...]) -> None:
        super().__init__(autowrap_modules=autowrap_modules)
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The module's call as torch.fx sees it; of another thread, the call itself."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """A parameter as torch.fx sees it; of another thread, the parameter itself."""
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


@dataclass(frozen=True, slots=True, eq=False)
class TracedNetwork:
    """``module`` computes logits from (n, channels, size, size); ``layers`` maps a layer's name to its node in the graph."""

    module: fx.GraphModule = field(repr=False)
    layers: Mapping[str, str] = field(repr=False)

    def node(self, layer: str) -> fx.Node:
        """The node whose value is the layer's output.

        Raises UnknownLayer when the network has no such layer.
        """
        wanted = self.layers.get(layer)
        for node in self.module.graph.nodes:
            if node.name == wanted:
                return node
        raise UnknownLayer(f"The network has no layer {layer!r} here; choose one of its layers.")


def trace(network: nn.Module) -> TracedNetwork:
    """The graph of a copy of the network, in evaluation mode, nothing in place.

    Layer names are torchvision's: the module's path, with ``_1`` and so on where it runs again.
    Raises NotFollowed when the network's course depends on its input and cannot be traced.
    """
    own = copy.deepcopy(network).eval().requires_grad_(False)
    tracer = _OwnThreadTracer(autowrap_modules=(math, torchvision.ops))
    try:
        with _TRACING:
            graph = tracer.trace(own)
    except Exception as exc:  # whatever a network does with what stands for its picture
        raise NotFollowed(NOT_FOLLOWED) from exc
    layers = {name: node.name for node, name in tracer.node_to_qualname.items() if node.op.startswith("call")}
    module = fx.GraphModule(own, graph)
    _make_out_of_place(module)
    return TracedNetwork(module, layers)


def fuse(traced: TracedNetwork) -> TracedNetwork:
    """The same function with every batch norm folded into the convolution before it, in channels_last.

    A folded convolution's own output no longer exists; its name and that of the batch norm both leave or move, so
    teaching views use the unfused network.
    """
    module = copy.deepcopy(traced.module)
    names = {node: name for name, node in traced.layers.items()}
    layers = dict(traced.layers)
    for node in list(module.graph.nodes):
        convolution = _convolution_before(module, node)
        if convolution is None:
            continue
        _fold(module, convolution, node)
        layers.pop(names.get(convolution.name, ""), None)
        layers[names[node.name]] = convolution.name
    module.recompile()
    return TracedNetwork(module.to(memory_format=torch.channels_last), layers)


def _fold(module: fx.GraphModule, convolution: fx.Node, norm: fx.Node) -> None:
    """Put the batch norm's scale and shift into the convolution's weights and take its step out of the graph."""
    own, scale = module.get_submodule(str(convolution.target)), module.get_submodule(str(norm.target))
    if isinstance(own, nn.Conv2d) and isinstance(scale, nn.BatchNorm2d):
        _set_submodule(module, str(convolution.target), fuse_conv_bn_eval(own, scale))
        norm.replace_all_uses_with(convolution)
        module.graph.erase_node(norm)


def _convolution_before(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The convolution that feeds this batch norm and nothing else, if the pair can be folded."""
    if node.op != "call_module" or not isinstance(module.get_submodule(str(node.target)), nn.BatchNorm2d):
        return None
    before = node.args[0]
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
        return None
    shared = sum(other.target == before.target for other in module.graph.nodes) > 1
    return before if isinstance(module.get_submodule(str(before.target)), nn.Conv2d) and not shared else None


def _set_submodule(module: nn.Module, target: str, value: nn.Module) -> None:
    parent, _, leaf = target.rpartition(".")
    setattr(module.get_submodule(parent), leaf, value)


def _make_out_of_place(module: fx.GraphModule) -> None:
    """Turn every in-place step into an ordinary one whose result stands for its operand from there on."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            changed = _module_out_of_place(module, node)
        elif node.op == "call_method":
            changed = _method_out_of_place(node)
        else:
            changed = node.op == "call_function" and _function_out_of_place(node)
        if changed and isinstance(node.args[0], fx.Node):
            _stand_in(node, node.args[0])
    module.recompile()


def _stand_in(result: fx.Node, operand: fx.Node) -> None:
    """Whoever read the operand after it was overwritten reads the result."""
    later = result.next
    while later.op != "root":
        later.replace_input_with(operand, result)
        later = later.next


def _module_out_of_place(module: fx.GraphModule, node: fx.Node) -> bool:
    part = module.get_submodule(str(node.target))
    if getattr(part, "inplace", None) is not True:
        # Also where an earlier call of the same module has switched it off already.
        return getattr(part, "was_inplace", False) is True
    part.inplace = False  # type: ignore[assignment]
    part.was_inplace = True  # type: ignore[assignment]
    return True


def _method_out_of_place(node: fx.Node) -> bool:
    name = str(node.target)
    if not name.endswith("_") or name.startswith("_"):
        return False
    node.target = name.rstrip("_")
    return True


def _function_out_of_place(node: fx.Node) -> bool:
    if node.target in _OUT_OF_PLACE:
        node.target = _OUT_OF_PLACE[node.target]
        return True
    name = getattr(node.target, "__name__", "")
    if name.endswith("_") and not name.startswith("_") and hasattr(torch, name.rstrip("_")):
        node.target = getattr(torch, name.rstrip("_"))
        return True
    return _switch_off_inplace(node)


def _switch_off_inplace(node: fx.Node) -> bool:
    """Set a function's ``inplace`` argument to False; whether it was True."""
    try:
        parameters = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # built-in functions have no signature and no inplace argument
        return False
    if "inplace" not in parameters:
        return False
    place = parameters.index("inplace")
    given = node.args[place] if len(node.args) > place else node.kwargs.get("inplace", False)
    node.args = node.args[:place]
    node.kwargs = {**node.kwargs, "inplace": False}
    return given is True
