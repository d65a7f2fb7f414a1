"""Score drift: quartiles as numpy counts them, a moved period is noticed, a steady one is not, few answers stay unsaid."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from core.reviews.database import Database
from core.reviews.drift import LEAST_SHOWN, score_drift
from core.reviews.record import NetworkAnswer, Reader
from core.reviews.store import NewCase, Store
from core.reviews.worklist import GivenScores, Worklist

MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)


def given(scores: list[float], at: datetime, weights: str = "aa") -> list[GivenScores]:
    return [GivenScores("tiny", weights, at + timedelta(minutes=n), {"mass": s}) for n, s in enumerate(scores)]


def weeks(last_mean: float) -> list[GivenScores]:
    rng = np.random.default_rng(0)
    found = []
    for week, mean in enumerate((0.3, 0.3, 0.3, last_mean)):
        scores = np.clip(rng.normal(mean, 0.1, 40), 0, 1).tolist()
        found += given(scores, MONDAY + timedelta(weeks=week))
    return found


def test_quartiles_and_counts_by_week() -> None:
    (drift,) = score_drift(weeks(0.3), "mass")
    assert [one.start for one in drift.periods] == [date(2026, 3, 2) + timedelta(weeks=n) for n in range(4)]
    assert [one.count for one in drift.periods] == [40] * 4
    first = np.sort([one.scores["mass"] for one in weeks(0.3)[:40]])
    assert drift.periods[0].median == pytest.approx((first[19] + first[20]) / 2)
    assert drift.periods[0].low <= drift.periods[0].median <= drift.periods[0].high
    assert (drift.latest, drift.before) == (40, 120)


def test_a_moved_week_is_noticed_and_a_steady_one_is_not() -> None:
    (steady,) = score_drift(weeks(0.3), "mass")
    (moved,) = score_drift(weeks(0.5), "mass")
    assert not steady.differs
    assert moved.differs
    # Two groups that do not overlap at all are as far apart as the statistic goes.
    (apart,) = score_drift(given([0.1] * 30, MONDAY) + given([0.9] * 30, MONDAY + timedelta(weeks=1)), "mass")
    assert apart.statistic == 1.0


def test_models_are_told_apart_by_their_weights() -> None:
    found = score_drift(given([0.2] * 6, MONDAY, "aa") + given([0.8] * 6, MONDAY, "bb"), "mass")
    assert [(one.weights_sha256, one.periods[0].median) for one in found] == [("aa", 0.2), ("bb", 0.8)]
    assert score_drift(given([0.2], MONDAY), "nodule") == ()


def test_few_answers_are_neither_shown_nor_compared() -> None:
    few = given([0.5] * (LEAST_SHOWN - 1), MONDAY + timedelta(weeks=1))
    (drift,) = score_drift(given([0.2] * 30, MONDAY) + few, "mass")
    assert [one.count for one in drift.periods] == [30]
    assert drift.left_out == LEAST_SHOWN - 1
    assert (drift.p_value, drift.differs) == (None, False)


def test_days_are_days() -> None:
    late = given([0.2] * 5, MONDAY.replace(hour=23)) + given([0.2] * 5, MONDAY + timedelta(days=1))
    (drift,) = score_drift(late, "mass", "day")
    assert [one.start for one in drift.periods] == [date(2026, 3, 2), date(2026, 3, 3)]


def test_the_worklist_hands_over_what_was_answered(tmp_path: Path) -> None:
    database, anna = Database(f"sqlite:///{tmp_path / 'reviews.db'}"), Reader(name="Anna")
    store = Store(database)
    worklist = Worklist(database, store.policy)
    cases = [store.add_case(NewCase(f"{n:064x}", "study" if n else "upload"), anna) for n in range(4)]
    worklist.queue(case.id for case in cases)
    answer = NetworkAnswer(
        model_id="tiny", model_version="1", weights_sha256="0" * 64, frame=0, scores={"mass": 0.25}, thresholds={}
    )
    for case in cases[:3]:
        worklist.keep_answer(case.id, anna, state="answered", answer=answer, foremost=0.25)
    worklist.keep_answer(cases[3].id, anna, state="withheld", sentence="No model was made for it.")
    store.delete_case(cases[2].id, anna, "test")
    found = worklist.given_scores()
    assert [(one.origin, one.model_id, dict(one.scores)) for one in found] == [
        ("upload", "tiny", {"mass": 0.25}),
        ("study", "tiny", {"mass": 0.25}),
    ]
