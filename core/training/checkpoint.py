"""Checkpoint: all that a training needs to go on after a kill, in one safetensors file that is never half written."""

import hashlib
import json
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """How far a training is; ``best_epoch`` is the one with the lowest held-out loss so far, counted from 0."""

    epochs_done: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")

    def after(self, validation_loss: float) -> "State":
        """The state one epoch later."""
        epoch = self.epochs_done
        better = validation_loss < self.best_loss
        done = replace(self, epochs_done=epoch + 1)
        return replace(done, best_epoch=epoch, best_loss=validation_loss) if better else done


class Checkpoint:
    """The state of a training in ``folder``: network, averaged weights, optimiser, schedule, the best weights so far."""

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        average: AveragedModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self._path = folder / FILE
        self._network, self._average = network, average
        self._optimiser, self._schedule = optimiser, schedule
        self._best = deepcopy(average.module)

    def resumed(self, fingerprint: str) -> State:
        """Put back what was written for the same training; a first state where there is nothing, or another training's."""
        try:
            with safe_open(self._path, framework="pt") as stored:
                facts = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return State()
        if facts.get("fingerprint") != fingerprint:
            return State()
        self._put_back(tensors, facts)
        return State(**json.loads(facts["state"]))

    def written(self, state: State, fingerprint: str) -> State:
        """Write ``state`` and all tensors, whole or not at all, and return it."""
        if state.best_epoch == state.epochs_done - 1:
            self._best.load_state_dict(self._average.module.state_dict())
        groups = self._optimiser.state_dict()["param_groups"]
        facts = {
            "fingerprint": fingerprint,
            "state": json.dumps(asdict(state)),
            "groups": json.dumps(groups),
            "schedule": json.dumps(self._schedule.state_dict()),
        }
        unfinished = self._path.with_suffix(".part")
        save_file(self._tensors(), unfinished, metadata=facts)
        unfinished.replace(self._path)
        return state

    def best(self) -> nn.Module:
        """The averaged network of the best epoch."""
        return self._best

    def forget(self) -> None:
        """The training is over."""
        self._path.unlink(missing_ok=True)

    def _tensors(self) -> dict[str, torch.Tensor]:
        parts = {"network": self._network, "average": self._average, "best": self._best}
        found = {
            f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
        }
        for index, values in self._optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        # Tensors that share memory are refused by safetensors, and so are views that are not contiguous.
        return {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in found.items()
        }

    def _put_back(self, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
        for part, module in (("network", self._network), ("average", self._average), ("best", self._best)):
            own = {
                name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")
            }
            module.load_state_dict(own)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = value
        self._optimiser.load_state_dict({"state": moments, "param_groups": json.loads(facts["groups"])})
        self._schedule.load_state_dict(json.loads(facts["schedule"]))


def fingerprint_of(section: BaseModel, *more: str) -> str:
    """What must be the same for a checkpoint to be gone on with: the configuration, and what else is named."""
    return hashlib.sha256("\0".join((section.model_dump_json(), *more)).encode()).hexdigest()
