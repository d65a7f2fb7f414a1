"""Training for one class of several: losses by numpy, draws by counting, boxes and outlines made by hand, a whole training."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from core.analysis import analyse
from core.errors import ConfigurationError, NoFittingModel
from core.metrics import Box
from core.models.card import Evaluation, InputSpec, ModelCard, Scope
from core.models.card_text import evaluation_text
from core.models.catalogue import read_card
from core.models.loading import Model, load_model, prepare
from core.models.scope import choose_model, mismatch
from core.reading.decoding import decode_scan
from core.scan import Scan
from core.training.augmentation import Augmentation
from core.training.batches import Batch, Batches
from core.training.configuration import AugmentSection, FitSection, TrainingConfiguration, read_configuration
from core.training.data import Examples, boxes_of, check_labels, load_split, truths_of
from core.training.evaluation import figures
from core.training.fitting import fit
from core.training.loop import Run
from core.training.losses import class_loss, classification_loss, label_weights, loss_of
from core.training.measuring import measure, measure_simulated
from core.training.medmnist import unpack
from core.training.publishing import Callbacks, measure_again, train
from tests.files import png_bytes
from tests.networks import card, seeded

Numbers = npt.NDArray[Any]
NAN = float("nan")
QUIET = Callbacks(lambda _: None, lambda _: None)

CONFIGURATION = """
[model]
id = "tiny-classes"
version = "0.0.1"
title = "Dark or bright"
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
modalities = ["US"]
body_parts = ["BREAST"]
by_hand_only = true
[data]
name = "greys"
label_column = "subtype"
evaluation_films = 0
[augment]
rotation = 0
[fit]
epochs = 4
batch_size = 8
learning_rate = 0.001
average_decay = 0.8
"""

# Every range closed: nothing varies.
STILL: dict[str, Any] = {
    "rotation": 0,
    "shift": 0,
    "scales": (1, 1),
    "gammas": (1, 1),
    "contrasts": (1, 1),
    "brightnesses": (0, 0),
    "noises": (0, 0),
    "soften": 0,
    "bar_share": 0,
}


def fitting(**changes: Any) -> FitSection:
    return FitSection.model_validate({"epochs": 1, "batch_size": 8, "learning_rate": 0.001, **changes})


def configured(
    codes: Sequence[str], *, head: str = "softmax", size: int = 28, augment: dict[str, Any] | None = None, **fits: Any
) -> TrainingConfiguration:
    model = {
        "id": "tiny", "version": "1", "title": "Tiny", "architecture": "article-cnn-28", "head": head,
        "labels": [{"code": code, "words": code} for code in codes], "headline": codes[0],
        "input": {"channels": 1, "size": size, "mean": 0.5, "std": 0.25},
        "scope": {"modalities": ["US"], "body_parts": ["BREAST"]}, "target_layer": "4",
        "intended_use": "Tests.", "limits": [], "licence": "MIT",
    }  # fmt: skip
    return TrainingConfiguration.model_validate(
        {"model": model, "data": {"name": "tiny"}, "augment": augment or STILL, "fit": fitting(**fits)}
    )


def examples_of(
    truths: Numbers, pictures: torch.Tensor | None = None, boxes: Sequence[dict[str, list[Box]]] | None = None
) -> Examples:
    """Examples whose pictures are plain greys, one grey an example, unless pictures are given."""
    count = len(truths)
    greys = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 28, 28)
    return Examples(
        greys.clone() if pictures is None else pictures,
        truths.astype(np.float32),
        tuple(boxes or [{}] * count),
        tuple(map(str, range(count))),
    )


def one_hot(classes: Sequence[int], count: int) -> Numbers:
    return np.eye(count, dtype=np.float32)[list(classes)]


def visited(batches: Sequence[Batch]) -> list[int]:
    """Which of ``examples_of`` were drawn, read from their greys."""
    return [round(float((picture.mean() * 0.25 + 0.5) * 255)) for batch in batches for picture in batch.inputs]


def log_shares(logits: Numbers) -> Numbers:
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.log(shares)


def folder_of(folder: Path, rows: Sequence[dict[str, str]], pictures: dict[str, Numbers]) -> Path:
    """A data folder: index.csv with the columns of the rows, and the pictures as PNG."""
    folder.mkdir(parents=True)
    for name, picture in pictures.items():
        (folder / name).write_bytes(png_bytes(picture))
    columns = list(rows[0])
    cells = [[row[column].replace('"', '""') for column in columns] for row in rows]
    lines = [",".join(columns), *(",".join(f'"{cell}"' for cell in line) for line in cells)]
    (folder / "index.csv").write_text("\n".join(lines))
    return folder


# Losses


LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.0, 4.0], [1.0, 1.0, -1.0]])
CLASSES = [0, 2, 1, 1]


def softmax_loss(truths: Numbers, weights: Sequence[float] = (1, 1, 1), **changes: Any) -> float:
    stated = fitting(**{"imbalance": "none", **changes})
    logits = torch.tensor(LOGITS[: len(truths)], dtype=torch.float32)
    return class_loss(logits, torch.tensor(truths), torch.tensor(weights, dtype=torch.float32), stated).item()


def test_the_loss_of_a_class_is_minus_the_log_of_its_share() -> None:
    own = log_shares(LOGITS)[range(4), CLASSES]
    assert softmax_loss(one_hot(CLASSES, 3)) == pytest.approx(-own.mean(), rel=1e-5)


def test_a_class_that_weighs_more_counts_more_and_the_weights_cancel_where_all_are_of_one_class() -> None:
    weights = np.array([0.5, 2.0, 3.0])
    own, counts = log_shares(LOGITS)[range(4), CLASSES], weights[CLASSES]
    weighted = softmax_loss(one_hot(CLASSES, 3), weights.tolist(), imbalance="weighted")
    assert weighted == pytest.approx(-(own * counts).sum() / counts.sum(), rel=1e-5)
    alone = one_hot([1, 1, 1, 1], 3)
    assert softmax_loss(alone, weights.tolist()) == pytest.approx(softmax_loss(alone), rel=1e-5)


def test_label_smoothing_gives_every_class_its_even_share_of_the_truth() -> None:
    smoothed = one_hot(CLASSES, 3) * 0.7 + 0.3 / 3
    expected = -(smoothed * log_shares(LOGITS)).sum(1).mean()
    assert softmax_loss(one_hot(CLASSES, 3), label_smoothing=0.3) == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_counts_an_example_by_the_square_of_what_it_misses() -> None:
    own = log_shares(LOGITS)[range(4), CLASSES]
    expected = ((1 - np.exp(own)) ** 2 * -own).mean()
    assert softmax_loss(one_hot(CLASSES, 3), imbalance="focal") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("imbalance", ["none", "weighted", "focal"])
def test_an_example_without_a_class_neither_changes_the_loss_nor_learns(imbalance: str) -> None:
    truths = one_hot(CLASSES, 3)
    truths[1], truths[3, 2] = NAN, NAN
    logits = torch.tensor(LOGITS, dtype=torch.float32, requires_grad=True)
    weights, stated = torch.tensor([0.5, 2.0, 3.0]), fitting(imbalance=imbalance)
    loss = class_loss(logits, torch.tensor(truths), weights, stated)
    kept = class_loss(logits[[0, 2]], torch.tensor(truths[[0, 2]]), weights, stated)
    assert loss.item() == pytest.approx(kept.item())
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_a_batch_without_any_class_costs_nothing_and_can_still_be_learned_from() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    loss = class_loss(logits, torch.full((3, 2), NAN), torch.ones(2), fitting())
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_focal_loss_of_labels_on_their_own_is_that_of_the_paper() -> None:
    truths = np.array([[1, 0, NAN], [0, NAN, 1], [1, 1, 0], [0, 0, 0]], np.float32)
    p = 1 / (1 + np.exp(-LOGITS))
    of_truth = np.where(truths == 1, p, 1 - p)
    terms = -((1 - of_truth) ** 2) * np.log(of_truth)
    loss = classification_loss(
        torch.tensor(LOGITS, dtype=torch.float32), torch.tensor(truths), torch.ones(3), focal=True
    )
    assert loss.item() == pytest.approx(terms[~np.isnan(truths)].mean(), rel=1e-5)


def test_the_head_decides_whether_labels_exclude_each_other() -> None:
    logits, truths = torch.tensor(LOGITS, dtype=torch.float32), torch.tensor(one_hot(CLASSES, 3))
    stated = fitting(imbalance="none")
    one_of_several = loss_of(logits, truths, torch.ones(3), stated, "softmax").item()
    each = loss_of(logits, truths, torch.ones(3), stated, "sigmoid").item()
    assert one_of_several == pytest.approx(functional.cross_entropy(logits, torch.tensor(CLASSES)).item())
    assert each == pytest.approx(functional.binary_cross_entropy_with_logits(logits, truths).item())


# Weights and draws


def test_a_class_weighs_the_root_of_what_scikit_learn_calls_balanced() -> None:
    classes = [0] * 2 + [1] * 5 + [2] * 13
    truths = np.concatenate([one_hot(classes, 3), np.full((4, 3), NAN, np.float32)])
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=np.array(classes))
    found = label_weights(truths, configured(("a", "b", "c"), imbalance="weighted"))
    assert found.tolist() == pytest.approx(np.sqrt(balanced), rel=1e-5)


def test_a_label_on_its_own_weighs_the_root_of_its_odds_between_one_and_ten() -> None:
    truths = np.full((500, 4), NAN, np.float32)
    truths[:90, 0] = [1] * 10 + [0] * 80
    truths[:10, 1] = [1] * 8 + [0] * 2
    truths[:, 2] = [1] * 1 + [0] * 499
    truths[:10, 3] = 0
    found = label_weights(truths, configured(("a", "b", "c", "d"), head="sigmoid", imbalance="weighted"))
    assert found.tolist() == pytest.approx([np.sqrt(8), 1, 10, np.sqrt(10)], rel=1e-5)


@pytest.mark.parametrize("imbalance", ["balanced", "focal", "none"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_nothing_weighs_more_unless_weights_are_asked_for(imbalance: str, head: str) -> None:
    found = label_weights(one_hot([0, 0, 0, 1], 2), configured(("a", "b"), head=head, imbalance=imbalance))
    assert found.tolist() == [1, 1]


def test_balanced_draws_show_every_class_about_equally_often() -> None:
    classes = [0] * 170 + [1] * 20 + [2] * 10
    batches = Batches(configured(("a", "b", "c"), imbalance="balanced"), examples_of(one_hot(classes, 3)), 16)
    seen = [classes[index] for epoch in range(6) for index in visited(list(batches.of_epoch(epoch)))]
    counts = Counter(seen)
    assert len(seen) == 6 * 200
    # 400 of each are expected; five standard deviations of a fair draw are 82.
    assert all(abs(counts[index] - 400) < 82 for index in range(3))


def test_balanced_draws_leave_out_what_has_no_class() -> None:
    truths = np.concatenate([one_hot([0] * 4 + [1] * 20, 2), np.full((40, 2), NAN, np.float32)])
    batches = Batches(configured(("a", "b"), imbalance="balanced"), examples_of(truths), 16)
    drawn = [index for epoch in range(4) for index in visited(list(batches.of_epoch(epoch)))]
    assert max(drawn) < 24
    assert 0.3 < np.mean([index < 4 for index in drawn]) < 0.7


@pytest.mark.parametrize("imbalance", ["balanced", "weighted", "none"])
def test_an_epoch_draws_the_same_whenever_it_is_asked_for_and_the_next_one_others(imbalance: str) -> None:
    examples = examples_of(one_hot([0] * 30 + [1] * 10, 2))
    augment = {"bar_share": 0}

    def of(seed: int, epoch: int) -> torch.Tensor:
        asked = Batches(configured(("a", "b"), imbalance=imbalance, augment=augment, seed=seed), examples, 16)
        return torch.cat([batch.inputs for batch in asked.of_epoch(epoch)])

    assert torch.equal(of(1, 0), of(1, 0))
    assert not torch.equal(of(1, 0), of(1, 1))
    assert not torch.equal(of(1, 0), of(2, 0))


@pytest.mark.parametrize("imbalance", ["weighted", "none", "focal"])
def test_without_balanced_draws_every_example_is_seen_once_an_epoch(imbalance: str) -> None:
    truths = one_hot([0] * 30 + [1] * 10, 2)
    batches = list(Batches(configured(("a", "b"), imbalance=imbalance), examples_of(truths), 16).of_epoch(3))
    seen = visited(batches)
    assert sorted(seen) == list(range(40))
    assert seen != sorted(seen)
    assert np.array_equal(torch.cat([batch.truths for batch in batches]).numpy(), truths[seen])


def test_balanced_draws_are_refused_where_labels_do_not_exclude_each_other(tmp_path: Path) -> None:
    examples = examples_of(one_hot([0, 1, 0, 1], 2))
    stated = configured(("a", "b"), head="sigmoid", imbalance="balanced")
    with pytest.raises(ConfigurationError, match="softmax"):
        fit(stated, examples, examples, run=Run(tmp_path, ""), on_epoch=lambda _: None)


# Classes, boxes and outlines of index.csv


def test_a_row_without_a_subtype_is_known_in_nothing_and_any_other_in_everything() -> None:
    labels, classes = ("benign", "malignant"), {"Benign", "Malignant", ""}
    assert truths_of({"file": "a", "subtype": "Malignant"}, labels, classes, "subtype") == [0, 1]
    assert truths_of({"file": "b", "subtype": "Benign"}, labels, classes, "subtype") == [1, 0]
    assert np.isnan(truths_of({"file": "c", "subtype": ""}, labels, classes, "subtype")).all()


def test_the_label_column_is_the_one_the_configuration_names(tmp_path: Path) -> None:
    rows = [
        {"file": "0.png", "label": "abnormal", "subtype": "malignant", "split": "train"},
        {"file": "1.png", "label": "abnormal", "subtype": "", "split": "train"},
        {"file": "2.png", "label": "normal", "subtype": "benign", "split": "train"},
    ]
    folder = folder_of(tmp_path / "d", rows, {row["file"]: np.full((28, 28), 9, np.uint8) for row in rows})
    spec = InputSpec(channels=1, size=28, mean=0.5, std=0.25)
    by_subtype = load_split(folder, "train", ("benign", "malignant"), spec, column="subtype").truths
    assert np.array_equal(by_subtype, np.array([[0, 1], [NAN, NAN], [1, 0]]), equal_nan=True)
    assert load_split(folder, "train", ("abnormal", "normal"), spec).truths.tolist() == [[1, 0], [1, 0], [0, 1]]
    with pytest.raises(ConfigurationError, match="kind"):
        load_split(folder, "train", ("a", "b"), spec, column="kind")


@pytest.mark.parametrize(
    ("fit_word", "expected", "cover"),
    [
        # 40 x 20 pixels, 64 to a side: 1.6 times with bars of 16 above and below, or 3.2 times and 32 cut left and right.
        ("whole", (16, 24, 32, 16), [[0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]),
        ("crop", (0, 16, 64, 32), [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ],
)
def test_a_box_of_the_row_lies_on_its_place_in_the_model_square(
    tmp_path: Path, fit_word: str, expected: Box, cover: list[list[float]]
) -> None:
    picture = np.full((20, 40), 10, np.uint8)
    picture[5:15, 10:30] = 250
    row = {"file": "0.png", "label": "Cyst", "split": "train", "bbox_xywh": "[10, 5, 20, 10]"}
    folder = folder_of(tmp_path / "d", [row], {"0.png": picture})
    spec = InputSpec.model_validate({"channels": 1, "size": 64, "fit": fit_word, "mean": 0.5, "std": 0.25})
    examples = load_split(folder, "train", ("normal", "cyst"), spec)
    assert examples.boxes[0]["cyst"] == [pytest.approx(expected)]
    # What is bright in the square lies in the box, give or take the resampling.
    x, y, w, h = (int(v) for v in expected)
    square = examples.pictures[0, 0].float()
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[y : y + h, x : x + w] = True
    assert square[inside].mean() > 230
    assert square[~inside].mean() < 20
    for head, rows in (("softmax", [1]), ("sigmoid", [0, 1])):
        configuration = configured(("normal", "cyst"), head=head, size=64)
        batch = next(iter(Batches(configuration, twice(examples), 16).of_epoch(0)))
        for label in (0, 1):
            wanted = cover if label in rows else np.zeros((4, 4))
            assert np.allclose(batch.cells[0, label], wanted, atol=1e-5), (head, label)


def twice(examples: Examples) -> Examples:
    """A batch has two examples at least."""
    return Examples(
        examples.pictures.repeat(2, 1, 1, 1), np.tile(examples.truths, (2, 1)), examples.boxes * 2, examples.groups * 2
    )


def test_a_box_of_a_class_that_the_model_does_not_know_is_no_box() -> None:
    row = {"file": "a", "label": "cyst", "subtype": "", "bbox_xywh": "[1, 2, 3, 4]"}
    assert boxes_of(row, ("benign", "cyst")) == {"cyst": [(1, 2, 3, 4)]}
    assert boxes_of(row, ("benign", "malignant")) == {}
    assert boxes_of(row, ("benign", "malignant"), "subtype") == {}


@pytest.fixture(scope="module")
def untrained() -> Model:
    """Three classes, every one the answer to some noise: the last layer's bias takes away what all pictures share."""
    network = seeded("article-cnn-28", labels=3, size=28)
    logits = network(torch.from_numpy(np.stack([noise(i) for i in range(24)])[:, None] / 255 * 4 - 2).float())
    network[-1].weight.data /= logits.std()
    network[-1].bias.data -= logits.mean(0) + network[-1].bias.data
    network[-1].bias.data /= logits.std()
    labels = [{"code": code, "words": code} for code in ("a", "b", "c")]
    stated = card(
        architecture="article-cnn-28", head="softmax", labels=labels, headline="a", target_layer="4",
        input={"channels": 1, "size": 28, "mean": 0.5, "std": 0.25},
    )  # fmt: skip
    return prepare(stated, network)


