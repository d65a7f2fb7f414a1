"""Heatmaps by asking again: what the network answers when channels are switched off or parts of the picture are covered.

All labels share the forward passes. Pictures run in batches of 8 (more is slower on two cores), and after each of them the
watch is told and may stop the work. A covered place takes the value 0 of the normalised picture: the card's mean grey.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from core.engines.cutting import CutNetwork, Pass
from core.errors import Stopped
from core.explaining.gradcam import weighted
from core.explaining.targets import Targets

# Pictures (n, channels, size, size) -> the targets (n, targets).
Answer = Callable[[torch.Tensor], torch.Tensor]
# A picture (1, channels, size, size) and places (n, size, size) bool -> n pictures, each with one of the places covered.
Cover = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

BATCH = 8
OCCLUSION_CELLS = 14
# The side of the square that is greyed out, in cells.
OCCLUSION_SIDE = 3
RISE_MASKS = 400
RISE_GRID = 7
RISE_KEPT = 0.5
RISE_CELLS = 28
_SEED = 0


def _silent(_done: int, _total: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Watch:
    """Who follows long work: ``report(done, total)`` after every batch; the work ends when ``cancelled()`` is true."""

    report: Callable[[int, int], None] = _silent
    cancelled: Callable[[], bool] = _never

    def step(self, done: int, total: int) -> None:
        """One batch is done.

        Raises Stopped when the reader has cancelled.
        """
        self.report(done, total)
        if self.cancelled():
            raise Stopped("The heatmap was not finished, because the work was stopped; start it again to see it.")


NOBODY = Watch()


def answer_of(network: CutNetwork, targets: Targets) -> Answer:
    """The targets as the network answers them."""

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return targets.of(network.answer(pictures.contiguous(memory_format=torch.channels_last)))

    return answer


def approximate_answer_of(network: CutNetwork, targets: Targets, size: int) -> Answer | None:
    """The targets of pictures of half the network's ``size``, in bfloat16, on a copy of it: much faster, not exact.

    None where the network takes its own size only. ``half_size`` makes the pictures.
    """
    own = network.whole().to(torch.bfloat16)
    first = next(own.parameters())
    inputs = first.shape[1] if first.ndim == 4 else 1

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return targets.of(own(pictures.to(torch.bfloat16, memory_format=torch.channels_last)).float())

    try:
        answer(torch.zeros(1, inputs, size // 2, size // 2))
    except RuntimeError:  # a network whose last layers count on one size
        return None
    return answer


def half_size(picture: torch.Tensor) -> torch.Tensor:
    """A picture (1, channels, size, size) at half its size, averaged."""
    side = picture.shape[-1] // 2
    return functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)


def scorecam(activations: torch.Tensor, picture: torch.Tensor, answer: Answer, watch: Watch = NOBODY) -> torch.Tensor:
    """Score-CAM (Wang et al. 2020, arXiv 1910.01279) -> (targets, h, w), positive part.

    Each channel, stretched to the picture and to 0..1, lets through its part of the picture (1, channels, size, size);
    the answers, softmax over channels, are the weights. Channels that are flat let nothing through and share one pass.
    """
    with torch.inference_mode():
        flat = activations.amax((1, 2)) - activations.amin((1, 2)) <= 0
        uneven = activations[~flat]
        total = len(uneven)
        masked = (picture * _masks(channels, picture.shape[-1]) for channels in uneven.split(BATCH))
        scores = answer(torch.zeros_like(picture)).repeat(len(activations), 1)
        scores[~flat] = _ask(masked, answer, total, watch, scores.shape[1])
        return weighted(torch.softmax(scores, 0).T, activations).clamp(min=0)


def ablationcam(network: CutNetwork, one_pass: Pass, targets: Targets, watch: Watch = NOBODY) -> torch.Tensor:
    """Ablation-CAM (Desai and Ramaswamy 2020) -> (targets, h, w): weights are how far a target falls without a channel.

    A channel is switched off by setting it to 0. Where the tail is pooling and one linear layer, the fall is
    W_k mean(A_k), exactly. The paper divides by the target itself; that only scales the map, and would turn it round where
    the logit is negative, so it is left out. Signed: the paper's map is the positive part.
    """
    activations, linear = one_pass.target, network.linear_tail
    with torch.inference_mode():
        if linear is not None and targets.outlined is None:
            return weighted(targets.mix @ linear.weight * activations.mean((1, 2)), activations)
        whole = targets.of(one_pass.logits[None])
        count = len(activations)
        kept = 1 - torch.eye(count)

        def answer(part: torch.Tensor) -> torch.Tensor:
            batch = activations * part[:, :, None, None]
            beside = (value.expand(len(part), *value.shape[1:]) for value in one_pass.crossings)
            return targets.of(network.tail(batch, *beside)[0])

        falls = whole - _ask(kept.split(BATCH), answer, count, watch, len(targets))
        return weighted(falls.T, activations)


def greyed(picture: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Covered by the value 0."""
    return picture * ~places[:, None]


