"""explain: any method, any layer, one label against another; what is said where there is nothing to see; several readers."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.analysis import FIRST_ORDER_UNIT, Heatmap, analyse
from core.errors import AnalysisError, Stopped, UnknownLabel, UnknownLayer, UnknownMethod
from core.explaining import perturbation
from core.explaining.explanation import (
    NO_GRADIENT,
    NOT_FINITE,
    ONE_LOGIT,
    WITH_ITSELF,
    cut_at,
    explain,
    explainable_layers,
    is_quick,
)
from core.explaining.perturbation import Watch, occlusion
from core.explaining.registry import METHODS, find_method
from core.models.loading import Model, prepare
from core.samples import simulated_scan
from core.scan import Scan
from tests.networks import card, seeded

ARTICLE: dict[str, Any] = {
    "architecture": "article-cnn-28", "target_layer": "4", "head": "softmax",
    "input": {"channels": 1, "size": 28, "mean": 0.5, "std": 0.25},
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulated_scan(1, rows=96, columns=128)[0]


@pytest.fixture(autouse=True)
def few_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.explaining.perturbation.rise.__kwdefaults__", {"masks": 16, "seed": 0})
    few = {**(occlusion.__kwdefaults__ or {}), "cells": 4, "side": 1}
    monkeypatch.setattr("core.explaining.perturbation.occlusion.__kwdefaults__", few)


def article(**changes: Any) -> Model:
    return prepare(card(**{**ARTICLE, **changes}), seeded("article-cnn-28", size=28))


def test_the_evidence_map_is_that_of_the_analysis_in_the_same_unit_and_on_the_same_scale(
    model: Model, scan: Scan
) -> None:
    expected = analyse(model, scan)
    found = explain(model, scan)
    assert found.letterbox == expected.letterbox
    assert found.scan_digest == scan.digest
    for code, heatmap in expected.heatmaps.items():
        got = found.heatmaps[code]
        assert np.allclose(got.evidence, heatmap.evidence, atol=1e-7)
        assert got.bias == pytest.approx(heatmap.bias)
        assert (got.unit, got.limit, got.method, got.layer) == (
            heatmap.unit,
            heatmap.limit,
            heatmap.method,
            heatmap.layer,
        )
        assert not got.per_scan


def test_gradcam_is_the_positive_part_of_the_evidence_in_its_unit(model: Model, scan: Scan) -> None:
    signed, positive = explain(model, scan), explain(model, scan, method="GradCAM")
    for code, heatmap in signed.heatmaps.items():
        assert np.allclose(positive.heatmaps[code].evidence, np.maximum(heatmap.evidence, 0), atol=1e-7)
        assert positive.heatmaps[code].limit == heatmap.limit
        assert positive.heatmaps[code].bias is None


def test_a_method_of_another_unit_has_the_scans_own_scale_and_says_so(model: Model, scan: Scan) -> None:
    found = explain(model, scan, method="layercam").heatmaps
    strongest = max(float(heatmap.evidence.max()) for heatmap in found.values())
    assert [heatmap.limit for heatmap in found.values()] == pytest.approx([strongest, strongest])
    assert all(heatmap.per_scan and heatmap.unit != "log-odds" for heatmap in found.values())


def test_another_layer_is_to_first_order_and_on_the_scans_own_scale(model: Model, scan: Scan) -> None:
    layer = "blocks.2.conv1"
    found = explain(model, scan, layer=layer, method="hirescam")
    assert found.layer == layer
    heatmap = found.heatmaps["mass"]
    assert heatmap.unit == FIRST_ORDER_UNIT
    assert heatmap.per_scan
    assert heatmap.evidence.shape > explain(model, scan).heatmaps["mass"].evidence.shape
    # Gradient times activation of the unfused network, by autograd through the network itself.
    from core.preprocessing import to_model_input

    kept: dict[str, torch.Tensor] = {}

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept["a"] = output.detach().clone().requires_grad_(True)
        return kept["a"].clone()

    handle = model.network.get_submodule(layer).register_forward_hook(keep)
    logits = model.network(to_model_input(scan, 0, model.card.input).tensor)[0]
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[1], kept["a"])
    expected = (gradient * kept["a"])[0].sum(0).detach().numpy()
    assert np.abs(heatmap.evidence - expected).max() <= 1e-4 * np.abs(expected).max()


def test_why_this_and_not_that_is_the_difference_of_two_maps_and_sums_to_that_of_two_logits(
    model: Model, scan: Scan
) -> None:
    each, versus = explain(model, scan).heatmaps, explain(model, scan, against="MASS")
    heatmap = versus.heatmaps["abnormal"]
    assert (versus.against, heatmap.against) == ("mass", "mass")
    assert np.allclose(heatmap.evidence, each["abnormal"].evidence - each["mass"].evidence, atol=1e-6)
    logits = analyse(model, scan).prediction.logits
    assert heatmap.bias is not None
    assert float(heatmap.evidence.sum()) + heatmap.bias == pytest.approx(logits["abnormal"] - logits["mass"], abs=1e-4)
    assert versus.heatmaps["mass"].outcome == WITH_ITSELF


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_one_logit_has_a_map_for_either_label_by_every_method(method: str, scan: Scan) -> None:
    model = prepare(card(head="logit"), seeded("compact-resnet", labels=1))
    found = explain(model, scan, method=method)
    negative, positive = found.heatmaps.values()
    one = find_method(method)
    if one.by_label:
        assert found.notes == (ONE_LOGIT,)
    else:
        assert "does not depend on the label" in found.notes[0]
        assert np.array_equal(negative.evidence, positive.evidence)
    if one.signed and one.by_label:
        assert np.allclose(negative.evidence, -positive.evidence, atol=1e-5)
        assert float(positive.evidence.min()) < 0
    if not one.signed:
        assert min(float(negative.evidence.min()), float(positive.evidence.min())) >= 0


def test_no_positive_evidence_flat_and_faint_are_said_in_words() -> None:
    def outcome(values: Any, **changes: Any) -> str | None:
        evidence = np.asarray(values, np.float32)
        return Heatmap("mass", evidence, "log-odds", None, 1.0, "evidence", "x", **changes).outcome

    assert "No positive evidence" in (outcome([[0, -1], [-2, 0]]) or "")
    assert "Flat" in (outcome([[0.5, 0.5], [0.5, 0.5]]) or "")
    assert "fainter" in (outcome([[0.01, -1], [0, 0]]) or "")
    assert outcome([[0.9, -1], [0, 0]]) is None
    assert outcome([[0.9, -1], [0, 0]], absent="Because.") == "Because."


def test_a_layer_that_the_answer_does_not_depend_on_is_said_to_have_no_gradient(scan: Scan) -> None:
    network = seeded("article-cnn-28", size=28)
    network.get_submodule("7").weight[1] = 0
    model = prepare(card(**{**ARTICLE, "head": "sigmoid"}), network)
    for method in ("evidence", "gradcam++", "layercam"):
        found = explain(model, scan, method=method).heatmaps
        assert found["mass"].outcome == NO_GRADIENT
        assert found["abnormal"].absent is None


def test_a_map_that_is_not_finite_is_none_and_the_others_stay() -> None:
    # Two channels on a grid of 32 x 32: the first sums to -2 and its gradient for the first label is 1 in every cell, so
    # that Grad-CAM++ divides by 2 - 2; the second is the picture.
    network: Any = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1))
        network[0].bias.copy_(torch.tensor([-2 / 1024, 0.0]))
        network[3].weight.copy_(torch.tensor([[1024.0, 1.0], [0.0, 1.0]]))
    model = prepare(card(target_layer="0", input={"channels": 1, "size": 32, "mean": 0.0, "std": 1.0}), network)
    found = explain(model, simulated_scan(1, rows=64, columns=64)[0], method="gradcam++").heatmaps
    assert found["abnormal"].outcome == NOT_FINITE
    assert found["mass"].absent is None
    assert float(found["mass"].evidence.max()) > 0
    assert all(np.isfinite(heatmap.evidence).all() for heatmap in found.values())


def test_names_that_do_not_exist_and_layers_without_a_grid_are_refused(model: Model, scan: Scan) -> None:
    with pytest.raises(UnknownMethod, match="magic"):
        explain(model, scan, method="magic")
    with pytest.raises(UnknownLabel, match="fracture"):
        explain(model, scan, against="fracture")
    with pytest.raises(UnknownLayer, match="nowhere"):
        explain(model, scan, layer="nowhere")
    with pytest.raises(UnknownLayer, match="no grid"):
        explain(article(), simulated_scan(1, rows=64, columns=64)[0], layer="7")


def test_layers_to_choose_from_begin_with_the_cards_and_all_of_them_can_be_cut(model: Model) -> None:
    layers = explainable_layers(model)
    assert layers[0] == model.card.target_layer
    assert len(layers) == len(set(layers)) > 5
    for layer in layers:
        assert cut_at(model, layer) is cut_at(model, layer)


def test_ablation_is_quick_where_it_has_a_closed_form(model: Model) -> None:
    method = find_method("ablationcam")
    assert is_quick(model, method)
    assert not is_quick(model, method, "blocks.2.conv1")
    assert not is_quick(model, find_method("scorecam"))


def state_of(model: Model) -> list[object]:
    """All that a careless method would leave behind."""
    found: list[object] = []
    for network in (model.network, model.fast.tail, model.plain.tail, model.fast.whole(), model.plain.whole()):
        found += [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in network.modules()]
        found += [(p.requires_grad, p.grad is None, float(p.double().sum())) for p in network.parameters()]
    return found


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_the_shared_network_is_as_before_after_success_and_after_failure(method: str, model: Model, scan: Scan) -> None:
    before = state_of(model)
    explain(model, scan, method=method, layer="blocks.3.conv1")
    assert state_of(model) == before
    if find_method(method).kind == "pass":
        return
    with pytest.raises(Stopped):
        explain(model, scan, method=method, layer="blocks.3.conv1", watch=Watch(cancelled=lambda: True))
    assert state_of(model) == before


def test_a_network_whose_answer_is_no_number_is_refused_and_left_alone(scan: Scan) -> None:
    model = article()
    broken = model.fast.tail.get_submodule("7")
    assert isinstance(broken, torch.nn.Linear)
    broken.bias[0] = float("nan")
    before = state_of(model)[:3]
    with pytest.raises(AnalysisError, match="finite"):
        explain(model, scan)
    assert state_of(model)[:3] == before


def test_many_readers_of_two_pictures_get_the_maps_that_each_would_get_alone(model: Model) -> None:
    scans = [simulated_scan(number, rows=64, columns=64)[0] for number in (1, 2)]
    jobs: list[tuple[str, str | None]] = [(method.name, None) for method in METHODS]
    jobs += [(method.name, "blocks.4.conv1") for method in METHODS if method.kind == "pass"]
    alone = {(which, job): maps(model, scans[which], *job) for which in (0, 1) for job in jobs}
    assert not np.array_equal(alone[0, jobs[0]], alone[1, jobs[0]])
    wrong: list[tuple[int, Any]] = []

    def read(reader: int) -> None:
        turned = jobs[reader:] + jobs[:reader]
        for job in turned:
            which = reader % 2
            if not np.array_equal(maps(model, scans[which], *job), alone[which, job]):
                wrong.append((reader, job))

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def maps(model: Model, scan: Scan, method: str, layer: str | None) -> np.ndarray[Any, Any]:
    return np.stack(
        [heatmap.evidence for heatmap in explain(model, scan, method=method, layer=layer).heatmaps.values()]
    )


def test_batches_stay_small_enough_for_two_cores() -> None:
    assert 4 <= perturbation.BATCH <= 8
