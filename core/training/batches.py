"""Batches of a training: shuffled, augmented pictures with what is known of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.metrics import Box
from core.models.card import InputSpec
from core.training.augmentation import Augmentation
from core.training.configuration import TrainingConfiguration
from core.training.data import Examples
from core.training.transplants import Transplants


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``inputs`` (n, c, s, s) normalised; ``truths`` (n, labels) with NaN; ``cells`` (n, labels, h, w) box cover 0..1.

    ``cells`` are those of the evidence map; none where the network has no such map.
    """

    inputs: torch.Tensor
    truths: torch.Tensor
    cells: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.inputs.to(device), self.truths.to(device), self.cells.to(device))


class Batches:
    """Shuffled, augmented batches; epoch ``e`` is the same whenever it is asked for.

    ``stride`` is how many pixels a cell of the evidence map is wide; 0 where there is none.
    """

    def __init__(self, configuration: TrainingConfiguration, examples: Examples, stride: int) -> None:
        self._examples, self._model, self._fit = examples, configuration.model, configuration.fit
        self._augment = configuration.augment
        self._side = self._model.input.size // stride if stride else 0
        self._codes = [label.code for label in self._model.labels]
        augment = configuration.augment
        self._transplants = Transplants(examples, tuple(self._codes), augment.transplanted, augment.transplants)

    @property
    def steps(self) -> int:
        """Batches an epoch; a last one of a single picture is left out."""
        whole, rest = divmod(len(self._examples), self._fit.batch_size)
        return whole + (rest > 1)

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        seed = self._fit.seed * 100_003 + epoch
        random = np.random.default_rng(seed)
        order, augment = torch.from_numpy(self._order(random)), Augmentation(seed, self._augment)
        for rows in order.split(self._fit.batch_size):
            if len(rows) > 1:
                yield self._batch(rows.tolist(), augment, random)

    def _order(self, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Every example once; with balanced sampling as many draws, each class equally likely and no class never."""
        count, truths = len(self._examples), self._examples.truths
        known = ~np.isnan(truths).any(1)
        if self._fit.imbalance != "balanced" or not known.any():
            return random.permutation(count)
        classes = np.nan_to_num(truths).argmax(1)
        chances = known / np.bincount(classes, known).clip(min=1)[classes]
        return random.choice(count, count, p=chances / chances.sum())

    def _batch(self, rows: list[int], augment: Augmentation, random: np.random.Generator) -> Batch:
        raw, truths, boxes = zip(*(self._transplants(row, random) for row in rows), strict=True)
        pictures, moved = augment(torch.stack(raw).float() / 255, boxes)
        cells = torch.stack([self._cells(found) for found in moved])
        return Batch(normalised(pictures, self._model.input), torch.from_numpy(np.stack(truths)), cells)

    def _cells(self, boxes: Mapping[str, list[Box]]) -> torch.Tensor:
        """Box cover by label; where labels go together, the headline's is that of all findings."""
        cells = torch.zeros(len(self._codes), self._side, self._side)
        if not self._side:
            return cells
        cell = self._model.input.size / self._side
        for code, found in boxes.items():
            covered = torch.stack([_cover(box, self._side, cell) for box in found]).amax(0)
            for target in {code, self._model.headline} if self._model.head == "sigmoid" else {code}:
                row = self._codes.index(target)
                cells[row] = torch.maximum(cells[row], covered)
        return cells


def _cover(box: Box, side: int, cell: float) -> torch.Tensor:
    """Share of every grid cell that a box covers, (side, side)."""
    x, y, w, h = box
    edges = torch.arange(side + 1) * cell
    along_x = (torch.clamp(edges[1:], max=x + w) - torch.clamp(edges[:-1], min=x)).clamp(0) / cell
    along_y = (torch.clamp(edges[1:], max=y + h) - torch.clamp(edges[:-1], min=y)).clamp(0) / cell
    return along_y[:, None] * along_x[None, :]


def normalised(grey: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Grey 0..1 (n, c, s, s) -> what the network takes."""
    return ((grey - spec.mean) / spec.std).contiguous(memory_format=torch.channels_last)
