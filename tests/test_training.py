"""Training: configurations refused, leaks found, gaps masked, and a whole small training on files made here."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from core.errors import ConfigurationError
from core.models.card import InputSpec
from core.models.exports import read_export
from core.models.loading import load_model
from core.training.augmentation import Augmentation
from core.training.configuration import AugmentSection, TrainingConfiguration, data_folder, read_configuration
from core.training.data import check_groups, load_split, read_index, simulated_examples, truths_of
from core.training.losses import cell_loss, centre_loss, classification_loss
from core.training.publishing import Callbacks, measure_again, train
from tests.files import png_bytes
from tests.networks import card

CONFIGURATION = """
[model]
id = "tiny-square"
version = "0.0.1"
title = "Squares"
architecture = "compact-resnet"
head = "sigmoid"
headline = "abnormal"
target_layer = "blocks.5.relu_1"
intended_use = "Tests."
licence = "MIT"
limits = ["Made in a test."]
labels = [{ code = "abnormal", words = "Square" }, { code = "mass", words = "Bright square" }]
[model.input]
channels = 1
size = 32
mean = 0.5
std = 0.25
[model.scope]
modalities = ["DX"]
body_parts = ["CHEST"]
[data]
name = "squares"
evaluation_films = 4
[fit]
epochs = 6
batch_size = 8
learning_rate = 0.003
box_weight = 0.2
average_decay = 0.8
"""


@pytest.fixture
def configuration(tmp_path: Path) -> TrainingConfiguration:
    path = tmp_path / "training.toml"
    path.write_text(CONFIGURATION)
    return read_configuration(path)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """A data folder: a third of the pictures carries a bright square, one file is damaged, one row lists no findings."""
    folder, random = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    lines = ["file,label,split,nih_labels,nih_boxes,patient_id"]
    for index in range(60):
        picture = random.integers(60, 110, (32, 32)).astype(np.uint8)
        has, split, boxes = index % 3 == 0, "train" if index < 42 else "val", ""
        if has:
            x, y = (int(v) for v in random.integers(2, 20, 2))
            picture[y : y + 10, x : x + 10] = 250
            boxes = json.dumps([{"label": "Mass", "x": x, "y": y, "w": 10, "h": 10}]).replace('"', '""')
        (folder / f"{index}.png").write_bytes(png_bytes(picture))
        label = "abnormal" if has else "no_finding"
        findings = "" if index == 1 else "Mass" if has else "No Finding"
        lines.append(f'{index}.png,{label},{split},{findings},"{boxes}",{index}')
    (folder / "damaged.png").write_bytes(png_bytes(picture)[:40])
    lines.append("damaged.png,no_finding,train,No Finding,,900")
    (folder / "index.csv").write_text("\n".join(lines))
    return folder


def test_a_whole_training_publishes_a_model_that_finds_the_squares(
    configuration: TrainingConfiguration, squares: Path, model_folder: Path
) -> None:
    said: list[str] = []
    epochs: list[int] = []
    published = train(configuration, squares, model_folder, Callbacks(said.append, lambda r: epochs.append(r.epoch)))
    assert epochs == list(range(6))
    assert "1 unreadable (damaged.png) left out" in said[0]
    figures = published.evaluations[0].labels["abnormal"]
    assert figures.auroc is not None
    assert figures.auroc.value > 0.9
    assert (figures.positives, figures.negatives) == (6, 12)
    assert load_model("tiny-square").card == published
    record, _ = read_export(model_folder / "tiny-square")
    assert record.weights_sha256 == published.weights_sha256
    log = (model_folder / "tiny-square" / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == epochs
    readme = (model_folder / "tiny-square" / "README.md").read_text()
    assert published.weights_sha256 in readme
    assert f"{figures.auroc.value:.2f} (" in readme
    point = published.thresholds["abnormal"]
    assert point.sensitivity.value >= 0.8
    assert measure_again(configuration, squares, model_folder) == published


def test_the_same_configuration_gives_the_same_weights(
    configuration: TrainingConfiguration, squares: Path, tmp_path: Path
) -> None:
    short = configuration.model_copy(update={"fit": configuration.fit.model_copy(update={"epochs": 1})})
    quiet = Callbacks(lambda _: None, lambda _: None)
    hashes = {train(short, squares, tmp_path / name, quiet).weights_sha256 for name in ("a", "b")}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("epochs = 6|epochs = 0", "fit.epochs"),
        ("epochs = 6|epoch = 6", "fit.epoch"),
        ('head = "sigmoid"|head = "tanh"', "model.head"),
        ("[fit]|[fit", "TOML"),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path: Path, change: str, where: str) -> None:
    before, after = change.split("|")
    path = tmp_path / "wrong.toml"
    path.write_text(CONFIGURATION.replace(before, after))
    with pytest.raises(ConfigurationError, match=where):
        read_configuration(path)


def test_the_data_folder_comes_from_the_option_or_the_variable(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RADLENS_DATA", raising=False)
    with pytest.raises(ConfigurationError, match="RADLENS_DATA"):
        data_folder(None)
    with pytest.raises(ConfigurationError, match=r"index\.csv"):
        data_folder(tmp_path / "models")
    assert data_folder(squares) == squares
    monkeypatch.setenv("RADLENS_DATA", str(squares.parent))
    assert data_folder(None, "data") == squares


def test_a_patient_in_two_splits_is_refused() -> None:
    rows = [
        {"file": f"{i}", "label": "a", "split": s, "patient_id": p}
        for i, (s, p) in enumerate([("train", "1"), ("val", "1")])
    ]
    with pytest.raises(ConfigurationError, match="leaks"):
        check_groups(rows, ("train", "val"))
    check_groups(rows, ("train",))


def test_an_empty_split_and_a_missing_column_are_refused(squares: Path, configuration: TrainingConfiguration) -> None:
    with pytest.raises(ConfigurationError, match="no readable picture"):
        load_split(squares, "test", ["abnormal"], configuration.model.input)
    (squares / "index.csv").write_text("file,label\na,b\n")
    with pytest.raises(ConfigurationError, match="split"):
        read_index(squares)


def test_labels_are_known_by_class_or_by_listed_findings_and_missing_otherwise() -> None:
    labels, classes = ("abnormal", "mass", "nodule"), {"abnormal", "no_finding"}
    listed = truths_of({"file": "a", "label": "abnormal", "nih_labels": "Mass|Edema"}, labels, classes)
    assert listed == [1, 1, 0]
    healthy = truths_of({"file": "b", "label": "no_finding", "nih_labels": "No Finding"}, labels, classes)
    assert healthy == [0, 0, 0]
    unlisted = truths_of({"file": "c", "label": "abnormal", "nih_labels": ""}, labels, classes)
    assert unlisted[0] == 1
    assert np.isnan(unlisted[1:]).all()


def test_a_missing_label_teaches_nothing() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 0.5]], requires_grad=True)
    truths = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    loss = classification_loss(logits, truths, torch.ones(2))
    known = functional.binary_cross_entropy_with_logits(torch.tensor([0.3, 1.0, 0.5]), torch.tensor([1.0, 0.0, 1.0]))
    assert loss.item() == pytest.approx(known.item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0


def test_box_supervision_asks_for_evidence_inside_the_box_only() -> None:
    cells, truths = torch.zeros(1, 2, 4, 4), torch.tensor([[1.0, 0.0]])
    cells[0, 0, :2, :2] = 1
    inside = torch.full((1, 2, 4, 4), -6.0)
    inside[0, 0, :2, :2] = 6.0
    outside = -inside
    good, bad = (cell_loss(e, cells, truths).item() for e in (inside, outside))
    # softplus(-6) for every kind of cell, and no doubt where the strongest lies.
    assert good == pytest.approx(2 * np.log1p(np.exp(-6)), abs=1e-3)
    assert bad > 6
    # A box of a finding that is not there, and no box at all, teach nothing.
    assert cell_loss(outside, cells, torch.tensor([[0.0, 0.0]])).item() == 0
    assert cell_loss(outside, torch.zeros(1, 2, 4, 4), truths).item() == 0


def test_boxes_move_with_the_picture_and_sides_are_never_exchanged() -> None:
    pictures = torch.zeros(16, 1, 64, 64)
    pictures[:, :, 20:30, 8:16] = 1
    changed, boxes = Augmentation(3, AugmentSection())(pictures, [{"mass": [(8.0, 20.0, 8.0, 10.0)]}] * 16)
    for picture, found in zip(changed[:, 0], boxes, strict=True):
        x, y, w, h = found["mass"][0]
        rows, columns = torch.nonzero(picture > 0.6, as_tuple=True)
        assert x - 1.5 <= columns.min()
        assert columns.max() <= x + w + 1.5
        assert y - 1.5 <= rows.min()
        assert rows.max() <= y + h + 1.5
        assert columns.float().mean() < 28


def test_simulated_examples_know_their_truth_and_place() -> None:
    stated = card()
    examples = simulated_examples(4, 50, stated.label_codes, stated.input)
    assert examples.truths.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert [sorted(found) for found in examples.boxes] == [[], ["mass"], [], ["mass"]]
    x, y, w, h = examples.boxes[1]["mass"][0]
    assert 0 <= x < x + w <= 64
    assert 0 <= y < y + h <= 64


def test_class_folders_stand_in_for_an_index(tmp_path: Path) -> None:
    for label, shade in (("Bright", 200), ("dark", 20)):
        for number in range(15):
            file = tmp_path / label / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(png_bytes(np.full((20, 20), shade + number, np.uint8)))
    rows = read_index(data_folder(tmp_path))
    assert len(rows) == 30
    assert {row["split"] for row in rows} == {"train", "val"}
    spec = InputSpec(channels=1, size=16, mean=0.0, std=1.0)
    examples = load_split(tmp_path, "train", ["bright", "dark"], spec)
    brightness = examples.pictures.float().mean((1, 2, 3)).numpy()
    assert ((brightness > 100) == (examples.truths[:, 0] == 1)).all()
    assert (examples.truths.sum(1) == 1).all()


def test_class_folders_may_say_the_split_and_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        file = tmp_path / split / "normal" / "a.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(png_bytes(np.zeros((9, 9), np.uint8)))
    assert [row["split"] for row in read_index(tmp_path)] == ["test", "train", "val"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigurationError, match="class folders"):
        read_index(tmp_path / "nothing")


def still(**changes: object) -> AugmentSection:
    """An augmentation that changes nothing but what is named."""
    nothing = {
        "rotation": 0,
        "shift": 0,
        "scales": (1, 1),
        "gammas": (1, 1),
        "contrasts": (1, 1),
        "brightnesses": (0, 0),
    }
    return AugmentSection.model_validate({**nothing, "noises": (0, 0), "soften": 0, "bar_share": 0, **changes})


def test_a_foreign_border_is_that_of_another_picture_and_the_middle_stays() -> None:
    pictures = torch.stack([torch.full((1, 40, 40), level / 8) for level in range(8)])
    changed, _ = Augmentation(3, still(borders=1.0, border_widths=(0.1, 0.1)))(pictures, [{}] * 8)
    inner = changed[:, 0, 4:36, 4:36]
    assert all(torch.equal(inner[i], pictures[i, 0, 4:36, 4:36]) for i in range(8))
    ring = torch.ones(40, 40, dtype=torch.bool)
    ring[4:36, 4:36] = False
    # Moving by nothing still interpolates at the very edge.
    lent = [changed[i, 0][ring].mul(1000).round().div(1000).unique().tolist() for i in range(8)]
    assert all(len(levels) == 1 for levels in lent)
    assert sorted(levels[0] for levels in lent) == [level / 8 for level in range(8)]
    assert sum(levels[0] != i / 8 for i, levels in enumerate(lent)) >= 5


def test_a_picture_stored_as_jpeg_is_what_pillow_makes_of_it() -> None:
    grey = (np.add.outer(np.arange(32), np.arange(32)) * 4).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=30)
    expected = torch.from_numpy(np.array(Image.open(stream)).astype(np.float32)) / 255
    picture = torch.from_numpy(grey.astype(np.float32))[None, None] / 255
    changed, _ = Augmentation(0, still(jpeg=1.0, jpeg_qualities=(30, 30)))(picture, [{}])
    assert float((changed[0, 0] - expected).abs().max()) <= 2 / 255
    assert not torch.equal(changed[0, 0], picture[0, 0])


def test_evidence_along_the_edges_is_what_the_centre_loss_counts() -> None:
    evidence = torch.zeros(2, 3, 21, 21)
    evidence[:, :, 10, 10] = 100
    assert float(centre_loss(evidence)) == 0
    down, right = np.mgrid[-1:1:21j, -1:1:21j]
    outside = int((down**2 + right**2 > 0.86**2).sum())
    evidence[0, 1, 0, 0] = 6
    assert float(centre_loss(evidence)) == pytest.approx(36 / (outside * 6))


def test_a_range_that_descends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(CONFIGURATION + "[augment]\ngammas = [1.2, 0.8]\n")
    with pytest.raises(ConfigurationError, match=r"augment.*gammas"):
        read_configuration(path)
