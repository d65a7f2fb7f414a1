"""Figures from outcomes written down by hand, and from small folders made here: damaged outlines, wrong boxes, subgroups."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from core.errors import ConfigurationError
from core.metrics import wilson
from core.models.card import Evaluation, ModelCard, OperatingPoint
from core.models.card_text import card_to_markdown, evaluation_text
from core.models.catalogue import read_card
from core.models.loading import Model, prepare
from core.training.evaluation import cross_validated, figures, operating_points, pooled, written_into
from core.training.measuring import Measured, Measurements, Placed, measure
from core.training.subgroups import in_order, subgroups_of
from tests.files import png_bytes
from tests.networks import card, seeded

CODES = ("abnormal", "mass")


def outcome(ill: int, score: float, **changes: Any) -> Measured:
    """An example whose labels are both ill or both well, scored alike."""
    stated: dict[str, Any] = {
        "truths": dict.fromkeys(CODES, float(ill)),
        "scores": dict.fromkeys(CODES, score),
        "peaks": {},
        "places": {},
        "group": f"{ill} {score} {changes}",
    }
    return Measured(**{**stated, **changes})


def measured(examples: Sequence[Measured], **changes: Any) -> Measurements:
    return Measurements("set", "val", tuple(examples), **changes)


def decided(threshold: float) -> ModelCard:
    point = OperatingPoint(
        threshold=threshold, rule="r", sensitivity=wilson(1, 2), specificity=wilson(1, 2), positives=2, negatives=2,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    return card(thresholds={"mass": point})


TEN = [(1, 0.9), (1, 0.8), (1, 0.6), (1, 0.4), (1, 0.3), (0, 0.7), (0, 0.5), (0, 0.2), (0, 0.1), (0, 0.0)]


def test_decisions_are_counted_at_the_card_s_own_threshold() -> None:
    found = figures(measured([outcome(*pair) for pair in TEN]), decided(0.5)).labels
    mass = found["mass"]
    # 0.9, 0.8, 0.6 of the five ill and 0.7, 0.5 of the five well are called.
    assert (mass.threshold, mass.sensitivity, mass.specificity) == (0.5, wilson(3, 5), wilson(3, 5))
    assert (mass.ppv, mass.npv) == (wilson(3, 5), wilson(3, 5))
    assert found["abnormal"].threshold is None
    assert found["abnormal"].sensitivity is None
    assert mass.auroc is not None
    assert mass.auroc.value == pytest.approx(roc_auc_score(*zip(*TEN, strict=True)))
    (low, high) = mass.reliability
    assert (low.share.value, high.share.value) == (0.4, 0.6)
    assert mass.ece == pytest.approx((abs(0.2 - 0.4) + abs(0.7 - 0.6)) / 2)


def test_a_label_that_nothing_is_known_of_has_no_figures_but_its_absence() -> None:
    unknown = [outcome(0, 0.5, truths=dict.fromkeys(CODES, np.nan))]
    found = figures(measured(unknown), decided(0.5)).labels["mass"]
    assert (found.positives, found.negatives, found.auroc, found.threshold, found.ece) == (0, 0, None, None, None)
    assert found.reliability == ()


def test_localisation_counts_a_finding_once_by_its_best_box_and_every_box_that_misses() -> None:
    places = [
        Placed(True, 0.8, (0.6, 0.0, 0.05)),
        Placed(False, 0.2, (0.3, 0.12)),
        Placed(False, 0.0, ()),
        Placed(True, 0.6, (0.25,)),
    ]
    examples = [outcome(1, 0.5, places={"mass": place, "abnormal": places[0]}) for place in places]
    evaluation = figures(measured(examples), card())
    found = evaluation.labels["mass"]
    assert (found.boxes, found.pointing_game, found.pointing_interval) == (4, 0.5, wilson(2, 4))
    assert found.energy_in_box == pytest.approx(0.4)
    assert found.iobb == {"0.1": 0.75, "0.25": 0.75, "0.5": 0.25}
    assert found.false_boxes == pytest.approx(2 / 4)
    # The headline has the boxes of all findings: it is no finding of its own.
    assert evaluation.means is not None
    assert evaluation.means.labels == ("mass",)
    assert evaluation.means.iobb == found.iobb
    assert evaluation.means.auroc is None
    text = evaluation_text(evaluation)
    assert "| mass | 4 | 0.50 (0.15 to 0.85) | 0.40 | 0.75 | 0.75 | 0.25 | 0.5 |" in text


def test_without_any_place_there_is_no_mean() -> None:
    assert figures(measured([outcome(*pair) for pair in TEN]), card()).means is None


# Cross-validation


def two_folds() -> list[Measurements]:
    """Two networks that rank rightly all but one pair; the second scores everything 0.5 higher and has twice the cases."""
    first = [outcome(ill, (position + 1) / 40) for position, ill in enumerate([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])]
    second = [outcome(ill, 0.5 + (position + 1) / 80) for position, ill in enumerate([0] * 10 + [1] * 10)]
    return [measured(first, unreadable=1), measured(second, unreadable=2, missing_regions=3)]


def test_development_figures_rank_within_a_fold_and_count_decisions_over_all() -> None:
    evaluation = cross_validated(two_folds(), decided(0.5))
    assert (evaluation.kind, evaluation.folds, evaluation.images) == ("cross-validation", 2, 30)
    assert (evaluation.unreadable, evaluation.missing_regions, evaluation.split) == (3, 3, "2 folds")
    mass = evaluation.labels["mass"]
    assert mass.auroc is not None
    # 24 of 25 pairs in the first fold, all 100 in the second, by 10 and 20 cases.
    assert mass.auroc.value == pytest.approx((10 * 24 / 25 + 20 * 1) / 30)
    assert mass.auroc.low < mass.auroc.value
    # Only the second network's scores reach 0.5, those of ten ill and of ten well.
    assert (mass.sensitivity, mass.specificity) == (wilson(10, 15), wilson(5, 15))
    assert "Development figures: 2-fold cross-validation" in evaluation_text(evaluation)


def test_a_cross_validation_of_one_fold_is_that_fold() -> None:
    first = two_folds()[1]
    one, alone = cross_validated([first], decided(0.5)), figures(first, decided(0.5))
    assert one.model_copy(update={"kind": "held-out"}) == alone


def test_thresholds_are_chosen_on_all_folds_together() -> None:
    together = pooled(two_folds())
    point = operating_points(together, card())["mass"]
    scores = sorted(m.scores["mass"] for m in together.examples if m.truths["mass"] == 1)
    # Twelve of fifteen are 0.8: the fourth lowest is still called.
    assert point.threshold == pytest.approx(scores[3], abs=2e-4)
    assert (point.split, point.weights_sha256) == ("2 folds", card().weights_sha256)


def test_simulated_pictures_are_said_to_be_simulated() -> None:
    evaluation = figures(measured([outcome(*pair) for pair in TEN], simulated=True), card())
    assert evaluation.kind == "simulated"
    assert "not how well it reads films" in evaluation_text(evaluation)


def test_figures_take_the_place_of_those_of_the_same_data_split_and_kind() -> None:
    first = figures(measured([outcome(*pair) for pair in TEN]), card())
    again = first.model_copy(update={"unreadable": 9})
    folds = cross_validated(two_folds(), card()).model_copy(update={"split": first.split})
    stated = written_into(written_into(card(), first), folds)
    assert stated.evaluations == (first, folds)
    assert written_into(stated, again).evaluations == (again, folds)


# Subgroups


@pytest.mark.parametrize(
    ("column", "stated", "group"),
    [
        ("age", "17", "under 18"),
        ("age", "18", "18 to 39"),
        ("age", "39.5", "18 to 39"),
        ("age", "40", "40 to 59"),
        ("age", "060Y", "60 and over"),
        ("age", "011M", "under 18"),
        ("age", "120", "60 and over"),
        ("age", "414", "not stated"),
        ("age", "-3", "not stated"),
        ("age", "forty", "not stated"),
        ("age", "", "not stated"),
        ("sex", "F", "female"),
        ("sex", "male", "male"),
        ("sex", "O", "other"),
        ("sex", "?", "not stated"),
        ("view", "pa ", "PA"),
        ("view", "", "not stated"),
    ],
)
def test_what_a_row_states_is_one_group(column: str, stated: str, group: str) -> None:
    assert subgroups_of({"file": "a", column: stated}) == {column: group}


def test_groups_stand_in_the_order_of_age_and_what_is_not_stated_last() -> None:
    assert in_order(["not stated", "60 and over", "under 18", "18 to 39"]) == [
        "under 18", "18 to 39", "60 and over", "not stated",
    ]  # fmt: skip
    assert in_order({"not stated", "PA", "AP"}) == ["AP", "PA", "not stated"]


def test_every_group_has_the_area_of_its_own_pictures() -> None:
    random = np.random.default_rng(0)
    examples = [
        outcome(
            i % 2, float(random.uniform()), subgroups={"sex": "female" if i < 12 else "male" if i < 31 else "other"}
        )
        for i in range(34)
    ]
    found = figures(measured(examples), card()).subgroups
    assert {group: part.images for group, part in found["sex"].items()} == {"female": 12, "male": 19, "other": 3}
    for group, part in (("female", examples[:12]), ("male", examples[12:31])):
        truths, scores = zip(*((m.truths["abnormal"], m.scores["abnormal"]) for m in part), strict=True)
        assert list(found["sex"][group].auroc) == ["abnormal"]
        assert found["sex"][group].auroc["abnormal"].value == pytest.approx(roc_auc_score(truths, scores))
    assert found["sex"]["other"].auroc == {}
    assert "| other | 3 | too few |" in evaluation_text(figures(measured(examples), card()))


# Folders


@pytest.fixture(scope="module")
def tiny() -> Model:
    return prepare(card(), seeded("compact-resnet"))


def picture(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (40, 48)).astype(np.uint8)


def folder_of(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """A data folder with a picture for each row, and an index.csv with the rows' columns."""
    folder.mkdir()
    lines = [",".join(rows[0])]
    for index, row in enumerate(rows):
        (folder / row["file"]).write_bytes(png_bytes(picture(index)))
        lines.append(",".join('"' + cell.replace('"', '""') + '"' for cell in row.values()))
    (folder / "index.csv").write_text("\n".join(lines))
    return folder


