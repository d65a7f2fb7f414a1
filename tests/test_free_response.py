"""Free-response ROC against counts by hand and against a slow reference with scipy's regions, on the scan's own grid."""

from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from core.explaining.places import ScanBox
from core.free_response import (
    HIT,
    RATES,
    Found,
    find,
    interval,
    overlaps,
    patients_drawn,
    rates_with_intervals,
    step_of,
    sweep,
    threshold_of,
)
from core.metrics import wilson
from core.models.card import ModelCard, OperatingPoint
from core.models.card_text import card_to_markdown
from core.preprocessing import Letterbox
from core.training.evaluation import figures
from core.training.measuring import Measured, Measurements
from core.training.place_figures import place_thresholds
from tests.networks import card

SQUARE = Letterbox.fit(64, 64, 64)


def test_overlaps_are_shares_of_areas() -> None:
    place = ScanBox(top=0, left=0, height=10, width=10)
    # Half of the place lies in a finding of 5 x 20.
    assert overlaps(place, (5, 0, 5, 20)) == pytest.approx((50 / 100, 50 / 150))
    assert overlaps(place, (10, 0, 5, 5)) == (0, 0)
    assert overlaps(place, (2, 2, 2, 2)) == pytest.approx((0.04, 0.04))


def test_steps_are_quarter_powers_of_two() -> None:
    assert [threshold_of(step) for step in (-4, 0, 4, 2)] == pytest.approx([0.5, 1, 2, 2**0.5])
    assert [step_of(threshold_of(step)) for step in range(-30, 30)] == list(range(-30, 30))


def slow(evidence: npt.NDArray[np.float32], box: Letterbox, threshold: float, findings: list[Any]) -> tuple[int, int]:
    """(findings hit, false places) with scipy's regions of the evidence on the scan's grid, in whole pixels."""
    parts = ndimage.find_objects(ndimage.label(box.to_scan_grid(evidence) >= threshold)[0])
    covers = np.zeros((len(parts), len(findings)))
    for i, part in enumerate(parts):
        for j, (x, y, w, h) in enumerate(findings):
            mask = np.zeros((box.rows, box.columns), bool)
            mask[y : y + h, x : x + w] = True
            covers[i, j] = mask[part].mean()
    hitting = covers >= HIT
    return int(hitting.any(0).sum()), int((~hitting.any(1)).sum())


def hill(row: float, column: float, height: float, grid: int = 16) -> npt.NDArray[np.float32]:
    y, x = np.mgrid[:grid, :grid]
    return (height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 3)).astype(np.float32)


def test_what_a_map_finds_is_what_a_slow_reference_finds() -> None:
    evidence = hill(4, 4, 1.0) + hill(11, 10, 0.5) + hill(3, 13, 0.3)
    findings = [(12, 12, 12, 12), (40, 44, 8, 8)]
    found = find(evidence, SQUARE, findings)
    steps = range(found.first, found.first + len(found.false))
    for step in steps:
        iobb, _, false = found.at(step)
        assert (int((iobb >= HIT).sum()), false) == slow(evidence, SQUARE, threshold_of(step), findings)
    counts = {tuple(found.at(step)[0] >= HIT) for step in steps}
    assert len(counts) > 1


def test_nothing_is_found_above_the_peak_nor_in_a_map_without_evidence() -> None:
    found = find(hill(4, 4, 1.0), SQUARE, [(0, 0, 64, 64)])
    assert found.at(step_of(1.0) + 1)[2] == 0
    assert not found.at(99)[0].any()
    nothing = find(-hill(4, 4, 1.0), SQUARE, [(0, 0, 64, 64)])
    assert (nothing.findings, nothing.at(0)[2]) == (1, 0)
    # Far below its own peak a map is taken as at the lowest step.
    low, lowest = found.at(-999), found.at(found.first)
    assert (low[0] == lowest[0]).all()


def by_hand(first: int, hits: list[int], false: list[int], findings: int = 1) -> Found:
    iobb = np.array([[float(hit)] * findings for hit in hits]).reshape(len(hits), findings)
    return Found(first, iobb, iobb / 2, np.array(false, float))


def test_the_curve_counts_hits_and_false_places_over_all_pictures() -> None:
    ill = by_hand(0, [1, 1, 1], [3, 0, 0])
    also_ill = by_hand(0, [1, 1], [1, 1])
    well = by_hand(-1, [], [], 0)
    loud = by_hand(1, [0], [2], 0)
    found = sweep([(ill, True), (also_ill, True), (well, True), (loud, True)])
    # Step 2: one of two found, nothing false. Step 1: both, (0 + 1 + 2) / 4. Step 0 has 6 / 4 and finds no more.
    assert [(p.false_places, p.sensitivity) for p in found.curve()] == [(0, 0.5), (0.75, 1)]
    assert [p.threshold for p in found.curve()] == pytest.approx([2**0.5, 2**0.25], abs=1e-3)
    rates = dict(zip(RATES, found.at_rates(np.ones((1, 4)))[0], strict=True))
    assert rates == {0.125: 0.5, 0.25: 0.5, 0.5: 0.5, 1.0: 1, 2.0: 1, 4.0: 1}
    assert (found.best_step(0.5), found.best_step(0.75)) == (2, 1)
    assert sweep([(well, True), (loud, True), (by_hand(0, [0], [0]), True)]).best_step(4) is None
    # Of equally good thresholds the highest one: the smallest places.
    assert sweep([(by_hand(0, [1, 1, 1], [0, 0, 0]), True)]).best_step(4) == 2


