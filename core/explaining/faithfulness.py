"""Does the answer hang on what the map marks? Deletion and insertion curves against random order.

Petsiuk et al. 2018 (RISE, arXiv 1806.07421): take places away, the warmest first (deletion), or bring them back into an empty
picture (insertion), and watch the answer. If the map is faithful, the answer falls early and comes back early. What stands
in for a place that is away is the blurred picture, for both curves: black patches make edges that no training picture had.

The measure is the label's own logit (or what the map explains), not its score: a score near 0 or 1 hardly moves. Single
values say little, because a picture in pieces is new to the network whatever is taken away; so the same is done in several
random orders, and the map has to do better than these by more than they differ among themselves. For the same reason the
pieces have soft edges, and two blurs are averaged: a light one that leaves nothing new where something large, such as a
heart, was blurred away, and a strong one that takes it away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.explaining.erase import blurred
from core.explaining.perturbation import BATCH, NOBODY, Answer, Watch

FloatArray = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]

# Shares of the picture that are taken away; closer together where the warmest places are.
SHARES = (0.0, 0.05, 0.12, 0.25, 0.45, 0.7, 1.0)
RANDOM_ORDERS = 6
# Standard deviations of the blurs, in shares of the square.
BLURS = (1 / 24, 1 / 12)
# Finer maps are taken together to so many cells a side: smaller pieces are noise to the network and take longer.
MOST_CELLS = 16
LEAST_CELLS = 4
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The label's logit by the share of the picture that is taken away (``deletion``) or brought back (``insertion``).

    ``shares`` (p,), ``deletion`` and ``insertion`` (p,) in the map's order, ``random_deletion`` and ``random_insertion``
    (orders, p) in random ones, each the mean over the BLURS. Deletion starts with the picture and ends with its blurred
    copy, insertion the other way.
    """

    shares: FloatArray = field(repr=False)
    deletion: FloatArray = field(repr=False)
    insertion: FloatArray = field(repr=False)
    random_deletion: FloatArray = field(repr=False)
    random_insertion: FloatArray = field(repr=False)

    @property
    def gain(self) -> float:
        """By how much the map's order beats the random ones, in logits: the mean height of half the area between them.

        Half of insertion's area minus deletion's, less the mean of the same over the random orders. 0 for a map that tells
        nothing about the answer.
        """
        return float(self._height(self.deletion, self.insertion) - self._random_heights().mean())

    @property
    def spread(self) -> float:
        """The standard deviation of the same height among the random orders."""
        return float(self._random_heights().std(ddof=1))

    def _random_heights(self) -> FloatArray:
        return self._height(self.random_deletion, self.random_insertion)

    def _height(self, deletion: FloatArray, insertion: FloatArray) -> FloatArray:
        return np.asarray(np.trapezoid(insertion - deletion, self.shares, axis=-1) / 2)


def faithfulness(
    answer: Answer, picture: torch.Tensor, content: torch.Tensor, evidence: Map, watch: Watch = NOBODY
) -> Curves | None:
    """The curves of one label's map, or None where its grid is too coarse to be taken apart.

    ``answer`` gives one target; ``picture`` (1, channels, size, size); ``content`` (size, size) bool, the picture without
    its bars; ``evidence`` (h, w) over the whole square. Random orders and ties come from a fixed seed.
    Raises Stopped when the reader has cancelled.
    """
    values, seen = _cells(evidence, content)
    if min(values.shape) < LEAST_CELLS:
        return None
    random = np.random.default_rng(_SEED)
    noise = random.random((RANDOM_ORDERS, *values.shape))
    orders = [places_in_order(one, seen, tie) for one, tie in [(values, noise[0]), *((n, n) for n in noise)]]
    logits = np.mean([_logits(answer, picture, blurred(picture, content, b), orders, watch) for b in BLURS], axis=0)
    deletion, insertion = logits[:, 0], logits[:, 1]
    return Curves(np.array(SHARES), deletion[0], insertion[0], deletion[1:], insertion[1:])


def places_in_order(values: npt.NDArray[np.floating], seen: npt.NDArray[np.bool_], tie: FloatArray) -> FloatArray:
    """At what share of the picture each cell (h, w) is reached, the highest value first; infinity where nothing is seen.

    Among equal values ``tie`` decides, so that an even map does not run from top to bottom.
    """
    reached = np.full(values.shape, np.inf)
    order = np.lexsort((tie[seen], -values[seen]))
    shares = np.empty(len(order))
    shares[order] = (np.arange(len(order)) + 0.5) / max(len(order), 1)
    reached[seen] = shares
    return reached


def _cells(evidence: Map, content: torch.Tensor) -> tuple[Map, npt.NDArray[np.bool_]]:
    """The map on at most 16 x 16 cells, and which of them lie mostly on the picture."""
    grid = min(evidence.shape[0], MOST_CELLS), min(evidence.shape[1], MOST_CELLS)
    values = functional.adaptive_avg_pool2d(torch.from_numpy(np.array(evidence, np.float32))[None], grid)[0]
    seen = functional.adaptive_avg_pool2d(content[None].float(), grid)[0] > 0.5
    return values.numpy(), seen.numpy()


def _logits(
    answer: Answer, picture: torch.Tensor, empty: torch.Tensor, orders: list[FloatArray], watch: Watch
) -> FloatArray:
    """Deletion and insertion of every order, (orders, 2, shares); both ends are the same for all and asked once."""
    between, count = SHARES[1:-1], len(orders)
    whole, none = (float(value) for value in answer(torch.cat([picture, empty]))[:, 0])
    found = np.empty((count, 2, len(SHARES)))
    found[:, 0, 0], found[:, 0, -1], found[:, 1, 0], found[:, 1, -1] = whole, none, none, whole
    asked: list[float] = []
    total = 2 * count * len(between)
    changed = _changed(picture, empty, orders)
    while batch := list(islice(changed, BATCH)):
        asked += answer(torch.cat(batch))[:, 0].tolist()
        watch.step(len(asked), total)
    found[:, :, 1:-1] = np.array(asked).reshape(count, 2, len(between))
    return found


def _changed(picture: torch.Tensor, empty: torch.Tensor, orders: list[FloatArray]) -> Iterator[torch.Tensor]:
    """The pictures between the ends: of every order those of deletion, then those of insertion."""
    for reached in orders:
        for start, end in ((picture, empty), (empty, picture)):
            yield from (start + _cover(reached < share, picture.shape[-1]) * (end - start) for share in SHARES[1:-1])


def _cover(cells: npt.NDArray[np.bool_], size: int) -> torch.Tensor:
    """Cells (h, w) over the whole square, (1, 1, size, size), 0 to 1 with soft edges (bilinear)."""
    return functional.interpolate(torch.from_numpy(cells)[None, None].float(), (size, size), mode="bilinear")
