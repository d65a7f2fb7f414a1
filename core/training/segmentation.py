"""How outlines are learnt: cross entropy of every pixel and soft Dice; the loop is that of all trainings."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.errors import ConfigurationError
from core.models.architectures import build_network
from core.models.card import InputSpec
from core.models.loading import load_model
from core.training.augmentation import Augmentation
from core.training.batches import normalised
from core.training.configuration import TrainingConfiguration
from core.training.loop import Run, run_epochs
from core.training.outlines import OutlinedExamples, check_outlines

OutlineBatch = tuple[torch.Tensor, torch.Tensor]

_EVALUATION_BATCH = 32
# Dice of a mask of a few pixels shall not jump.
_SMOOTH = 1.0


@dataclass(frozen=True, slots=True)
class OutlineRecord:
    """One line of the training log: ``validation_dice`` is the mean over held-out pictures with a lesion, at probability 0.5."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_dice: float
    seconds: float

    def said(self, _headline: str) -> str:
        """The epoch in one line."""
        dice = f"{self.validation_dice:.3f}"
        return f"epoch {self.epoch}: loss {self.train_loss:.4f}, Dice {dice}, {self.seconds:.0f} s"


def fit_outlines(
    configuration: TrainingConfiguration,
    train: OutlinedExamples,
    validation: OutlinedExamples,
    *,
    run: Run,
    on_epoch: Callable[[OutlineRecord], None],
) -> nn.Module:
    """Train the configured network and return it with averaged weights, in evaluation mode.

    Raises ConfigurationError where there is nothing to learn from, or the configuration asks for what outlines cannot do.
    """
    check_configuration(configuration)
    check_outlines(train)
    model, settings = configuration.model, configuration.fit
    torch.manual_seed(settings.seed)
    network = build_network(model.architecture, channels=model.input.channels, labels=1)
    if settings.start_from:
        take_over(network, settings.start_from)
    return run_epochs(OutlineLesson(configuration, train, validation), network, settings, run, on_epoch)


def take_over(network: nn.Module, model_id: str) -> int:
    """Fill the layers that a model of the catalogue has by the same name and size; returns how many tensors those are.

    Raises UnknownModel or ModelRejected as loading does, and ConfigurationError where the two have nothing in common.
    """
    own, theirs = network.state_dict(), load_model(model_id).network.state_dict()
    shared = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    if not shared:
        raise ConfigurationError(f"The network has no layer in common with {model_id}; leave fit.start_from empty.")
    network.load_state_dict({**own, **shared})
    return len(shared)


def check_configuration(configuration: TrainingConfiguration) -> None:
    """Raise ConfigurationError for what outlines cannot be trained with."""
    if len(configuration.model.labels) != 1 or configuration.model.head != "sigmoid":
        raise ConfigurationError(
            'A model of outlines has one label and the head sigmoid: model.labels with one entry, model.head = "sigmoid".'
        )
    if configuration.data.simulated_films or configuration.data.evaluation_films or configuration.fit.box_weight:
        raise ConfigurationError(
            "Outlines are learnt from masks only; set data.simulated_films, data.evaluation_films and fit.box_weight to 0."
        )


def outline_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of every pixel, plus one minus the soft Dice of every picture that has an outline.

    Logits and masks (n, labels, s, s). Soft Dice is 2 sum(p g) / (sum(p p) + sum(g g)) (Milletari et al. 2016,
    arXiv 1606.04797); where nothing is outlined it says nothing, and cross entropy alone teaches that.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    outlined = masks.flatten(2).any(2)
    if not bool(outlined.any()):
        return entropy
    return entropy + 1 - soft_dice(torch.sigmoid(logits)[outlined], masks[outlined]).mean()


def soft_dice(probabilities: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(n, s, s) each -> (n,): 1 where they are the same; a mask of 0 and 1 as first argument gives the Dice of two masks."""
    common = (probabilities * masks).sum((1, 2))
    total = (probabilities**2).sum((1, 2)) + (masks**2).sum((1, 2))
    return (2 * common + _SMOOTH) / (total + _SMOOTH)


def outline_logits(network: nn.Module, examples: OutlinedExamples, spec: InputSpec) -> torch.Tensor:
    """Logits (n, labels, s, s) of unchanged pictures, float32, on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    parts = examples.pictures.split(_EVALUATION_BATCH)
    with torch.inference_mode():
        return torch.cat([network(normalised(part.float() / 255, spec).to(device)).float().cpu() for part in parts])


class OutlineLesson:
    """Shuffled, augmented batches of what has a mask, (inputs, masks) each, and how well the held-out outlines agree."""

    def __init__(
        self, configuration: TrainingConfiguration, train: OutlinedExamples, validation: OutlinedExamples
    ) -> None:
        self._train, self._validation, self._spec = train, validation, configuration.model.input
        self._fit, self._augment = configuration.fit, configuration.augment
        self._rows = np.flatnonzero(train.known)

    @property
    def steps(self) -> int:
        """Batches an epoch; a last one of a single picture is left out, batch norm cannot learn from it."""
        whole, rest = divmod(len(self._rows), self._fit.batch_size)
        return whole + (rest > 1)

    def batches(self, epoch: int) -> Iterator[OutlineBatch]:
        """The epoch's batches, the same whenever they are asked for."""
        seed = self._fit.seed * 100_003 + epoch
        order = torch.from_numpy(np.random.default_rng(seed).permutation(self._rows))
        augment = Augmentation(seed, self._augment)
        for rows in order.split(self._fit.batch_size):
            if len(rows) > 1:
                grey = self._train.pictures[rows].float() / 255
                pictures, masks = augment.with_masks(grey, self._train.masks[rows].float())
                yield normalised(pictures, self._spec), masks

    def loss(self, network: nn.Module, batch: OutlineBatch) -> tuple[torch.Tensor, Mapping[str, float]]:
        """``outline_loss`` of a batch."""
        device = next(network.parameters()).device
        inputs, masks = (part.to(device) for part in batch)
        loss = outline_loss(network(inputs).float(), masks)
        return loss, {"loss": loss.item()}

    def record(self, epoch: int, network: nn.Module, means: Mapping[str, float], seconds: float) -> OutlineRecord:
        """The held-out split's loss and Dice."""
        known = torch.from_numpy(self._validation.known)
        logits = outline_logits(network, self._validation, self._spec)[known]
        masks = self._validation.masks[known].float()
        loss = outline_loss(logits, masks).item() if len(masks) else float("nan")
        lesions = masks.flatten(1).any(1)
        dice = soft_dice((logits[lesions, 0] >= 0).float(), masks[lesions, 0])
        mean = float(dice.mean()) if len(dice) else float("nan")
        return OutlineRecord(epoch, means["loss"], loss, round(mean, 4), seconds)
