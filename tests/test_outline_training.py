"""Learning outlines: masks that move with their pictures, the loss, the figures, and a whole training on made-up pictures."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score
from typer.testing import CliRunner

from core.__main__ import app
from core.errors import ConfigurationError
from core.models.card import InputSpec, MaskThreshold
from core.models.catalogue import read_card
from core.models.loading import load_model
from core.overlap import dice, intersection_over_union, mean_over_groups
from core.training.augmentation import Augmentation
from core.training.configuration import AugmentSection, read_configuration
from core.training.measuring import Measurements
from core.training.outline_figures import Outlined, OutlineMeasurements, chosen_threshold, segmentation_figures
from core.training.outlines import load_outlined
from core.training.segmentation import OutlineLesson, check_configuration, outline_loss, take_over
from tests.networks import publish, seeded
from tests.outline_networks import outline_card, outline_network

SIZE = 64
SPEC = InputSpec(channels=1, size=SIZE, mean=0.5, std=0.25)

CONFIGURATION = """
[model]
id = "outlines"
version = "0.1.0"
title = "Bright discs"
task = "segmentation"
architecture = "compact-unet"
head = "sigmoid"
headline = "lesion"
target_layer = "blocks.5.relu_1"
intended_use = "Tests."
licence = "MIT"
limits = ["Made up."]
labels = [{ code = "lesion", words = "Lesion" }]
[model.input]
channels = 1
size = 64
mean = 0.5
std = 0.25
[model.scope]
modalities = ["US"]
body_parts = ["BREAST"]
[data]
name = "discs"
evaluation_films = 0
[augment]
mirror = true
[fit]
epochs = 6
batch_size = 8
learning_rate = 0.004
average_decay = 0.8
imbalance = "none"
"""


def disc(seed: int, rows: int = 64, columns: int = 80, *, lesion: bool = True) -> tuple[Any, Any]:
    """A noisy picture with a bright disc, and the disc."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    row, column, radius = random.integers(20, rows - 20), random.integers(20, columns - 20), random.integers(9, 15)
    inside = ((y - row) ** 2 + (x - column) ** 2 < radius**2) & lesion
    grey = random.integers(0, 90, (rows, columns)) + 140 * inside
    return grey.astype(np.uint8), inside


def folder_of(root: Path, count: int = 24, **changes: str) -> Path:
    """Pictures, masks and index.csv: every fourth picture is normal, the last quarter is held out."""
    rows = []
    for number in range(count):
        kind = "normal" if number % 4 == 0 else "benign" if number % 4 == 1 else "malignant"
        grey, inside = disc(number, lesion=kind != "normal")
        Image.fromarray(grey).save(root / f"{number}.png")
        Image.fromarray((255 * inside).astype(np.uint8)).save(root / f"{number}_mask.png")
        split = "val" if number >= count * 3 // 4 else "train"
        row = {"file": f"{number}.png", "label": kind, "mask": f"{number}_mask.png", "split": split}
        rows.append({**row, "neardup_group": str(number)} | (changes if number == 1 else {}))
    with (root / "index.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root


def configured(tmp_path: Path, **replaced: str) -> Path:
    text = CONFIGURATION
    for old, new in replaced.items():
        text = text.replace(f"{old} = ", f"{old} = {new} #")
    path = tmp_path / "training.toml"
    path.write_text(text)
    return path


def test_a_mask_moves_with_its_picture() -> None:
    settings = AugmentSection(
        rotation=40, shift=0.15, scales=(0.7, 1.3), mirror=True, gammas=(1, 1), contrasts=(1, 1),
        brightnesses=(0, 0), noises=(0, 0), soften=0,
    )  # fmt: skip
    y, x = np.mgrid[:SIZE, :SIZE]
    blob = torch.from_numpy((((y - 24) / 9) ** 2 + ((x - 38) / 15) ** 2 < 1).astype(np.float32))
    pictures, masks = Augmentation(3, settings).with_masks(blob.repeat(16, 1, 1, 1), blob.repeat(16, 1, 1, 1))
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    moved = [float(np.abs(np.argwhere(mask[0].numpy()).mean(0) - (24, 38)).max()) for mask in masks]
    assert max(moved) > 8
    for picture, mask in zip(pictures, masks, strict=True):
        assert dice((picture[0] >= 0.5).numpy(), mask[0].numpy() > 0) > 0.93


def test_a_mask_is_framed_as_its_picture(tmp_path: Path) -> None:
    examples = load_outlined(folder_of(tmp_path), "train", SPEC)
    assert examples.pictures.shape == examples.masks.shape == (18, 1, SIZE, SIZE)
    for picture, mask in zip(examples.pictures[:, 0].numpy(), examples.masks[:, 0].numpy() > 0, strict=True):
        assert not mask[:6].any()
        assert not mask[-6:].any()
        assert dice(picture > 115, mask) > 0.9 or not mask.any()
    assert int((examples.masks.flatten(1).amax(1) == 0).sum()) == 5


def test_a_picture_whose_mask_is_missing_teaches_nothing_and_one_that_is_unreadable_is_counted(tmp_path: Path) -> None:
    configuration = read_configuration(configured(tmp_path))
    examples = load_outlined(folder_of(tmp_path, mask=""), "train", SPEC)
    assert examples.known.tolist() == [number != 1 for number in range(18)]
    lesson = OutlineLesson(configuration, examples, examples)
    shown = sum(len(masks) for _, masks in lesson.batches(0))
    assert shown == 17 - 17 % 8 * (17 % 8 == 1)
    assert lesson.steps == len(list(lesson.batches(0)))
    (tmp_path / "2_mask.png").write_bytes(b"no picture")
    again = load_outlined(tmp_path, "train", SPEC)
    assert again.unreadable == ("2.png",)
    assert len(again) == 17


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path)
    Image.new("L", (80, 63)).save(tmp_path / "3_mask.png")
    with pytest.raises(ConfigurationError, match=r"3\.png has 80 x 63 pixels, its picture 80 x 64"):
        load_outlined(tmp_path, "train", SPEC)


