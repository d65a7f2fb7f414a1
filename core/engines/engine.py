"""What an engine is: pictures in, arrays out, from one forward pass. No torch needed.

torch is the reference and always works; another engine is used only where it proved equal to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.explaining.evidence import LinearTail

FloatArray = npt.NDArray[np.float32]

# torch takes 0.7 to 0.9 of the time for each picture of four to eight as for one alone; larger batches leave the processor's
# cache. onnxruntime on one thread takes as long, and with all layers longer: there a batch would only make readers wait.
MOST_AT_ONCE = 8
# Engines round sums in another order: so far they may differ, in shares of the largest value or of 1.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What one forward pass gave for one picture.

    ``logits`` (outputs,) or (outputs, s, s), ``target`` (channels, h, w), ``layers`` name -> (channels, h, w) or
    (features,), ``crossings`` (1, ...) the other values that the tail needs: of the fused network where it is ``fused``.
    """

    logits: FloatArray = field(repr=False)
    target: FloatArray = field(repr=False)
    layers: Mapping[str, FloatArray] = field(repr=False)
    crossings: tuple[FloatArray, ...] = field(default=(), repr=False)
    fused: bool = False


class Engine(Protocol):
    """Runs one network, cut at its target layer. Nothing is stored on it: readers share it."""

    @property
    def name(self) -> str:
        """Such as ``torch``, with its version."""

    @property
    def at_once(self) -> int:
        """How many pictures of several readers are best run together."""

    @property
    def tail(self) -> LinearTail | None:
        """What follows the target layer, where that is pooling and one linear layer."""

    def run(self, pictures: FloatArray, layers: Sequence[str] = ()) -> list[Outputs]:
        """Outputs for n pictures (n, channels, size, size), with those of any layers.

        Raises UnknownLayer when one of ``layers`` does not exist.
        """


# Who runs one picture (1, channels, size, size): the engine itself, or a queue of several readers.
Run = Callable[[Engine, FloatArray, Sequence[str]], Outputs]


def run_alone(engine: Engine, picture: FloatArray, layers: Sequence[str]) -> Outputs:
    """One picture, at once."""
    return engine.run(picture, layers)[0]


def difference(found: FloatArray, reference: FloatArray) -> float:
    """The largest difference between two arrays, in shares of the reference's largest value or of 1.

    Infinite where the shapes differ or a number is not finite.
    """
    if found.shape != reference.shape or not np.isfinite(found).all():
        return float("inf")
    scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
    return float(np.abs(found - reference).max(initial=0.0)) / scale
