"""analyse: one pass, units said, nothing that is not a number."""

from typing import Any

import numpy as np
import pytest

from core.analysis import FAINT, FIRST_ORDER_UNIT, Heatmap, analyse
from core.errors import AnalysisError, UnknownLabel, UnknownLayer
from core.models.loading import Model, prepare
from core.reading import read_scan
from core.samples import simulated_scan
from tests.files import dicom_bytes
from tests.networks import card, seeded


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


def test_the_answer_carries_what_is_needed_to_repeat_it(model: Model) -> None:
    scan, _ = simulated_scan(1, rows=96, columns=128)
    result = analyse(model, scan)
    assert (result.scan_digest, result.model_id, result.weights_sha256) == (scan.digest, "tiny", "0" * 64)
    assert set(result.versions) >= {"python", "torch", "torchvision", "pydicom", "numpy"}
    again = analyse(model, scan)
    assert again.prediction == result.prediction


def test_scores_are_the_sigmoid_of_the_logits_and_cells_sum_to_them(model: Model) -> None:
    scan, _ = simulated_scan(2, rows=96, columns=64)
    result = analyse(model, scan)
    for code, logit in result.prediction.logits.items():
        assert result.prediction.scores[code] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
        heatmap = result.heatmap(code.upper())
        assert heatmap.unit == "log-odds"
        assert heatmap.bias is not None
        # All cells count, those over the letterbox's bars included.
        assert float(heatmap.evidence.sum()) + heatmap.bias == pytest.approx(logit, abs=1e-4)


def test_softmax_scores_sum_to_one_and_the_unit_is_not_called_log_odds() -> None:
    model = prepare(card(head="softmax"), seeded("compact-resnet"))
    scan, _ = simulated_scan(3, rows=64, columns=64)
    result = analyse(model, scan)
    assert sum(result.prediction.scores.values()) == pytest.approx(1, abs=1e-6)
    mean = np.mean(list(result.prediction.logits.values()))
    for code, heatmap in result.heatmaps.items():
        assert heatmap.unit == "logit above the labels' mean"
        assert heatmap.bias is not None
        assert float(heatmap.evidence.sum()) + heatmap.bias == pytest.approx(
            result.prediction.logits[code] - mean, abs=1e-4
        )


def test_a_tail_that_is_not_linear_is_called_a_first_order_change() -> None:
    stated = card(
        architecture="article-cnn-28", head="softmax", input={"channels": 1, "size": 28, "mean": 0.5, "std": 0.25},
        target_layer="4",
    )  # fmt: skip
    model = prepare(stated, seeded("article-cnn-28", size=28))
    scan, _ = simulated_scan(4, rows=64, columns=64)
    assert {h.unit for h in analyse(model, scan).heatmaps.values()} == {FIRST_ORDER_UNIT}


def test_layers_come_from_the_same_pass_and_equal_the_networks_own(model: Model) -> None:
    scan, _ = simulated_scan(5, rows=64, columns=64)
    result = analyse(model, scan, layers=("stem.0", "blocks.2.conv1"))
    assert set(result.activations) == {"stem.0", "blocks.2.conv1"}
    from core.preprocessing import to_model_input

    entry = to_model_input(scan, 0, model.card.input).tensor
    network: Any = model.network
    stem = network.stem[0](entry)[0].numpy()
    assert np.allclose(result.activations["stem.0"], stem, atol=1e-5)
    fast = analyse(model, scan)
    assert fast.prediction.logits == pytest.approx(dict(result.prediction.logits), abs=1e-4)


def test_results_cannot_be_changed_by_a_page(model: Model) -> None:
    scan, _ = simulated_scan(6, rows=64, columns=64)
    result = analyse(model, scan, layers=("stem.0",))
    for array in (result.heatmap("mass").evidence, result.activations["stem.0"], scan.stored):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(TypeError):
        result.prediction.scores["mass"] = 1.0  # type: ignore[index]


def test_an_answer_that_is_not_a_number_is_no_result() -> None:
    model = prepare(card(), seeded("compact-resnet"))
    scan, _ = simulated_scan(7, rows=64, columns=64)
    for parameter in model.fast.tail.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(AnalysisError, match="not a finite number"):
        analyse(model, scan)


def test_unknown_labels_and_layers_are_named(model: Model) -> None:
    scan, _ = simulated_scan(8, rows=64, columns=64)
    with pytest.raises(UnknownLabel, match="abnormal, mass"):
        analyse(model, scan).heatmap("fracture")
    with pytest.raises(UnknownLayer, match="layer9"):
        analyse(model, scan, layers=("layer9",))


def test_monochrome1_and_2_of_one_picture_give_the_same_answer(model: Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (48, 64)).astype(np.uint16)
    tags: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    plain = read_scan(dicom_bytes(pixels, **tags))
    inverted = read_scan(dicom_bytes(4095 - pixels, PhotometricInterpretation="MONOCHROME1", **tags))
    first, second = analyse(model, plain), analyse(model, inverted)
    assert first.prediction.logits == pytest.approx(dict(second.prediction.logits), abs=1e-4)


def test_each_frame_has_its_own_answer(model: Model) -> None:
    frames = np.random.default_rng(1).integers(0, 255, (2, 64, 64)).astype(np.uint8)
    scan = read_scan(dicom_bytes(frames))
    assert analyse(model, scan, 0).prediction.logits != analyse(model, scan, 1).prediction.logits


@pytest.mark.parametrize(
    ("peak", "said"), [(-0.2, "No positive evidence"), (FAINT / 2, "No localised evidence"), (0.5, None)]
)
def test_an_empty_or_faint_map_says_so(peak: float, said: str | None) -> None:
    evidence = np.full((4, 4), -1.0, np.float32)
    evidence[1, 2] = peak
    outcome = Heatmap("mass", evidence, "log-odds", 0.0, 1.0, "gradcam", "x").outcome
    assert (outcome is None) is (said is None)
    assert (outcome or "").startswith(said or "")


def test_a_bright_blob_moves_the_target_layer_where_it_lies(model: Model) -> None:
    grey = np.full((64, 64), 100, np.uint8)
    plain = analyse(model, read_scan(dicom_bytes(grey)), layers=("blocks.0.conv1",)).activations["blocks.0.conv1"]
    for row, column in ((12, 12), (12, 52), (52, 12), (52, 52)):
        marked = grey.copy()
        marked[row - 4 : row + 4, column - 4 : column + 4] = 250
        changed = analyse(model, read_scan(dicom_bytes(marked)), layers=("blocks.0.conv1",)).activations[
            "blocks.0.conv1"
        ]
        where = np.abs(changed - plain).sum(0)
        y, x = np.unravel_index(int(where.argmax()), where.shape)
        assert abs(y * 4 - row) <= 6
        assert abs(x * 4 - column) <= 6


def test_the_evidence_on_the_scans_grid_lies_where_the_cell_lies(model: Model) -> None:
    scan, _ = simulated_scan(9, rows=104, columns=66)
    result = analyse(model, scan)
    on_scan = result.on_scan_grid("mass")
    assert on_scan.shape == (104, 66)
    assert on_scan.dtype == np.float32
    box, evidence = result.letterbox, result.heatmap("mass").evidence
    cell = box.size / evidence.shape[0]
    row, column = box.to_scan(2 * cell - 0.5 + cell / 2, 1 * cell - 0.5 + cell / 2)
    assert on_scan[round(row), round(column)] == pytest.approx(
        float(evidence[2, 1]), abs=0.15 * float(np.ptp(evidence))
    )