def noise(seed: int) -> Numbers:
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 4), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((28, 28), Image.Resampling.BILINEAR))


def test_pointing_and_energy_follow_an_outline_drawn_by_hand(untrained: Model, tmp_path: Path) -> None:
    picture, code = noise(5), "b"
    evidence = analyse(untrained, decode_scan(png_bytes(picture))).on_scan_grid(code)
    positive = np.where(evidence > 0, evidence, 0)
    peak = np.zeros((28, 28), np.uint8)
    peak[np.unravel_index(int(evidence.argmax()), evidence.shape)] = 255
    half = np.zeros((28, 28), np.uint8)
    half[:, :14] = 1
    outlines = {"peak": peak, "elsewhere": 255 - peak, "left": half, "right": 1 - half}
    for name, outline in outlines.items():
        row = {"file": "0.png", "label": code, "split": "val", "mask": "mask.png"}
        folder = folder_of(tmp_path / name, [row], {"0.png": picture, "mask.png": outline})
        found = figures(measure(untrained, folder, "val"), untrained.card).labels
        assert found[code].boxes == 1
        assert found[code].pointing_game == (peak.astype(bool) & outline.astype(bool)).any()
        assert found[code].energy_in_box == pytest.approx(positive[outline > 0].sum() / positive.sum(), rel=1e-4)
        assert [found[other].boxes for other in ("a", "c")] == [0, 0]
        assert found["a"].pointing_game is None


