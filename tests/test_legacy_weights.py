"""Files of torch.save: what is taken out of them, what is mended, and what never happens."""

import io
import os
import pickle
import sys
import tempfile
import time
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from core.errors import ModelRejected
from core.models.legacy import ReadWeights, read_in_worker, read_weights
from core.models.legacy_worker import convert, main

# torch warns of its own ways with storages.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning", "ignore:.*sparse:UserWarning")

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(7)}


def saved(content: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def converted(data: bytes, form: str = "state") -> ReadWeights:
    """What the worker does, without its process: that one costs an import of torch."""
    tensors, about = convert(data, form)
    return ReadWeights(tensors, tuple(about["notes"]), {name: tuple(words) for name, words in about["words"].items()})


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_safetensors_are_read_without_a_process() -> None:
    assert same(read_weights(save(STATE)).tensors, STATE)


def test_a_state_dict_is_read_in_a_process_of_its_own() -> None:
    assert same(read_weights(saved(STATE)).tensors, STATE)


def test_a_state_dict_of_the_legacy_form_is_read() -> None:
    assert same(converted(saved(STATE, legacy=True)).tensors, STATE)


def test_wrappers_prefixes_and_half_precision_are_mended_and_said() -> None:
    inner = {f"module.{name}": value.half() if value.is_floating_point() else value for name, value in STATE.items()}
    read = converted(saved({"epoch": 3, "state_dict": OrderedDict(inner), "optimizer": {"lr": 0.1}}))
    assert same(read.tensors, STATE)
    assert read.tensors["a.weight"].dtype == torch.float32
    assert len(read.notes) == 2
    assert "'state_dict'" in read.notes[0]
    assert "'module.'" in read.notes[1]


def test_a_transposed_view_keeps_its_values() -> None:
    weights = torch.arange(12.0).reshape(3, 4)
    read = converted(saved({"w": weights.T, "part": weights[1:, :2]}))
    assert same(read.tensors, {"w": weights.T.contiguous(), "part": torch.tensor([[4.0, 5.0], [8.0, 9.0]])})


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", ["state", "module"])
def test_code_in_a_file_is_refused_and_never_runs(tmp_path: Path, *, legacy: bool, form: Any) -> None:
    marker = tmp_path / "ran"
    data = saved({"w": torch.ones(2), "x": Payload(marker)}, legacy=legacy)
    with pytest.raises(ModelRejected, match="nothing of it was run" if form == "state" else "no module with weights"):
        converted(data, form)
    assert not marker.exists()


def test_code_in_a_file_is_refused_through_the_door_too(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(ModelRejected, match="nothing of it was run"):
        read_weights(saved({"w": torch.ones(2), "x": Payload(marker)}))
    assert not marker.exists()


class _Claiming(pickle.Pickler):
    """Says of its one storage that it holds 64 GiB."""

    def persistent_id(self, obj: object) -> object:
        return ("storage", torch.FloatStorage, "0", "cpu", 1 << 34, None) if isinstance(obj, Claim) else None


class Claim:
    def __reduce__(self) -> tuple[object, ...]:
        return (dict, ())


class Rebuilt:
    def __reduce__(self) -> tuple[object, ...]:
        return (torch._utils._rebuild_tensor_v2, (Claim(), 0, (1 << 34,), (1,), False, OrderedDict()))


def claiming() -> bytes:
    """A legacy file of some hundred bytes whose storage is said to hold 2 ** 34 numbers."""
    stream = io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(head, stream, protocol=2)
    _Claiming(stream, protocol=2).dump({"w": Rebuilt()})
    pickle.dump(["0"], stream, protocol=2)
    return stream.getvalue() + (1 << 34).to_bytes(8, "little") + bytes(64)


def test_a_storage_that_claims_64_gib_meets_the_processs_limits() -> None:
    assert claiming().startswith(saved({}, legacy=True)[:14])
    begin = time.monotonic()
    with pytest.raises(ModelRejected, match=r"damaged|memory"):
        read_weights(claiming())
    assert time.monotonic() - begin < 60


def test_a_whole_module_is_refused_with_the_way_to_export_it() -> None:
    with pytest.raises(ModelRejected, match=r"torch\.save\(model\.state_dict\(\), FILE\)"):
        converted(saved(nn.Linear(2, 2)))


def quantised() -> object:
    with warnings.catch_warnings(action="ignore"):  # torch moves quantised tensors to another package
        return {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}


EXPANDED = torch.ones(1).expand(1 << 34)
HARMFUL: dict[str, tuple[Callable[[], object], str]] = {
    "expanded to 64 GiB": (lambda: {"w": EXPANDED}, "17179869184 numbers of which the file stores only 1"),
    "sparse": (lambda: {"w": torch.eye(3).to_sparse()}, "sparse"),
    "complex": (lambda: {"w": torch.ones(2, dtype=torch.complex64)}, "complex"),
    "quantised": (quantised, "quantised"),
    "no tensors": (lambda: {"epoch": 3}, "0 tensors"),
    "a list": (lambda: [1, 2], "no state_dict"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_is_no_plain_weight_is_refused(name: str) -> None:
    make, reason = HARMFUL[name]
    with pytest.raises(ModelRejected, match=reason):
        converted(saved(make()))


def damaged() -> dict[str, bytes]:
    whole = saved({"w": torch.arange(4000.0)})
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    squeezed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, old.read(part))
    return {
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "compressed": squeezed.getvalue(),
        "legacy cut": saved(STATE, legacy=True)[:-9],
        "text": b"PK\x03\x04 dear colleague",
    }


@pytest.mark.parametrize("name", damaged())
@pytest.mark.parametrize("form", ["state", "module"])
def test_a_damaged_file_is_one_sentence(name: str, form: str) -> None:
    answer = answered(damaged()[name], form)
    assert set(answer) == {"refused"}
    assert "\n" not in answer["refused"]
    assert answer["refused"].endswith(".")


def answered(data: bytes, form: str) -> dict[str, Any]:
    """What the worker says of these bytes, without its limits, which would stay with this process."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(data)
        source.flush()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("core.models.legacy_worker._lower_limits", lambda _size: None)
            return main(os.dup(source.fileno()), os.dup(target.fileno()), form)


@pytest.mark.parametrize("data", [b"", save(STATE)[:-3], b"dear colleague"], ids=["nothing", "cut", "text"])
def test_what_is_neither_form_is_refused_without_a_process(data: bytes) -> None:
    with pytest.raises(ModelRejected, match=r"^The [^\n]+\.$"):
        read_weights(data)


@pytest.fixture
def foreign() -> Iterator[type[nn.Module]]:
    """A class of a module that the worker cannot import, as the published files name one."""
    module = types.ModuleType("torchxrayvision.models")

    class DenseNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(OrderedDict(conv0=nn.Conv2d(1, 4, 3), norm0=nn.BatchNorm2d(4)))
            self.classifier = nn.Linear(4, 2)
            self.register_buffer("scratch", torch.ones(3), persistent=False)
            self.pathologies = ["Atelectasis", "Mass"]

    DenseNet.__module__, DenseNet.__qualname__ = module.__name__, "DenseNet"
    module.DenseNet = DenseNet  # type: ignore[attr-defined]
    sys.modules["torchxrayvision"], sys.modules[module.__name__] = types.ModuleType("torchxrayvision"), module
    yield DenseNet
    del sys.modules["torchxrayvision"], sys.modules[module.__name__]


@pytest.mark.parametrize("legacy", [False, True])
def test_the_tensors_of_a_foreign_module_are_taken_out_without_it(foreign: type[nn.Module], *, legacy: bool) -> None:
    network = foreign()
    with warnings.catch_warnings(action="ignore"):  # the class has no source file to be saved
        data = saved(network, legacy=legacy)
    read = read_in_worker(data, "module") if legacy else converted(data, "module")
    assert same(read.tensors, network.state_dict())
    assert read.words == {"pathologies": ("Atelectasis", "Mass")}


def test_a_foreign_module_with_an_expanded_tensor_is_refused(foreign: type[nn.Module]) -> None:
    network: Any = foreign()
    network.classifier.bias = nn.Parameter(torch.ones(1).expand(1 << 34))
    with pytest.raises(ModelRejected, match="stores only 1"):
        converted(saved(network), "module")
