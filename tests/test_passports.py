"""Filter passports: what fires a filter is what was made to, its label by hand-counted pairs, numbers only in the file."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import ConfigurationError
from core.inside.passports import PASSPORTS_FILE, Passports, make_passports, read_passports, write_passports
from core.inside.silencing import affordable, sample, silenced_layers
from core.models.loading import Model, prepare
from core.training.data import Examples
from tests.networks import card, seeded

COUNT = 14


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Noise; every second picture has the first label, nothing is known of the other."""
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 255, (COUNT, 1, 64, 64), dtype=np.uint8))
    truths = np.full((COUNT, 2), np.nan, np.float32)
    truths[:, 0] = np.arange(COUNT) % 2
    return Examples(pictures, truths, tuple({} for _ in range(COUNT)), tuple(f"patient-{n}" for n in range(COUNT)))


@pytest.fixture(scope="module")
def made(model: Model, examples: Examples) -> Passports:
    return make_passports(model, examples, silencing=False)


def test_a_filter_fires_where_its_normed_map_is_highest(model: Model, examples: Examples, made: Passports) -> None:
    network = model.network
    stem = network.get_submodule("stem")
    maps = stem[1](stem[0]((examples.pictures.float() / 255 - 0.5) / 0.25))  # type: ignore[index]
    peaks = maps[:, 5].amax((1, 2))
    found = made.of("stem.0", 5)
    assert found is not None
    assert [firing.picture for firing in found.top] == peaks.argsort(descending=True)[:4].tolist()
    best = int(peaks.argmax())
    row, column = np.unravel_index(int(maps[best, 5].argmax()), (32, 32))
    assert (found.top[0].x, found.top[0].y) == (round(100 * (column + 0.5) / 32), round(100 * (row + 0.5) / 32))
    assert found.top[0].value == pytest.approx(float(peaks.max()), rel=0.01)


def test_the_label_is_told_by_pairs(model: Model, examples: Examples, made: Passports) -> None:
    stem = model.network.get_submodule("stem")
    maps = stem[1](stem[0]((examples.pictures.float() / 255 - 0.5) / 0.25))  # type: ignore[index]
    peaks = maps[:, 7].amax((1, 2))
    pairs = [float(peaks[i] > peaks[j]) for i in range(1, COUNT, 2) for j in range(0, COUNT, 2)]
    found = made.of("stem.0", 7)
    assert found is not None
    assert found.label == "abnormal"
    assert found.auroc == pytest.approx(np.mean(pairs), abs=0.006)


def test_a_dead_filter_prefers_no_picture(examples: Examples) -> None:
    network = seeded("compact-resnet")
    network.stem[1].weight[3], network.stem[1].bias[3] = 0.0, 0.0
    found = make_passports(prepare(card(), network), examples, silencing=False).of("stem.0", 3)
    assert found is not None
    assert found.top == ()
    assert found.label is None


def test_the_file_holds_numbers_and_comes_back(tmp_path: Path, made: Passports) -> None:
    write_passports(tmp_path, made)
    text = (tmp_path / PASSPORTS_FILE).read_text("utf-8")
    assert "patient" not in text
    assert read_passports(tmp_path, "0" * 64) == made
    assert set(made.truths.values()) <= {(), ("abnormal",)}


def test_other_weights_and_damaged_files_have_no_passports(tmp_path: Path, made: Passports) -> None:
    assert read_passports(tmp_path, "0" * 64) is None
    write_passports(tmp_path, made)
    assert read_passports(tmp_path, "1" * 64) is None
    stored = json.loads((tmp_path / PASSPORTS_FILE).read_text("utf-8"))
    damages: list[dict[str, object]] = [
        {"schema": 3},
        {"layers": [1]},
        {"silenced": {"stem.0": {}}},
        {"layers": {"stem.0": [[None, 2]]}},
        {"pictures": "many"},
    ]
    for damage in damages:
        (tmp_path / PASSPORTS_FILE).write_text(json.dumps({**stored, **damage}), "utf-8")
        assert read_passports(tmp_path, "0" * 64) is None
    (tmp_path / PASSPORTS_FILE).write_text("{", "utf-8")
    assert read_passports(tmp_path, "0" * 64) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path, made: Passports) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_passports(tmp_path / "missing", made)