def test_an_outline_without_a_class_that_the_model_knows_is_measured_for_none(untrained: Model, tmp_path: Path) -> None:
    rows = [{"file": "0.png", "label": label, "split": "val", "mask": "0.png"} for label in ("b", "", "something else")]
    folder = folder_of(tmp_path / "d", rows, {"0.png": noise(5)})
    found = figures(measure(untrained, folder, "val"), untrained.card)
    assert found.images == 3
    assert [found.labels[code].boxes for code in ("a", "b", "c")] == [0, 1, 0]


# Figures of classes


def test_the_figures_of_classes_equal_counting_by_hand(untrained: Model, tmp_path: Path) -> None:
    codes = untrained.card.label_codes
    rows = [
        {"file": f"{i}.png", "label": "" if i in {3, 17} else codes[i * i % 3 if i % 2 else i % 3], "split": "test"}
        for i in range(36)
    ]
    folder = folder_of(tmp_path / "d", rows, {f"{i}.png": noise(i) for i in range(36)})
    scores, truths = [], []
    for row in rows:
        if row["label"]:
            prediction = analyse(untrained, decode_scan((folder / row["file"]).read_bytes())).prediction
            scores.append([prediction.scores[code] for code in codes])
            truths.append(codes.index(row["label"]))
    answers = [max(range(3), key=score.__getitem__) for score in scores]
    assert set(answers) == {0, 1, 2}
    evaluation = figures(measure(untrained, folder, "test"), untrained.card)
    found = evaluation.classes
    assert found is not None
    assert (evaluation.images, sum(map(sum, found.confusion))) == (36, 34)
    assert found.accuracy.value == pytest.approx(np.mean([a == t for a, t in zip(answers, truths, strict=True)]))
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    assert np.array_equal(found.confusion, confusion_matrix(truths, answers))
    assert found.macro_auroc == pytest.approx(roc_auc_score(truths, scores, multi_class="ovr"))
    assert found.calibration_error == pytest.approx(calibration_gap(truths, answers, scores))


