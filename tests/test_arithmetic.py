"""Follow one pixel: every number shown is torch's own, every sum adds up."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.errors import UnknownLayer
from core.inside.arithmetic import Place, arithmetic, path_to_picture
from core.inside.filters import kernels
from core.inside.recording import Recording, record, record_picture
from core.models.card import InputSpec
from core.models.catalogue import read_catalogue
from core.models.loading import Model, load_model, prepare
from core.preprocessing import Letterbox
from core.samples import simulated_scan
from tests.networks import card, seeded


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def recording(model: Model) -> Recording:
    scan, _ = simulated_scan(1, rows=96, columns=64)
    return record(model, scan)


def recorded(architecture: str, target: str, size: int, channels: Literal[1, 3]) -> Recording:
    spec = InputSpec(channels=channels, size=size, mean=0.5, std=0.25)
    network = seeded(architecture, channels=channels, size=size)
    made = prepare(card(architecture=architecture, input=spec, target_layer=target), network)
    return record_picture(made, torch.randn(1, channels, size, size), Letterbox.fit(size, size, size))


def assert_all_add_up(recording: Recording, tries: int = 2) -> set[str]:
    """A few values of every layer; the kinds of layers met."""
    rng = np.random.default_rng(0)
    kinds: set[str] = set()
    for layer in recording.layers:
        shape = recording.value(recording.step(layer)).shape
        for _ in range(tries):
            found = arithmetic(recording, Place(layer, *(int(rng.integers(0, side)) for side in shape)))
            assert found.total == pytest.approx(found.value, abs=1e-4)
            kinds.add(found.kind)
    return kinds


@pytest.mark.parametrize("model_id", sorted(read_catalogue().cards))
def test_every_layer_of_every_default_model_adds_up(model_id: str) -> None:
    scan, _ = simulated_scan(9, "mass", rows=256, columns=256)
    kinds = assert_all_add_up(record(load_model(model_id), scan))
    assert {"convolution", "activation"} <= kinds
    assert "other" not in kinds


@pytest.mark.parametrize(
    ("architecture", "target"),
    [("densenet121", "features.norm5"), ("mobilenet_v3_large", "features.16.2"), ("resnet18", "layer4.1.relu_1")],
)
def test_published_networks_add_up(architecture: str, target: str) -> None:
    kinds = assert_all_add_up(recorded(architecture, target, 64, 3), tries=1)
    assert "other" not in kinds


def test_a_convolution_by_its_own_patch_and_kernel(model: Model, recording: Recording) -> None:
    found = arithmetic(recording, Place("blocks.0.conv1", 7, 0, 5))
    weight = kernels(model.network, "blocks.0.conv1")[7]
    assert found.weights is not None
    assert np.array_equal(found.weights, weight)
    # Row 0 with a padding of 1: the window's first row lies outside, and counts for nothing.
    assert found.patches is not None
    assert np.isnan(found.patches[:, 0]).all()
    before = functional.pad(recording.value(recording.step("stem.2")), (1, 1, 1, 1)).numpy()
    patch = before[:, 0:3, 10:13]
    assert np.array_equal(np.nan_to_num(found.patches), patch)
    assert found.value == pytest.approx(float((patch * weight).sum()), abs=1e-4)
    # One term an input channel, the largest first; together with the bias they are the value.
    sizes = [abs(term.product) for term in found.terms]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 24


def test_a_maximum_comes_from_where_it_is() -> None:
    recording = recorded("article-cnn-28", "4", 28, 1)
    found = arithmetic(recording, Place("2", 3, 4, 6))
    window = recording.value(recording.step("1"))[3, 8:10, 12:14]
    assert found.value == float(window.max())
    assert found.through is not None
    assert recording.value(recording.step("1"))[3, found.through.row, found.through.column] == window.max()


def test_behind_flatten_each_position_has_a_weight_of_its_own() -> None:
    recording = recorded("article-cnn-28", "4", 28, 1)
    found = arithmetic(recording, Place("7", 1))
    maps, weights = recording.value(recording.step("5")), recording.step("7").module
    assert isinstance(weights, torch.nn.Linear)
    term = next(t for t in found.terms if t.source == Place("6", 2 * 25 + 1 * 5 + 3))
    assert term.value == pytest.approx(float(maps[2, 1, 3]))
    assert term.weight == pytest.approx(float(weights.weight[1, 2 * 25 + 1 * 5 + 3]))
    assert sum(t.product for t in found.terms) + (found.bias or 0) == pytest.approx(found.value, abs=1e-4)
    back = arithmetic(recording, Place("6", 2 * 25 + 1 * 5 + 3))
    assert back.through == Place("5", 2, 1, 3)


def test_the_path_ends_in_the_picture_and_never_leaves_the_maps(recording: Recording) -> None:
    path = path_to_picture(recording, Place("fc", 1))
    assert path[0].place.layer == "fc"
    assert path[-1].through is not None
    assert path[-1].through.layer == "picture"
    for step, following in pairwise(path):
        assert step.through == following.place
        assert following.value == pytest.approx(
            next((t.value for t in step.terms if t.source == following.place), following.value), abs=1e-5
        )
    row, column = path[-1].through.row, path[-1].through.column
    assert 0 <= row < 64
    assert 0 <= column < 64


def test_places_that_do_not_exist(recording: Recording) -> None:
    with pytest.raises(UnknownLayer, match="there is none"):
        arithmetic(recording, Place("stem.0", 24, 0, 0))
    with pytest.raises(UnknownLayer, match="there is none"):
        arithmetic(recording, Place("stem.0", 0, 32, 0))
    with pytest.raises(UnknownLayer, match="no layer"):
        arithmetic(recording, Place("nowhere", 0, 0, 0))


def test_nothing_stays_on_the_network(model: Model) -> None:
    before = {name: set(vars(module)) for name, module in model.plain.traced.module.named_modules()}
    recorded_again = record_picture(model, torch.zeros(1, 1, 64, 64), Letterbox.fit(64, 64, 64))
    assert {name: set(vars(module)) for name, module in model.plain.traced.module.named_modules()} == before
    assert torch.equal(recorded_again.values[recorded_again.output], model.plain.answer(torch.zeros(1, 1, 64, 64))[0])
