"""Filter passports: what fires a filter is what was made to, its label by hand-counted pairs, numbers only in the file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import ConfigurationError
from core.inside.passports import PASSPORTS_FILE, Passports, make_passports, read_passports, write_passports
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
    return make_passports(model, examples)


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
    found = make_passports(prepare(card(), network), examples).of("stem.0", 3)
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
    for damage in ({"schema": 2}, {"layers": [1]}, {"layers": {"stem.0": [[None, 2]]}}, {"pictures": "many"}):
        (tmp_path / PASSPORTS_FILE).write_text(json.dumps({**stored, **damage}), "utf-8")
        assert read_passports(tmp_path, "0" * 64) is None
    (tmp_path / PASSPORTS_FILE).write_text("{", "utf-8")
    assert read_passports(tmp_path, "0" * 64) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path, made: Passports) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_passports(tmp_path / "missing", made)