def calibration_gap(truths: list[int], answers: list[int], scores: list[list[float]]) -> float:
    """Guo et al. 2017, equation 3: 15 bins, each gap by its share of the examples."""
    bins: dict[int, list[tuple[bool, float]]] = {}
    for truth, answer, score in zip(truths, answers, scores, strict=True):
        bins.setdefault(int(max(score) * 15), []).append((truth == answer, max(score)))
    return sum(
        abs(sum(hit for hit, _ in members) - sum(confidence for _, confidence in members)) / len(truths)
        for members in bins.values()
    )


def test_without_a_known_class_there_are_no_figures_of_classes(untrained: Model, tmp_path: Path) -> None:
    rows = [{"file": "0.png", "label": label, "split": split} for label, split in (("", "val"), ("a", "train"))]
    folder = folder_of(tmp_path / "d", rows, {"0.png": noise(0)})
    evaluation = figures(measure(untrained, folder, "val"), untrained.card)
    assert evaluation.classes is None
    assert "Accuracy" not in evaluation_text(evaluation)


def test_a_macro_auroc_needs_cases_enough_of_every_class(untrained: Model, tmp_path: Path) -> None:
    rows = [{"file": f"{i}.png", "label": "c" if i < 4 else "ab"[i % 2], "split": "val"} for i in range(20)]
    folder = folder_of(tmp_path / "d", rows, {f"{i}.png": noise(i) for i in range(20)})
    evaluation = figures(measure(untrained, folder, "val"), untrained.card)
    assert evaluation.classes is not None
    assert evaluation.classes.macro_auroc is None
    assert "macro AUROC too few cases" in evaluation_text(evaluation)


