"""The loop of a training: it goes on after a kill as if nothing had been, stops early on the best epoch, and names its device."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import ConfigurationError
from core.training.checkpoint import FILE, State
from core.training.configuration import FitSection
from core.training.loop import Run, device_words, run_epochs
from tests.files import png_bytes


@dataclass(frozen=True)
class Line:
    """A record of the smallest kind."""

    epoch: int
    validation_loss: float
    seconds: float


class Fitting:
    """A line through four points; the held-out loss is what the test says it is."""

    steps = 2

    def __init__(self, losses: list[float] | None = None) -> None:
        self._losses = losses

    def batches(self, epoch: int) -> Iterator[torch.Tensor]:
        yield from torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(epoch))

    def loss(self, network: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, Mapping[str, float]]:
        error = (network(batch) - 3 * batch).square().mean()
        return error, {"error": error.item()}

    def record(self, epoch: int, network: nn.Module, means: Mapping[str, float], seconds: float) -> Line:  # noqa: ARG002
        return Line(epoch, self._losses[epoch] if self._losses else means["error"], seconds)


def line() -> nn.Module:
    """A linear layer behind dropout, so that the random state matters."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def settings(**changes: object) -> FitSection:
    return FitSection.model_validate(
        {"epochs": 5, "batch_size": 4, "learning_rate": 0.1, "average_decay": 0.5, **changes}
    )


def weights(network: nn.Module) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in network.state_dict().items()}


def losses_of(log: Path) -> list[tuple[int, float]]:
    return [(row["epoch"], row["validation_loss"]) for row in map(json.loads, log.read_text().splitlines())]


class Interrupted(Exception):
    """Raised by a test in the middle of a training."""


def test_a_training_that_was_interrupted_ends_with_the_weights_it_would_have_had(tmp_path: Path) -> None:
    whole, broken = Run(tmp_path / "whole", "a"), Run(tmp_path / "broken", "a")
    for run in (whole, broken):
        run.folder.mkdir()
    wanted = run_epochs(Fitting(), line(), settings(), whole, lambda _: None)

    def stop(record: Line) -> None:
        if record.epoch == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_epochs(Fitting(), line(), settings(), broken, stop)
    epochs: list[int] = []
    resumed = run_epochs(Fitting(), line(), settings(), broken, lambda record: epochs.append(record.epoch))
    assert epochs == [3, 4]
    assert weights(resumed) == weights(wanted)
    assert losses_of(broken.log) == losses_of(whole.log)
    assert not (broken.folder / FILE).exists()


def test_another_training_does_not_go_on_with_the_state_of_a_former_one(tmp_path: Path) -> None:
    def stop(record: Line) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        run_epochs(Fitting(), line(), settings(), Run(tmp_path, "a"), stop)
    epochs: list[int] = []
    run_epochs(Fitting(), line(), settings(), Run(tmp_path, "b"), lambda record: epochs.append(record.epoch))
    assert epochs == [0, 1, 2, 3, 4]
    assert [epoch for epoch, _ in losses_of(tmp_path / "training.jsonl")] == epochs


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    epochs: list[int] = []
    run_epochs(Fitting(), line(), settings(epochs=2), Run(tmp_path, "a"), lambda record: epochs.append(record.epoch))
    assert epochs == [0, 1]


def test_a_line_of_the_log_that_no_checkpoint_covers_is_written_once(tmp_path: Path) -> None:
    run = Run(tmp_path, "a")

    def stop(record: Line) -> None:
        if record.epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_epochs(Fitting(), line(), settings(), run, stop)
    with run.log.open("a") as stream:
        stream.write(json.dumps({"epoch": 2, "validation_loss": 99.0, "seconds": 1}) + "\n")
    run_epochs(Fitting(), line(), settings(), run, lambda _: None)
    assert [epoch for epoch, _ in losses_of(run.log)] == [0, 1, 2, 3, 4]
    assert all(loss != 99 for _, loss in losses_of(run.log))


