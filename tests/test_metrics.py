"""Figures against counting by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core.metrics import (
    auroc,
    energy_in_box,
    operating_figures,
    peak_in_box,
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
