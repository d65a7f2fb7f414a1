"""Teaching a network to classify: masked loss, imbalance weights, box supervision of the evidence map."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.errors import ConfigurationError
from core.metrics import auroc
from core.models.architectures import build_network
from core.models.card import InputSpec
from core.models.compact_networks import CompactResNet
from core.training.batches import Batch, Batches, normalised
from core.training.configuration import TrainingConfiguration
from core.training.data import Examples
from core.training.loop import Run, run_epochs
from core.training.losses import cell_loss, centre_loss, label_weights, loss_of, smooth_maximum

_EVALUATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of the training log."""

    epoch: int
    train_loss: float
    box_loss: float
    validation_loss: float
    validation_auroc: Mapping[str, float]
    seconds: float

    def said(self, headline: str) -> str:
        """The epoch in one line, with the headline's AUROC."""
        area = self.validation_auroc.get(headline, float("nan"))
        return f"epoch {self.epoch}: loss {self.train_loss:.4f}, AUROC {area:.3f}, {self.seconds:.0f} s"


def fit(
    configuration: TrainingConfiguration,
    train: Examples,
    validation: Examples,
    *,
    run: Run,
    on_epoch: Callable[[EpochRecord], None],
) -> nn.Module:
    """Train the configured network and return it with averaged weights, in evaluation mode.

    Raises ConfigurationError where the configuration asks for what the network cannot do.
    """
    model, settings = configuration.model, configuration.fit
    torch.manual_seed(settings.seed)
    network = build_network(model.architecture, channels=model.input.channels, labels=len(model.labels))
    if (settings.box_weight or settings.centre_weight or settings.peak_weight) and not isinstance(
        network, CompactResNet
    ):
        raise ConfigurationError(
            "fit.box_weight, fit.centre_weight and fit.peak_weight need one of the compact architectures, such as "
            "compact-resnet; set them to 0."
        )
    if settings.imbalance == "balanced" and model.head != "softmax":
        raise ConfigurationError('fit.imbalance "balanced" draws by class and needs the head softmax; use "weighted".')
    stride = network.stride if isinstance(network, CompactResNet) else 0
    lesson = _Classification(configuration, train, validation, stride)
    return run_epochs(lesson, network, settings, run, on_epoch)


def logits_of(network: nn.Module, examples: Examples, spec: InputSpec) -> torch.Tensor:
    """Logits (n, labels) of unchanged pictures, float32, on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [
            network(normalised(part.float() / 255, spec).to(device)).float().cpu()
            for part in examples.pictures.split(_EVALUATION_BATCH)
        ]
    return torch.cat(parts)


class _Classification:
    """The lesson of a classifier."""

    def __init__(
        self, configuration: TrainingConfiguration, train: Examples, validation: Examples, stride: int
    ) -> None:
        self._configuration, self._validation = configuration, validation
        self._batches = Batches(configuration, train, stride)
        self._weights = label_weights(train.truths, configuration)
        self.steps = self._batches.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        return self._batches.of_epoch(epoch)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, Mapping[str, float]]:
        settings, head = self._configuration.fit, self._configuration.model.head
        device = next(network.parameters()).device
        here = batch.to(device)
        logits, evidence = self._forward(network, here)
        loss = loss_of(logits.float(), here.truths, self._weights.to(device), settings, head)
        boxes = cell_loss(evidence, here.cells, here.truths, settings.place_weight) if settings.box_weight else loss * 0
        total = loss + settings.box_weight * boxes
        if settings.peak_weight:
            peaks = smooth_maximum(evidence)
            total = total + settings.peak_weight * loss_of(peaks, here.truths, self._weights.to(device), settings, head)
        if settings.centre_weight:
            total = total + settings.centre_weight * centre_loss(evidence)
        return total, {"train_loss": loss.item(), "box_loss": boxes.item()}

    def record(self, epoch: int, network: nn.Module, means: Mapping[str, float], seconds: float) -> EpochRecord:
        logits = logits_of(network, self._validation, self._configuration.model.input)
        head, truths = self._configuration.model.head, torch.from_numpy(self._validation.truths)
        loss = loss_of(logits, truths, self._weights, self._configuration.fit, head).item()
        return EpochRecord(epoch, means["train_loss"], means["box_loss"], loss, self._areas(logits), seconds)

    def _forward(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, and the evidence (n, labels, h, w) of every cell times the number of cells.

        That is the logit which the picture would have if all cells were like this one.
        """
        if not isinstance(network, CompactResNet):
            return network(batch.inputs), batch.cells
        features = network.features(batch.inputs)
        evidence = functional.conv2d(features.float(), network.fc.weight[:, :, None, None])
        if self._configuration.model.head == "softmax":
            evidence = evidence - evidence.mean(1, keepdim=True)
        return network.tail(features), evidence

    def _areas(self, logits: torch.Tensor) -> dict[str, float]:
        """The AUROC of every label with cases enough on the held-out split."""
        areas = {}
        for column, label in enumerate(self._configuration.model.labels):
            truths = self._validation.truths[:, column]
            known = ~np.isnan(truths)
            figure = auroc(truths[known].astype(np.int64), logits[:, column].numpy()[known], repeats=1)
            if figure:
                areas[label.code] = round(figure.value, 4)
        return areas
