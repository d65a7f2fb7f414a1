"""Cross-validation: every patient is held out once, by a network that never saw it, and finished folds are not trained again."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigurationError, ModelRejected
from core.models.catalogue import read_card
from core.training.configuration import TrainingConfiguration, read_configuration
from core.training.cross_validation import cross_validate
from core.training.publishing import Callbacks, train
from tests.files import png_bytes

CONFIGURATION = """
[model]
id = "greys"
version = "0.0.1"
title = "Greys"
architecture = "article-cnn-28"
head = "softmax"
headline = "bright"
target_layer = "4"
intended_use = "Tests."
licence = "MIT"
limits = ["Made in a test."]
labels = [{ code = "dark", words = "Dark" }, { code = "bright", words = "Bright" }]
[model.input]
channels = 1
size = 28
mean = 0.5
std = 0.25
[model.scope]
modalities = ["DX"]
body_parts = ["CHEST"]
[data]
name = "greys"
evaluation_films = 0
[fit]
epochs = 2
batch_size = 8
learning_rate = 0.002
average_decay = 0.5
"""


@pytest.fixture
def configuration(tmp_path: Path) -> TrainingConfiguration:
    path = tmp_path / "training.toml"
    path.write_text(CONFIGURATION)
    return read_configuration(path)


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """Two pictures of each of fifteen patients; one picture of a third split that nobody asked for."""
    folder, random = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    lines = ["file,label,split,patient_id"]
    for index in range(30):
        patient, bright = index // 2, index // 2 % 2
        picture = np.clip(random.normal(70 + 90 * bright, 15, (28, 28)), 0, 255).astype(np.uint8)
        (folder / f"{index}.png").write_bytes(png_bytes(picture))
        lines.append(f"{index}.png,{'bright' if bright else 'dark'},{'train' if patient < 10 else 'val'},P{patient}")
    lines.append("missing.png,dark,test,P99")
    (folder / "index.csv").write_text("\n".join(lines))
    return folder


def test_every_patient_is_held_out_once(configuration: TrainingConfiguration, greys: Path, tmp_path: Path) -> None:
    out, epochs = tmp_path / "out", []
    quiet = Callbacks(lambda _: None, lambda record: epochs.append(record.epoch))
    published = train(configuration, greys, out, quiet)
    card = cross_validate(configuration, greys, out, 3, quiet)
    assert epochs == [0, 1] * 4
    held_out: list[str] = []
    for index in sorted((out / "greys" / "folds").glob("*/index.csv")):
        with index.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        patients = {split: {row["patient_id"] for row in rows if row["split"] == split} for split in ("train", "val")}
        assert not patients["train"] & patients["val"]
        assert len(patients["train"] | patients["val"]) == 15
        held_out += patients["val"]
    assert sorted(held_out) == sorted(f"P{number}" for number in range(15))

    assert card.weights_sha256 == published.weights_sha256
    development = card.evaluations[-1]
    assert (development.kind, development.folds, development.images) == ("cross-validation", 3, 30)
    assert development.labels["bright"].positives == 14
    assert card.evaluations[:-1] == published.evaluations
    assert read_card(out / "greys" / "card.json") == card
    lines = [json.loads(line) for line in (out / "greys" / "out-of-fold.jsonl").read_text().splitlines()]
    assert len(lines) == 30
    folds_of = {line["group"]: {other["fold"] for other in lines if other["group"] == line["group"]} for line in lines}
    assert len(folds_of) == 15
    assert all(len(folds) == 1 for folds in folds_of.values())
    right = [(line["scores"]["bright"] > 0.5) == bool(line["truths"]["bright"]) for line in lines]
    assert np.mean(right) == pytest.approx(development.classes.accuracy.value if development.classes else -1)
    assert np.mean(right) > 0.8

    epochs.clear()
    assert cross_validate(configuration, greys, out, 3, quiet) == card
    assert epochs == []
    changed = configuration.model_copy(update={"fit": configuration.fit.model_copy(update={"epochs": 1})})
    cross_validate(changed, greys, out, 3, quiet)
    assert epochs == [0, 0, 0]


def test_what_cannot_be_cross_validated_is_said(
    configuration: TrainingConfiguration, greys: Path, tmp_path: Path
) -> None:
    quiet = Callbacks(lambda _: None, lambda _: None)
    with pytest.raises(ModelRejected, match="card"):
        cross_validate(configuration, greys, tmp_path / "out", 3, quiet)
    one = configuration.model_copy(update={"fit": configuration.fit.model_copy(update={"epochs": 1})})
    train(one, greys, tmp_path / "out", quiet)
    with pytest.raises(ConfigurationError, match="15 patients"):
        cross_validate(one, greys, tmp_path / "out", 16, quiet)
