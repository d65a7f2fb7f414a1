"""Sets of answers: coverage in simulation within binomial bounds, the count that a level takes, never an empty set."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from core.confidence.conformal import ABSENT, CLASSES, PRESENT, answer_sets, sets_of
from core.confidence.conformal_fitting import ALL, balance_of, fit_sets, least_score
from core.confidence.held_out import FloatArray, HeldOut
from core.errors import AnalysisError
from core.models.card import ModelCard
from core.models.confidence_card import Confidence
from tests.confidences import card_of


def held_out(truths: FloatArray, scores: FloatArray, parts: int = 3, *, sexes: bool = False) -> HeldOut:
    count = len(truths)
    named = tuple({"sex": "female" if i % 3 else "male"} if sexes else {} for i in range(count))
    codes = tuple(f"label-{column}" for column in range(truths.shape[1]))
    return HeldOut(codes, truths, scores, np.arange(count) % parts, np.arange(count), named, parts)


def classes(count: int, seed: int, spread: float = 1.2) -> tuple[FloatArray, FloatArray]:
    """Three classes, the third one rare: truths one-hot (n, 3) and softmax scores."""
    random = np.random.default_rng(seed)
    answers = random.choice(3, count, p=(0.55, 0.35, 0.1))
    logits = random.normal(0, spread, (count, 3)) + 2.0 * np.eye(3)[answers]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.eye(3)[answers], scores


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_new_pictures_are_covered_as_stated_in_every_class(level: float) -> None:
    truths, scores = classes(3000, 1)
    sets = fit_sets(held_out(truths, scores), exclusive=True)[CLASSES]
    found = next(one for one in sets.levels if one.level == level)
    new, asked = classes(20_000, 2)
    inside = asked >= np.array(list(found.least.values()))
    for column in range(3):
        of_class = new[:, column] == 1
        # The limit itself rests on n pictures of the class: coverage is Beta(k, n + 1 - k), wider than the count alone.
        n = int(truths[:, column].sum())
        slack = 4 * np.sqrt(level * (1 - level) * (1 / n + 1 / of_class.sum()))
        assert abs(inside[of_class, column].mean() - level) < slack + 1 / n


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_coverage_held_out_lies_within_the_binomial_bounds(level: float) -> None:
    truths, scores = classes(3000, 5)
    sets = fit_sets(held_out(truths, scores), exclusive=True)[CLASSES]
    found = next(one for one in sets.levels if one.level == level)
    low, high = binom.interval(0.999, 3000, level)
    assert low <= 3000 * found.bare_coverage[ALL].value <= high
    assert found.coverage[ALL].value >= found.bare_coverage[ALL].value
    assert 1 <= found.mean_size <= 3


def test_with_the_true_answer_drawn_from_the_scores_themselves_a_label_is_covered_on_both_sides() -> None:
    random = np.random.default_rng(7)
    scores = random.beta(1, 3, (4000, 1))
    truths = (random.random((4000, 1)) < scores).astype(np.float64)
    sets = fit_sets(held_out(truths, scores), exclusive=False)["label-0"]
    for found in sets.levels:
        for side in (ABSENT, PRESENT):
            low, high = binom.interval(0.999, sets.counts[side], found.level)
            assert low <= found.bare_coverage[side].value * sets.counts[side] <= high


@pytest.mark.parametrize(
    ("count", "level", "there"),
    [(19, 0.95, True), (18, 0.95, False), (9, 0.9, True), (8, 0.9, False), (4, 0.8, True), (3, 0.8, False)],
)
def test_a_level_takes_its_number_of_pictures(count: int, level: float, *, there: bool) -> None:
    assert (least_score(np.linspace(0.1, 0.9, count), level) is not None) is there


def test_the_limit_is_the_rank_that_the_theorem_names() -> None:
    # 99 pictures at 90 %: of 1 - score the 90th smallest, so the 10th smallest score.
    assert least_score(np.arange(1, 100) / 100, 0.9) == pytest.approx(0.10)
    assert least_score(np.arange(1, 20) / 100, 0.95) == pytest.approx(0.01)


def test_too_few_positives_leave_a_level_out() -> None:
    random = np.random.default_rng(0)
    truths = (np.arange(200) < 15).astype(np.float64)[:, None]
    sets = fit_sets(held_out(truths, random.random((200, 1))), exclusive=False)["label-0"]
    assert [one.level for one in sets.levels] == [0.8, 0.9]
    nineteen = (np.arange(200) < 19).astype(np.float64)[:, None]
    sets = fit_sets(held_out(nineteen, random.random((200, 1))), exclusive=False)["label-0"]
    assert [one.level for one in sets.levels] == [0.8, 0.9, 0.95]
    # Held out in thirds it cannot be measured, which is not the same as a coverage of nothing.
    assert sets.levels[-1].coverage == {}


def test_no_set_is_ever_empty() -> None:
    random = np.random.default_rng(1)
    scores = random.dirichlet((1, 1, 1), 500)
    inside = sets_of(scores, [0.99, 0.99, 0.99], None)
    assert (inside.sum(1) >= 1).all()
    assert inside[np.arange(500), scores.argmax(1)].all()
    both = np.stack([1 - scores[:, 0], scores[:, 0]], 1)
    inside = sets_of(both, [0.999, 0.999], 0.4)
    assert (inside.sum(1) >= 1).all()
    middle = (scores[:, 0] > 0.4) & (scores[:, 0] < 0.99)
    assert inside[middle, 1].all()


def test_sets_grow_with_the_level() -> None:
    truths, scores = classes(900, 3)
    levels = fit_sets(held_out(truths, scores), exclusive=True)[CLASSES].levels
    sizes = [sets_of(scores, list(level.least.values()), None) for level in levels]
    for smaller, larger in pairwise(sizes):
        assert (larger >= smaller).all()


def test_balance_is_where_both_sides_are_as_unusual() -> None:
    random = np.random.default_rng(2)
    truths = np.repeat([0, 1], 5000)
    # Two normal distributions of one width: by symmetry the balance is half way.
    scores = random.normal(0.3 + 0.4 * truths, 0.15)
    assert balance_of(truths, scores) == pytest.approx(0.5, abs=0.01)


def test_coverage_is_told_by_subgroup() -> None:
    truths, scores = classes(600, 9)
    found = fit_sets(held_out(truths, scores, sexes=True), exclusive=True)[CLASSES].levels[1]
    assert set(found.subgroups["sex"]) == {"female", "male"}
    whole = found.coverage[ALL].value * 600
    assert found.subgroups["sex"]["female"].value * 400 + found.subgroups["sex"]["male"].value * 200 == pytest.approx(
        whole
    )


def test_a_reader_gets_the_answers_that_are_left() -> None:
    truths, scores = classes(2000, 4)
    card = with_sets(truths, scores)
    sure = dict(zip(card.label_codes, (0.98, 0.01, 0.01), strict=True))
    torn = dict(zip(card.label_codes, (0.48, 0.47, 0.05), strict=True))
    found = answer_sets(card, sure, 0.9)[CLASSES]
    assert found is not None
    assert found.answers == (card.label_codes[0],)
    open_one = answer_sets(card, torn, 0.9)[CLASSES]
    assert open_one is not None
    assert set(open_one.answers) >= set(card.label_codes[:2])
    assert open_one.is_open
    assert answer_sets(card, sure, 0.99)[CLASSES] is None


def test_other_weights_have_no_sets() -> None:
    card = with_sets(*classes(500, 4))
    other = card.model_copy(update={"weights_sha256": "b" * 64})
    assert answer_sets(other, dict.fromkeys(card.label_codes, 0.3), 0.9) == {CLASSES: None}


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_score_that_is_none_has_no_set(score: float) -> None:
    card = with_sets(*classes(500, 4))
    with pytest.raises(AnalysisError, match="no result"):
        answer_sets(card, dict.fromkeys(card.label_codes, score), 0.9)


def with_sets(truths: FloatArray, scores: FloatArray) -> ModelCard:
    card = card_of("softmax", 3)
    sets = fit_sets(held_out(truths, scores), exclusive=True)
    sets = {CLASSES: sets[CLASSES]}
    return card.model_copy(
        update={
            "confidence": Confidence(
                weights_sha256=card.weights_sha256, data="made", networks=3, pictures=len(truths), sets=sets
            )
        }
    )
