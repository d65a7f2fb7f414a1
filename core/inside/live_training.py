"""Training in front of one's eyes: the article's small network learns to tell simulated films with a finding from those without.

Films are drawn by ``core.simulation`` and averaged to 28 x 28, as the article's pictures are. Nothing of a patient is in them,
and what the network learns from them is of no use for real films: it shows how learning goes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.analysis import FloatArray
from core.errors import ConfigurationError
from core.explaining.perturbation import NOBODY, Watch
from core.overlay import resize
from core.simulation import FINDINGS, simulate_film

SIDE = 28
# Drawn this large and then averaged: lungs and ribs keep their shapes.
_DRAWN = 112
_TRAIN, _HELD_OUT = 400, 200
_BATCH = 16
_SNAPSHOT_EVERY = 5
# Seeds of the held-out films start here, far from those to learn from.
_HELD_OUT_SEEDS = 500_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is trained: the article's network with so many filters of this side, for so many epochs (Adam, cross entropy).

    Raises ConfigurationError for numbers that make no network that small pictures can pass.
    """

    finding: str = "cardiomegaly"
    first_filters: int = 32
    second_filters: int = 64
    kernel: int = 3
    epochs: int = 5
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.finding not in FINDINGS:
            raise ConfigurationError(
                f"A finding that can be drawn is expected ({', '.join(FINDINGS)}), not {self.finding!r}."
            )
        fits = 1 <= self.first_filters <= 64 and 1 <= self.second_filters <= 128 and self.kernel in (3, 5, 7)
        if not (fits and 1 <= self.epochs <= 10 and 0 < self.learning_rate <= 0.1):
            raise ConfigurationError(
                "Up to 64 and 128 filters of 3, 5 or 7 a side, 1 to 10 epochs and a learning rate of at most 0.1 are expected."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Pictures (n, 1, 28, 28), grey 0..1 less 0.5, and whether the finding is in them (n,)."""

    pictures: torch.Tensor = field(repr=False)
    truths: torch.Tensor = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """How far the training is.

    ``loss`` of the last batches, ``accuracy`` on the held-out films (measured after each epoch, else None), the first layer's
    ``filters`` (n, k, k) and what they make of one held-out film, ``maps`` (n, h, w).
    """

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float | None
    filters: FloatArray = field(repr=False)
    maps: FloatArray = field(repr=False)
    parameters: int
    seconds: float


def network_of(lesson: Lesson) -> nn.Sequential:
    """The article's network: convolution, pooling, convolution, pooling, one dense layer with two answers."""
    kernel, padding = lesson.kernel, 0 if lesson.kernel == 3 else lesson.kernel // 2
    side = ((SIDE + 2 * padding - kernel + 1) // 2 + 2 * padding - kernel + 1) // 2
    return nn.Sequential(
        nn.Conv2d(1, lesson.first_filters, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(lesson.first_filters, lesson.second_filters, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(lesson.second_filters * side * side, 2),
    )  # fmt: skip


@lru_cache(maxsize=4)
def films(finding: str, *, held_out: bool) -> Films:
    """The films of a lesson, every second one with the finding; drawn once a server."""
    count, first = (_HELD_OUT, _HELD_OUT_SEEDS) if held_out else (_TRAIN, 0)
    drawn = [simulate_film(first + n, finding if n % 2 else None, rows=_DRAWN, columns=_DRAWN) for n in range(count)]
    grey = np.stack([resize((film.pixels / 4095).astype(np.float32), SIDE, SIDE) for film in drawn])
    truths = torch.tensor([film.finding is not None for film in drawn]).long()
    return Films(torch.from_numpy(grey)[:, None] - 0.5, truths)


def learn(lesson: Lesson, *, watch: Watch = NOBODY, films_of: Callable[..., Films] = films) -> Iterator[Snapshot]:
    """Train, and show every few batches how far it is; the same lesson gives the same course.

    Raises Stopped when the watch ended the work.
    """
    random = torch.Generator().manual_seed(lesson.seed)
    train, held_out = (films_of(lesson.finding, held_out=it) for it in (False, True))
    network = network_of(lesson)
    _draw_weights(network, random)
    optimiser = torch.optim.Adam(network.parameters(), lr=lesson.learning_rate)
    begun, losses = time.perf_counter(), list[float]()
    each = -(-len(train.truths) // _BATCH)
    for epoch in range(lesson.epochs):
        for number, rows in enumerate(torch.randperm(len(train.truths), generator=random).split(_BATCH)):
            losses.append(_step(network, optimiser, train, rows))
            step, last = epoch * each + number + 1, number + 1 == each
            watch.step(step, lesson.epochs * each)
            if last or step % _SNAPSHOT_EVERY == 0:
                accuracy = _accuracy(network, held_out) if last else None
                at = (step, lesson.epochs * each, epoch + 1)
                yield _snapshot(network, held_out, at, losses, accuracy, time.perf_counter() - begun)


def _draw_weights(network: nn.Module, random: torch.Generator) -> None:
    """As torch does by itself (He et al. 2015, with a = sqrt 5), but from a source that no other session draws from."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            reach = 1 / layer.weight[0].numel() ** 0.5
            nn.init.uniform_(layer.weight, -reach, reach, generator=random)
            nn.init.uniform_(layer.bias, -reach, reach, generator=random)


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, train: Films, rows: torch.Tensor) -> float:
    with torch.enable_grad():
        loss = functional.cross_entropy(network(train.pictures[rows]), train.truths[rows])
        optimiser.zero_grad()
        loss.backward()
    optimiser.step()
    return float(loss.detach())


def _accuracy(network: nn.Module, held_out: Films) -> float:
    with torch.inference_mode():
        return float((network(held_out.pictures).argmax(1) == held_out.truths).float().mean())


def _snapshot(
    network: nn.Sequential,
    held_out: Films,
    at: tuple[int, int, int],
    losses: list[float],
    accuracy: float | None,
    seconds: float,
) -> Snapshot:
    with torch.inference_mode():
        maps = network[1](network[0](held_out.pictures[1:2]))[0].numpy()
    weights = network.state_dict()["0.weight"][:, 0].numpy().copy()
    parameters = sum(p.numel() for p in network.parameters())
    recent = float(np.mean(losses[-_SNAPSHOT_EVERY:]))
    return Snapshot(
        *at, loss=recent, accuracy=accuracy, filters=weights, maps=maps, parameters=parameters, seconds=seconds
    )
