"""Figures against counting by hand and against scikit-learn."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from core.explaining.places import detected_boxes
from core.metrics import (
    auroc,
    calibration_error,
    confusion,
    energy_in_box,
    energy_in_mask,
    expected_calibration_error,
    iobb,
    operating_figures,
    peak_in_box,
    peak_in_mask,
    region_of,
    reliability,
    threshold_for_sensitivity,
    weighted_areas,
    wilson,
)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    truths = np.array([1] * 5 + [0] * 5)
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.2, 0.8, 0.5, 0.3, 0.1, 0.1])
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[:5] for n in scores[5:]]
    figure = auroc(truths, scores)
    assert figure is not None
    assert figure.value == pytest.approx(np.mean(pairs))
    assert figure.low < figure.value < figure.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    # Two normal scores one standard deviation apart: AUROC = Phi(1 / sqrt 2).
    truth, covered = 0.76025, 0
    for trial in range(100):
        truths = np.repeat([0, 1], 60)
        scores = random.normal(truths, 1.0)
        figure = auroc(truths, scores, repeats=300, seed=trial)
        assert figure is not None
        assert figure.value == pytest.approx(roc_auc_score(truths, scores))
        covered += figure.low <= truth <= figure.high
    assert 87 <= covered <= 100


def test_too_few_cases_give_no_figure() -> None:
    assert auroc(np.array([1, 1, 1, 1, 0, 0, 0, 0, 0]), np.arange(9.0)) is None


def test_wilson_interval_at_named_values() -> None:
    # 8 of 10: 0.490 to 0.943 (Brown, Cai, DasGupta 2001, table of examples by the same formula worked by hand).
    interval = wilson(8, 10)
    assert (interval.value, round(interval.low, 3), round(interval.high, 3)) == (0.8, 0.490, 0.943)
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == pytest.approx(1)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


def test_operating_figures_count_a_score_at_the_threshold_as_positive() -> None:
    truths = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    scores = np.array([0.9, 0.5, 0.4, 0.2, 0.6, 0.5, 0.3, 0.2, 0.1, 0.0])
    found = operating_figures(truths, scores, 0.5)
    assert found.sensitivity.value == 0.5
    assert found.specificity.value == pytest.approx(4 / 6)
    # Four are called positive, two of them rightly; six negative, four of them rightly.
    assert (found.ppv, found.npv) == (wilson(2, 4), wilson(4, 6))
    nobody = operating_figures(truths, scores, 0.95)
    assert nobody.ppv is None
    assert nobody.npv == wilson(6, 10)


def test_the_threshold_is_the_highest_that_reaches_the_sensitivity() -> None:
    truths = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.65, 0.2, 0.05])
    assert threshold_for_sensitivity(truths, scores, 0.8) == 0.6
    assert threshold_for_sensitivity(truths, scores, 1.0) == 0.1


def test_the_pointing_game_asks_for_the_peak_and_the_energy_for_the_share() -> None:
    evidence = np.zeros((10, 10), np.float32)
    evidence[2, 7], evidence[8, 1], evidence[0, 0] = 3.0, 1.0, -5.0
    assert peak_in_box(evidence, [(6, 1, 3, 3)])
    assert not peak_in_box(evidence, [(1, 6, 3, 3)])
    assert peak_in_box(evidence, [(0, 0, 1, 1), (7, 2, 1, 1)])
    assert energy_in_box(evidence, [(6, 1, 3, 3)]) == pytest.approx(0.75)
    assert energy_in_box(evidence, [(6, 1, 3, 3), (0, 7, 3, 3)]) == 1
    assert energy_in_box(-np.abs(evidence), [(6, 1, 3, 3)]) == 0


def test_an_outline_is_asked_as_a_box_is_but_follows_its_own_edge() -> None:
    evidence = np.zeros((10, 10), np.float32)
    evidence[2, 7], evidence[8, 1], evidence[0, 0] = 3.0, 1.0, -5.0
    outline = np.zeros((10, 10), np.bool_)
    outline[[1, 2, 3], [6, 7, 8]] = True
    assert peak_in_mask(evidence, outline)
    assert energy_in_mask(evidence, outline) == pytest.approx(0.75)
    # The same upright box without its diagonal holds neither.
    corners = np.zeros((10, 10), np.bool_)
    corners[1:4, 6:9] = True
    corners &= ~outline
    assert not peak_in_mask(evidence, corners)
    assert energy_in_mask(evidence, corners) == 0
    assert energy_in_mask(evidence, np.ones((10, 10), np.bool_)) == 1
    assert energy_in_mask(-np.abs(evidence), np.ones((10, 10), np.bool_)) == 0


def test_an_outline_that_is_a_box_gives_the_figures_of_the_box() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        evidence = random.normal(0, 1, (12, 9)).astype(np.float32)
        x, y, w, h = (int(v) for v in random.integers(1, 6, 4))
        outline = np.zeros((12, 9), np.bool_)
        outline[y : y + h, x : x + w] = True
        assert peak_in_mask(evidence, outline) == peak_in_box(evidence, [(x, y, w, h)])
        assert energy_in_mask(evidence, outline) == pytest.approx(energy_in_box(evidence, [(x, y, w, h)]))


def test_the_confusion_is_that_of_scikit_learn_even_for_a_class_that_nobody_has() -> None:
    random = np.random.default_rng(0)
    truths, answers = random.integers(0, 3, 200), random.integers(0, 4, 200)
    found = confusion(truths, answers, 5)
    assert np.array_equal(found, confusion_matrix(truths, answers, labels=range(5)))
    assert [sum(row) for row in found[3:]] == [0, 0]
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2) == ((1, 1), (0, 1))


def test_the_calibration_error_worked_by_hand() -> None:
    # Two bins: 0.6 and 0.8 on average 0.7 with one right of two, 0.3 and 0.4 and 0.2 on average 0.3 with none right.
    confidences = np.array([0.6, 0.8, 0.3, 0.4, 0.2])
    hits = np.array([True, False, False, False, False])
    assert expected_calibration_error(hits, confidences, bins=2) == pytest.approx(2 / 5 * 0.2 + 3 / 5 * 0.3)
    assert expected_calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0
    assert expected_calibration_error(np.array([False]), np.array([1.0])) == 1


def test_answers_as_sure_as_they_are_right_have_a_small_calibration_error() -> None:
    random = np.random.default_rng(0)
    confidences = random.uniform(0.3, 1, 20_000)
    honest = random.uniform(0, 1, 20_000) < confidences
    assert expected_calibration_error(honest, confidences) < 0.02
    boastful = random.uniform(0, 1, 20_000) < confidences - 0.2
    assert expected_calibration_error(boastful, confidences) == pytest.approx(0.2, abs=0.02)


def test_the_bootstrap_s_areas_are_those_of_scikit_learn_with_the_same_weights() -> None:
    random = np.random.default_rng(0)
    truths, scores = random.integers(0, 2, 40), random.integers(0, 6, 40) / 5
    weights = random.integers(0, 4, (30, 40))
    expected = [roc_auc_score(truths, scores, sample_weight=row) for row in weights]
    assert weighted_areas(truths, scores, weights) == pytest.approx(expected)
    weights[0, truths == 1] = 0
    assert np.isnan(weighted_areas(truths, scores, weights)).tolist() == [True] + [False] * 29


def test_ten_pictures_of_a_patient_that_are_all_alike_are_worth_no_more_than_one() -> None:
    random = np.random.default_rng(1)
    truths = np.repeat([0, 1], 40)
    scores = random.normal(truths, 1.0)
    patients = [f"p{i}" for i in range(80)]
    tenfold = [np.repeat(values, 10) for values in (truths, scores, patients)]
    once, counted, naive = (
        auroc(truths, scores, groups=patients),
        auroc(tenfold[0], tenfold[1], groups=tenfold[2].tolist()),
        auroc(tenfold[0], tenfold[1]),
    )
    assert once is not None
    assert counted is not None
    assert naive is not None
    assert once.value == pytest.approx(counted.value)
    widths = [interval.high - interval.low for interval in (once, counted, naive)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert widths[2] == pytest.approx(widths[0] / np.sqrt(10), rel=0.2)


def test_scores_of_two_networks_are_ranked_only_among_their_own() -> None:
    # Each fold ranks rightly, but the second network scores everything higher.
    truths = np.array([0] * 5 + [1] * 5 + [0] * 5 + [1] * 5)
    scores = np.concatenate([np.linspace(0, 0.4, 10), np.linspace(0.6, 1, 10)])
    folds = [0] * 10 + [1] * 10
    pooled, within = auroc(truths, scores), auroc(truths, scores, folds=folds)
    assert pooled is not None
    assert within is not None
    assert pooled.value == pytest.approx(0.75)
    assert (within.low, within.value, within.high) == (1, 1, 1)


def test_folds_count_by_their_cases_and_one_without_both_sides_not_at_all() -> None:
    # An area of 1 over 10 cases and of 0.5 over 30; then a fold of healthy cases only.
    truths = np.array([0, 1] * 5 + [0, 1] * 15 + [0] * 7)
    scores = np.array([0.1, 0.9] * 5 + [0.5, 0.5] * 15 + [0.9] * 7)
    found = auroc(truths, scores, folds=[0] * 10 + [1] * 30 + [2] * 7)
    assert found is not None
    assert found.value == pytest.approx((10 * 1 + 30 * 0.5) / 40)
    assert auroc(np.repeat([0, 1], 6), np.arange(12.0), folds=[0] * 6 + [1] * 6) is None


def test_the_reliability_curve_counted_by_hand() -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.15, 0.95, 0.25, 0.6])
    truths = np.array([0, 1, 0, 1, 1, 1, 0, 1, 0, 0])
    low, high = reliability(truths, scores, bins=2)
    assert (low.cases, high.cases) == (5, 5)
    assert low.mean_score == pytest.approx(0.2)
    assert high.mean_score == pytest.approx(0.79)
    assert (low.share, high.share) == (wilson(1, 5), wilson(4, 5))
    assert calibration_error([low, high]) == pytest.approx(0.5 * abs(0.2 - 0.2) + 0.5 * abs(0.79 - 0.8))


def test_equal_scores_are_never_put_into_different_bins() -> None:
    # Sorted by truth, as an index often is: cutting the tied scores would make one bin of ill and one of well.
    truths, scores = np.array([1] * 20 + [0] * 20), np.full(40, 0.5)
    (only,) = reliability(truths, scores)
    assert (only.cases, only.mean_score, only.share.value) == (40, 0.5, 0.5)
    assert reliability(truths[:4], scores[:4]) == ()
    assert calibration_error(()) is None


def test_honest_scores_lie_on_the_diagonal_of_the_reliability_curve() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, 20_000)
    bins = reliability((random.uniform(0, 1, 20_000) < scores).astype(np.int64), scores)
    assert len(bins) == 10
    assert sum(one.share.low <= one.mean_score <= one.share.high for one in bins) >= 8
    assert calibration_error(bins) == pytest.approx(0, abs=0.02)


def square_map() -> npt.NDArray[Any]:
    """255 in rows 4..5 and columns 10..12, 100 around it in rows 2..7 and columns 8..15, 70 apart at one pixel, else 20."""
    evidence = np.full((20, 30), 20, np.float32)
    evidence[2:8, 8:16], evidence[4:6, 10:13], evidence[15, 25], evidence[0, 0] = 100, 255, 70, -400
    return evidence


def test_boxes_are_drawn_at_60_and_at_180_of_255_around_what_hangs_together() -> None:
    found = {(r.start, r.stop, c.start, c.stop) for r, c in detected_boxes(square_map())}
    assert found == {(2, 8, 8, 16), (15, 16, 25, 26), (4, 6, 10, 13)}
    # Another unit of the map draws the same boxes, and no evidence draws none.
    assert detected_boxes((square_map() / 1000).astype(np.float32)) == detected_boxes(square_map())
    assert detected_boxes(-np.abs(square_map())) == []


def test_the_iobb_is_the_share_of_a_drawn_box_that_lies_in_the_finding() -> None:
    evidence = square_map()
    # The left half of the large box, with all of the small one but its last column.
    left = region_of([(8, 2, 4, 6)], evidence.shape)
    assert sorted(iobb(evidence, left)) == pytest.approx([0, 0.5, 2 / 3])
    outline = np.zeros(evidence.shape, np.bool_)
    outline[4, 10:13] = True
    assert sorted(iobb(evidence, outline)) == pytest.approx([0, 3 / 48, 0.5])
    assert iobb(-np.abs(evidence), left) == []


def test_a_box_over_the_edge_covers_only_what_is_there() -> None:
    covered = region_of([(-3, -2, 5, 4), (8.6, 4.4, 10, 10), (5, -8, 3, 3), (-8, 3, 3, 3)], (6, 10))
    assert [tuple(place) for place in np.argwhere(covered)] == [(0, 0), (0, 1), (1, 0), (1, 1), (4, 9), (5, 9)]
