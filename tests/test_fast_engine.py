"""The fast engine gives what torch gives, or torch answers and a sentence says why."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from core.analysis import Analysis, analyse
from core.cache_folder import CACHE_VARIABLE
from core.engines.engine import TOLERANCE, difference
from core.engines.exporting import NOT_EXPORTED
from core.engines.onnx_engine import NOT_INSTALLED, OnnxEngine
from core.errors import EngineRefused, UnknownLayer
from core.models import exports
from core.models.catalogue import SHIPPED, read_catalogue
from core.models.loading import Model, load_model, prepare
from core.models.reference_pictures import reference_array
from core.models.weights import save_weights
from core.samples import simulated_scan
from core.scan import Scan
from tests.cam_networks import linear_steps
from tests.networks import card, publish, seeded
from tests.outline_networks import publish_outline

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def scan() -> Scan:
    return simulated_scan(3, "mass", rows=64, columns=64)[0]


def exported(model: Model, folder: Path) -> OnnxEngine:
    """The model's engine, its weights in a folder of their own."""
    sha256 = save_weights(model.network, folder / "weights.safetensors")
    named = model.card.model_copy(update={"weights_sha256": sha256})
    return exports.export_networks(named, model.networks.get(), folder, folder)


def sped_up(folder: Path, model_id: str = "tiny") -> Model:
    """The model of the catalogue with its fast engine made."""
    model = load_model(model_id)
    exports.speed_up(model, folder / model_id)
    return model


def place_of(folder: Path, model_id: str = "tiny") -> Path:
    return exports.export_folder(read_catalogue().card(model_id), folder / model_id)


