"""The model that RadLens ships, on films whose lesion we placed. Seeds that no training used."""

import numpy as np
import pytest

from core.analysis import Analysis, analyse
from core.metrics import peak_in_box
from core.models.loading import Model, load_model
from core.samples import list_samples, simulated_scan
from core.simulation import SimulatedFilm
from dashboard.answer import Answer

ID = "chest-xray-adult"
FINDINGS = ("mass", "effusion", "cardiomegaly", "pneumothorax")
SEEDS = range(950_000, 950_010)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ID)


@pytest.fixture(scope="module")
def films(model: Model) -> dict[str | None, list[tuple[Analysis, SimulatedFilm]]]:
    """Ten patients, each without a finding and with each of four."""
    found: dict[str | None, list[tuple[Analysis, SimulatedFilm]]] = {}
    for finding in (None, *FINDINGS):
        drawn = [simulated_scan(seed, finding, rows=320, columns=320) for seed in SEEDS]
        found[finding] = [(analyse(model, scan), film) for scan, film in drawn]
    return found


def test_it_is_small_fine_and_says_what_it_is(model: Model) -> None:
    card = model.card
    assert card.label_codes == (
        "abnormal", "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    )  # fmt: skip
    assert sum(p.numel() for p in model.network.parameters()) * 4 < 12_000_000
    real = card.evaluations[0]
    assert real.weights_sha256 == card.weights_sha256
    area = real.labels["abnormal"].auroc
    assert area is not None
    assert area.value >= 0.72
    assert "research demonstration" in card.intended_use.lower()
    assert card.training is not None
    assert card.training.simulated_images > 0


def test_cells_and_bias_sum_to_every_logit(films: dict[str | None, list[tuple[Analysis, SimulatedFilm]]]) -> None:
    for cases in films.values():
        for analysis, _ in cases:
            for code, heatmap in analysis.heatmaps.items():
                assert min(heatmap.evidence.shape) >= 14
                assert heatmap.bias is not None
                total = float(heatmap.evidence.sum(dtype=np.float64)) + heatmap.bias
                assert total == pytest.approx(analysis.prediction.logits[code], abs=1e-4)


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_planted_lesion_raises_its_score_and_the_heat_lies_on_it(
    films: dict[str | None, list[tuple[Analysis, SimulatedFilm]]], finding: str
) -> None:
    raised, hits = 0, 0
    for (healthy, _), (ill, film) in zip(films[None], films[finding], strict=True):
        raised += ill.prediction.scores[finding] > healthy.prediction.scores[finding]
        assert film.box_xywh is not None
        hits += peak_in_box(ill.on_scan_grid(finding), [film.box_xywh])
    assert raised >= 9
    assert hits >= 9


def test_the_lesion_on_the_other_side_moves_the_heat_to_the_other_side(model: Model) -> None:
    columns = {}
    for side in ("right", "left"):
        scan, _ = simulated_scan(950_003, "effusion", side=side)
        evidence = np.maximum(analyse(model, scan).on_scan_grid("effusion"), 0)
        columns[side] = (
            float((evidence.sum(0) * np.arange(evidence.shape[1])).sum() / evidence.sum()) / evidence.shape[1]
        )
    # The patient's right is at the picture's left.
    assert columns["right"] < 0.45
    assert columns["left"] > 0.55


def test_the_first_sample_is_answered_with_what_was_drawn_into_it(model: Model) -> None:
    from core.reading import read_scan

    answer = Answer(model, analyse(model, read_scan(list_samples()[0].load())))
    assert list_samples()[0].id == "sim-pneumothorax"
    assert answer.foremost_label == "pneumothorax"
    assert answer.analysis.heatmap("pneumothorax").outcome is None
    drawn = {sample.id.removeprefix("sim-"): sample for sample in list_samples() if sample.simulated}
    healthy = drawn.pop("normal")
    for finding, sample in drawn.items():
        found = Answer(model, analyse(model, read_scan(sample.load())))
        assert found.analysis.prediction.scores[finding] >= model.card.thresholds[finding].threshold, finding
    assert Answer(model, analyse(model, read_scan(healthy.load()))).foremost_label == "abnormal"