def test_the_loss_is_cross_entropy_and_soft_dice_of_what_is_outlined() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 1, 8, 8)).astype(np.float32)
    masks = np.zeros((2, 1, 8, 8), np.float32)
    masks[1, 0, 2:5, 3:7] = 1
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    entropy = -(masks * np.log(p) + (1 - masks) * np.log(1 - p)).mean()
    overlap = (2 * (p[1] * masks[1]).sum() + 1) / ((p[1] ** 2).sum() + masks[1].sum() + 1)
    both = outline_loss(torch.from_numpy(logits), torch.from_numpy(masks)).item()
    assert both == pytest.approx(entropy + 1 - overlap, rel=1e-5)
    empty = outline_loss(torch.from_numpy(logits[:1]), torch.from_numpy(masks[:1])).item()
    assert empty == pytest.approx(-np.log(1 - p[0]).mean(), rel=1e-5)


def test_overlap_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    one, other = random.random((2, 20, 30)) < 0.3
    assert dice(one, other) == pytest.approx(f1_score(one.reshape(-1), other.reshape(-1)))
    assert intersection_over_union(one, other) == pytest.approx(jaccard_score(one.reshape(-1), other.reshape(-1)))
    nothing = np.zeros((20, 30), bool)
    assert dice(nothing, nothing) == intersection_over_union(nothing, nothing) == 1.0
    assert dice(nothing, one) == intersection_over_union(nothing, one) == 0.0


def test_pictures_of_one_group_count_as_one_for_the_interval() -> None:
    values = np.random.default_rng(2).random(40).tolist()
    alone = mean_over_groups(values, [str(i) for i in range(40)])
    copied = mean_over_groups(values * 9, [str(i) for i in range(40)] * 9)
    separate = mean_over_groups(values * 9, [str(i) for i in range(360)])
    assert copied.model_dump() == pytest.approx(alone.model_dump())
    assert alone.value == pytest.approx(np.mean(values))
    # Nine times the pictures, a third of the width.
    assert (separate.high - separate.low) == pytest.approx((alone.high - alone.low) / 3, rel=0.1)
    # The standard error of a mean, as of the textbook.
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(40), rel=0.1)


def outcome(
    kind: str, value: float, at: Sequence[float], *, lesion: bool = True, score: float = 0.97, empty: bool = False
) -> Outlined:
    return Outlined(kind, f"{kind}{value}", lesion, value, value / (2 - value), np.array(at), score, empty)


def test_figures_are_those_of_pictures_with_a_lesion_and_false_masks_those_of_the_others() -> None:
    found = segmentation_figures(
        [
            outcome("benign", 0.9, []), outcome("benign", 0.5, []), outcome("malignant", 0.0, [], empty=True),
            outcome("normal", 1.0, [], lesion=False, empty=True), outcome("normal", 0.0, [], lesion=False),
            outcome("normal", 0.0, [], lesion=False),
        ]
    )  # fmt: skip
    assert found.overlap.pictures == 3
    assert found.overlap.dice.value == pytest.approx(1.4 / 3)
    assert found.overlap.median_dice == 0.5
    assert found.classes["benign"].dice.value == pytest.approx(0.7)
    assert set(found.classes) == {"benign", "malignant"}
    assert (found.missed, found.normals) == (1, 3)
    assert found.false_masks is not None
    assert found.false_masks.value == pytest.approx(2 / 3)
    with pytest.raises(ConfigurationError, match="No picture of this split has a lesion"):
        segmentation_figures([outcome("normal", 1.0, [], lesion=False)])