def convolved(picture: Array, kernel: Array, bias: Array, stride: int, padding: int) -> Array:
    """(inputs, h, w) with (outputs, inputs, r, c), one window after the other, in double precision."""
    wide = np.pad(picture.astype(np.float64), ((0, 0), (padding, padding), (padding, padding)))
    rows = range(0, wide.shape[1] - kernel.shape[2] + 1, stride)
    columns = range(0, wide.shape[2] - kernel.shape[3] + 1, stride)
    found = np.empty((len(kernel), len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            window = wide[:, y : y + kernel.shape[2], x : x + kernel.shape[3]]
            found[:, i, j] = (kernel * window).sum((1, 2, 3)) + bias
    return found


def same(first: Analysis, second: Analysis) -> bool:
    """Within the tolerance, in shares of each map's largest value or of 1."""
    pairs = [(first.heatmaps[code].evidence, second.heatmaps[code].evidence) for code in second.heatmaps]
    pairs += [(first.activations[name], second.activations[name]) for name in second.activations]
    codes = list(second.prediction.logits)
    logits = [np.array([one.prediction.logits[code] for code in codes], np.float32) for one in (first, second)]
    return all(difference(found, expected) <= TOLERANCE for found, expected in [*pairs, (logits[0], logits[1])])


def test_one_run_gives_what_a_convolution_written_out_gives(tmp_path: Path) -> None:
    network = linear_steps(labels=2)
    model = prepare(card(target_layer="3", input={"channels": 1, "size": 20, "mean": 0.5, "std": 0.25}), network)
    engine = exported(model, tmp_path)
    pictures = np.random.default_rng(0).standard_normal((3, 1, 20, 20)).astype(np.float32)
    found = engine.run(pictures, ("0", "2"))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    assert engine.tail is not None
    for picture, one in zip(pictures, found, strict=True):
        first = convolved(picture, weights["0.weight"], weights["0.bias"], 2, 2)
        second = convolved(np.maximum(first, 0), weights["2.weight"], weights["2.bias"], 1, 1)
        target = np.maximum(second, 0)
        logits = weights["6.weight"] @ target.mean((1, 2)) + weights["6.bias"]
        assert np.abs(one.layers["0"] - first).max() < 1e-5
        assert np.abs(one.layers["2"] - second).max() < 1e-5
        assert np.abs(one.target - target).max() < 1e-5
        assert np.abs(one.logits - logits).max() < 1e-5
    reference = model.engine.run(pictures, ("0", "2"))
    assert all(difference(a.target, b.target) < 1e-6 for a, b in zip(found, reference, strict=True))
    assert np.array_equal(engine.tail.weight, weights["6.weight"])


def test_a_model_answers_by_torch_until_its_export_is_made_and_then_the_same(model_folder: Path, scan: Scan) -> None:
    publish(model_folder)
    slow = load_model("tiny")
    assert slow.engine.name.startswith("torch")
    assert slow.engine_note == exports.MISSING
    before = analyse(slow, scan, layers=slow.convolutions)
    exports.speed_up(slow, model_folder / "tiny")
    again = load_model("tiny")
    for model in (slow, again):
        assert model.engine.name.startswith("onnxruntime")
        assert model.engine_note is None
        after = analyse(model, scan, layers=model.convolutions)
        assert after.engine == model.engine.name
        assert same(after, before)
        assert set(after.activations) == set(before.activations)
        assert after.heatmap("mass").bias == pytest.approx(before.heatmap("mass").bias)
    assert again.untrained == slow.untrained


@pytest.mark.parametrize(
    ("architecture", "layer", "size", "channels"),
    [("article-cnn-28", "4", 28, 1), ("mobilenet_v3_large", "features.16.2", 64, 3)],
)
def test_where_the_tail_is_not_linear_the_engine_runs_and_torch_gives_the_gradient(
    model_folder: Path, scan: Scan, architecture: str, layer: str, size: int, channels: int
) -> None:
    spec = {"channels": channels, "size": size, "mean": 0.5, "std": 0.25}
    network = seeded(architecture, channels=channels, size=size)
    publish(model_folder, network, architecture=architecture, target_layer=layer, input=spec)
    slow = load_model("tiny")
    before = analyse(slow, scan, layers=slow.convolutions)
    fast = sped_up(model_folder)
    assert fast.engine.name.startswith("onnxruntime")
    assert fast.engine.tail is None
    assert same(analyse(fast, scan, layers=fast.convolutions), before)


def test_outlines_come_from_the_fast_engine_too(model_folder: Path, scan: Scan) -> None:
    publish_outline(model_folder)
    slow = load_model("tiny-outline")
    before = analyse(slow, scan)
    fast = sped_up(model_folder, "tiny-outline")
    after = analyse(fast, scan)
    assert after.engine.startswith("onnxruntime")
    assert same(after, before)
    assert difference(after.masks["lesion"].probability, before.masks["lesion"].probability) < 1e-5


def test_a_damaged_graph_is_caught_and_made_again(model_folder: Path) -> None:
    publish(model_folder)
    sped_up(model_folder)
    graph = place_of(model_folder) / exports.GRAPH_FILE
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    for damaged in (bytes(data), b"", bytes(data[:100])):
        graph.write_bytes(damaged)
        assert load_model("tiny").engine_note == exports.DAMAGED
    assert sped_up(model_folder).engine.name.startswith("onnxruntime")
    assert load_model("tiny").engine_note is None
    (place_of(model_folder) / exports.RECORD_FILE).write_text("{}")
    assert load_model("tiny").engine_note == exports.DAMAGED


def test_an_export_of_other_weights_is_never_used(model_folder: Path) -> None:
    publish(model_folder)
    publish(model_folder, seeded("compact-resnet", seed=1), id="other")
    sped_up(model_folder)
    sped_up(model_folder, "other")
    own, other = place_of(model_folder), place_of(model_folder, "other")
    assert own != other
    for name in (exports.GRAPH_FILE, exports.RECORD_FILE):
        (own / name).write_bytes((other / name).read_bytes())
    model = load_model("tiny")
    assert model.engine_note == exports.STALE
    assert model.engine.name.startswith("torch")


def test_a_graph_holds_no_weights_and_one_that_computes_something_else_is_caught(model_folder: Path) -> None:
    publish(model_folder)
    sped_up(model_folder)
    place = place_of(model_folder)
    record, data = exports.read_export(place)
    graph = onnx.load_from_string(data)
    assert all(weight.data_location == onnx.TensorProto.EXTERNAL for weight in graph.graph.initializer)
    assert len(data) < 50_000
    # Every ReLU becomes its opposite, and the record says that this is the graph.
    for node in graph.graph.node:
        node.op_type = "Neg" if node.op_type == "Relu" else node.op_type
    changed = graph.SerializeToString()
    named = record.model_copy(update={"graph_sha256": hashlib.sha256(changed).hexdigest()})
    exports.write_export(place, named, changed)
    assert load_model("tiny").engine_note == exports.DIFFERS


def test_a_shipped_folder_alone_may_bring_its_export(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(model_folder)
    folder = model_folder / "tiny"
    model = load_model("tiny")
    exports.export_networks(model.card, model.networks.get(), folder, folder)
    assert load_model("tiny").engine_note == exports.MISSING
    monkeypatch.setattr("core.models.catalogue.SHIPPED", model_folder)
    assert load_model("tiny").engine.name.startswith("onnxruntime")


class Unwritable(nn.Module):
    """A step that ONNX has no word for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2)."""
        return self.fc(torch.special.erfcx(self.conv(x)).mean((2, 3)))


def test_a_network_that_cannot_be_written_stays_with_torch_and_says_so(tmp_path: Path, scan: Scan) -> None:
    torch.manual_seed(0)
    model = prepare(card(target_layer="conv"), Unwritable().eval())
    with pytest.raises(EngineRefused, match="cannot be written"):
        exported(model, tmp_path)
    assert not (tmp_path / exports.RECORD_FILE).exists()
    sha256 = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    named = Model(model.card.model_copy(update={"weights_sha256": sha256}), model.networks, model.engines)
    exports.speed_up(named, tmp_path)
    assert named.engine_note == NOT_EXPORTED
    assert analyse(named, scan).engine.startswith("torch")


def test_an_engine_that_differs_from_torch_gives_way_to_it(model_folder: Path, scan: Scan) -> None:
    publish(model_folder)
    model = sped_up(model_folder)
    assert model.engine.name.startswith("onnxruntime")
    # What torch runs is no longer what was exported.
    with torch.no_grad():
        next(model.plain.traced.module.parameters()).mul_(1.01)
    exports.speed_up(model, model_folder / "tiny")
    assert model.engine.name.startswith("torch")
    assert "answers differently from torch" in str(model.engine_note)
    assert analyse(model, scan).engine.startswith("torch")


def test_without_onnxruntime_torch_answers(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(model_folder)
    sped_up(model_folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = load_model("tiny")
    assert model.engine.name.startswith("torch")
    assert model.engine_note == NOT_INSTALLED


def test_a_layer_that_the_export_has_not_comes_from_torch(model_folder: Path, scan: Scan) -> None:
    publish(model_folder)
    model = sped_up(model_folder)
    found = analyse(model, scan, layers=("blocks.0.relu",))
    assert found.engine.startswith("torch")
    assert (found.activations["blocks.0.relu"] >= 0).all()
    with pytest.raises(UnknownLayer, match="nowhere"):
        analyse(model, scan, layers=("nowhere",))


def test_readers_side_by_side_get_the_answers_they_would_get_alone(model_folder: Path) -> None:
    publish(model_folder)
    engine = sped_up(model_folder).engine
    pictures = np.random.default_rng(1).standard_normal((4, 1, 1, 64, 64)).astype(np.float32)
    alone = [engine.run(picture, ("stem.0",))[0] for picture in pictures]
    assert difference(alone[0].target, alone[1].target) > 1e-2
    wrong: list[int] = []

    def read(reader: int) -> None:
        for turn in range(10):
            number = (reader + turn) % len(pictures)
            got = engine.run(pictures[number], ("stem.0",))[0]
            equal = np.array_equal(got.target, alone[number].target)
            wrong.extend(
                [] if equal and np.array_equal(got.layers["stem.0"], alone[number].layers["stem.0"]) else [number]
            )

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("model_id", sorted(path.parent.name for path in SHIPPED.glob("*/card.json")))
def test_every_shipped_model_carries_the_export_of_its_own_weights(model_id: str) -> None:
    model = load_model(model_id)
    assert model.engine_note is None, "python -m core export makes the exports again"
    record = model.engines.record
    assert record is not None
    assert (
        record.weights_sha256 == hashlib.sha256((SHIPPED / model_id / "weights.safetensors").read_bytes()).hexdigest()
    )
    assert record.weights_sha256 == model.card.weights_sha256
    assert record.untrained is model.networks.get().untrained is False
    assert model.convolutions == model.networks.get().convolutions
    fast = model.engines.fast
    assert fast is not None
    exports.prove(fast, model.card, model.networks.get())
    if model.card.reference_logits and model.card.task == "classification":
        logits = np.stack([one.logits for one in fast.run(reference_array(model.card.input))])
        assert np.abs(logits - np.array(model.card.reference_logits)).max() < 1e-3


def test_the_first_sample_is_analysed_before_torch_is_imported() -> None:
    code = """
import sys
from core.analysis import analyse
from core.models.catalogue import read_catalogue
from core.models.loading import load_model
from core.models.scope import choose_model
from core.reading.decoding import decode_scan
from core.samples import list_samples

scan = decode_scan(list_samples()[0].load())
model = load_model(choose_model(read_catalogue().cards.values(), scan).id)
found = analyse(model, scan, layers=model.convolutions)
print("torch" in sys.modules, found.engine.split()[0], len(found.activations) > 10, not model.untrained)
"""
    environment = {name: value for name, value in os.environ.items() if name != "RADLENS_MODELS"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "onnxruntime", "True", "True"]
