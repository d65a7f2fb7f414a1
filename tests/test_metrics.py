"""Figures against counting by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from core.metrics import (
    auroc,
    confusion,
    energy_in_box,
    energy_in_mask,
    expected_calibration_error,
    operating_figures,
    peak_in_box,
    peak_in_mask,
    threshold_for_sensitivity,
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
