"""The training loop: masked loss, imbalance weights, box supervision of the evidence map, averaged weights.

Box supervision works on the cells of the evidence map, as patches are taught in Li et al. 2018 (arXiv 1711.06373): cells
inside a box should speak for its finding, cells outside it, and all cells of a picture without the finding, against it;
and the strongest cell should lie in the box. The held-out split is only watched: no weights are chosen on it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.errors import ConfigurationError
from core.metrics import Box, auroc
from core.models.architectures import CompactResNet, build_network
from core.models.card import InputSpec
from core.training.augmentation import Augmentation
from core.training.configuration import FitSection, TrainingConfiguration
from core.training.data import Examples

_EVALUATION_BATCH = 32
# The exponent gamma of the focal loss (Lin et al. 2017, arXiv 1708.02002).
_FOCUS = 2.0


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of the training log."""

    epoch: int
    train_loss: float
    box_loss: float
    validation_loss: float
    validation_auroc: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``inputs`` (n, c, s, s) normalised; ``truths`` (n, labels) with NaN; ``cells`` (n, labels, s/16, s/16) box cover 0..1."""

    inputs: torch.Tensor
    truths: torch.Tensor
    cells: torch.Tensor


def fit(
    configuration: TrainingConfiguration,
    train: Examples,
    validation: Examples,
    *,
    log: Path,
    on_epoch: Callable[[EpochRecord], None],
) -> nn.Module:
    """Train the configured network and return it with averaged weights, in evaluation mode.

    Writes one JSON line an epoch to ``log``.
    """
    model, settings = configuration.model, configuration.fit
    torch.manual_seed(settings.seed)
    network = build_network(model.architecture, channels=model.input.channels, labels=len(model.labels))
    network.to(memory_format=torch.channels_last)
    if settings.box_weight and not isinstance(network, CompactResNet):
        raise ConfigurationError("fit.box_weight needs the architecture compact-resnet; set it to 0.")
    if settings.imbalance == "balanced" and model.head != "softmax":
        raise ConfigurationError('fit.imbalance "balanced" draws by class and needs the head softmax; use "weighted".')
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average_decay), use_buffers=True)
    steps = -(-len(train) // settings.batch_size)
    optimiser, schedule = _optimiser(network, settings, steps * settings.epochs)
    weights = label_weights(train.truths, configuration)
    batches = _Batches(configuration, train)
    for epoch in range(settings.epochs):
        started = time.perf_counter()
        losses = [
            _step(network, batch, optimiser, schedule, average, configuration, weights)
            for batch in batches.of_epoch(epoch)
        ]
        record = _record(epoch, losses, average.module, validation, configuration, weights, started)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")
        on_epoch(record)
    return average.module.eval()


def logits_of(network: nn.Module, examples: Examples, spec: InputSpec) -> torch.Tensor:
    """Logits (n, labels) of unchanged pictures, float32."""
    network.eval()
    with torch.inference_mode():
        parts = [network(_normalised(part, spec)) for part in examples.pictures.split(_EVALUATION_BATCH)]
    return torch.cat(parts).float()


def _optimiser(
    network: nn.Module, settings: FitSection, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with a one-cycle schedule; the last layer learns ``head_rate`` times as fast as the rest."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    head = {id(parameter) for parameter in last.parameters()}
    body = [parameter for parameter in network.parameters() if id(parameter) not in head]
    rates = [settings.learning_rate, settings.learning_rate * settings.head_rate]
    groups = [{"params": body, "lr": rates[0]}, {"params": list(last.parameters()), "lr": rates[1]}]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.15)


class _Batches:
    """Shuffled, augmented batches; epoch ``e`` is the same whenever it is asked for."""

    def __init__(self, configuration: TrainingConfiguration, examples: Examples) -> None:
        self._examples, self._model, self._fit = examples, configuration.model, configuration.fit
        self._augment = configuration.augment
        self._codes = [label.code for label in self._model.labels]

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        seed = self._fit.seed * 100_003 + epoch
        order = torch.from_numpy(self._order(np.random.default_rng(seed)))
        augment = Augmentation(seed, self._augment)
        for rows in order.split(self._fit.batch_size):
            if len(rows) > 1:
                yield self._batch(rows, augment)

    def _order(self, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Every example once; with balanced sampling as many draws, each class equally likely and no class never."""
        count, truths = len(self._examples), self._examples.truths
        known = ~np.isnan(truths).any(1)
        if self._fit.imbalance != "balanced" or not known.any():
            return random.permutation(count)
        classes = np.nan_to_num(truths).argmax(1)
        chances = known / np.bincount(classes, known).clip(min=1)[classes]
        return random.choice(count, count, p=chances / chances.sum())

    def _batch(self, rows: torch.Tensor, augment: Augmentation) -> Batch:
        picked = rows.tolist()
        grey = self._examples.pictures[rows].float() / 255
        pictures, boxes = augment(grey, [self._examples.boxes[i] for i in picked])
        spec = self._model.input
        cells = torch.stack([self._cells(found, spec.size // 16) for found in boxes])
        return Batch((pictures - spec.mean) / spec.std, torch.from_numpy(self._examples.truths[picked]), cells)

    def _cells(self, boxes: Mapping[str, list[Box]], side: int) -> torch.Tensor:
        """Box cover by label; where labels go together, the headline's is that of all findings."""
        cells = torch.zeros(len(self._codes), side, side)
        cell = self._model.input.size / side
        for code, found in boxes.items():
            cover = torch.stack([_cover(box, side, cell) for box in found]).amax(0)
            for target in {code, self._model.headline} if self._model.head == "sigmoid" else {code}:
                row = self._codes.index(target)
                cells[row] = torch.maximum(cells[row], cover)
        return cells


def _cover(box: Box, side: int, cell: float) -> torch.Tensor:
    """Share of every grid cell that a box covers, (side, side)."""
    x, y, w, h = box
    edges = torch.arange(side + 1) * cell
    along_x = (torch.clamp(edges[1:], max=x + w) - torch.clamp(edges[:-1], min=x)).clamp(0) / cell
    along_y = (torch.clamp(edges[1:], max=y + h) - torch.clamp(edges[:-1], min=y)).clamp(0) / cell
    return along_y[:, None] * along_x[None, :]


def _step(
    network: nn.Module,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: AveragedModel,
    configuration: TrainingConfiguration,
    weights: torch.Tensor,
) -> tuple[float, float]:
    settings, head = configuration.fit, configuration.model.head
    network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
        logits, outside = _forward(network, batch, configuration)
    loss = loss_of(logits.float(), batch.truths, weights, settings, head)
    optimiser.zero_grad(set_to_none=True)
    (loss + settings.box_weight * outside).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    schedule.step()
    average.update_parameters(network)
    return loss.item(), outside.item()


def _forward(
    network: nn.Module, batch: Batch, configuration: TrainingConfiguration
) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
    if not configuration.fit.box_weight or not isinstance(network, CompactResNet):
        return network(inputs), torch.zeros(())
    features = network.features(inputs)
    # Evidence of a cell, times the number of cells: the logit that the picture would have if all cells were like it.
    evidence = functional.conv2d(features.float(), network.fc.weight[:, :, None, None])
    if configuration.model.head == "softmax":
        evidence = evidence - evidence.mean(1, keepdim=True)
    return network.tail(features), cell_loss(evidence, batch.cells, batch.truths)


def cell_loss(evidence: torch.Tensor, cells: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
    """Box supervision of evidence (n, labels, h, w) by box cover 0..1; 0 where no finding of the batch has a box.

    The mean loss of cells inside boxes, half that of cells outside them, half that of cells of pictures known to be
    without the finding (each as binary cross entropy of the sign), and a third of the cross entropy of where the
    strongest cell is.
    """
    boxed = (cells.sum((2, 3)) > 0) & (truths == 1)
    if not bool(boxed.any()):
        return evidence.sum() * 0
    own, cover = evidence[boxed].flatten(1), cells[boxed].flatten(1)
    # The largest cover stands in where a box is smaller than half a cell.
    inside = functional.softplus(-own)[cover >= cover.amax(1, keepdim=True).clamp(max=0.5)].mean()
    outside = functional.softplus(own)[cover == 0].mean()
    healthy = functional.softplus(evidence[truths == 0]).mean()
    place = -torch.log((torch.softmax(own, 1) * cover).sum(1) + 1e-6).mean()
    return inside + 0.5 * torch.nan_to_num(outside) + 0.5 * torch.nan_to_num(healthy) + 0.3 * place


def loss_of(
    logits: torch.Tensor, truths: torch.Tensor, weights: torch.Tensor, settings: FitSection, head: str
) -> torch.Tensor:
    """The loss of the card's head: one class of several (softmax), or every label on its own (sigmoid)."""
    if head == "softmax":
        return class_loss(logits, truths, weights, settings)
    return classification_loss(logits, truths, weights, settings.label_smoothing, focal=settings.imbalance == "focal")


def class_loss(logits: torch.Tensor, truths: torch.Tensor, weights: torch.Tensor, settings: FitSection) -> torch.Tensor:
    """Cross entropy over the examples whose class is known: a missing class (NaN) teaches nothing."""
    known = ~torch.isnan(truths).any(1)
    if not bool(known.any()):
        return logits.sum() * 0
    logits, classes = logits[known], truths[known].argmax(1)
    smoothing = settings.label_smoothing
    loss = functional.cross_entropy(logits, classes, weights, reduction="none", label_smoothing=smoothing)
    if settings.imbalance == "focal":
        share = torch.softmax(logits, 1).gather(1, classes[:, None])[:, 0]
        return ((1 - share) ** _FOCUS * loss).mean()
    return loss.sum() / weights[classes].sum()


def classification_loss(
    logits: torch.Tensor,
    truths: torch.Tensor,
    positive_weights: torch.Tensor,
    smoothing: float = 0.0,
    *,
    focal: bool = False,
) -> torch.Tensor:
    """Binary cross entropy over the known labels only: a missing label (NaN) teaches nothing."""
    known = ~torch.isnan(truths)
    wanted = torch.where(known, truths, 0.0)
    targets = wanted * (1 - 2 * smoothing) + smoothing
    loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weights, reduction="none")
    if focal:
        loss = loss * torch.abs(wanted - torch.sigmoid(logits)) ** _FOCUS
    return (loss * known).sum() / known.sum().clamp(min=1)


def label_weights(truths: npt.NDArray[np.float32], configuration: TrainingConfiguration) -> torch.Tensor:
    """How much more a rare label counts: square root of negatives over positives (sigmoid), or of the rarity of a class.

    The square root lets rare findings count more without drowning the rest. Ones unless ``imbalance`` is "weighted".
    """
    known = torch.from_numpy(truths)
    if configuration.fit.imbalance != "weighted":
        return torch.ones(known.shape[1])
    positives, negatives = (known == 1).sum(0), (known == 0).sum(0)
    if configuration.model.head == "softmax":
        return torch.sqrt(positives.sum() / (positives.clamp(min=1) * known.shape[1]))
    return torch.sqrt(negatives / positives.clamp(min=1)).clamp(1, 10)


def _normalised(pictures: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    return ((pictures.float() / 255 - spec.mean) / spec.std).contiguous(memory_format=torch.channels_last)


def _record(
    epoch: int,
    losses: list[tuple[float, float]],
    network: nn.Module,
    validation: Examples,
    configuration: TrainingConfiguration,
    weights: torch.Tensor,
    started: float,
) -> EpochRecord:
    logits = logits_of(network, validation, configuration.model.input)
    head = configuration.model.head
    loss = loss_of(logits, torch.from_numpy(validation.truths), weights, configuration.fit, head).item()
    areas = {}
    for column, label in enumerate(configuration.model.labels):
        truths = validation.truths[:, column]
        known = ~np.isnan(truths)
        figure = auroc(truths[known].astype(np.int64), logits[:, column].numpy()[known], repeats=1)
        if figure:
            areas[label.code] = round(figure.value, 4)
    train_loss, box_loss = (float(np.mean([pair[i] for pair in losses])) for i in (0, 1))
    return EpochRecord(epoch, train_loss, box_loss, loss, areas, round(time.perf_counter() - started, 1))
