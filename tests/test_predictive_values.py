"""Predictive values against Bayes by hand, whole patients that add up, and thresholds against a count of the pictures."""

import numpy as np
import pytest

from core.confidence.operating import Outcome, outcome_at, outcome_for, points_along
from core.confidence.predictive_values import at_prevalence, patients_like_these, predictive_values
from core.errors import ConfigurationError
from core.metrics import wilson


def outcome(hits: int, misses: int, alarms: int, rejections: int) -> Outcome:
    return Outcome(
        0.5, wilson(hits, hits + misses), wilson(rejections, alarms + rejections), (hits, misses, alarms, rejections)
    )


def test_predictive_values_are_bayes_by_hand() -> None:
    # Sensitivity 0.9, specificity 0.8, prevalence 0.1: of 1000 patients 90 hits and 180 false alarms, 10 misses and 720 spared.
    found = predictive_values(outcome(180, 20, 60, 240), 0.1)
    assert found.ppv is not None
    assert found.npv is not None
    assert found.ppv.value == pytest.approx(90 / 270)
    assert found.npv.value == pytest.approx(720 / 730)
    assert found.ppv.low < 90 / 270 < found.ppv.high < 0.45
    assert 0.96 < found.npv.low < 720 / 730 < found.npv.high < 1


def test_half_ill_half_well_is_what_was_counted_in_a_set_that_is_so() -> None:
    found = predictive_values(outcome(80, 20, 10, 90), 0.5)
    assert found.ppv is not None
    assert found.ppv.value == pytest.approx(80 / 90)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random, prevalence, held = np.random.default_rng(0), 0.15, 0
    true_ppv = prevalence * 0.85 / (prevalence * 0.85 + 0.85 * 0.1)
    for _ in range(600):
        hits, alarms = int(random.binomial(60, 0.85)), int(random.binomial(140, 0.1))
        ppv = predictive_values(outcome(hits, 60 - hits, alarms, 140 - alarms), prevalence).ppv
        held += ppv is not None and ppv.low <= true_ppv <= ppv.high
    assert 0.92 <= held / 600 <= 0.985


@pytest.mark.parametrize("counts", [(50, 0, 0, 50), (50, 0, 10, 40), (0, 50, 5, 45), (45, 5, 0, 50)])
def test_a_count_of_zero_gives_no_certainty_and_no_crash(counts: tuple[int, int, int, int]) -> None:
    for found in (predictive_values(outcome(*counts), 0.2).ppv, predictive_values(outcome(*counts), 0.2).npv):
        assert found is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.high - found.low > 0.01


def test_nobody_called_has_no_positive_predictive_value() -> None:
    assert predictive_values(outcome(0, 50, 0, 50), 0.2).ppv is None


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_is_none_is_refused(prevalence: float) -> None:
    with pytest.raises(ConfigurationError, match="prevalence"):
        predictive_values(outcome(1, 1, 1, 1), prevalence)
    with pytest.raises(ConfigurationError, match="prevalence"):
        at_prevalence(0.5, 0.5, prevalence)


def test_a_hundred_patients_are_whole_people_and_a_hundred() -> None:
    icons = patients_like_these(outcome(180, 20, 60, 240), 0.1)
    # 9 of 10 ill are found, 18 of 90 well are called: the exact numbers are whole here.
    assert (icons.hits, icons.misses, icons.false_alarms, icons.rejections, icons.called) == (9, 1, 18, 72, 27)
    for percent in range(1, 100):
        icons = patients_like_these(outcome(37, 13, 11, 60), percent / 100)
        assert icons.hits + icons.misses + icons.false_alarms + icons.rejections == 100


def test_a_score_moves_with_the_prevalence_as_bayes_says() -> None:
    # Odds 1 where half are ill; where one in ten is, the same likelihood ratio gives 1 / 9 as odds.
    assert at_prevalence(0.5, 0.5, 0.1) == pytest.approx(0.1)
    assert at_prevalence(0.37, 0.2, 0.2) == pytest.approx(0.37)
    # A population of two kinds of patients: counted, not derived.
    ill_positive, well_positive = 0.8, 0.3
    here = 0.4 * ill_positive / (0.4 * ill_positive + 0.6 * well_positive)
    there = 0.05 * ill_positive / (0.05 * ill_positive + 0.95 * well_positive)
    assert at_prevalence(here, 0.4, 0.05) == pytest.approx(there)


def test_the_table_counts_what_reaches_each_threshold() -> None:
    random = np.random.default_rng(3)
    truths = random.integers(0, 2, 400).astype(np.float64)
    scores = np.clip(random.normal(0.4 + 0.2 * truths, 0.2), 0, 1)
    table = points_along(truths, scores, "val")
    for threshold, hits, alarms in zip(table.thresholds, table.hits, table.false_alarms, strict=True):
        assert hits == ((scores >= threshold) & (truths == 1)).sum()
        assert alarms == ((scores >= threshold) & (truths == 0)).sum()
    assert list(table.thresholds) == sorted(set(table.thresholds), reverse=True)
    assert (table.hits[-1], table.false_alarms[-1]) == (table.positives, table.negatives)
    assert len(table.thresholds) <= 203


def test_thresholds_keep_their_word() -> None:
    random = np.random.default_rng(4)
    truths = (np.arange(1000) % 4 == 0).astype(np.float64)
    scores = random.beta(2 + 3 * truths, 4)
    table = points_along(truths, scores, "val", step=1e-9)
    at = outcome_for(table, "sensitivity", 0.9)
    assert (scores[truths == 1] >= at.threshold).mean() >= 0.9
    assert (scores[truths == 1] > at.threshold + 2e-6).mean() < 0.9
    assert at.sensitivity.value == pytest.approx((scores[truths == 1] >= at.threshold).mean())
    spared = outcome_for(table, "specificity", 0.95)
    assert (scores[truths == 0] < spared.threshold).mean() >= 0.95
    assert sum(spared.counts) == 1000
    assert outcome_at(table, at.threshold) == at
    assert outcome_at(table, 2.0).counts[0] == 0


def test_a_threshold_between_two_points_takes_the_stricter_one() -> None:
    table = points_along(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.6, 0.5, 0.1]), "val")
    assert outcome_at(table, 0.7).threshold == 0.9
    assert outcome_at(table, 0.0).counts == (2, 0, 2, 0)
