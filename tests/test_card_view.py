"""A model's card without a browser: what a reader meets first, and what stands there when something is missing."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from core.models.card import (
    ClassFigures,
    Evaluation,
    LabelFigures,
    LabelProbes,
    MeanFigures,
    ModelCard,
    Probes,
    ReliabilityBin,
    SubgroupFigures,
)
from core.models.card_fields import Interval
from core.models.place_card import FrocPoint
from dashboard.charts import epochs_spec, free_response_spec, reliability_spec
from dashboard.texts import literal
from tests.networks import publish

SHA = "0" * 64


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.1, high=value + 0.1)


def abnormal(**changes: Any) -> LabelFigures:
    bins = tuple(ReliabilityBin(cases=9, mean_score=at, share=interval(at)) for at in (0.3, 0.6))
    return LabelFigures.model_validate(
        {
            "positives": 40, "negatives": 60, "auroc": interval(0.81), "threshold": 0.44, "sensitivity": interval(0.8),
            "specificity": interval(0.7), "ppv": interval(0.66), "npv": None, "reliability": bins, "ece": 0.0421, **changes,
        }
    )  # fmt: skip


MASS = LabelFigures(
    positives=3, negatives=97, auroc=None, boxes=8, pointing_game=0.5, pointing_interval=interval(0.5), energy_in_box=0.31,
    iobb={"0.1": 0.88, "0.25": 0.75, "0.5": 0.63}, false_boxes=1.5,
)  # fmt: skip
NOT_TOLD = dict.fromkeys(LabelProbes.model_fields)


def evaluation(**changes: Any) -> Evaluation:
    stated: dict[str, Any] = {
        "data": "A clinic", "split": "val", "images": 100, "labels": {"abnormal": abnormal(), "mass": MASS},
        "weights_sha256": SHA,
        "means": MeanFigures(
            labels=("mass",), auroc=None, pointing_game=0.5, energy_in_box=0.31, iobb={"0.1": 0.88, "0.25": 0.75, "0.5": 0.63}
        ),
        "subgroups": {"sex": {"female": SubgroupFigures(images=48, auroc={"abnormal": interval(0.77)})}},
        "probes": Probes(
            images=100, border=0.1, region="the lungs", inside_area=0.64, region_area=0.41,
            labels={"abnormal": LabelProbes.model_validate({**NOT_TOLD, "border_only": interval(0.88)})},
        ),
    }  # fmt: skip
    return Evaluation.model_validate({**stated, **changes})


def with_figures(root: Path, *evaluations: Evaluation, **changes: Any) -> ModelCard:
    """A model folder whose card has these figures, bound to its weights."""
    known = publish(root, **changes)
    own = [one.model_copy(update={"weights_sha256": known.weights_sha256}) for one in evaluations]
    card = known.model_copy(update={"evaluations": tuple(own)})
    (root / known.id / "card.json").write_text(card.model_dump_json())
    return card


def opened() -> AppTest:
    def page() -> None:
        from core.models.catalogue import read_catalogue
        from dashboard.card_view import card_view

        catalogue = read_catalogue()
        card_view(catalogue.card("tiny"), catalogue.folders["tiny"])

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    return app


@pytest.fixture(autouse=True)
def alone(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    """No model but those of the test."""


def texts(app: AppTest, *kinds: str) -> list[str]:
    """What stands in the page's elements of these kinds, in their order."""
    return [str(getattr(node, "value", "")) for node in app.main if node.type in kinds]


def words(app: AppTest) -> str:
    """All text of the page as it is shown."""
    return "\n".join(texts(app, "header", "subheader", "markdown", "caption", "info", "warning")).replace("\\", "")


def cells(app: AppTest) -> list[list[str]]:
    """The rows of all tables as they are shown, each with its head."""
    found = []
    for table in app.table:
        frame = table.value
        found += [[str(name).replace("\\", "") for name in frame.columns]]
        found += [[str(cell).replace("\\", "") for cell in row] for row in frame.to_numpy().tolist()]
    return found


def test_a_reader_meets_one_sentence_three_numbers_and_the_shortcuts(model_folder: Path) -> None:
    with_figures(model_folder, evaluation())
    app = opened()
    said = words(app)
    assert "Any abnormality: AUROC 0.81 (0.71 to 0.91) on 100 held-out pictures" in said
    assert [(m.label, m.value) for m in app.metric] == [
        ("Sensitivity", "80 %"), ("Specificity", "70 %"), ("Looks at the right place", "50 %"),
    ]  # fmt: skip
    assert "of the pictures with it are called, 70 % to 90 % (40)" in said
    assert "From the border alone the model still answers abnormal (AUROC 0.88)" in str(app.warning[0].value).replace(
        "\\", ""
    )
    assert said.index("AUROC 0.81") < said.index("Limits")
    assert "Untrained." in said


def test_every_kind_of_figure_has_its_tab_and_its_row(model_folder: Path) -> None:
    with_figures(model_folder, evaluation())
    app = opened()
    names = [tab.label for tab in app.tabs]
    assert names == ["Scores", "At the threshold", "Where it looks", "Reliability", "Subgroups", "Shortcuts"]
    rows = cells(app)
    assert ["Mass", "3 / 97", "too few cases"] in rows
    assert ["Any abnormality", "0.44", "0.80 (0.70 to 0.90)", "0.70 (0.60 to 0.80)", "0.66 (0.56 to 0.76)", "–"] in rows
    assert ["Mass", "8", "0.50 (0.40 to 0.60)", "0.31", "0.88 / 0.75 / 0.63", "1.5"] in rows
    assert ["Any abnormality", "0.042"] in rows
    assert ["female", "48", "0.77 (0.67 to 0.87)"] in rows
    too_few = "too few cases"
    assert ["Any abnormality", too_few, too_few, too_few, too_few, "0.78 (0.68 to 0.88)", too_few] not in rows
    assert ["Any abnormality", too_few, too_few, too_few, too_few, "0.88 (0.78 to 0.98)", too_few] in rows


