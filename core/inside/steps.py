"""What each step of a traced network does: sliding window, pooling, activation, sum. One reading of the graph for all."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torchvision
from torch import fx, nn
from torch.nn import functional

Kind = Literal[
    "convolution",
    "normalisation",
    "activation",
    "max pooling",
    "average pooling",
    "global pooling",
    "flatten",
    "linear",
    "addition",
    "product",
    "concatenation",
    "enlargement",
    "passing",
    "other",
]

_ACTIVATIONS: dict[object, str] = {
    nn.ReLU: "ReLU", nn.ReLU6: "ReLU6", nn.Hardswish: "hardswish", nn.SiLU: "SiLU", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh",
    nn.GELU: "GELU", nn.LeakyReLU: "leaky ReLU", nn.ELU: "ELU", nn.Hardsigmoid: "hard sigmoid",
    functional.relu: "ReLU", torch.relu: "ReLU", "relu": "ReLU", functional.relu6: "ReLU6", functional.hardtanh: "ReLU6",
    functional.hardswish: "hardswish", functional.silu: "SiLU", torch.sigmoid: "sigmoid", functional.sigmoid: "sigmoid",
    "sigmoid": "sigmoid", torch.tanh: "tanh", functional.tanh: "tanh", functional.gelu: "GELU",
    functional.leaky_relu: "leaky ReLU", functional.elu: "ELU", functional.hardsigmoid: "hard sigmoid",
}  # fmt: skip
_MODULES: dict[type[nn.Module], Kind] = {
    nn.Conv2d: "convolution", nn.BatchNorm2d: "normalisation", nn.MaxPool2d: "max pooling",
    nn.AvgPool2d: "average pooling", nn.Flatten: "flatten", nn.Linear: "linear", nn.Upsample: "enlargement",
    nn.Identity: "passing", nn.Dropout: "passing", nn.Dropout2d: "passing", torchvision.ops.StochasticDepth: "passing",
}  # fmt: skip
_FUNCTIONS: dict[object, Kind] = {
    operator.add: "addition", torch.add: "addition", operator.mul: "product", torch.mul: "product",
    torch.cat: "concatenation", torch.flatten: "flatten", "flatten": "flatten", functional.interpolate: "enlargement",
    functional.max_pool2d: "max pooling", functional.avg_pool2d: "average pooling", functional.batch_norm: "normalisation",
    functional.dropout: "passing", functional.dropout2d: "passing", torchvision.ops.stochastic_depth: "passing",
    "contiguous": "passing", torch.max_pool2d: "max pooling",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over a map: kernel, stride, padding and dilation, each (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step: its ``kind``, the steps it reads (``sources``), and what its arithmetic needs.

    ``window`` of convolutions and poolings, ``function`` the name of an activation, ``module`` where it is one.
    """

    node: fx.Node
    kind: Kind
    sources: tuple[fx.Node, ...]
    window: Window | None = None
    function: str = ""
    module: nn.Module | None = None


def step_of(network: nn.Module, node: fx.Node) -> Step:
    """What a step of the graph does; kind "other" where it is none of those that RadLens explains."""
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    sources = tuple(source for source in node.all_input_nodes if source.op != "get_attr")
    if name := _ACTIVATIONS.get(type(module) if module is not None else node.target):
        return Step(node, "activation", sources, function=name, module=module)
    kind = _kind_of_module(module) if module is not None else _kind_of_function(node)
    # Adding a number, or multiplying by one, joins nothing.
    if kind in ("addition", "product") and len(sources) < 2:
        kind = "other"
    return Step(node, kind, sources, _window(kind, module, node), module=module)


def _kind_of_module(module: nn.Module) -> Kind:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "global pooling" if module.output_size in (1, (1, 1)) else "other"
    return next((kind for type_, kind in _MODULES.items() if isinstance(module, type_)), "other")


def _kind_of_function(node: fx.Node) -> Kind:
    target: Any = node.target
    if target in (functional.adaptive_avg_pool2d, torch.adaptive_avg_pool1d):
        return "global pooling" if node.args[1] in (1, (1, 1)) else "other"
    if target in ("mean", torch.mean):
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return "global pooling" if isinstance(dims, (list, tuple)) and sorted(dims) in ([2, 3], [-2, -1]) else "other"
    return _FUNCTIONS.get(target, "other")


def _window(kind: Kind, module: nn.Module | None, node: fx.Node) -> Window | None:
    if kind not in ("convolution", "max pooling", "average pooling"):
        return None
    given = _given(module, node)
    kernel = _pair(given("kernel_size", 1, None))
    stride, padding = given("stride", 2, None), given("padding", 3, 0)
    dilation = given("dilation", 4, 1) if kind != "average pooling" else 1
    if padding == "same":
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, _pair(dilation), strict=True))
    return Window(kernel, _pair(stride or kernel), _pair(0 if padding == "valid" else padding), _pair(dilation))


def _given(module: nn.Module | None, node: fx.Node) -> Callable[[str, int, Any], Any]:
    """How a step's settings are read: from the module, or from the call's arguments."""
    if module is not None:
        return lambda name, _place, otherwise: getattr(module, name, otherwise)
    return lambda name, place, otherwise: (
        node.args[place] if len(node.args) > place else node.kwargs.get(name, otherwise)
    )


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        return int(value[0]), int(value[-1])
    return int(value), int(value)
