"""Is the map the network's own, and does it stay where it is? Randomised weights, small shifts, other methods.

Adebayo et al. 2018 (arXiv 1810.03292): a map that looks the same after the weights of the top layers were drawn anew shows the
picture's edges, not what was learnt. Small changes of the input that leave the answer alone should leave the map alone
(Yeh et al. 2019, arXiv 1901.09392). Krishna et al. 2022 (arXiv 2202.01602): methods often disagree, so say by how much.
Every comparison is a rank correlation: it asks for the order of the places, not for heights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from core.engines.cutting import CutNetwork, Pass
from core.engines.hooked import cut_network

Map = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

COPIES = 4
# Besides everything below the target layer: the last layers with weights above it, a convolution and its batch norm.
_LAYERS_ABOVE = 2
# Shifts in shares of the picture's side, up, down, left and right: four pixels of 256, as if the patient stood a little aside.
SHIFT = 1 / 64


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation of two maps of one shape; equal values share their mean rank. None where one is flat."""
    ranks = [_ranks(values.ravel()) for values in (first, second)]
    x, y = (rank - rank.mean() for rank in ranks)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else None


def _ranks(values: npt.NDArray[np.floating]) -> FloatArray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Randomised:
    """Maps of networks whose top was drawn anew: their likeness to the real map, and how strong they are beside it.

    ``likeness`` is the mean absolute rank correlation (a map with its signs turned is the same map), ``strength`` the mean
    standard deviation of their cells, in those of the real map; both None where the real map is flat.
    """

    maps: tuple[Map, ...] = field(repr=False)
    likeness: float | None
    strength: float | None


def randomised(
    network: nn.Module, target_layer: str, picture: torch.Tensor, explain: Callable[[CutNetwork, Pass], Map], own: Map
) -> Randomised:
    """``explain`` makes the map ``own`` of a network and its pass; here it is asked about copies with a new top.

    The top is all below ``target_layer``, and the last convolution and batch norm above it. ``network`` itself is copied
    first and never touched. Weights are drawn from fixed seeds, of the spread that keeps a signal's size (He et al. 2015).
    """
    cut = cut_network(network, target_layer, picture)
    above, below = cut.parts(picture)
    top = [*above[-_LAYERS_ABOVE:], *below]
    maps = []
    for seed in range(COPIES):
        _draw_anew(top, torch.Generator().manual_seed(seed))
        maps.append(explain(cut, cut.run(picture)))
    likenesses = [rank_correlation(own, one) for one in maps]
    found = [abs(one) for one in likenesses if one is not None]
    spread = float(own.std())
    strength = float(np.mean([one.std() for one in maps])) / spread if spread > 0 else None
    # A copy whose map is flat has nothing in common with the real one.
    likeness = sum(found) / COPIES if spread > 0 else None
    return Randomised(tuple(maps), likeness, strength)


def _draw_anew(layers: list[nn.Module], random: torch.Generator) -> None:
    for part in (module for layer in layers for module in layer.modules()):
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
        for name, values in part.named_parameters(recurse=False):
            values.data.copy_(_new_values(name, values, random))


def _new_values(name: str, values: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Scales of norms 1, biases 0, kernels and matrices normal."""
    if values.ndim < 2:
        return torch.full_like(values, 1.0 if name == "weight" else 0.0)
    gain = 2.0 if values.ndim > 2 else 1.0
    return torch.randn(values.shape, generator=random) * (gain / values[0].numel()) ** 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Shifted:
    """Maps of the picture moved a little, moved back: their rank correlation with the map where it was.

    ``likeness`` is the least of the four, None where a map is flat; ``peak_moved`` the median distance between the
    warmest places, in shares of the picture's side.
    """

    likeness: float | None
    peak_moved: float


def shifted(picture: torch.Tensor, explain: Callable[[torch.Tensor], Map], own: Map) -> Shifted:
    """Repeatability of the map ``own`` (h, w): ``explain`` gives the map of a picture (1, channels, size, size).

    The picture is moved up, down, left and right; what enters at the edge repeats the edge. The maps are compared where
    both show the same places.
    """
    size = picture.shape[-1]
    far = shift_of(size)
    here = _stretched(own, size)[far:-far, far:-far]
    likenesses, distances = [], []
    for down, right in ((-far, 0), (far, 0), (0, -far), (0, far)):
        there = _stretched(explain(_moved(picture, down, right, far)), size)
        back = there[far + down : size - far + down, far + right : size - far + right]
        likenesses.append(rank_correlation(here, back))
        distances.append(_distance(here, back) / size)
    known = [one for one in likenesses if one is not None]
    return Shifted(min(known) if len(known) == len(likenesses) else None, float(np.median(distances)))


def shift_of(size: int) -> int:
    """By how many pixels a square of ``size`` is moved."""
    return max(1, round(SHIFT * size))


def _moved(picture: torch.Tensor, down: int, right: int, far: int) -> torch.Tensor:
    size = picture.shape[-1]
    wide = functional.pad(picture, (far, far, far, far), mode="replicate")
    return wide[..., far - down : far - down + size, far - right : far - right + size]


def _stretched(values: Map, size: int) -> Map:
    """A map (h, w) over the whole square, (size, size), bilinear."""
    grid = torch.from_numpy(np.array(values, np.float32))[None, None]
    return functional.interpolate(grid, (size, size), mode="bilinear")[0, 0].numpy()


def _distance(first: Map, second: Map) -> float:
    one, other = (np.array(np.unravel_index(int(values.argmax()), values.shape)) for values in (first, second))
    return float(np.hypot(*(one - other)))


def likeness_of(own: Map, other: Map) -> float | None:
    """The rank correlation of a map with that of another method, on the coarser of the two grids.

    Where the other shows positive places only, it is compared with the positive part.
    """
    grid = min(own.shape[0], other.shape[0]), min(own.shape[1], other.shape[1])
    shown = np.maximum(own, 0) if float(other.min()) >= 0 else own
    return rank_correlation(_coarse(shown, grid), _coarse(other, grid))


def _coarse(values: Map, grid: tuple[int, int]) -> Map:
    return functional.adaptive_avg_pool2d(torch.from_numpy(np.array(values, np.float32))[None], grid)[0].numpy()
