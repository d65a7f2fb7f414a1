"""Confidence on the pages: what the gate holds back, calibrated scores, sets of answers, other thresholds, my prevalence."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.analysis import Analysis, Prediction, analyse
from core.confidence.calibration import calibrated, calibrated_threshold
from core.confidence.novelty import NOVELTY_FILE, Statistics, save_statistics
from core.engines.engine import run_alone
from core.errors import ModelRejected
from core.metrics import wilson
from core.models.card import ModelCard, OperatingPoint
from core.models.confidence_card import (
    AnswerSets,
    AsCalibrated,
    Calibration,
    Confidence,
    NoveltyFigures,
    NoveltyGate,
    RocTable,
    SetLevel,
)
from core.models.loading import load_model
from core.reading.decoding import decode_scan
from dashboard import cache
from dashboard.slices import SliceRun
from tests.confidences import card_of
from tests.files import dicom_bytes
from tests.networks import publish
from tests.test_pages import heatmaps, html, opened, upload, words

pytestmark = pytest.mark.usefixtures("revealed")
SLOPE, OFFSET, FLOOR = 2.0, -0.5, 0.01
# Of 50 with it and 200 without it, by falling threshold.
ROC = RocTable(
    thresholds=(1.0, 0.6, 0.4, 0.0), hits=(0, 30, 45, 50), false_alarms=(0, 10, 40, 200), positives=50, negatives=200,
    split="val",
)  # fmt: skip


def film(seed: int = 0) -> bytes:
    y, x = np.mgrid[0:64, 0:64] / 64
    pixels = 500 + 1500 * np.exp(-((x - 0.4) ** 2 + (y - 0.5) ** 2) / 0.1) + (900 + 100 * seed) * y
    return dicom_bytes(
        pixels.astype(np.uint16), Modality="DX", BodyPartExamined="CHEST", ViewPosition="PA", PatientAge="050Y"
    )


def calibration(**changes: Any) -> Calibration:
    figures = AsCalibrated(
        pictures=250, log_loss_before=0.5, log_loss_after=0.4, error_before=wilson(25, 250), error_after=wilson(5, 250)
    )
    stated = {"method": "platt", "slope": SLOPE, "offset": OFFSET, "floor": FLOOR, "cases": 250, "positives": 50,
              "tried": {"platt": 0.4}, "figures": figures}  # fmt: skip
    return Calibration.model_validate({**stated, **changes})


def sets() -> AnswerSets:
    level = SetLevel(
        level=0.9, least={"absent": 0.0, "present": 0.0}, coverage={"all": wilson(230, 250)}, bare_coverage={},
        mean_size=2.0, alone=0.0, subgroups={"sex": {"female": wilson(90, 100)}},
    )  # fmt: skip
    return AnswerSets(counts={"absent": 200, "present": 50}, balance=0.5, levels=(level,))


def confident(folder: Path, gate: float | None = None, **changes: Any) -> ModelCard:
    """The tiny model with a confidence part: the label "abnormal" is calibrated, "mass" is not."""
    card = publish(folder)
    stated = {
        "weights_sha256": card.weights_sha256, "data": "Made films, val", "networks": 1, "pictures": 250,
        "calibration": {"abnormal": calibration()}, "curves": {"abnormal": ROC}, "sets": {"abnormal": sets()},
    }  # fmt: skip
    found = Confidence.model_validate({**stated, **changes})
    if gate is not None:
        found = found.model_copy(update={"novelty": gate_of(folder / card.id, gate)})
    written = card.model_copy(update={"confidence": found})
    (folder / card.id / "card.json").write_text(written.model_dump_json())
    return written


def gate_of(folder: Path, gate: float) -> NoveltyGate:
    """One feature, its distance from 0 against the gate."""
    one = np.ones(1)
    made = Statistics(np.zeros(1), one, np.eye(1), np.zeros((1, 1)), 0, gate, ("upright films",))
    none = NoveltyFigures(pictures=100, held_back=wilson(2, 100))
    return NoveltyGate(
        file_sha256=save_statistics(made, folder / NOVELTY_FILE), method="activations", gate=gate, rule="made",
        data="made", looks=made.looks, tried={}, own=none, others={"noise": none}, all_others=none,
    )  # fmt: skip


@pytest.fixture
def folder(model_folder: Path, no_shipped_models: None, clean_caches: None) -> Path:
    return model_folder


def page(data: bytes) -> AppTest:
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)
    return upload(opened(), "film.dcm", data)


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def answer_of(card: ModelCard, data: bytes) -> Analysis:
    return analyse(load_model(card.id), decode_scan(data))


def by_hand(score: float) -> float:
    """Platt's map, drawn off the edges."""
    logit = SLOPE * np.log(score / (1 - score)) + OFFSET
    return float((1 / (1 + np.exp(-logit))) * (1 - 2 * FLOOR) + FLOOR)


