"""The fast engine: onnxruntime, which gives the logits, the target activations and any layers from one run.

Its graph comes from a file, its weights from the model's own weights file, whose hash was checked: a graph cannot bring
others. Pools that spin while they wait would take the processor from torch and from the page, so they are told not to.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.engines.engine import MOST_AT_ONCE, FloatArray, Outputs
from core.engines.record import PICTURE, ExportRecord
from core.errors import AnalysisError, EngineRefused, UnknownLayer
from core.explaining.evidence import LinearTail

NOT_INSTALLED = "The fast engine (onnxruntime) is not installed or does not start here, so torch answers."
UNUSABLE = "The model's export for the fast engine cannot be used, so torch answers."
# Two analyses run side by side; each takes its half of the processor.
SIDE_BY_SIDE = 2
_FATAL = 4


class OnnxEngine:
    """Runs one exported network. Nothing is stored on it: onnxruntime lets several threads run one session.

    ``threads`` work at one run; by default half the processor's.
    """

    def __init__(
        self, record: ExportRecord, graph: bytes, tensors: Mapping[str, Any], threads: int | None = None
    ) -> None:
        self.record = record
        runtime = _onnxruntime()
        self.name = f"onnxruntime {runtime.__version__}"
        threads = threads or threads_each()
        self.at_once = 1 if threads == 1 else MOST_AT_ONCE
        try:
            # Kept: the session reads the weights where they lie.
            self._weights = [runtime.OrtValue.ortvalue_from_numpy(tensors[name]) for name in record.weights]
            options = _options(runtime, threads)
            options.add_external_initializers(list(record.weights), self._weights)
            self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            self.tail = _tail(record, tensors)
        except Exception as exc:
            raise EngineRefused(UNUSABLE) from exc

    def run(self, pictures: FloatArray, layers: Sequence[str] = ()) -> list[Outputs]:
        """Outputs for n pictures (n, channels, size, size), with those of any convolutions.

        Raises UnknownLayer when one of ``layers`` is none of the export's, AnalysisError when the engine breaks down.
        """
        unknown = [layer for layer in layers if layer not in self.record.layers]
        if unknown:
            raise UnknownLayer(f"The network has no layer {unknown[0]!r} here; choose one of its layers.")
        values = self.values(pictures, layers)
        return [self._outputs(values, layers, number) for number in range(len(pictures))]

    def values(self, pictures: FloatArray, layers: Sequence[str] = ()) -> dict[str, FloatArray]:
        """The same as the graph gives it: output name -> (n, ...)."""
        record = self.record
        own = (record.logits, record.target, *record.crossings, *(record.layers[layer] for layer in layers))
        wanted = list(dict.fromkeys(own))
        try:
            found = self._session.run(wanted, {PICTURE: np.ascontiguousarray(pictures, np.float32)})
        except Exception as exc:
            raise AnalysisError("The fast engine broke down on this scan; try it again, or a smaller one.") from exc
        return dict(zip(wanted, found, strict=True))

    def _outputs(self, values: Mapping[str, FloatArray], layers: Sequence[str], number: int) -> Outputs:
        record = self.record
        return Outputs(
            logits=_own(values[record.logits], number),
            target=_own(values[record.target], number),
            layers={layer: _own(values[record.layers[layer]], number) for layer in layers},
            crossings=tuple(_own(values[name], number)[None] for name in record.crossings),
        )


def _own(values: FloatArray, number: int) -> FloatArray:
    """One picture's part, without the others' beside it in memory."""
    return values[number] if len(values) == 1 else values[number].copy()


def runtime_version() -> str | None:
    """The version of onnxruntime, which is imported by asking; None where it is not installed or does not start."""
    try:
        return str(_onnxruntime().__version__)
    except EngineRefused:
        return None


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except Exception as exc:  # a damaged installation may raise anything
        raise EngineRefused(NOT_INSTALLED) from exc
    return onnxruntime


def _options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def threads_each() -> int:
    """How many threads one run may take."""
    return max(1, (os.cpu_count() or 1) // SIDE_BY_SIDE)


def _tail(record: ExportRecord, tensors: Mapping[str, Any]) -> LinearTail | None:
    if record.tail is None:
        return None
    weight = np.asarray(tensors[record.tail.weight], np.float32)
    bias = np.zeros(len(weight), np.float32) if record.tail.bias is None else tensors[record.tail.bias]
    return LinearTail(weight, np.asarray(bias, np.float32))