class Small(nn.Module):
    """Two convolutions, the first with a batch norm and a shortcut round the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, stride=4, bias=False), nn.BatchNorm2d(4)
        self.second, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)
        nn.init.uniform_(self.norm.weight, 0.5, 2)
        nn.init.uniform_(self.norm.bias, -1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2)."""
        x = torch.relu(self.norm(self.first(x)))
        pooled: torch.Tensor = self.fc(torch.relu(x + self.second(x)).mean((2, 3)))
        return pooled


@pytest.fixture(scope="module")
def small() -> Model:
    torch.manual_seed(2)
    return prepare(card(target_layer="relu_1"), Small().eval())


def area_by_pairs(network: nn.Module, examples: Examples) -> float:
    """The share of pairs of pictures that the first logit ranks rightly."""
    with torch.inference_mode():
        scores = network((examples.pictures.float() / 255 - 0.5) / 0.25)[:, 0]
    with_it, without = (scores[torch.from_numpy(examples.truths[:, 0] == truth)] for truth in (1, 0))
    return float((with_it[:, None] > without[None]).float().mean())


@pytest.mark.parametrize(("layer", "parts"), [("first", ["norm"]), ("second", ["second"])])
def test_silencing_is_what_a_network_without_the_filter_answers(
    layer: str, parts: list[str], small: Model, examples: Examples
) -> None:
    """By hand: a copy whose norm, or convolution, gives 0 for this filter."""
    found = silenced_layers(small, examples)[layer]
    assert found.pictures == COUNT
    assert found.before[0] == pytest.approx(area_by_pairs(small.network, examples))
    # Nothing is known of the other label.
    assert np.isnan(found.before[1])
    for channel in range(4):
        without = copy.deepcopy(small.network)
        for part in (without.get_submodule(name) for name in parts):
            part.weight[channel], part.bias[channel] = 0.0, 0.0  # type: ignore[operator]
        assert found.after[0, channel] == pytest.approx(area_by_pairs(without, examples))
    assert len({round(float(area), 6) for area in found.after[0]}) > 1


def test_the_passport_tells_it_and_the_file_keeps_it(tmp_path: Path, small: Model, examples: Examples) -> None:
    made = make_passports(small, examples)
    measured = silenced_layers(small, examples)["second"]
    one = made.of("second", 2)
    assert one is not None
    assert one.silenced is not None
    assert (one.silenced.label, one.silenced.pictures) == ("abnormal", COUNT)
    assert one.silenced.before == pytest.approx(measured.before[0], abs=6e-4)
    assert one.silenced.after == pytest.approx(measured.after[0, 2], abs=6e-4)
    write_passports(tmp_path, made)
    assert read_passports(tmp_path, "0" * 64) == made


def test_files_from_before_silencing_are_read(tmp_path: Path, made: Passports) -> None:
    write_passports(tmp_path, made)
    stored = json.loads((tmp_path / PASSPORTS_FILE).read_text("utf-8"))
    assert stored.pop("silenced") == {}
    (tmp_path / PASSPORTS_FILE).write_text(json.dumps({**stored, "schema": 1}), "utf-8")
    assert read_passports(tmp_path, "0" * 64) == made


def test_early_layers_of_a_large_network_are_left_out() -> None:
    large = card(input={"channels": 1, "size": 256, "mean": 0.5, "std": 0.25})
    counts = affordable(prepare(large, seeded("compact-resnet")), 300)
    assert counts["blocks.5.conv2"] > 32
    assert counts["blocks.0.conv1"] == 0
    assert all(count == 0 or count >= 32 for count in counts.values())


def test_a_sample_has_as_many_with_the_headline_as_without() -> None:
    truths = np.full((40, 2), np.nan, np.float32)
    truths[:, 0] = np.arange(40) >= 30
    chosen = sample(card(), truths, 12)
    assert truths[chosen, 0].sum() == 6
    assert len(set(chosen.tolist())) == 12
    # Where there are too few of one kind, more of the other.
    assert truths[sample(card(), truths, 32), 0].sum() == 10
    assert len(sample(card(), truths, 99)) == 40
