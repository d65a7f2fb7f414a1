"""TorchXRayVision's models, from a file of the same format that this test makes, over HTTP on this machine."""

import contextlib
import hashlib
import http.server
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import ModelRejected
from core.models import torchxrayvision
from core.models.architectures import build_outline
from core.models.card import InputSpec
from core.models.loading import load_model
from core.models.torchxrayvision import PUBLISHED, PublishedModel, add_published, download
from core.preprocessing import to_model_input
from core.scan import Scan
from tests.networks import seeded
from tests.test_legacy_weights import saved

LABELS = ("Atelectasis", "", "Mass")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A whole module of a package that is not installed, with three outputs, the second of which was not trained."""

    class DenseNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            own: Any = seeded("compact-resnet", labels=3)
            for name, child in own.named_children():
                self.add_module(name, child)
            own.fc.weight.mul_(3).pow_(3)
            self.pathologies = list(LABELS)
            self.register_buffer("op_threshs", torch.tensor([0.02, float("nan"), 0.3]))

    DenseNet.__module__, DenseNet.__qualname__ = "torchxrayvision.models", "DenseNet"
    return DenseNet()


@pytest.fixture(scope="module")
def file(network: nn.Module) -> bytes:
    module = types.ModuleType("torchxrayvision.models")
    module.DenseNet = type(network)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.setitem(sys.modules, "torchxrayvision", types.ModuleType("torchxrayvision"))
        patch.setitem(sys.modules, "torchxrayvision.models", module)
        return saved(network, legacy=True)


def tiny(data: bytes, **changes: Any) -> PublishedModel:
    points = (("Atelectasis", 0.02), ("Consolidation", None), ("Mass", 0.3))
    model = replace(PUBLISHED[0], id="xrv-tiny", file="tiny.pt", architecture="compact-resnet", size=64, points=points)
    return replace(model, **{"sha256": hashlib.sha256(data).hexdigest(), **changes})


@contextlib.contextmanager
def release(data: bytes, *, announced: int | None = None) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/tiny.pt" else 404)
            self.send_header("Content-Length", str(announced or len(data)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_published_model_is_fetched_converted_and_answers_as_the_module(
    network: nn.Module, file: bytes, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int | None]] = []
    with release(file) as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        data = download(tiny(file), lambda done, total: told.append((done, total)))
    assert data == file
    assert told[-1] == (len(file), len(file))
    assert len(told) > 3
    card = add_published(tiny(file), data)
    assert card.label_codes == ("atelectasis", "mass")
    assert card.published_points == {"atelectasis": 0.02, "mass": 0.3}
    assert card.scope.by_hand_only
    model = load_model("xrv-tiny")
    picture = torch.rand(1, 1, 64, 64)
    own = nn.Sequential(network.stem, network.blocks, network.pool, nn.Flatten(), network.fc)  # type: ignore[arg-type]
    with torch.no_grad():
        wanted = own(picture)[0, [0, 2]]
    assert torch.allclose(model.fast.run(picture).logits, wanted, atol=1e-4)
    assert sorted(path.name for path in (model_folder / "xrv-tiny").iterdir()) == ["card.json", "weights.safetensors"]


def test_a_file_of_another_hash_is_refused_before_it_is_read(file: bytes, model_folder: Path) -> None:
    with pytest.raises(ModelRejected, match="not the published one"):
        add_published(tiny(file), file[:-1] + b"\0")
    assert not list(model_folder.iterdir())


def test_a_file_with_other_labels_is_refused(file: bytes, model_folder: Path) -> None:
    with pytest.raises(ModelRejected, match="other labels"):
        add_published(tiny(file, points=(("Mass", 0.1), ("Nodule", 0.1), ("Hernia", 0.1))), file)
    assert not list(model_folder.iterdir())


def test_a_download_that_ends_early_is_refused(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with release(file[:1000], announced=len(file)) as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        with pytest.raises(ModelRejected, match=r"not whole|cannot be downloaded"):
            download(tiny(file))


def test_a_download_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchxrayvision, "_MAX_BYTES", 1 << 20)
    data = bytes(4 << 20)
    with release(data) as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        with pytest.raises(ModelRejected, match="not whole"):
            download(tiny(data))


def test_a_missing_file_and_a_closed_port_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with release(b"") as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        with pytest.raises(ModelRejected, match="cannot be downloaded"):
            download(tiny(b"", file="other.pt"))
    with pytest.raises(ModelRejected, match="cannot be downloaded"):
        download(tiny(b""))


class Stopped(BaseException):
    """What a page raises where the reader stops it."""


def test_a_stopped_download_leaves_nothing(file: bytes, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_done: int, _total: int | None) -> None:
        raise Stopped

    with release(file) as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        with pytest.raises(Stopped):
            download(tiny(file), stop)
    assert not list(model_folder.iterdir())


def test_the_published_networks_have_the_names_that_the_files_have() -> None:
    outline = build_outline("xrv-densenet121", channels=1, labels=18)
    names = outline.state_dict()
    # As torchxrayvision/models.py builds them.
    for name in (
        "features.conv0.weight",
        "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock4.denselayer16.conv2.weight",
        "features.norm5.running_var",
        "classifier.bias",
    ):
        assert name in names
    assert names["features.conv0.weight"].shape == (64, 1, 7, 7)
    # The count that public records of the published file state.
    assert sum(p.numel() for p in outline.parameters()) == 6_966_034


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.id)
def test_every_published_model_is_described_in_full(model: PublishedModel) -> None:
    assert len(model.points) == 18
    assert all(point is None or 0 < point < 1 for _, point in model.points)
    assert {name for name, _ in model.points} <= set(torchxrayvision._WORDS)
    assert model.sha256 is None or len(model.sha256) == 64


def test_its_value_range_is_minus_1024_to_1024() -> None:
    spec = InputSpec(channels=1, size=16, fit="crop", mean=0.5, std=1 / 2048)
    stored = np.linspace(0, 255, 256).astype(np.uint8).reshape(1, 16, 16)
    tensor = to_model_input(Scan(stored=stored, digest="d", source_format="PNG"), 0, spec).tensor
    assert float(tensor.min()) == pytest.approx(-1024)
    assert float(tensor.max()) == pytest.approx(1024)