def test_early_stopping_keeps_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    losses = [5.0, 4.0, 4.5, 4.6, 1.0]
    (tmp_path / "early").mkdir()
    (tmp_path / "two").mkdir()
    epochs: list[int] = []
    lesson = Fitting(losses)
    early = run_epochs(
        lesson, line(), settings(patience=2), Run(tmp_path / "early", "a"), lambda r: epochs.append(r.epoch)
    )
    # Two epochs without a lower loss follow epoch 1; the 1.0 of epoch 4 is never seen.
    assert epochs == [0, 1, 2, 3]

    kept: list[dict[str, list[float]]] = []

    class Watching(Fitting):
        def record(self, epoch: int, network: nn.Module, means: Mapping[str, float], seconds: float) -> Line:
            kept.append(weights(network))
            return super().record(epoch, network, means, seconds)

    run_epochs(Watching(losses), line(), settings(), Run(tmp_path / "two", "a"), lambda _: None)
    assert weights(early) == kept[1]
    assert weights(early) != kept[3]


def test_the_best_epoch_survives_an_interruption(tmp_path: Path) -> None:
    losses = [1.0, 2.0, 3.0, 4.0, 5.0]

    def stop(record: Line) -> None:
        if record.epoch == 1:
            raise Interrupted

    run = Run(tmp_path, "a")
    with pytest.raises(Interrupted):
        run_epochs(Fitting(losses), line(), settings(patience=2), run, stop)
    epochs: list[int] = []
    run_epochs(Fitting(losses), line(), settings(patience=2), run, lambda r: epochs.append(r.epoch))
    assert epochs == [2]


def test_the_state_remembers_the_lowest_loss() -> None:
    state = State()
    for loss in (3.0, 2.0, 2.0, float("nan")):
        state = state.after(loss)
    assert state == State(epochs_done=4, best_epoch=1, best_loss=2.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_is_asked_for_where_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match="CUDA"):
        device_words(settings(device="cuda"))
    assert device_words(settings(device="auto", precision="bfloat16")).startswith("CPU, ")


CONFIGURATION = """
[model]
id = "killed"
version = "0.0.1"
title = "Killed"
architecture = "compact-resnet"
head = "sigmoid"
headline = "bright"
target_layer = "blocks.5.relu_1"
intended_use = "Tests."
licence = "MIT"
limits = ["Made in a test."]
labels = [{ code = "bright", words = "Bright" }]
[model.input]
channels = 1
size = 32
mean = 0.5
std = 0.25
[model.scope]
modalities = ["DX"]
body_parts = ["CHEST"]
[data]
name = "greys"
evaluation_films = 0
[fit]
epochs = 6
batch_size = 8
learning_rate = 0.003
"""


def test_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    rows = ["file,label,split"]
    for index in range(40):
        bright = index % 2
        picture = np.clip(random.normal(80 + 60 * bright, 20, (32, 32)), 0, 255).astype(np.uint8)
        (data / f"{index}.png").write_bytes(png_bytes(picture))
        rows.append(f"{index}.png,{'bright' if bright else 'dark'},{'train' if index < 28 else 'val'}")
    (data / "index.csv").write_text("\n".join(rows))
    (tmp_path / "training.toml").write_text(CONFIGURATION)

    def start(out: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "core", "train", str(tmp_path / "training.toml"), "--data", str(data)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*words, "--out", str(tmp_path / out)], env=environment, stderr=subprocess.DEVNULL)

    log = tmp_path / "killed" / "killed" / "training.jsonl"
    process = start("killed")
    deadline = time.monotonic() + 90
    while not (log.is_file() and len(log.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (log.parent / "card.json").exists()
    again, whole = start("killed"), start("whole")
    assert again.wait() == 0
    assert whole.wait() == 0
    cards = [json.loads((tmp_path / out / "killed" / "card.json").read_text()) for out in ("killed", "whole")]
    assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]
