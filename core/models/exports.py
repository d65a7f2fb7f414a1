"""Where the exports for the fast engine lie, and when one may be used.

The models that RadLens ships carry theirs in their folder; those of all other models are made here and kept in the user's
cache folder: a graph is a program, and none is taken from a stranger. An export is used only when the hashes of weights and
graph hold and the engine gives what torch gave for the reference pictures.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from core.cache_folder import cache_folder, replace_file
from core.engines.engine import TOLERANCE, difference
from core.engines.onnx_engine import OnnxEngine
from core.engines.record import REVISION, ExportRecord, TailNames, sampled
from core.errors import AnalysisError, EngineRefused, ModelRejected
from core.models import catalogue
from core.models.card import ModelCard
from core.models.reference_pictures import reference_array
from core.models.weights import arrays_of, read_bytes_checked

if TYPE_CHECKING:
    from torch import nn

    from core.models.loading import Model, Networks

GRAPH_FILE, RECORD_FILE = "network.onnx", "engine.json"
MISSING = "The model has no export for the fast engine yet, so torch answers."
DAMAGED = "The model's export for the fast engine is damaged, so torch answers; python -m core export makes it again."
STALE = "The model's export for the fast engine is of other weights, so torch answers; python -m core export makes it again."
DIFFERS = "The fast engine does not give what torch gave for the reference pictures, so torch answers."
_MOST_BYTES = 2 << 30
# Of the reference pictures so many are asked whenever a model is loaded; all of them when its engine is proved.
_AT_ONCE = 2


def stored_engine(card: ModelCard, folder: Path, weights: bytes) -> tuple[OnnxEngine | None, str | None]:
    """The fast engine of the export that lies ready for these weights, or the sentence that says why there is none."""
    try:
        record, graph = read_export(export_folder(card, folder))
        _check_record(record, card)
        engine = OnnxEngine(record, graph, _arrays(weights))
        _check_references(engine, card)
    except (EngineRefused, AnalysisError) as exc:
        return None, str(exc)
    return engine, None


def export_folder(card: ModelCard, folder: Path) -> Path:
    """Where the export of a model of this folder lies: beside its weights for the models shipped, else in the cache."""
    if folder.parent == catalogue.SHIPPED:
        return folder
    spec = card.input
    what = [REVISION, card.weights_sha256, card.architecture, card.target_layer, spec.channels, spec.size, card.outputs]
    return cache_folder() / "exports" / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def read_export(place: Path) -> tuple[ExportRecord, bytes]:
    """The record and the graph, whose hash is the recorded one. Raises EngineRefused."""
    try:
        record = ExportRecord.model_validate_json((place / RECORD_FILE).read_bytes())
        if (place / GRAPH_FILE).stat().st_size > _MOST_BYTES:
            raise EngineRefused(DAMAGED)
        graph = (place / GRAPH_FILE).read_bytes()
    except FileNotFoundError as exc:
        raise EngineRefused(MISSING) from exc
    except (OSError, ValidationError) as exc:
        raise EngineRefused(DAMAGED) from exc
    if hashlib.sha256(graph).hexdigest() != record.graph_sha256:
        raise EngineRefused(DAMAGED)
    return record, graph


def write_export(place: Path, record: ExportRecord, graph: bytes) -> None:
    """Both files, the record last, each whole or not at all. Raises EngineRefused when the folder cannot be written."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        replace_file(place / GRAPH_FILE, graph)
        replace_file(place / RECORD_FILE, (record.model_dump_json(indent=1) + "\n").encode())
    except OSError as exc:
        raise EngineRefused("The export for the fast engine cannot be kept: its folder cannot be written.") from exc


def export_model(model: "Model", folder: Path) -> OnnxEngine:
    """Write the export of a model whose weights lie in ``folder``, where it is looked for, once it proved equal to torch.

    Raises EngineRefused when it cannot be written or does not give what torch gives.
    """
    return export_networks(model.card, model.networks.get(), folder, export_folder(model.card, folder))


def export_networks(card: ModelCard, networks: "Networks", folder: Path, place: Path) -> OnnxEngine:
    """The same to another ``place``; what lay there before is gone when it fails."""
    if card.task == "detection":
        raise EngineRefused("A detector has no layer to give a heatmap from, so no export is made and torch answers.")
    for name in (RECORD_FILE, GRAPH_FILE):
        (place / name).unlink(missing_ok=True)
    tensors = _arrays(read_bytes_checked(folder / catalogue.WEIGHTS_FILE, card.weights_sha256))
    record, graph = _exported(card, networks, tensors)
    engine = OnnxEngine(record, graph, tensors)
    prove(engine, card, networks)
    write_export(place, record, graph)
    return engine


