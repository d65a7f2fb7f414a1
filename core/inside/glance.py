"""The network at a glance: every layer in order with its shape, parameters, receptive field, share of the work, mean map."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch import nn

from core.analysis import FloatArray
from core.inside.receptive_field import ReceptiveField, size_of
from core.inside.recording import Recording
from core.inside.steps import Kind, Step
from core.overlay import FEATURE_PALETTE, encode_indexed_png, mosaic, resize

BlockKind = Literal["residual", "dense", "joining", "plain"]

_THUMBNAIL = 44


@dataclass(frozen=True, slots=True, eq=False)
class LayerFacts:
    """One layer on this picture.

    ``shape`` of its output, (channels, h, w) or (features,); ``multiplications`` of one forward pass and their ``share`` of
    the network's; ``seen`` the receptive field of a cell in its middle, None where the network has no graph to tell it by;
    ``mean`` (h, w) over the channels, None where the layer has no places; ``reads`` the layers whose outputs it takes.
    """

    name: str
    kind: Kind
    words: str
    shape: tuple[int, ...]
    parameters: int
    multiplications: int
    share: float
    seen: ReceptiveField | None
    mean: FloatArray | None = field(repr=False)
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Layers that belong together.

    ``residual``: a shortcut is added; ``joining``: maps are put beside earlier ones, ``dense`` where that is done again and
    again (Huang et al. 2017, arXiv 1608.06993).
    """

    name: str
    kind: BlockKind
    layers: tuple[LayerFacts, ...]

    @property
    def parameters(self) -> int:
        """Weights of all its layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def share(self) -> float:
        """Its share of the network's multiplications."""
        return sum(layer.share for layer in self.layers)


def at_a_glance(recording: Recording, network: nn.Module) -> tuple[Block, ...]:
    """Every layer of a recording in the order in which they run, in blocks; ``network`` is the one recorded."""
    steps = [step for name, step in recording.steps.items() if name in recording.names]
    work = {step.node.name: _multiplications(recording, step) for step in steps}
    total = max(1, sum(work.values()))
    facts = [_facts(recording, step, work[step.node.name], total) for step in steps]
    owners = _owners(network)
    found = []
    for name, members in groupby(facts, key=lambda layer: _block_of(layer.name, owners)):
        layers = tuple(members)
        found.append(Block(name, _kind_of(layers), layers))
    return tuple(found)


def thumbnails_png(maps: Sequence[FloatArray], columns: int) -> bytes:
    """Small pictures of maps (h, w) of any size, ``columns`` in a row without gaps, each from its lowest to its highest value."""
    tiles = np.zeros((len(maps), _THUMBNAIL, _THUMBNAIL), np.uint8)
    for index, values in enumerate(maps):
        low, high = float(values.min()), float(values.max())
        shares = (values - low) / max(high - low, 1e-12)
        tiles[index] = np.rint(255 * np.clip(_small(shares.astype(np.float32)), 0, 1))
    return encode_indexed_png(mosaic(tiles, columns, gap=0), FEATURE_PALETTE)


def _small(values: FloatArray) -> FloatArray:
    """Averaged down, or repeated up so that cells stay cells."""
    factor = max(1, _THUMBNAIL // max(values.shape))
    return resize(values.repeat(factor, 0).repeat(factor, 1), _THUMBNAIL, _THUMBNAIL)


def _facts(recording: Recording, step: Step, multiplications: int, total: int) -> LayerFacts:
    name, value = recording.name(step.node), recording.value(step)
    return LayerFacts(
        name=name,
        kind=step.kind,
        words=_words(step),
        shape=tuple(value.shape),
        parameters=_parameters(recording, step),
        multiplications=multiplications,
        share=multiplications / total,
        seen=size_of(recording, name) if recording.followed else None,
        mean=_mean(value),
        reads=tuple(recording.name(source) for source in step.sources),
    )


def _parameters(recording: Recording, step: Step) -> int:
    """Weights; of a block whose parts are steps of their own, those that are in none of them."""
    if step.module is None:
        return 0
    return sum(p.numel() for p in step.module.parameters(recurse=recording.followed))


def _words(step: Step) -> str:
    """Such as ``convolution 3 x 3, stride 2``; ``activation ReLU``."""
    if step.function:
        return f"{step.kind} {step.function}"
    if step.window is None:
        is_block = step.kind == "other" and step.module is not None and any(True for _ in step.module.children())
        return "block of layers" if is_block else step.kind
    (rows, columns), stride = step.window.kernel, step.window.stride
    words = f"{step.kind} {rows} x {columns}"
    words += f", stride {stride[0]}" if stride != (1, 1) else ""
    words += f", dilation {step.window.dilation[0]}" if step.window.dilation != (1, 1) else ""
    groups = step.module.groups if isinstance(step.module, nn.Conv2d) else 1
    return words + (f", in {groups} groups" if groups > 1 else "")


def _multiplications(recording: Recording, step: Step) -> int:
    """Multiply-adds of convolutions and linear layers; the others' are a rounding error beside them."""
    module, value = step.module, recording.value(step)
    if isinstance(module, nn.Conv2d):
        return value.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    return value.numel() * module.in_features if isinstance(module, nn.Linear) else 0


def _mean(value: torch.Tensor) -> FloatArray | None:
    if value.ndim != 3:
        return None
    mean: FloatArray = value.mean(0).numpy()
    mean.setflags(write=False)
    return mean


def _owners(network: nn.Module) -> Mapping[str, bool]:
    """Each module's path, and whether it is a block of its own: neither a plain row of others nor a single layer."""
    rows = (nn.Sequential, nn.ModuleList)
    return {
        path: not isinstance(module, rows) and any(True for _ in module.children())
        for path, module in network.named_modules()
        if path
    }


def _block_of(layer: str, owners: Mapping[str, bool]) -> str:
    """The outermost module around the layer that is a block; else the first part of its path."""
    parts = layer.split(".")
    # The layer itself among them: without a graph, a block's own output is one of its layers.
    paths = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return next((path for path in paths if owners.get(path)), parts[0])


def _kind_of(layers: Iterable[LayerFacts]) -> BlockKind:
    kinds = Counter(layer.kind for layer in layers)
    if kinds["addition"]:
        return "residual"
    return "dense" if kinds["concatenation"] > 1 else "joining" if kinds["concatenation"] else "plain"