def test_a_picture_outside_the_gate_is_held_back_until_the_reader_asks(folder: Path) -> None:
    confident(folder, gate=1e-9)
    app = page(film())
    assert not app.exception
    said = words(app)
    assert "Held back" in said
    assert "the nearest of them look like: upright films" in said
    assert "data-label" not in said
    assert heatmaps(app) == 0
    button(app, "Show anyway").click().run()
    assert not app.exception
    said = words(app)
    assert "data-label" in said
    assert "the answer below may mean nothing" in said
    assert "Shown although the picture is unlike those it was made from" in html(app)
    assert heatmaps(app) == 1
    # Neither calibration nor coverage is promised for such a picture.
    assert html(app).count("uncalibrated score") == 2
    assert "At 90 % coverage" not in said
    # The wish belongs to that case: the next one is held back again.
    upload(app, "other.dcm", film(1))
    assert "data-label" not in words(app)


def test_a_picture_inside_the_gate_is_answered(folder: Path) -> None:
    confident(folder, gate=1e9)
    app = page(film())
    assert "data-label" in words(app)
    assert "Show anyway" not in {one.label for one in app.button}


def test_a_gate_whose_file_was_changed_refuses_the_model(folder: Path) -> None:
    card = confident(folder, gate=1.0)
    gate_of(folder / card.id, 2.0)
    path = folder / card.id / NOVELTY_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ModelRejected, match="not the one its card speaks of"):
        load_model(card.id)
    app = page(film())
    assert "not the one its card speaks of" in words(app)
    assert "data-label" not in words(app)


def test_the_calibrated_score_stands_in_words_and_numbers_and_the_other_is_called_uncalibrated(folder: Path) -> None:
    card, data = confident(folder), film()
    app = page(data)
    raw = answer_of(card, data).prediction.scores
    rows = dict(re.findall(r'<tr data-label="(\w+)"(.*?)</tr>', html(app)))
    share = round(100 * by_hand(raw["abnormal"]))
    assert f">{share} %<" in rows["abnormal"]
    assert f"{share} of 100 such pictures" in rows["abnormal"]
    assert "uncalibrated score" in rows["mass"]
    assert f">{raw['mass']:.2f}<" in rows["mass"]
    assert "where 20 % have Any abnormality" in words(app)


def test_a_calibration_of_other_weights_is_not_used_and_it_is_said(folder: Path) -> None:
    confident(folder, weights_sha256="e" * 64)
    app = page(film())
    assert html(app).count("uncalibrated score") == 2
    assert "such pictures" not in html(app)
    assert "made for other weights and is not used" in words(app).replace("\\", "")


def test_sets_say_what_cannot_be_told_and_which_level_is_missing(folder: Path) -> None:
    confident(folder)
    app = page(film())
    said = words(app)
    assert "Cannot tell: Any abnormality" in said
    assert "Not available, too few pictures: Mass" in said
    assert "At 90 % coverage" in said
    assert "the true answer was in the set for 92 %" in said.replace("\\", "")
    app.session_state["set_level"] = 0.95
    app.run()
    assert "Not available, too few pictures: Any abnormality, Mass" in words(app)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_a_score_is_on_the_same_side_of_the_threshold_before_and_after_calibration(head: str) -> None:
    method = "platt" if head == "sigmoid" else "temperature-and-bias"
    stated = {f"label-{n}": calibration(method=method, slope=0.7 + n / 4, offset=n - 1.0) for n in range(3)}
    card = card_of(head, 3)
    found = Confidence(weights_sha256=card.weights_sha256, data="d", networks=1, pictures=9, calibration=stated)
    points = {code: threshold(0.2 + n / 5) for n, code in enumerate(card.label_codes)}
    card = card.model_copy(update={"confidence": found, "thresholds": points})
    random = np.random.default_rng(3)
    for scores in random.dirichlet(np.ones(3), 200):
        named = dict(zip(card.label_codes, scores.tolist(), strict=True))
        prediction = Prediction(named, named)
        after = calibrated(card, prediction).scores
        for code, score in named.items():
            at = calibrated_threshold(card, prediction, code)
            assert at is not None
            assert (after[code] >= at) == (score >= points[code].threshold)