def chosen(*outlined: Outlined) -> MaskThreshold:
    return chosen_threshold(OutlineMeasurements(Measurements("made up", "val", ()), outlined), outline_card())


def test_the_threshold_is_the_one_of_the_best_mean_dice_over_lesions() -> None:
    falling = np.linspace(0.9, 0.1, 17).tolist()
    peaked = [0.9 if i == 12 else 0.0 for i in range(17)]
    normal = outcome("normal", 1.0, [99.0 if i == 3 else 0.0 for i in range(17)], lesion=False)
    found = chosen(outcome("a", 0.5, falling), outcome("b", 0.5, peaked), normal)
    assert (found.value, found.split, found.weights_sha256) == (0.7, "val", "0" * 64)


@pytest.mark.parametrize(("low", "expected"), [(1, 0.6), (2, 0.25)])
def test_the_least_score_is_one_that_nearly_all_lesions_reach(low: int, expected: float) -> None:
    steady = [0.8] * 17
    lesions = [outcome("benign", 0.8, steady, score=0.29 if i < low else 0.62) for i in range(20)]
    normals = [outcome("normal", 0.0, steady, lesion=False, score=0.1) for _ in range(20)]
    assert chosen(*lesions, *normals).least_score == expected


def test_a_training_publishes_a_model_that_outlines_what_it_has_learnt(
    tmp_path: Path, model_folder: Path, no_shipped_models: None
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    folder_of(data, 48)
    arguments = [str(configured(tmp_path)), "--data", str(data), "--out", str(model_folder)]
    done = CliRunner().invoke(app, ["train", *arguments])
    assert done.exit_code == 0, done.output
    assert "Dice" in done.output
    folder = model_folder / "outlines"
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == list(range(6))
    assert log[-1]["validation_dice"] > 0.6
    card = read_card(folder / "card.json")
    found = card.evaluations[0].segmentation
    assert card.mask_threshold is not None
    assert card.mask_threshold.split == "val"
    assert found is not None
    assert found.overlap.dice.value > 0.6
    assert found.overlap.pictures == 9
    assert found.normals == 3
    assert len(card.reference_logits) == 5
    readme = (folder / "README.md").read_text()
    assert f"{found.overlap.dice.value:.2f} (" in readme
    assert f"from a probability of {card.mask_threshold.value:g} on" in readme
    assert load_model("outlines").card == card
    again = CliRunner().invoke(app, ["evaluate", "--model", "outlines", "--data", str(data), "--json"])
    assert json.loads(again.stdout)["segmentation"]["overlap"] == found.overlap.model_dump(mode="json")
    measured = CliRunner().invoke(app, ["train", *arguments, "--measure-only"])
    assert measured.exit_code == 0
    assert read_card(folder / "card.json").evaluations == card.evaluations


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"labels": '[{ code = "lesion", words = "L" }, { code = "cyst", words = "C" }]'}, "one label"),
        ({"head": '"softmax"'}, "head sigmoid"),
        ({"evaluation_films": "8"}, "masks only"),
    ],
)
def test_what_outlines_cannot_be_trained_with_is_refused(tmp_path: Path, replaced: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_configuration(read_configuration(configured(tmp_path, **replaced)))


def test_data_without_any_outline_is_refused(tmp_path: Path, model_folder: Path) -> None:
    data = folder_of(tmp_path)
    text = (data / "index.csv").read_text()
    (data / "index.csv").write_text(text.replace("_mask.png", "_mask.png").replace(",mask,", ",other,"))
    done = CliRunner().invoke(app, ["train", str(configured(tmp_path)), "--data", str(data), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "No training picture has an outline" in " ".join(done.output.split())


def test_an_encoder_starts_from_a_model_of_the_catalogue(model_folder: Path) -> None:
    known: Any = seeded("compact-resnet", labels=3, seed=5)
    publish(model_folder, known, id="teacher", labels=[{"code": c, "words": c} for c in "abc"], headline="a")
    network = outline_network()
    before = network.up[0].conv1.weight.clone()
    taken = take_over(network, "teacher")
    assert taken == len([name for name in known.state_dict() if name.split(".")[0] in {"stem", "blocks"}])
    assert torch.equal(network.blocks[5].conv2.weight, known.blocks[5].conv2.weight)
    assert torch.equal(network.stem[1].running_mean, known.stem[1].running_mean)
    assert torch.equal(network.up[0].conv1.weight, before)
    small = InputSpec(channels=1, size=28, mean=0, std=1)
    stranger = seeded("article-cnn-28", labels=2, size=28)
    publish(model_folder, stranger, id="stranger", architecture="article-cnn-28", target_layer="4", input=small)
    with pytest.raises(ConfigurationError, match="no layer in common with stranger"):
        take_over(network, "stranger")
