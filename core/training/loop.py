"""The loop that every training shares: AdamW with a one-cycle schedule, averaged weights, a log, early stopping, resuming.

What is learnt (pictures, loss, what is said of an epoch) is a ``Lesson``. The state is written after every epoch, so a
training that was killed goes on where it stood and ends with the weights it would have had.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.errors import ConfigurationError
from core.training.checkpoint import Checkpoint
from core.training.configuration import FitSection
from core.training.curves import LOG_FILE

B = TypeVar("B")
# Gradients longer than this are shortened, so that one odd batch does not throw the weights away.
_LONGEST_GRADIENT = 5.0
_WARM_UP = 0.15


class Record(Protocol):
    """One line of the training log: a dataclass with at least these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def epoch(self) -> int:
        """Counted from 0."""

    @property
    def validation_loss(self) -> float:
        """The loss on the held-out split, of the averaged weights."""


R = TypeVar("R", bound=Record)
Made_co = TypeVar("Made_co", bound=Record, covariant=True)


class Lesson(Protocol[B, Made_co]):
    """What is learnt: batches ``B``, their loss, and what the log says of an epoch."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def batches(self, epoch: int) -> Iterator[B]:
        """The epoch's batches, the same whenever they are asked for."""

    def loss(self, network: nn.Module, batch: B) -> tuple[torch.Tensor, Mapping[str, float]]:
        """What is made small, and its parts for the log."""

    def record(self, epoch: int, network: nn.Module, means: Mapping[str, float], seconds: float) -> Made_co:
        """What is said of an epoch: the averaged network on the held-out split, the parts' means over the epoch."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where a training writes, and what must be the same for it to be gone on with."""

    folder: Path
    fingerprint: str

    @property
    def log(self) -> Path:
        """One JSON line an epoch."""
        return self.folder / LOG_FILE


def run_epochs(
    lesson: Lesson[B, R],
    network: nn.Module,
    settings: FitSection,
    run: Run,
    on_epoch: Callable[[R], None],
) -> nn.Module:
    """Train ``network`` and return it with averaged weights, in evaluation mode on the CPU.

    Writes one JSON line an epoch to ``training.jsonl`` in the run's folder. With ``patience`` the weights of the epoch
    with the lowest held-out loss are returned, else those of the last. Raises ConfigurationError when the asked-for
    device is not there.
    """
    device = device_of(settings)
    network.to(device).to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average_decay), use_buffers=True)
    optimiser, schedule = _optimiser(network, settings, lesson.steps * settings.epochs)
    checkpoint = Checkpoint(run.folder, network, average, optimiser, schedule)
    state = checkpoint.resumed(run.fingerprint)
    _keep_lines(run.log, state.epochs_done)
    for epoch in range(state.epochs_done, settings.epochs):
        if settings.patience and epoch - state.best_epoch > settings.patience:
            break
        started = time.perf_counter()
        torch.manual_seed(settings.seed * 100_003 + epoch)
        parts = [
            _step(lesson, network, batch, optimiser, schedule, average, settings) for batch in lesson.batches(epoch)
        ]
        means = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
        record = lesson.record(epoch, average.module, means, round(time.perf_counter() - started, 1))
        with run.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")
        state = checkpoint.written(state.after(record.validation_loss), run.fingerprint)
        on_epoch(record)
    kept = checkpoint.best() if settings.patience else average.module
    checkpoint.forget()
    return kept.cpu().eval()


def device_of(settings: FitSection) -> torch.device:
    """Where the training runs; "auto" takes a CUDA device where there is one.

    Raises ConfigurationError when CUDA is asked for and is not there.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError('fit.device asks for CUDA, and this machine offers none; use "cpu" or "auto".')
    return torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")


def device_words(settings: FitSection) -> str:
    """The kind of device and the precision, for the card."""
    device = device_of(settings)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{kind}, {settings.precision}"


def _optimiser(
    network: nn.Module, settings: FitSection, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The last linear layer, where there is one, learns ``head_rate`` times as fast as the rest."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)][-1:]
    head = {id(parameter) for module in linear for parameter in module.parameters()}
    parameters = list(network.parameters())
    groups = [
        ([parameter for parameter in parameters if id(parameter) not in head], settings.learning_rate),
        ([parameter for parameter in parameters if id(parameter) in head], settings.learning_rate * settings.head_rate),
    ]
    used = [{"params": members, "lr": rate} for members, rate in groups if members]
    optimiser = torch.optim.AdamW(used, weight_decay=settings.weight_decay)
    rates = [rate for members, rate in groups if members]
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=_WARM_UP)


def _step(
    lesson: Lesson[B, R],
    network: nn.Module,
    batch: B,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: AveragedModel,
    settings: FitSection,
) -> Mapping[str, float]:
    network.train()
    kind = next(network.parameters()).device.type
    with torch.autocast(kind, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        loss, parts = lesson.loss(network, batch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
    optimiser.step()
    schedule.step()
    average.update_parameters(network)
    return parts


def _keep_lines(log: Path, count: int) -> None:
    """A kill between log and checkpoint leaves a line too many or, of a former training, all."""
    lines = log.read_text("utf-8").splitlines(keepends=True) if count and log.is_file() else []
    log.write_text("".join(lines[:count]), "utf-8")
