"""Feature maps of a layer on the scan in front of you: order, strength, one picture of them all."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from core.analysis import Analysis, FloatArray
from core.errors import UnknownLayer
from core.inside.recording import Recording
from core.overlay import FEATURE_PALETTE, encode_indexed_png, encode_png, mosaic, resize, tinted, to_eight_bits
from core.preprocessing import Letterbox
from core.scan import Scan
from core.windowing import display_grey

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
    def is_single_cell(self) -> bool:
        """Whether each map is one number (1 x 1): then none can be flat, nor two alike."""
        return self.maps.shape[1:] == (1, 1)

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels whose maps are the same everywhere on this scan."""
        if self.is_single_cell:
            return ()
        spread = np.ptp(self.maps.reshape(len(self.maps), -1), axis=1)
        return tuple(sorted(channel for channel, it in zip(self.channels, spread, strict=True) if it == 0))

    @property
    def duplicates(self) -> tuple[tuple[int, int], ...]:
        """Pairs of channels whose maps rise and fall together on this scan (correlation of 0.999 or more)."""
        if self.is_single_cell:
            return ()
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
    return _maps(layer, values, order, contributions)


def recorded_maps(
    recording: Recording, layer: str, *, order: Order = "channel", contributions: FloatArray | None = None
) -> FeatureMaps:
    """The same for any layer of a recording, not only convolutions.

    Raises UnknownLayer when there is no such layer, or it holds numbers without places.
    """
    value = recording.value(recording.step(layer))
    if value.ndim != 3:
        raise UnknownLayer(
            f"The layer {layer!r} puts out {value.numel()} numbers without places, so there are no maps of it."
        )
    return _maps(layer, value.numpy(), order, contributions)


def layers_with_maps(recording: Recording) -> tuple[str, ...]:
    """The layers that put out maps, in the order in which they run."""
    return tuple(name for name in recording.layers if recording.value(recording.step(name)).ndim == 3)


def range_of(source: Analysis | Recording) -> tuple[float, float]:
    """The lowest and the highest value of all layers' maps: the ends of the scale "network"."""
    if isinstance(source, Recording):
        spatial = [source.value(source.step(name)).numpy() for name in layers_with_maps(source)]
    else:
        spatial = [values for values in source.activations.values() if values.ndim == 3]
    return min(float(v.min()) for v in spatial), max(float(v.max()) for v in spatial)


def _maps(layer: str, values: FloatArray, order: Order, contributions: FloatArray | None) -> FeatureMaps:
    channels = _ordered(values, order, contributions)
    return FeatureMaps(layer, values[list(channels)], channels, contributions)


def strongest_places(values: FloatArray, count: int = 3) -> tuple[tuple[int, int], ...]:
    """The cells (row, column) of a map (h, w) where it is highest, apart from each other by an eighth of its side or more."""
    left, found = np.array(values, np.float64), []
    reach = [max(1, side // 8) for side in values.shape]
    for _ in range(count):
        row, column = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
        if not np.isfinite(left[row, column]) or left[row, column] <= values.min():
            break
        found.append((row, column))
        left[max(0, row - reach[0]) : row + reach[0] + 1, max(0, column - reach[1]) : column + reach[1] + 1] = -np.inf
    return tuple(found)


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
    # A map of one cell has no darkest and brightest place of its own.
    indices = _to_indices(maps, "layer" if scale == "map" and maps.shape[1:] == (1, 1) else scale, ends)
    factor = max(1, -(-_LEAST_TILE // max(indices.shape[1:])))
    tiles = indices.repeat(factor, 1).repeat(factor, 2)
    return encode_indexed_png(mosaic(tiles, columns), FEATURE_PALETTE, clear_gaps=True)


def channel_png(analysis: Analysis, values: FloatArray, *, side: int = 512) -> bytes:
    """One map (h, w) laid out as the scan, from its lowest (dark) to its highest value, ``side`` pixels on the longer side."""
    box = analysis.letterbox
    scale = side / max(box.rows, box.columns)
    laid_out = box.to_scan_grid(values, max(1, round(box.rows * scale)), max(1, round(box.columns * scale)))
    return encode_indexed_png(_to_indices(laid_out[None], "map")[0], FEATURE_PALETTE)


def over_scan_png(
    scan: Scan, frame: int, letterbox: Letterbox, values: FloatArray, *, side: int = 512, opacity: float = 0.5
) -> bytes:
    """One map (h, w) over the scan, dark to bright from its lowest to its highest value; cells as they are, not smoothed."""
    scale = min(1.0, side / max(scan.shape))
    rows, columns = (max(1, round(length * scale)) for length in scan.shape)
    picture = to_eight_bits(resize(display_grey(scan, frame), rows, columns))
    cells = _nearest(values, letterbox, rows, columns)
    return encode_png(tinted(picture, _to_indices(cells[None], "map")[0], FEATURE_PALETTE, opacity))


def _nearest(values: FloatArray, box: Letterbox, rows: int, columns: int) -> FloatArray:
    """The cell over each pixel of a picture of the scan of rows x columns."""
    y = ((np.arange(rows) + 0.5) * box.height / rows + box.top) * values.shape[0] / box.size
    x = ((np.arange(columns) + 0.5) * box.width / columns + box.left) * values.shape[1] / box.size
    row, column = (np.clip(at.astype(np.intp), 0, side - 1) for at, side in zip((y, x), values.shape, strict=True))
    found: FloatArray = values[row[:, None], column[None]]
    return found


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
