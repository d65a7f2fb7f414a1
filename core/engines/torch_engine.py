"""The reference engine: torch."""

from collections.abc import Sequence

import numpy as np
import torch

from core.engines.cutting import CutNetwork, Pass
from core.engines.engine import MOST_AT_ONCE, FloatArray, Outputs
from core.explaining.gradcam import tail_of


class TorchEngine:
    """``fast``, the fused network, gives answers; ``plain`` gives layers, since a folded convolution's own output is gone."""

    def __init__(self, fast: CutNetwork, plain: CutNetwork) -> None:
        self._fast, self._plain = fast, plain
        self.name = f"torch {torch.__version__.partition('+')[0]}"
        # Without a graph, pictures run one after the other: then waiting for others wins nothing.
        self.at_once = MOST_AT_ONCE if plain.has_graph else 1
        self.tail = None if plain.linear_tail is None else tail_of(plain.linear_tail)

    def run(self, pictures: FloatArray, layers: Sequence[str] = ()) -> list[Outputs]:
        """Outputs for n pictures (n, channels, size, size), with those of any layers of the unfused network.

        Raises UnknownLayer when one of ``layers`` does not exist.
        """
        network = self._plain if layers else self._fast
        inputs = torch.tensor(pictures).contiguous(memory_format=torch.channels_last)
        return [_outputs(one, fused=not layers) for one in network.run_all(inputs, layers)]


def pass_of(outputs: Outputs) -> Pass:
    """The same as tensors of their own, for what needs a gradient."""
    layers = {name: torch.tensor(value) for name, value in outputs.layers.items()}
    crossings = tuple(torch.tensor(value) for value in outputs.crossings)
    return Pass(torch.tensor(outputs.logits), torch.tensor(outputs.target), layers, crossings)


def _outputs(one: Pass, *, fused: bool) -> Outputs:
    return Outputs(
        one.logits.numpy(),
        one.target.numpy(),
        {name: value.numpy() for name, value in one.layers.items()},
        tuple(np.asarray(value) for value in one.crossings),
        fused,
    )