def test_a_picture_whose_label_is_not_called_finds_nothing_and_still_counts() -> None:
    ill = by_hand(0, [1], [0])
    found = sweep([(ill, True), (ill, False), (by_hand(0, [0], [4], 0), False)])
    assert found.at_rates(np.ones((1, 3)))[0].tolist() == [0.5] * len(RATES)


def test_sensitivity_may_fall_as_the_threshold_does() -> None:
    joined = by_hand(0, [0, 1], [1, 0])
    assert sweep([(joined, True)]).at_rates(np.ones((1, 1)))[0].tolist() == [1] * len(RATES)


def test_intervals_draw_whole_patients() -> None:
    groups = [f"p{i // 4}" for i in range(40)]
    drawn = patients_drawn(groups, repeats=50)
    assert (drawn.reshape(50, 10, 4) == drawn[:, ::4][:, :, None]).all()
    assert (drawn.sum(1) == 40).all()
    alone = patients_drawn(["one"] * 5, repeats=20)
    assert (alone == 1).all()


def test_the_interval_of_independent_pictures_is_the_binomials() -> None:
    pictures = [(by_hand(0, [int(i < 60)], [0]), True) for i in range(100)]
    found = sweep(pictures)
    drawn = patients_drawn([str(i) for i in range(100)])
    at, mean = rates_with_intervals(found.at_rates(np.ones((1, 100)))[0], found.at_rates(drawn))
    expected = wilson(60, 100)
    for one in (*at.values(), mean):
        assert one.value == 0.6
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert interval(0.5, np.array([np.nan, 0.4, 0.6])).low >= 0.4


# Of a split


def example(ill: int, score: float, group: str, found: Found | None) -> Measured:
    known = {} if found is None else {"mass": found}
    truths = {"abnormal": float(ill), "mass": float(ill)}
    return Measured(truths, {"abnormal": score, "mass": score}, {}, {}, group, found=MappingProxyType(known))


def split() -> Measurements:
    """Ten with a finding (eight called, six of these hit at step 3), ten without (two called, with a false place each)."""
    ill = [example(1, 0.9 if i < 8 else 0.1, f"i{i}", by_hand(3, [int(i < 6 or i > 7)], [0])) for i in range(10)]
    well = [example(0, 0.9 if i < 2 else 0.1, f"w{i}", by_hand(3, [0], [1], 0)) for i in range(10)]
    unmarked = [example(1, 0.9, "u", None)]
    return Measurements("set", "val", tuple(ill + well + unmarked))


def called(**changes: Any) -> ModelCard:
    point = OperatingPoint(
        threshold=0.5, rule="r", sensitivity=wilson(1, 2), specificity=wilson(1, 2), positives=2, negatives=2,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    return card(thresholds={"mass": point}, **changes)


def test_the_threshold_is_chosen_on_what_a_reader_would_see() -> None:
    (chosen,) = place_thresholds(split(), called()).values()
    assert chosen.threshold == pytest.approx(2**0.75)
    assert chosen.sensitivity.value == pytest.approx(6 / 10)
    assert chosen.false_places.value == pytest.approx(2 / 20)
    assert (chosen.findings, chosen.pictures, chosen.split, chosen.weights_sha256) == (10, 20, "val", "0" * 64)
    # Without an operating point all ten of the well show theirs: 10 / 20 is just allowed.
    (open_to_all,) = place_thresholds(split(), card()).values()
    assert (open_to_all.sensitivity.value, open_to_all.false_places.value) == pytest.approx((8 / 10, 10 / 20))


def test_the_cards_figures_are_those_at_its_own_threshold() -> None:
    decided = called(place_thresholds=place_thresholds(split(), called()))
    evaluation = figures(split(), decided)
    found = evaluation.labels["mass"].places
    assert found is not None
    assert (found.findings, found.pictures) == (10, 20)
    assert found.sensitivity is not None
    assert found.false_places is not None
    assert (found.sensitivity.value, found.false_places.value) == pytest.approx((0.6, 0.1))
    # ``by_hand`` puts the IoU at half of the IoBB.
    assert found.iobb == {"0.1": 0.6, "0.25": 0.6, "0.5": 0.6}
    assert found.iou == {"0.1": 0.6, "0.25": 0.6, "0.5": 0.6}
    assert {rate: one.value for rate, one in found.at.items()} == dict.fromkeys(
        ("0.125", "0.25", "0.5", "1", "2", "4"), 0.6
    )
    assert evaluation.labels["abnormal"].places is None
    text = card_to_markdown(decided.model_copy(update={"evaluations": (evaluation,)}))
    assert "| mass | 10 / 20 | 0.60 " in text
    assert "## Place thresholds" in text
    assert "is not a detector" in text


def test_too_few_findings_have_no_threshold_and_no_figures() -> None:
    few = Measurements("set", "val", split().examples[:4])
    assert place_thresholds(few, called()) == {}
    assert figures(few, called()).labels["mass"].places is None
