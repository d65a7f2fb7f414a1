"""From an answer back to one pixel: through the cell that was pointed at, every step adding up to the next."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import UnknownLayer
from core.inside.arithmetic import Place
from core.inside.recording import Recording, record, record_picture
from core.inside.walk import last_maps, map_behind, walk_from_answer
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
    made = prepare(
        card(architecture=architecture, input=spec, target_layer=target),
        seeded(architecture, channels=channels, size=size),
    )
    return record_picture(made, torch.randn(1, channels, size, size), Letterbox.fit(size, size, size))


def class_weights(model: Model) -> torch.Tensor:
    """The class weights, (labels, channels)."""
    layer = model.network.get_submodule("fc")
    assert isinstance(layer, torch.nn.Linear)
    return layer.weight


def assert_linked(recording: Recording, row: int, column: int, output: int = 0) -> None:
    """Each step's way on is the next step's place; the walk passes the cell and ends in the picture."""
    walk = walk_from_answer(recording, output, row, column)
    for step, following in pairwise(walk):
        assert step.through == following.place
        assert step.total == pytest.approx(step.value, abs=1e-4)
    passed = next(step.place for step in walk if step.place.layer == last_maps(recording))
    assert (passed.row, passed.column) == (row, column)
    assert walk[-1].through is not None
    assert walk[-1].through.layer == "picture"


def test_behind_pooling_the_channel_counts_most_at_that_cell(model: Model, recording: Recording) -> None:
    assert last_maps(recording) == "blocks.5.relu_1"
    assert_linked(recording, 1, 2, 1)
    maps = recording.value(recording.step("blocks.5.relu_1"))
    weights = class_weights(model)[1]
    best = int((maps[:, 1, 2] * weights).abs().argmax())
    walk = walk_from_answer(recording, 1, 1, 2)
    assert next(step.place.channel for step in walk if step.place.layer == "blocks.5.relu_1") == best
    named = walk_from_answer(recording, 1, 1, 2, channel=3)
    assert next(step.place.channel for step in named if step.place.layer == "blocks.5.relu_1") == 3


def test_behind_flatten_the_way_leads_through_the_cells_own_weight() -> None:
    recording = recorded("article-cnn-28", "4", 28, 1)
    assert last_maps(recording) == "5"
    assert_linked(recording, 3, 1)
    maps = recording.value(recording.step("5"))
    linear = recording.step("7").module
    assert isinstance(linear, torch.nn.Linear)
    weights = linear.weight[0].reshape(maps.shape)[:, 3, 1]
    best = int((weights * maps[:, 3, 1]).abs().argmax())
    flat = walk_from_answer(recording, 0, 3, 1)[0].through
    assert flat is not None
    assert [int(at) for at in np.unravel_index(flat.channel, tuple(maps.shape))] == [best, 3, 1]


@pytest.mark.parametrize(
    ("architecture", "target"), [("densenet121", "features.norm5"), ("mobilenet_v3_large", "features.16.2")]
)
def test_published_networks_are_walked_through(architecture: str, target: str) -> None:
    assert_linked(recorded(architecture, target, 64, 3), 1, 0)


@pytest.mark.parametrize("model_id", sorted(read_catalogue().cards))
def test_every_default_model_is_walked_from_pixel_to_logit(model_id: str) -> None:
    loaded = load_model(model_id)
    scan, _ = simulated_scan(9, "mass", rows=256, columns=256)
    recording = record(loaded, scan)
    assert_linked(recording, 2, 3)
    first = walk_from_answer(recording, 0, 2, 3)[0]
    if loaded.card.task == "classification":
        logit = float(recording.values[recording.output][0])
        assert sum(term.product for term in first.terms) + (first.bias or 0) == pytest.approx(logit, abs=1e-4)


def test_a_cell_that_does_not_exist(recording: Recording) -> None:
    with pytest.raises(UnknownLayer, match="there is none"):
        walk_from_answer(recording, 0, 99, 0)
    with pytest.raises(UnknownLayer, match="there is none"):
        walk_from_answer(recording, 0, 0, 0, channel=10_000)
    with pytest.raises(UnknownLayer, match="there is none"):
        walk_from_answer(recording, 7, 0, 0)


def test_a_number_is_traced_to_its_map(recording: Recording) -> None:
    found = map_behind(recording, Place("flatten", 7))
    assert found == (Place("blocks.5.relu_1", 7), True)
    maps = recording.value(recording.step("blocks.5.relu_1"))
    assert float(recording.value(recording.step("flatten"))[7]) == pytest.approx(float(maps[7].mean()), abs=1e-6)
    flattened = recorded("article-cnn-28", "4", 28, 1)
    assert map_behind(flattened, Place("6", 2 * 25 + 1 * 5 + 3)) == (Place("5", 2, 1, 3), False)
    assert map_behind(recording, Place("fc", 0)) is None
