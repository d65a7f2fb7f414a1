"""Calibrated scores against scikit-learn, numeric optima and populations whose shares are known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from core.analysis import Prediction
from core.confidence.calibrating import (
    LEAST_CASES,
    calibrations,
    isotonic,
    one_temperature,
    platt,
    temperature,
    temperature_and_bias,
)
from core.confidence.calibration import apply, calibrated, expit, log_odds, of_label, softmax
from core.confidence.calibration_error import (
    calibration_error,
    class_log_loss,
    folded_mean,
    log_loss,
    plain_calibration_error,
)
from core.confidence.held_out import FloatArray, HeldOut
from core.errors import AnalysisError
from core.models.card import ModelCard
from core.models.confidence_card import CalibrationMap, Confidence
from tests.confidences import card_of


def held_out(truths: FloatArray, scores: FloatArray) -> HeldOut:
    count = len(truths)
    codes = tuple(f"label-{column}" for column in range(scores.shape[1]))
    return HeldOut(codes, truths, scores, np.arange(count) % 3, np.arange(count) // 2, ({},) * count, 3)


def overconfident(count: int, seed: int = 0, slope: float = 0.5, offset: float = -1.0) -> tuple[FloatArray, FloatArray]:
    """Truths (n, 1) drawn with log-odds slope * z + offset, and scores (n, 1) that claim log-odds z."""
    random = np.random.default_rng(seed)
    z = random.normal(0, 2, count)
    truths = (random.random(count) < expit(slope * z + offset)).astype(np.float64)
    return truths[:, None], expit(z)[:, None]


def with_calibration(truths: FloatArray, scores: FloatArray, head: str = "sigmoid", refits: int = 5) -> ModelCard:
    card = card_of(head, scores.shape[1])
    found = calibrations(held_out(truths, scores), exclusive=head == "softmax", refits=refits)
    confidence = Confidence(
        weights_sha256=card.weights_sha256, data="made", networks=3, pictures=len(truths), calibration=found
    )
    return card.model_copy(update={"confidence": confidence})


def predicted(card: ModelCard, *scores: float) -> Prediction:
    named = dict(zip(card.label_codes, scores, strict=True))
    return Prediction(named, named)


def test_isotonic_is_that_of_scikit_learn() -> None:
    truths, scores = overconfident(500)
    (found,) = isotonic(truths[:, 0], scores)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores[:, 0], truths[:, 0])
    asked = np.linspace(0, 1, 101)
    ours = of_label(found, asked)
    floor = 1 / 502
    assert np.allclose(ours, theirs.predict(asked) * (1 - 2 * floor) + floor, atol=1e-12)


def test_temperature_is_the_numeric_optimum() -> None:
    truths, scores = overconfident(800, slope=0.4, offset=0)
    (found,) = temperature(truths[:, 0], scores)
    z, y = log_odds(scores[:, 0]), truths[:, 0]
    best = minimize_scalar(
        lambda t: np.logaddexp(0, np.where(y == 1, -z, z) / t).mean(), bounds=(0.1, 20), method="bounded"
    )
    assert 1 / found.slope == pytest.approx(best.x, rel=1e-3)
    assert found.slope == pytest.approx(0.4, abs=0.08)


def test_platt_finds_the_line_that_truths_were_drawn_with() -> None:
    truths, scores = overconfident(20_000)
    (found,) = platt(truths[:, 0], scores)
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.offset == pytest.approx(-1.0, abs=0.05)


def test_classes_find_temperature_and_bias_that_truths_were_drawn_with() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (20_000, 3))
    true = softmax(0.6 * logits + np.array([0.0, 1.0, -0.5]))
    answers = (random.random((20_000, 1)) > true.cumsum(1)).sum(1).astype(np.float64)
    maps = temperature_and_bias(answers, softmax(logits))
    assert [one.slope for one in maps] == [pytest.approx(0.6, abs=0.03)] * 3
    assert [one.offset for one in maps] == [pytest.approx(value, abs=0.08) for value in (0.0, 1.0, -0.5)]
    (first, *_) = one_temperature(answers, softmax(logits))
    slopes = np.linspace(0.2, 1.2, 201)
    losses = [class_log_loss(answers.astype(np.int64), softmax(slope * logits)) for slope in slopes]
    assert first.slope == pytest.approx(slopes[int(np.argmin(losses))], abs=0.01)


def test_the_method_with_the_least_held_out_loss_is_taken_and_it_calibrates() -> None:
    truths, scores = overconfident(3000)
    found = calibrations(held_out(truths, scores), exclusive=False, refits=5)["label-0"]
    assert found.tried[found.method] == min(found.tried.values())
    assert found.figures.log_loss_after == pytest.approx(found.tried[found.method])
    assert found.figures.error_before.low > 0.1
    assert found.figures.error_after.value < 0.03
    assert found.figures.log_loss_after < found.figures.log_loss_before


def test_steps_that_no_line_follows_are_left_to_isotonic() -> None:
    random = np.random.default_rng(5)
    scores = random.random((6000, 1))
    share = np.where(scores < 0.5, 0.1, np.where(scores < 0.9, 0.2, 0.9))
    truths = (random.random((6000, 1)) < share).astype(np.float64)
    assert calibrations(held_out(truths, scores), exclusive=False, refits=5)["label-0"].method == "isotonic"


def test_calibrated_scores_keep_their_word_on_new_pictures() -> None:
    card = with_calibration(*overconfident(3000))
    assert card.confidence is not None
    truths, scores = overconfident(20_000, seed=9)
    after = apply(card, card.confidence.calibration, scores)[:, 0]
    assert plain_calibration_error(truths[:, 0], after) < 0.03
    assert plain_calibration_error(truths[:, 0], scores[:, 0]) > 0.15


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_scores_rise_and_never_reach_certainty(head: str) -> None:
    random = np.random.default_rng(2)
    answers = random.integers(0, 3, 900)
    truths = np.eye(3)[answers]
    scores = softmax(8 * truths + random.normal(0, 2, (900, 3)))
    card = with_calibration(truths, scores, head)
    asked = [0.0, 1e-9, 0.001, 0.2, 0.5, 0.8, 0.999, 1.0]
    rising = [calibrated(card, predicted(card, at, (1 - at) / 2, (1 - at) / 2)).scores["label-0"] for at in asked]
    assert rising == sorted(rising)
    assert 0 < rising[0] < rising[-1] < 1
    if head == "softmax":
        one = calibrated(card, predicted(card, 1.0, 0.0, 0.0))
        assert sum(one.scores.values()) == pytest.approx(1)


def test_the_interval_is_that_of_other_patients() -> None:
    """Maps made from fresh draws of the population land in the interval about as often as it says."""
    cards = [with_calibration(*overconfident(800, seed=seed), refits=50) for seed in range(8)]
    intervals = [calibrated(card, predicted(card, 0.7)).intervals["label-0"] for card in cards]
    true = float(expit(0.5 * log_odds(np.array([0.7])) - 1.0)[0])
    assert sum(one.low <= true <= one.high for one in intervals) >= 6
    assert all(one.low < one.value < one.high and one.high - one.low < 0.3 for one in intervals)


def test_labels_with_too_few_cases_are_named() -> None:
    truths, scores = overconfident(1200)
    rare = np.zeros((1200, 1))
    rare[: LEAST_CASES - 1] = 1
    card = with_calibration(np.hstack([truths, rare]), np.hstack([scores, scores]))
    found = calibrated(card, predicted(card, 0.4, 0.4))
    assert set(found.scores) == {"label-0"}
    assert found.missing is not None
    assert "label-1" in found.missing
    assert found.shares["label-0"] == pytest.approx(truths.mean())


def test_other_weights_are_not_calibrated_and_it_is_said() -> None:
    card = with_calibration(*overconfident(1000))
    assert calibrated(card, predicted(card, 0.4)).missing is None
    swapped = card.model_copy(update={"weights_sha256": "c" * 64})
    found = calibrated(swapped, predicted(card, 0.4))
    assert not found.scores
    assert found.missing is not None
    assert "other weights" in found.missing
    nothing = calibrated(card_of("sigmoid", 1), predicted(card, 0.4))
    assert nothing.missing is not None
    assert "no calibration" in nothing.missing


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), -0.01, 1.01])
def test_a_score_that_is_none_gives_no_result(score: float) -> None:
    card = with_calibration(*overconfident(500))
    for one in (card, card_of("sigmoid", 1)):
        with pytest.raises(AnalysisError, match="no result"):
            calibrated(one, predicted(one, score))


def test_unknown_truths_are_left_out() -> None:
    truths, scores = overconfident(1000)
    some = truths.copy()
    some[::4] = np.nan
    found = calibrations(held_out(some, scores), exclusive=False, refits=5)["label-0"]
    assert found.cases == 750
    assert found.positives == np.nansum(some)


def test_perfect_scores_have_next_to_no_debiased_error() -> None:
    random, plain, found, lows = np.random.default_rng(0), [], [], []
    for _ in range(20):
        scores = random.beta(1, 2, 1000)
        truths = (random.random(1000) < scores).astype(np.float64)
        plain.append(plain_calibration_error(truths, scores))
        error = calibration_error(truths, scores, np.arange(1000), repeats=100)
        found.append(error.value)
        lows.append(error.low)
    assert np.mean(plain) > 0.03
    assert np.mean(found) < 0.7 * np.mean(plain)
    assert np.mean(lows) < 0.005
    scores = random.beta(1, 2, 200_000)
    truths = (random.random(200_000) < scores).astype(np.float64)
    assert calibration_error(truths, scores, np.arange(200_000), repeats=20).value < 0.003


def test_an_error_that_is_known_is_found() -> None:
    random, inside = np.random.default_rng(1), 0
    for _ in range(30):
        shares = random.uniform(0.2, 0.7, 1500)
        truths = (random.random(1500) < shares).astype(np.float64)
        error = calibration_error(truths, shares + 0.12, np.arange(1500), repeats=200)
        inside += error.low <= 0.12 <= error.high
    assert inside >= 26


def test_patients_with_many_pictures_widen_the_interval() -> None:
    random = np.random.default_rng(3)
    scores = np.repeat(random.uniform(0.2, 0.7, 150), 10)
    truths = np.repeat((random.random(150) < scores[::10]).astype(np.float64), 10)
    alone = calibration_error(truths, scores, np.arange(1500))
    together = calibration_error(truths, scores, np.repeat(np.arange(150), 10))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_folded_mean_is_that_of_a_simulation() -> None:
    drawn = np.abs(np.random.default_rng(0).normal(0.3, 0.5, 400_000)).mean()
    assert float(folded_mean(np.array([0.3]), np.array([0.5]))[0]) == pytest.approx(drawn, abs=0.003)


def test_log_loss_by_hand() -> None:
    assert log_loss(np.array([1.0, 0.0]), np.array([0.8, 0.4])) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert class_log_loss(np.array([1, 0]), np.array([[0.3, 0.7], [0.9, 0.1]])) == pytest.approx(
        -(np.log(0.7) + np.log(0.9)) / 2
    )


def test_knots_without_values_are_no_calibration() -> None:
    with pytest.raises(ValueError, match="as many values"):
        CalibrationMap(method="isotonic", knots=(0.1, 0.2), values=(0.3,), floor=0.01)