def test_the_threshold_of_two_classes_lies_where_a_picture_that_just_reaches_it_would() -> None:
    stated = {f"label-{n}": calibration(method="temperature", slope=1.7, offset=n / 2) for n in range(2)}
    card = card_of("softmax", 2)
    found = Confidence(weights_sha256=card.weights_sha256, data="d", networks=1, pictures=9, calibration=stated)
    card = card.model_copy(update={"confidence": found, "thresholds": {"label-0": threshold(0.3)}})
    just = {"label-0": 0.3, "label-1": 0.7}
    expected = calibrated(card, Prediction(just, just)).scores["label-0"]
    for score in (1e-9, 0.2, 0.9, 1.0):
        one = {"label-0": score, "label-1": 1 - score}
        at = calibrated_threshold(card, Prediction(one, one), "label-0")
        assert at == pytest.approx(expected)


def threshold(at: float) -> OperatingPoint:
    none = wilson(1, 2)
    return OperatingPoint(
        threshold=at, rule="r", sensitivity=none, specificity=none, positives=1, negatives=1, split="val",
        weights_sha256="a" * 64,
    )  # fmt: skip


def panel(card: ModelCard) -> AppTest:
    """The card's part on confidence alone."""

    def script(stated: str) -> None:
        from core.models.card import ModelCard
        from dashboard.confidence_panel import confidence_panel

        confidence_panel(ModelCard.model_validate_json(stated))

    return AppTest.from_function(script, kwargs={"stated": card.model_dump_json()}, default_timeout=60).run()


def test_predictive_values_on_the_page_are_bayes_by_hand(folder: Path) -> None:
    card = confident(folder)
    app = panel(card)
    assert not app.exception
    threshold_slider, prevalence_slider = app.select_slider
    threshold_slider.set_value(0.4)
    prevalence_slider.set_value(0.1).run()
    assert not app.exception
    shown = {metric.label: metric.value for metric in app.metric}
    sensitivity, specificity, ill = 45 / 50, 160 / 200, 0.1
    ppv = ill * sensitivity / (ill * sensitivity + (1 - ill) * (1 - specificity))
    npv = (1 - ill) * specificity / ((1 - ill) * specificity + ill * (1 - sensitivity))
    assert shown["Sensitivity"] == "90 %"
    assert shown["Specificity"] == "80 %"
    assert shown["Called: really has it (PPV)"] == f"{100 * ppv:.1f} %"
    assert shown["Not called: really free (NPV)"] == f"{100 * npv:.1f} %"
    # Of 100: 10 ill, 9 of them called, and 18 of 90 well ones.
    assert "Of 100 such patients 10 have it (Any abnormality). 27 are called, and 9 of these have it." in html(app)
    # A fifth of the pictures of the calibration had it, a tenth of these patients have: odds times (1/9) / (1/4).
    assert f"0.50 → {4 / 9 / (4 / 9 + 1):.2f}," in words(app)
    picture = html(app).split('data-icons="100"')[1].split("</div>")[0]
    assert picture.count("<span") == 100


def test_the_card_shows_before_and_after_levels_groups_and_kinds(folder: Path) -> None:
    app = panel(confident(folder, gate=1.0))
    cells = " ".join(str(value) for table in app.table for value in table.value.to_numpy().ravel()).replace("\\", "")
    assert "0.100 (" in cells
    assert "0.020 (" in cells
    assert "not available: too few pictures" in cells
    assert "92 % (" in cells
    assert "Sex: female" in cells
    assert "noise" in cells


def test_a_card_without_a_measured_confidence_says_so(folder: Path) -> None:
    card = confident(folder)
    assert "uncalibrated" in words(panel(card.model_copy(update={"confidence": None})))
    assert "measured with other weights" in words(panel(card.model_copy(update={"weights_sha256": "f" * 64})))


@pytest.mark.parametrize("anyway", [False, True])
def test_slices_outside_the_gate_have_no_score_until_the_reader_asks(folder: Path, *, anyway: bool) -> None:
    card = confident(folder, gate=1e-9)
    frames = np.stack([np.mgrid[0:64, 0:64][axis] * 40 for axis in (0, 1)]).astype(np.uint16)
    run = SliceRun(load_model(card.id), decode_scan(dicom_bytes(frames)), 0, run_alone, anyway=anyway)
    while run.running:
        time.sleep(0.01)
    assert (run.done, run.held_back, run.problem) == (2, 0 if anyway else 2, "")
    assert np.isfinite(run.scores).all() == anyway
