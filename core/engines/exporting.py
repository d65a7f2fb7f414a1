"""A traced network -> an ONNX graph without weights, checked against torch before anybody uses it.

The graph is written by torch's TorchScript exporter: on the networks measured it takes a tenth of the time of the newer
one, and its graphs run up to a quarter faster. Weights that the model's file holds are taken out of the graph and handed to
the engine from that file.
"""

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from core.engines.cutting import CutNetwork
from core.engines.engine import TOLERANCE, FloatArray, difference
from core.engines.onnx_engine import OnnxEngine
from core.engines.record import PICTURE
from core.errors import EngineRefused

OPSET = 17
NOT_EXPORTED = "The network cannot be written for the fast engine, so torch answers."
NOT_EQUAL = "The fast engine answers differently from torch for this model (by {most:.1g}), so torch answers."
# torch keeps the state of an export in one place for all threads.
_EXPORTING = threading.Lock()
# All layers' maps of so many pictures are compared; of all pictures the answers.
_WITH_LAYERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """``onnx`` bytes; the names of the ``outputs`` (logits, target, crossings) and, by layer, of the ``layers``.

    ``weights`` are the names of those that come from outside.
    """

    onnx: bytes = field(repr=False)
    outputs: tuple[str, ...]
    layers: Mapping[str, str]
    weights: tuple[str, ...]


def software() -> dict[str, str]:
    """What an export depends on beside the network."""
    return {name: version(name) for name in ("torch", "onnx", "onnxruntime")}


def export_graph(network: CutNetwork, layers: Sequence[str], picture: FloatArray, tensors: Mapping[str, Any]) -> Graph:
    """The network's graph for any number of pictures like this one (1, channels, size, size).

    ``tensors`` are those of the weights file. Raises EngineRefused when it cannot be written.
    """
    module, names, by_layer = network.graph_of(layers)
    try:
        import onnx

        written = onnx.load_from_string(_written(module, names, torch.tensor(picture)))
        weights = _without_weights(written, tensors)
        return Graph(written.SerializeToString(), names[: 2 + network.crossings], by_layer, weights)
    except Exception as exc:  # every exporter has errors of its own
        raise EngineRefused(NOT_EXPORTED) from exc


def outputs_of(network: CutNetwork, layers: Sequence[str], pictures: FloatArray) -> dict[str, FloatArray]:
    """What torch gives for each output of the graph: name -> (n, ...)."""
    module, names, _ = network.graph_of(layers)
    with torch.inference_mode():
        values = module(torch.tensor(pictures))
    return {name: value.numpy() for name, value in zip(names, values, strict=True)}


def check_equal(engine: OnnxEngine, network: CutNetwork, pictures: FloatArray) -> None:
    """Raise EngineRefused unless the engine gives what torch gives, for n pictures at once and for one alone."""
    layers = tuple(engine.record.layers)
    for some, wanted in ((pictures, ()), (pictures[:_WITH_LAYERS], layers), (pictures[-1:], ())):
        found, expected = engine.values(some, wanted), outputs_of(network, wanted, some)
        most = max(difference(found[name], expected[name]) for name in found)
        if not most <= TOLERANCE:
            raise EngineRefused(NOT_EQUAL.format(most=most))


def _written(module: torch.fx.GraphModule, names: Sequence[str], picture: torch.Tensor) -> bytes:
    # torch writes to streams, but its types name paths only.
    stream: Any = io.BytesIO()
    with _EXPORTING:
        torch.onnx.export(
            module,
            # Two pictures: from one, a step that counts on one alone would be taken for a constant.
            (picture.repeat(2, 1, 1, 1),),
            stream,
            dynamo=False,
            input_names=[PICTURE],
            output_names=list(names),
            dynamic_axes={name: {0: "pictures"} for name in (PICTURE, *names)},
            opset_version=OPSET,
            # As it stands: folding would take the batch norms, and with them the convolutions' own outputs.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    return bytes(stream.getvalue())


def _without_weights(written: Any, tensors: Mapping[str, Any]) -> tuple[str, ...]:
    """Take every weight that the file holds out of the graph; their names."""
    import onnx

    taken = []
    for weight in written.graph.initializer:
        known, own = tensors.get(weight.name), onnx.numpy_helper.to_array(weight)
        if known is not None and known.dtype == own.dtype and np.array_equal(own, known):
            weight.ClearField("raw_data")
            weight.data_location = onnx.TensorProto.EXTERNAL
            # A place that does not exist: the engine must be handed them.
            entry = weight.external_data.add()
            entry.key, entry.value = "location", "weights"
            taken.append(weight.name)
    return tuple(taken)