def test_labels_on_their_own_have_no_figures_of_classes() -> None:
    stated = card(
        architecture="article-cnn-28", target_layer="4", input={"channels": 1, "size": 28, "mean": 0, "std": 1}
    )
    model = prepare(stated, seeded("article-cnn-28", size=28))
    assert figures(measure_simulated(model, 2, 5), stated).classes is None


# A whole training


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """60 pictures of noise, those of the class "bright" brighter; ``label`` says nothing, ``subtype`` the class."""
    random, rows, pictures = np.random.default_rng(0), [], {}
    for index in range(60):
        bright, name = index % 3 == 0, f"{index}.png"
        pictures[name] = random.integers(130 if bright else 20, 220 if bright else 110, (28, 28)).astype(np.uint8)
        split = "train" if index < 36 else "val" if index < 54 else "test"
        rows.append({"file": name, "label": "x", "subtype": "bright" if bright else "dark", "split": split})
    return folder_of(tmp_path / "greys", rows, pictures)


@pytest.fixture
def configuration(tmp_path: Path) -> TrainingConfiguration:
    path = tmp_path / "training.toml"
    path.write_text(CONFIGURATION)
    return read_configuration(path)


def test_a_whole_training_for_classes_publishes_their_figures(
    configuration: TrainingConfiguration, greys: Path, model_folder: Path
) -> None:
    published = train(configuration, greys, model_folder, QUIET)
    assert len(published.evaluations) == 1
    evaluation = published.evaluations[0]
    assert (evaluation.split, evaluation.images) == ("val", 18)
    found = evaluation.classes
    assert found is not None
    assert found.accuracy.value > 0.9
    # The truth by the order of the labels: 12 dark, 6 bright.
    assert [sum(row) for row in found.confusion] == [12, 6]
    assert sum(found.confusion[i][i] for i in (0, 1)) == round(found.accuracy.value * 18)
    model = load_model("tiny-classes")
    assert model.card == published
    assert model.card.scope.by_hand_only
    scores = analyse(model, decode_scan(png_bytes(np.full((28, 28), 180, np.uint8)))).prediction.scores
    assert scores["bright"] > 0.5
    assert sum(scores.values()) == pytest.approx(1)
    readme = (model_folder / "tiny-classes" / "README.md").read_text()
    lines = [f"| {code} | {row[0]} | {row[1]} |" for code, row in zip(("dark", "bright"), found.confusion, strict=True)]
    assert "\n".join(["| truth | dark | bright |", "|---|---|---|", *lines]) in readme
    assert f"Accuracy {found.accuracy.value:.2f}" in readme
    log = [json.loads(line) for line in (model_folder / "tiny-classes" / "training.jsonl").read_text().splitlines()]
    assert log[-1]["validation_loss"] < log[0]["validation_loss"]
    further = configuration.data.model_copy(update={"further_splits": ("test",)})
    again = measure_again(configuration.model_copy(update={"data": further}), greys, model_folder)
    assert again.evaluations[0] == evaluation
    assert [(e.split, e.images) for e in again.evaluations] == [("val", 18), ("test", 6)]