def export_beside(card: ModelCard, network: "nn.Module", folder: Path) -> str | None:
    """Write the export of a network that was published in ``folder`` beside its weights; else the sentence that says why not.

    Raises ModelRejected when the network fails its self-test.
    """
    from core.models.loading import prepare

    try:
        export_networks(card, prepare(card, network).networks.get(), folder, folder)
    except (EngineRefused, AnalysisError) as exc:
        return str(exc)
    return None


def prove(engine: OnnxEngine, card: ModelCard, networks: "Networks") -> None:
    """Raise EngineRefused unless the engine gives what torch gives, now and here."""
    from core.engines.exporting import check_equal

    check_equal(engine, networks.plain, reference_array(card.input))


def speed_up(model: "Model", folder: Path) -> None:
    """Prove the model's fast engine against torch, or make one; where that fails torch answers, and its note says why."""
    if model.card.task == "detection":
        return
    try:
        if model.engines.fast is None:
            model.engines.take(export_model(model, folder))
        else:
            prove(model.engines.fast, model.card, model.networks.get())
    except (EngineRefused, ModelRejected, AnalysisError) as exc:
        model.engines.refuse(str(exc))


def _exported(card: ModelCard, networks: "Networks", tensors: Mapping[str, Any]) -> tuple[ExportRecord, bytes]:
    from core.engines.exporting import OPSET, export_graph, outputs_of, software

    pictures = reference_array(card.input)
    graph = export_graph(networks.plain, networks.convolutions, pictures[:1], tensors)
    record = ExportRecord(
        revision=REVISION,
        weights_sha256=card.weights_sha256,
        graph_sha256=hashlib.sha256(graph.onnx).hexdigest(),
        architecture=card.architecture,
        target_layer=card.target_layer,
        channels=card.input.channels,
        size=card.input.size,
        opset=OPSET,
        software=software(),
        logits=graph.outputs[0],
        target=graph.outputs[1],
        crossings=graph.outputs[2:],
        layers=dict(graph.layers),
        weights=graph.weights,
        tail=_tail_names(networks, tensors),
        untrained=networks.untrained,
        references={
            name: tuple(values.tolist())
            for name, values in sampled(outputs_of(networks.plain, networks.convolutions, pictures[:_AT_ONCE])).items()
        },
    )
    return record, graph.onnx


def _tail_names(networks: "Networks", tensors: Mapping[str, Any]) -> TailNames | None:
    """The file's names of the linear layer behind the pooling, if the tail is that."""
    linear = networks.plain.linear_tail
    module = next((name for name, own in networks.plain.traced.module.named_modules() if own is linear), None)
    if linear is None or module is None or f"{module}.weight" not in tensors:
        return None
    return TailNames(weight=f"{module}.weight", bias=None if linear.bias is None else f"{module}.bias")


def _arrays(weights: bytes) -> dict[str, Any]:
    try:
        return arrays_of(weights)
    except ModelRejected as exc:
        raise EngineRefused("The fast engine cannot read the model's weights, so torch answers.") from exc


def _check_record(record: ExportRecord, card: ModelCard) -> None:
    known = (
        record.revision,
        record.weights_sha256,
        record.architecture,
        record.target_layer,
        record.channels,
        record.size,
    )
    spec = card.input
    if known != (REVISION, card.weights_sha256, card.architecture, card.target_layer, spec.channels, spec.size):
        raise EngineRefused(STALE)


def _check_references(engine: OnnxEngine, card: ModelCard) -> None:
    """Against what torch gave when the export was made."""
    pictures = reference_array(card.input)[:_AT_ONCE]
    found = sampled(engine.values(pictures, tuple(engine.record.layers)))
    expected = {name: np.array(values, np.float32) for name, values in engine.record.references.items()}
    if found.keys() != expected.keys() or any(difference(found[n], expected[n]) > TOLERANCE for n in found):
        raise EngineRefused(DIFFERS)
    if found[engine.record.logits].size % card.outputs:
        raise EngineRefused(STALE)
