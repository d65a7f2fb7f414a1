"""ExportRecord: what a network's export for the fast engine is, bound by hashes to its weights and its graph."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from core.engines.engine import FloatArray

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Raised when exports are written in another way: older ones are then made again.
REVISION = 1
PICTURE = "picture"
_SAMPLE = 64


class TailNames(BaseModel):
    """The tensors of the weights file that make the linear layer behind the pooling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: str
    bias: str | None


class ExportRecord(BaseModel):
    """``graph_sha256`` is that of the ONNX file, which holds the steps alone: ``weights`` come from the model's own file.

    ``logits``, ``target``, ``crossings`` and ``layers`` (by layer) name the graph's outputs. ``references`` are values that
    torch gave for the first reference pictures: for each of these outputs some places, evenly spread.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    revision: int
    weights_sha256: Sha256
    graph_sha256: Sha256
    architecture: str
    target_layer: str
    channels: int
    size: int
    opset: int
    software: dict[str, str]
    logits: str
    target: str
    crossings: tuple[str, ...]
    layers: dict[str, str]
    weights: tuple[str, ...]
    tail: TailNames | None
    untrained: bool
    references: dict[str, tuple[float, ...]]


def sampled(outputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Of every output (n, ...) at most 64 values, evenly spread."""
    places = {name: np.linspace(0, value.size - 1, min(value.size, _SAMPLE)) for name, value in outputs.items()}
    return {name: outputs[name].reshape(-1)[place.round().astype(np.intp)] for name, place in places.items()}