def test_boxes_are_taught_only_to_the_network_that_can_learn_from_them(tmp_path: Path) -> None:
    examples = examples_of(one_hot([0, 1, 0, 1], 2))
    with pytest.raises(ConfigurationError, match="compact-resnet"):
        fit(
            configured(("a", "b"), box_weight=0.1),
            examples,
            examples,
            run=Run(tmp_path, ""),
            on_epoch=lambda _: None,
        )


@pytest.mark.parametrize("key", ["simulated_films", "evaluation_films"])
def test_films_that_show_no_label_of_the_model_are_refused_before_training(
    configuration: TrainingConfiguration, greys: Path, tmp_path: Path, key: str
) -> None:
    films = configuration.data.model_copy(update={key: 2})
    with pytest.raises(ConfigurationError, match=f"none of the model's labels.*{key}"):
        train(configuration.model_copy(update={"data": films}), greys, tmp_path / "out", QUIET)
    assert not list((tmp_path / "out").rglob("weights*"))


def test_a_patient_of_the_training_is_refused_in_a_further_split(
    configuration: TrainingConfiguration, greys: Path, tmp_path: Path
) -> None:
    head, *rows = (greys / "index.csv").read_text().splitlines()
    patients = [*range(len(rows) - 1), 0]
    lines = [f"{head},patient_id", *(f"{row},{patient}" for row, patient in zip(rows, patients, strict=True))]
    (greys / "index.csv").write_text("\n".join(lines))
    further = configuration.data.model_copy(update={"further_splits": ("test",)})
    with pytest.raises(ConfigurationError, match="leaks: group 0 is in train and in test"):
        train(configuration.model_copy(update={"data": further}), greys, tmp_path / "out", QUIET)


# Augmentation


def marked_corners() -> tuple[torch.Tensor, list[dict[str, list[Box]]]]:
    pictures = torch.zeros(32, 1, 32, 32)
    pictures[:, :, 2:8, 3:13] = 1
    return pictures, [{"cyst": [(3.0, 2.0, 10.0, 6.0)]}] * 32


