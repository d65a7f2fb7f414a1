"""What the network's outputs mean: one logit for two labels, scores stretched around published operating points."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.analysis import Analysis, analyse
from core.errors import ModelRejected
from core.models.card import Evaluation, Label, LabelFigures, OperatingPoint, Scope
from core.models.card_fields import Interval
from core.models.loading import load_model, prepare
from core.models.scope import mismatch
from core.models.self_test import reference_logits
from core.samples import simulated_scan
from tests.networks import card, publish, seeded

PAIR = (Label(code="normal", words="Normal"), Label(code="pneumonia", words="Pneumonia"))
SURE = Interval(value=0.8, low=0.7, high=0.9)


def one_logit(**changes: Any) -> Analysis:
    stated = card(head="logit", labels=PAIR, headline="pneumonia", **changes)
    network = seeded("compact-resnet", labels=1)
    return analyse(prepare(stated, network), simulated_scan(3, "mass")[0])


def test_one_logit_scores_both_labels_so_that_they_make_one() -> None:
    answer = one_logit().prediction
    z = answer.logits["pneumonia"]
    assert answer.logits["normal"] == -z
    assert answer.scores["pneumonia"] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)
    assert answer.scores["normal"] == pytest.approx(1 - answer.scores["pneumonia"], abs=1e-6)


def test_one_logit_has_a_map_of_either_sign_that_sums_to_its_logit_in_log_odds() -> None:
    analysis = one_logit()
    against, speaking = analysis.heatmap("normal"), analysis.heatmap("pneumonia")
    assert np.array_equal(against.evidence, -speaking.evidence)
    for heatmap in (against, speaking):
        assert heatmap.unit == "log-odds"
        assert heatmap.bias is not None
        assert float(heatmap.evidence.sum()) + heatmap.bias == pytest.approx(
            analysis.prediction.logits[heatmap.label], abs=1e-4
        )


def test_one_logit_is_explained_to_first_order_where_the_tail_is_no_mean() -> None:
    stated = card(
        head="logit", labels=PAIR, headline="pneumonia", architecture="article-cnn-28", target_layer="4",
        input={"channels": 1, "size": 28, "mean": 0.5, "std": 0.25},
    )  # fmt: skip
    network = seeded("article-cnn-28", labels=1, size=28)
    analysis = analyse(prepare(stated, network), simulated_scan(3, "mass")[0])
    heatmap = analysis.heatmap("normal")
    assert heatmap.unit == "first-order change of the logit"
    assert np.array_equal(heatmap.evidence, -analysis.heatmap("pneumonia").evidence)


def test_a_published_model_of_one_logit_is_loaded_with_its_reference_answers(model_folder: Any) -> None:
    network = seeded("compact-resnet", labels=1)
    spec = card().input
    references = reference_logits(network, spec)
    assert [len(row) for row in references] == [1] * 5
    publish(model_folder, network, head="logit", labels=PAIR, headline="pneumonia", reference_logits=references)
    assert load_model("tiny").card.outputs == 1


def test_one_logit_needs_two_labels() -> None:
    with pytest.raises(ValidationError, match="exactly two labels"):
        card(head="logit", labels=(*PAIR, Label(code="third", words="Third")), headline="normal")


def test_one_logit_with_weights_for_two_is_refused_by_name(model_folder: Any) -> None:
    publish(model_folder, seeded("compact-resnet", labels=2), head="logit", labels=PAIR, headline="pneumonia")
    with pytest.raises(ModelRejected, match=r"fc\."):
        load_model("tiny")


def op_norm(probability: float, point: float) -> float:
    """TorchXRayVision's rule, as its documentation gives it."""
    return probability / (2 * point) if probability < point else 1 - (1 - probability) / (2 * (1 - point))


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("point", [0.02, 0.3, 0.97])
def test_scores_are_stretched_so_that_a_published_point_stands_at_one_half(point: float, side: int) -> None:
    stated = card(published_points={"abnormal": point})
    network = seeded("compact-resnet")
    with torch.no_grad():
        network.fc.bias[0] = float(np.log(point / (1 - point))) + side
        network.fc.weight[0] *= 0.01
    answer = analyse(prepare(stated, network), simulated_scan(3, "mass")[0]).prediction
    probability = 1 / (1 + np.exp(-answer.logits["abnormal"]))
    assert answer.scores["abnormal"] == pytest.approx(op_norm(probability, point), abs=1e-5)
    assert (answer.scores["abnormal"] >= 0.5) == (probability >= point) == (side > 0)
    assert answer.scores["mass"] == pytest.approx(1 / (1 + np.exp(-answer.logits["mass"])), abs=1e-6)
    assert (stated.threshold("abnormal"), stated.threshold("mass")) == (0.5, None)


@pytest.mark.parametrize("changes", [{"head": "softmax"}, {"head": "logit"}])
def test_published_points_are_for_sigmoid_heads(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="sigmoid heads"):
        card(published_points={"abnormal": 0.2}, **changes)


def point(sha256: str) -> OperatingPoint:
    return OperatingPoint(
        threshold=0.4, rule="r", sensitivity=SURE, specificity=SURE, positives=9, negatives=9, split="val",
        weights_sha256=sha256,
    )  # fmt: skip


def evaluation(sha256: str) -> Evaluation:
    figures = {code: LabelFigures(positives=1, negatives=1, auroc=None) for code in ("abnormal", "mass")}
    return Evaluation(data="d", split="val", images=2, labels=figures, weights_sha256=sha256)


def test_a_measured_model_that_is_chosen_by_hand_only_is_called_one_for_teaching() -> None:
    scope = Scope(modalities=("DX",), body_parts=("CHEST",), by_hand_only=True)
    taught = card(scope=scope, weights_sha256="a" * 64, evaluations=(evaluation("a" * 64),))
    film = replace(simulated_scan(3, "mass")[0], modality="DX", body_part="CHEST", view="PA")
    assert "is for teaching" in (mismatch(taught, film) or "")
    assert "has no figures" in (mismatch(card(scope=scope), film) or "")


@pytest.mark.parametrize(
    "changes",
    [{"thresholds": {"mass": point("a" * 64)}}, {"evaluations": (evaluation("a" * 64),)}],
    ids=["thresholds", "figures"],
)
def test_figures_of_other_weights_are_refused_in_one_sentence(
    model_folder: Any, no_shipped_models: None, changes: dict[str, Any]
) -> None:
    from core.models.catalogue import read_catalogue

    assert card(weights_sha256="a" * 64, **changes).threshold("abnormal") is None
    publish(model_folder, **{**changes, "weights_sha256": "a" * 64})
    catalogue = read_catalogue()
    assert not catalogue.cards
    assert "measured with other weights" in catalogue.problems["tiny"]
    assert "\n" not in catalogue.problems["tiny"]