def test_an_outline_that_cannot_be_used_is_counted_and_the_picture_still_measured(tiny: Model, tmp_path: Path) -> None:
    masks = ("whole.png", "damaged.png", "missing.png", "small.png", "empty.png")
    rows = [{"file": f"{i}.png", "label": "mass", "split": "val", "mask": mask} for i, mask in enumerate(masks)]
    folder = folder_of(tmp_path / "d", rows)
    outline = np.zeros((40, 48), np.uint8)
    (folder / "empty.png").write_bytes(png_bytes(outline))
    (folder / "small.png").write_bytes(png_bytes(outline[::2] + 255))
    outline[10:20, 10:30] = 255
    (folder / "whole.png").write_bytes(png_bytes(outline))
    (folder / "damaged.png").write_bytes(png_bytes(outline)[:50])
    evaluation = figures(measure(tiny, folder, "val"), tiny.card)
    assert (evaluation.images, evaluation.missing_regions, evaluation.labels["mass"].boxes) == (5, 3, 1)
    assert "3 outlines could not be read or did not fit their picture." in evaluation_text(evaluation)


GOOD = '[{"label": "Mass", "x": 4, "y": 4, "w": 9, "h": 9}]'


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("nih_boxes", "[{"),
        ("nih_boxes", '{"label": "Mass"}'),
        ("nih_boxes", '[{"label": "Mass", "x": 1, "y": 2, "w": 3}]'),
        ("nih_boxes", GOOD.replace('"x": 4', '"x": "four"')),
        ("nih_boxes", GOOD.replace('"w": 9', '"w": 0')),
        ("nih_boxes", GOOD.replace('"x": 4', '"x": NaN')),
        ("bbox_xywh", "[1, 2, 3]"),
        ("bbox_xywh", "4"),
    ],
)
def test_boxes_that_cannot_be_read_name_their_row(tiny: Model, tmp_path: Path, column: str, cell: str) -> None:
    rows = [{"file": f"{i}.png", "label": "mass", "split": "val", column: ""} for i in range(2)]
    rows[1][column] = cell
    folder = folder_of(tmp_path / "d", rows)
    with pytest.raises(ConfigurationError, match=rf"boxes of 1\.png in index\.csv.*{column}"):
        measure(tiny, folder, "val")