def test_a_mirror_flips_a_marked_corner_and_its_box_together() -> None:
    pictures, boxes = marked_corners()
    changed, moved = Augmentation(1, AugmentSection.model_validate({**STILL, "mirror": True}))(pictures, boxes)
    flipped = [not torch.allclose(picture, pictures[0], atol=1e-4) for picture in changed]
    # Half of 32, five standard deviations either way.
    assert 2 <= sum(flipped) <= 30
    for picture, found, is_flipped in zip(changed, moved, flipped, strict=True):
        assert torch.allclose(picture, pictures[0].flip(-1) if is_flipped else pictures[0], atol=1e-4)
        left = 32 - 3 - 10 if is_flipped else 3
        assert found["cyst"][0] == pytest.approx((left, 2, 10, 6), abs=1e-3)


def test_nothing_is_mirrored_unless_it_is_asked_for() -> None:
    pictures, boxes = marked_corners()
    changed, moved = Augmentation(1, AugmentSection.model_validate(STILL))(pictures, boxes)
    assert torch.allclose(changed, pictures, atol=1e-4)
    assert [found["cyst"][0] for found in moved] == [pytest.approx(boxes[0]["cyst"][0], abs=1e-3)] * 32
    # With all else at its default the mark stays in the left half.
    varied, _ = Augmentation(1, AugmentSection())(pictures, boxes)
    assert (varied[..., :16].sum((1, 2, 3)) > varied[..., 16:].sum((1, 2, 3))).all()


def test_values_stay_between_black_and_white_at_any_setting() -> None:
    wild = AugmentSection(
        rotation=180, shift=0.5, scales=(0.5, 2), gammas=(0.3, 3), contrasts=(0, 4), brightnesses=(-1, 1), noises=(0, 1),
        soften=1, bar_share=1, bars=0.5, mirror=True,
    )  # fmt: skip
    changed, moved = Augmentation(2, wild)(*marked_corners())
    assert changed.shape == (32, 1, 32, 32)
    assert bool(torch.isfinite(changed).all())
    assert (float(changed.min()), float(changed.max())) == (0, 1)
    edges = np.array([(x, y, x + w, y + h) for found in moved for x, y, w, h in found["cyst"]])
    assert edges.min() >= 0
    assert edges.max() <= 32
    assert (edges[:, 2:] >= edges[:, :2]).all()


# Configuration


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("rotation = 0|mirrored = true", r"augment\.mirrored"),
        ("rotation = 0|rotation = 181", r"augment\.rotation"),
        ("rotation = 0|scales = [1.0]", r"augment\.scales"),
        ("epochs = 4|epochs = 4\nimbalance = 'smote'", r"fit\.imbalance"),
        ("epochs = 4|epochs = 4\nlabel_smoothing = 0.5", r"fit\.label_smoothing"),
        ("size = 28|size = 28\nfit = 'stretch'", r"model\.input\.fit"),
        ("evaluation_films = 0|label_colum = 'subtype'", r"data\.label_colum"),
    ],
)
def test_a_wrong_key_is_refused_by_its_name(tmp_path: Path, change: str, where: str) -> None:
    before, after = change.split("|")
    path = tmp_path / "wrong.toml"
    path.write_text(CONFIGURATION.replace(before, after))
    with pytest.raises(ConfigurationError, match=where):
        read_configuration(path)


# MedMNIST