def test_development_figures_come_first_and_are_called_so(model_folder: Path) -> None:
    better = abnormal(auroc=interval(0.85))
    folds = evaluation(
        kind="cross-validation", folds=5, images=900, labels={"abnormal": abnormal(auroc=interval(0.79))}
    )
    shown = evaluation(kind="simulated", labels={"abnormal": better}, probes=None)
    with_figures(
        model_folder,
        shown,
        evaluation(labels={"abnormal": better}, probes=None),
        folds.model_copy(update={"means": None}),
    )
    said = words(opened())
    assert "AUROC 0.79 (0.69 to 0.89) on 900 pictures in 5-fold cross-validation (development figures)" in said
    assert "100 simulated pictures." in said


def test_classes_are_told_by_how_often_they_are_right(model_folder: Path) -> None:
    classes = ClassFigures(
        accuracy=interval(0.8), macro_auroc=0.9, calibration_error=0.1, confusion=((30, 10), (5, 55))
    )
    with_figures(model_folder, evaluation(classes=classes, means=None, probes=None), head="softmax")
    app = opened()
    assert "Right for 80 % (70 % to 90 %) of 100 held-out pictures" in words(app)
    assert [(m.label, m.value) for m in app.metric] == [("Mean AUROC of the classes", "0.90")]
    assert ["Any abnormality", "30", "10"] in cells(app)
    assert not app.warning


def test_a_model_without_figures_or_log_says_so(model_folder: Path) -> None:
    publish(model_folder)
    said = words(opened())
    assert "nobody knows how well this model reads" in said
    assert "There is no training log beside this model" in said
    assert "AUROC" not in said


def charts(app: AppTest) -> list[list[dict[str, Any]]]:
    """The values that each chart is drawn from."""
    found = app.get("vega_lite_chart")
    return [pa.ipc.open_stream(element.proto.data.data).read_all().to_pylist() for element in found]


def test_the_log_beside_the_model_is_drawn(model_folder: Path) -> None:
    publish(model_folder)
    lines = [json.dumps({"epoch": i, "train_loss": 1 - i / 10, "validation_auroc": {"mass": 0.6}}) for i in range(3)]
    (model_folder / "tiny" / "training.jsonl").write_text("\n".join([*lines, "{cut off"]))
    losses, scores = charts(opened())
    assert [(v["epoch"], v["value"]) for v in losses] == [(0, 1), (1, 0.9), (2, 0.8)]
    assert {v["name"] for v in scores} == {"mass"}


def test_what_a_card_says_is_shown_literally(model_folder: Path) -> None:
    hostile = "![x](http://127.0.0.1:9/beacon) :red[fine] <img src=x> www.evil.example $x$"
    limits = {"limits": (hostile,), "intended_use": hostile, "title": hostile}
    with_figures(model_folder, evaluation(data=hostile), **limits)
    app = opened()
    shown = [text for text in texts(app, "header", "markdown") if "beacon" in text]
    assert len(shown) == 3
    for text in [*shown, *(e.label for e in app.expander if "beacon" in e.label)]:
        assert literal(hostile) in text
        # Without what is escaped nothing is left that Markdown would read.
        assert not re.search(r"[!<$\[:(]|www\.", re.sub(r"\\.", "", text))


def test_charts_leave_out_what_is_not_known_and_keep_the_diagonal() -> None:
    spec = epochs_spec([0, 1], {"a": [0.5, float("nan")]}, ("epoch", "loss"))
    assert spec["data"]["values"] == [{"epoch": 0, "value": 0.5, "name": "a"}]
    one = ReliabilityBin(cases=5, mean_score=0.25, share=Interval(value=0.4, low=0.1, high=0.7))
    curve = reliability_spec({"A": [one]}, ("x", "y"))
    assert curve["data"]["values"] == [{"label": "A", "score": 0.25, "share": 0.4, "low": 0.1, "high": 0.7}]
    diagonal = curve["layer"][0]["data"]["values"]
    assert all(point["score"] == point["share"] for point in diagonal)


def test_the_free_response_chart_has_a_line_a_label_and_the_mean_with_its_interval() -> None:
    points = [
        FrocPoint(threshold=2, false_places=0, sensitivity=0.2),
        FrocPoint(threshold=1, false_places=0.5, sensitivity=0.6),
    ]
    mean = {"0.5": Interval(value=0.6, low=0.4, high=0.8)}
    spec = free_response_spec({"Mass": points}, mean, ("false", "hit"))
    # A logarithm has no 0: the first point stands where the axis begins.
    assert [(v["label"], v["false"], v["sensitivity"]) for v in spec["data"]["values"]] == [
        ("Mass", 1 / 16, 0.2),
        ("Mass", 0.5, 0.6),
    ]
    (_, spans, _) = spec["layer"]
    assert spans["data"]["values"] == [{"false": 0.5, "sensitivity": 0.6, "low": 0.4, "high": 0.8}]
    assert len(free_response_spec({"Mass": points}, None, ("false", "hit"))["layer"]) == 1
