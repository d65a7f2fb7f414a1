"""Feature maps of a layer on the scan in front of you: order, strength, one picture of them all."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from core.analysis import Analysis, FloatArray
from core.errors import UnknownLayer
from core.overlay import FEATURE_PALETTE, encode_indexed_png, mosaic

Order = Literal["channel", "strength", "variance", "contribution"]
Scale = Literal["map", "layer", "network"]

_LEAST_TILE = 28
# Two maps that go together this closely say the same.
_ALIKE = 0.999


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
    """The outputs of one layer: ``maps`` (channels, h, w) float32 in ``order`` of ``channels``, their numbers in the network.

    ``contributions`` by channel number, where they were given: how far each map moves the chosen label's logit.
    """

    layer: str
    maps: FloatArray = field(repr=False)
    channels: tuple[int, ...] = field(repr=False)
    contributions: FloatArray | None = field(default=None, repr=False)

    @property
    def silent(self) -> int:
        """How many maps are the same everywhere on this scan."""
        return len(self.dead)

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels whose maps are the same everywhere on this scan."""
        spread = np.ptp(self.maps.reshape(len(self.maps), -1), axis=1)
        return tuple(sorted(channel for channel, it in zip(self.channels, spread, strict=True) if it == 0))

    @property
    def duplicates(self) -> tuple[tuple[int, int], ...]:
        """Pairs of channels whose maps rise and fall together on this scan (correlation of 0.999 or more)."""
        alive = [index for index, channel in enumerate(self.channels) if channel not in set(self.dead)]
        flat = self.maps.reshape(len(self.maps), -1)[alive].astype(np.float64)
        centred = flat - flat.mean(1, keepdims=True)
        units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        first, second = np.nonzero(np.triu(units @ units.T >= _ALIKE, 1))
        pairs = ((self.channels[alive[i]], self.channels[alive[j]]) for i, j in zip(first, second, strict=True))
        return tuple(sorted((min(pair), max(pair)) for pair in pairs))


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


def feature_maps(
    analysis: Analysis, layer: str, *, order: Order = "channel", contributions: FloatArray | None = None
) -> FeatureMaps:
    """The maps of one layer from an analysis that asked for it, strongest, most varied or most weighty first if so ordered.

    ``contributions`` (channels,) of one label, from ``core.inside.contributions``, are what the order "contribution" goes by.
    Raises UnknownLayer when the analysis does not hold the layer or it has no maps.
    """
    values = analysis.activations.get(layer)
    if values is None or values.ndim != 3:
        raise UnknownLayer(f"There are no feature maps of the layer {layer!r} here; choose one of the convolutions.")
    channels = _ordered(values, order, contributions)
    return FeatureMaps(layer, values[list(channels)], channels, contributions)


def range_of(analysis: Analysis) -> tuple[float, float]:
    """The lowest and the highest value of all layers' maps: the ends of the scale "network"."""
    spatial = [values for values in analysis.activations.values() if values.ndim == 3]
    return min(float(v.min()) for v in spatial), max(float(v.max()) for v in spatial)


def maps_npz(maps: FeatureMaps) -> bytes:
    """The maps as a compressed NumPy archive: ``maps`` (channels, h, w) float32 and the numbers of their ``channels``."""
    stream = BytesIO()
    np.savez_compressed(stream, maps=maps.maps, channels=np.array(maps.channels), layer=np.array(maps.layer))
    return stream.getvalue()


def grid_png(
    maps: FloatArray, *, columns: int = 8, scale: Scale = "map", ends: tuple[float, float] | None = None
) -> bytes:
    """All maps (n, h, w) as one indexed PNG; dark is low, bright is high, within each map or within the layer.

    Within the whole network where ``scale`` is "network": then ``ends`` are its lowest and highest value.
    """
    indices = _to_indices(maps, scale, ends)
    factor = max(1, -(-_LEAST_TILE // max(indices.shape[1:])))
    tiles = indices.repeat(factor, 1).repeat(factor, 2)
    return encode_indexed_png(mosaic(tiles, columns), FEATURE_PALETTE)


def channel_png(analysis: Analysis, values: FloatArray, *, side: int = 512) -> bytes:
    """One map (h, w) laid out as the scan, from its lowest (dark) to its highest value, ``side`` pixels on the longer side."""
    box = analysis.letterbox
    scale = side / max(box.rows, box.columns)
    laid_out = box.to_scan_grid(values, max(1, round(box.rows * scale)), max(1, round(box.columns * scale)))
    return encode_indexed_png(_to_indices(laid_out[None], "map")[0], FEATURE_PALETTE)


def _ordered(values: FloatArray, order: Order, contributions: FloatArray | None) -> tuple[int, ...]:
    if order == "channel" or (order == "contribution" and contributions is None):
        return tuple(range(len(values)))
    flat = values.reshape(len(values), -1)
    measure = np.abs(contributions) if contributions is not None and order == "contribution" else None
    if measure is None:
        measure = np.abs(flat).mean(1) if order == "strength" else flat.var(1)
    return tuple(int(i) for i in np.argsort(-measure, kind="stable"))


def _to_indices(maps: FloatArray, scale: Scale, ends: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Values -> 1..255, leaving 0 to the gaps; a map that is flat stays at the lowest."""
    axes = (1, 2) if scale == "map" else (0, 1, 2)
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    if scale == "network" and ends is not None:
        low, high = np.float32(ends[0]), np.float32(ends[1])
    shares = np.clip((maps - low) / np.maximum(high - low, 1e-12), 0, 1)
    return (1 + np.rint(shares * 254)).astype(np.uint8)