def medmnist(**changes: Numbers) -> dict[str, Numbers]:
    random, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = random.integers(0, 255, (count, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    return {**arrays, **changes}


def stored(path: Path, arrays: dict[str, Numbers]) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("colour", [False, True])
def test_a_medmnist_file_becomes_the_same_pictures_with_their_classes_and_splits(
    tmp_path: Path, *, colour: bool
) -> None:
    arrays = medmnist()
    if colour:
        arrays |= {key: np.stack([value, 255 - value, value // 2], -1) for key, value in arrays.items() if "im" in key}
    out = tmp_path / "out"
    assert unpack(stored(tmp_path / "a.npz", arrays), out, ("benign", "malignant")) == 9
    lines = (out / "index.csv").read_text().splitlines()
    assert lines[0] == "file,label,split"
    positions: Counter[str] = Counter()
    for line in lines[1:]:
        name, label, split = line.split(",")
        number, positions[split] = positions[split], positions[split] + 1
        with Image.open(out / name) as picture:
            assert np.array_equal(np.asarray(picture), arrays[f"{split}_images"][number])
        assert label == ("benign", "malignant")[int(arrays[f"{split}_labels"][number, 0])]
    assert positions == {"train": 4, "val": 2, "test": 3}
    spec = InputSpec(channels=3 if colour else 1, size=28, mean=0.5, std=0.25)
    examples = load_split(out, "train", ("benign", "malignant"), spec)
    assert examples.truths.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    channels = arrays["train_images"].transpose(0, 3, 1, 2) if colour else arrays["train_images"][:, None]
    assert np.array_equal(examples.pictures.numpy(), channels)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_labels": np.array([[0], [1], [2]])}, "0 to 2, but 2 names"),
        ({"train_labels": np.array([[0], [-1], [0], [1]])}, "-1 to 1"),
        ({"train_labels": np.zeros((4, 14), np.uint8)}, "one class"),
        ({"val_labels": np.zeros((0, 1), np.uint8)}, "one class"),
        ({"train_images": np.zeros((4, 28, 28, 28), np.uint8)}, "pictures"),
        ({"train_images": np.zeros((4, 28, 28))}, "pictures"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Numbers], said: str
) -> None:
    archive = stored(tmp_path / "a.npz", medmnist(**changes))
    with pytest.raises(ConfigurationError, match=said):
        unpack(archive, tmp_path / "out", ("benign", "malignant"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"some text",
        lambda data: data[:200],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: data.replace(b"train_labels.npy", b"train_labelz.npy"),
    ],
    ids=["empty", "text", "cut", "one bit", "no labels"],
)
def test_a_damaged_file_is_no_medmnist_file(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = stored(tmp_path / "a.npz", medmnist())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ConfigurationError, match="no MedMNIST file"):
        unpack(path, tmp_path / "out", ("benign", "malignant"))


def test_a_single_array_is_no_medmnist_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ConfigurationError, match="no MedMNIST file"):
        unpack(tmp_path / "a.npy", tmp_path / "out", ("a",))


class Payload:
    """What a hostile pickle does when it is opened: it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickled_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    left = tmp_path / "left-behind"
    hostile = np.array([[Payload(left)]] * 4, dtype=object)
    archive = stored(tmp_path / "a.npz", medmnist(train_labels=hostile))
    with pytest.raises(ConfigurationError, match="no MedMNIST file"):
        unpack(archive, tmp_path / "out", ("benign", "malignant"))
    assert not left.exists()
    # The file is as hostile as it is meant to be.
    with np.load(archive, allow_pickle=True) as opened:
        assert len(opened["train_labels"]) == 4
    assert left.exists()


# Scope and cards


def chest() -> Scan:
    return Scan(
        stored=np.zeros((1, 8, 8), np.uint8),
        digest="d",
        source_format="DICOM",
        modality="DX",
        body_part="CHEST",
        view="PA",
    )


def test_a_model_for_teaching_is_never_chosen_by_itself_and_says_so() -> None:
    scope = Scope(modalities=("DX",), body_parts=("CHEST",), by_hand_only=True)
    teaching = card(id="lesson", title="A lesson", scope=scope)
    fitting_card = card()
    assert mismatch(fitting_card, chest()) is None
    for order in ((teaching, fitting_card), (fitting_card, teaching)):
        assert choose_model(order, chest()) is fitting_card
    reason = mismatch(teaching, chest())
    assert reason is not None
    assert "A lesson has no figures" in reason
    assert "by hand" in reason
    with pytest.raises(NoFittingModel, match=r"no figures.*lesson"):
        choose_model([teaching], chest())
    with pytest.raises(NoFittingModel, match="lesson"):
        choose_model([teaching, teaching.model_copy(update={"id": "lesson-2"})], chest())


def test_a_card_written_before_classes_were_measured_still_loads(tmp_path: Path) -> None:
    evaluation = Evaluation(data="d", split="val", images=3, labels={}, weights_sha256="0" * 64)
    known = json.loads(card(evaluations=(evaluation,)).model_dump_json())
    for record, key in (
        (known["input"], "fit"),
        (known["scope"], "by_hand_only"),
        (known["evaluations"][0], "classes"),
    ):
        assert key in record
        del record[key]
    (tmp_path / "card.json").write_text(json.dumps(known))
    read = read_card(tmp_path / "card.json")
    assert (read.input.fit, read.scope.by_hand_only, read.evaluations[0].classes) == ("whole", False, None)
    assert ModelCard.model_validate_json(read.model_dump_json()) == read


def test_a_label_that_the_data_does_not_know_is_refused_by_name() -> None:
    spec = InputSpec(channels=1, size=16, mean=0.0, std=1.0)
    truths = np.array([[1, np.nan], [0, np.nan]], np.float32)
    examples = Examples(torch.zeros(2, 1, spec.size, spec.size, dtype=torch.uint8), truths, ({}, {}), ("a", "b"))
    with pytest.raises(ConfigurationError, match="'cist'"):
        check_labels(examples, ["benign", "cist"])


def test_an_empty_class_is_refused() -> None:
    truths = np.array([[1, 0, 0], [0, 0, np.nan], [1, 0, 1]], np.float32)
    examples = examples_of(truths)
    check_labels(examples_of(truths[:, [0, 2]]), ["first", "third"])
    with pytest.raises(ConfigurationError, match=r"'second'.*empty class"):
        check_labels(examples, ["first", "second", "third"])
