"""Feature maps of a layer on the scan in front of you: order, strength, one picture of them all."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from core.analysis import Analysis, FloatArray
from core.errors import UnknownLayer
from core.overlay import FEATURE_PALETTE, encode_indexed_png, mosaic

Order = Literal["channel", "strength", "variance"]
Scale = Literal["map", "layer"]

_LEAST_TILE = 28


@dataclass(frozen=True, slots=True)
class ConvolutionLayer:
    """A convolution of the network by name, with its arithmetic."""

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    parameters: int

    def __str__(self) -> str:
        """Such as ``stem.0: 24 maps, kernel 5 x 5, stride 2``."""
        return f"{self.name}: {self.outputs} maps, kernel {self.kernel[0]} x {self.kernel[1]}, stride {self.stride[0]}"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """The outputs of one layer: ``maps`` (channels, h, w) float32 in ``order`` of ``channels``, their numbers in the network."""

    layer: str
    maps: FloatArray = field(repr=False)
    channels: tuple[int, ...] = field(repr=False)

    @property
    def silent(self) -> int:
        """How many maps are the same everywhere on this scan."""
        return int((np.ptp(self.maps.reshape(len(self.maps), -1), axis=1) == 0).sum())


def convolution_layers(network: nn.Module) -> tuple[ConvolutionLayer, ...]:
    """Every two-dimensional convolution of the network, in the order of its modules."""
    return tuple(
        ConvolutionLayer(
            name,
            module.in_channels,
            module.out_channels,
            (module.kernel_size[0], module.kernel_size[1]),
            (module.stride[0], module.stride[1]),
            sum(p.numel() for p in module.parameters()),
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    )


def feature_maps(analysis: Analysis, layer: str, *, order: Order = "channel") -> FeatureMaps:
    """The maps of one layer from an analysis that asked for it, strongest or most varied first if so ordered.

    Raises UnknownLayer when the analysis does not hold the layer or it has no maps.
    """
    values = analysis.activations.get(layer)
    if values is None or values.ndim != 3:
        raise UnknownLayer(f"There are no feature maps of the layer {layer!r} here; choose one of the convolutions.")
    channels = _ordered(values, order)
    return FeatureMaps(layer, values[list(channels)], channels)


def grid_png(maps: FloatArray, *, columns: int = 8, scale: Scale = "map") -> bytes:
    """All maps (n, h, w) as one indexed PNG; dark is low, bright is high, within each map or within the layer."""
    indices = _to_indices(maps, scale)
    factor = max(1, -(-_LEAST_TILE // max(indices.shape[1:])))
    tiles = indices.repeat(factor, 1).repeat(factor, 2)
    return encode_indexed_png(mosaic(tiles, columns), FEATURE_PALETTE)


def channel_png(analysis: Analysis, values: FloatArray, *, side: int = 512) -> bytes:
    """One map (h, w) laid out as the scan, from its lowest (dark) to its highest value, ``side`` pixels on the longer side."""
    box = analysis.letterbox
    scale = side / max(box.rows, box.columns)
    laid_out = box.to_scan_grid(values, max(1, round(box.rows * scale)), max(1, round(box.columns * scale)))
    return encode_indexed_png(_to_indices(laid_out[None], "map")[0], FEATURE_PALETTE)


def _ordered(values: FloatArray, order: Order) -> tuple[int, ...]:
    if order == "channel":
        return tuple(range(len(values)))
    flat = values.reshape(len(values), -1)
    measure = np.abs(flat).mean(1) if order == "strength" else flat.var(1)
    return tuple(int(i) for i in np.argsort(-measure, kind="stable"))


def _to_indices(maps: FloatArray, scale: Scale) -> npt.NDArray[np.uint8]:
    """Values -> 1..255, leaving 0 to the gaps; a map that is flat stays at the lowest."""
    axes = (1, 2) if scale == "map" else (0, 1, 2)
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    shares = (maps - low) / np.maximum(high - low, 1e-12)
    return (1 + np.rint(shares * 254)).astype(np.uint8)