def occlusion(
    picture: torch.Tensor,
    answer: Answer,
    watch: Watch = NOBODY,
    *,
    cells: int = OCCLUSION_CELLS,
    side: int = OCCLUSION_SIDE,
    cover: Cover = greyed,
) -> torch.Tensor:
    """Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901) -> (targets, cells, cells): how far each target falls.

    A square, ``side`` cells wide and centred on the cell, is covered; near the edge it is cut off. Signed.
    """
    with torch.inference_mode():
        whole = answer(picture)
        covers = _squares(picture.shape[-1], cells, side)
        covered = (cover(picture, places) for places in covers.split(BATCH))
        answers = _ask(covered, answer, cells * cells, watch, whole.shape[1])
        return (whole - answers).T.reshape(-1, cells, cells)


def rise(
    picture: torch.Tensor, answer: Answer, watch: Watch = NOBODY, *, masks: int = RISE_MASKS, seed: int = _SEED
) -> torch.Tensor:
    """RISE (Petsiuk et al. 2018, arXiv 1806.07421) -> (targets, cells, cells): what seeing a place adds to each target.

    sum_i (f_i - mean f) M_i / (masks * p) with random masks M_i that keep a share p of the picture. The paper leaves the
    mean in; it is the same everywhere. The same ``seed`` gives the same map.
    """
    random = torch.Generator().manual_seed(seed)
    sizes = [min(BATCH, masks - start) for start in range(0, masks, BATCH)]
    pooled: list[torch.Tensor] = []

    def shown() -> Iterator[torch.Tensor]:
        for count in sizes:
            kept = random_masks(count, picture.shape[-1], random)
            pooled.append(functional.adaptive_avg_pool2d(kept, min(RISE_CELLS, picture.shape[-1])))
            yield picture * kept[:, None]

    with torch.inference_mode():
        answers = _ask(shown(), answer, masks, watch, answer(picture).shape[1])
        deviations = answers - answers.mean(0)
        return torch.einsum("nt,nhw->thw", deviations, torch.cat(pooled)) / (masks * RISE_KEPT)


def random_masks(count: int, size: int, random: torch.Generator) -> torch.Tensor:
    """RISE's masks (count, size, size), 0..1: a coarse random grid, stretched by bilinear interpolation and shifted."""
    cell = -(-size // RISE_GRID)
    coarse = (torch.rand(count, 1, RISE_GRID, RISE_GRID, generator=random) < RISE_KEPT).float()
    large = functional.interpolate(coarse, ((RISE_GRID + 1) * cell,) * 2, mode="bilinear")[:, 0]
    shifts = torch.randint(0, cell, (count, 2), generator=random).tolist()
    return torch.stack([mask[y : y + size, x : x + size] for mask, (y, x) in zip(large, shifts, strict=True)])


def _ask(batches: Iterable[torch.Tensor], answer: Answer, total: int, watch: Watch, targets: int) -> torch.Tensor:
    """The answers to all batches, (total, targets)."""
    answers = torch.empty(total, targets)
    done = 0
    watch.step(0, total)
    for batch in batches:
        answers[done : done + len(batch)] = answer(batch)
        done += len(batch)
        watch.step(done, total)
    return answers


def _masks(channels: torch.Tensor, size: int) -> torch.Tensor:
    """Channels (n, h, w) -> masks (n, 1, size, size), each from 0 to 1."""
    large = functional.interpolate(channels[:, None], (size, size), mode="bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low).clamp(min=1e-12)


def _squares(size: int, cells: int, side: int) -> torch.Tensor:
    """The square around each cell, (cells * cells, size, size) bool."""
    edges = torch.arange(cells)
    low = ((edges - (side - 1) / 2) * size / cells).round()
    high = ((edges + (side + 1) / 2) * size / cells).round()
    places = torch.arange(size)
    inside = (places >= low[:, None]) & (places < high[:, None])
    return (inside[:, None, :, None] & inside[None, :, None, :]).reshape(-1, size, size)