def test_rows_bring_their_patient_and_their_subgroups(tiny: Model, tmp_path: Path) -> None:
    row = {"file": "a.png", "label": "mass", "split": "val", "patient_id": "7", "age": "44", "view": "AP"}
    (example,) = measure(tiny, folder_of(tmp_path / "d", [{**row, "nih_boxes": GOOD}]), "val").examples
    assert (example.group, example.subgroups) == ("7", {"age": "40 to 59", "view": "AP"})
    assert list(example.places) == ["mass"]
    assert example.probed is None


def test_a_card_of_before_these_figures_still_loads_and_reads(tmp_path: Path) -> None:
    old = {
        "data": "d", "split": "val", "images": 3, "unreadable": 0, "classes": None, "weights_sha256": "0" * 64,
        "labels": {
            "mass": {
                "positives": 1, "negatives": 2, "auroc": None, "boxes": 1, "pointing_game": 1.0, "energy_in_box": 0.5,
            }
        },
    }  # fmt: skip
    stated = {**json.loads(card().model_dump_json()), "evaluations": [old]}
    (tmp_path / "card.json").write_text(json.dumps(stated))
    read = read_card(tmp_path / "card.json")
    assert read.evaluations == (Evaluation.model_validate(old),)
    assert "| mass | 1 | 1.00 | 0.50 |  |  |  |  |" in card_to_markdown(read)
