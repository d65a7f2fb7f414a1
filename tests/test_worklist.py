"""The worklist: what a reader may see of cases they have not read, in which order, and what leaves as CSV."""

import csv
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy import event

from core.errors import ConfigurationError
from core.reviews.database import Database
from core.reviews.record import Finding, NetworkAnswer, Read, Reader
from core.reviews.settings import Policy
from core.reviews.store import Case, NewCase, Store
from core.reviews.tables import CaseRow
from core.reviews.worklist import Worklist, as_csv, harmless

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'reviews.db'}")


def filled(database: Database, scores: list[float], *, triage: bool = False) -> tuple[Store, Worklist, list[Case]]:
    store = Store(database)
    worklist = Worklist(database, store.policy, triage=triage)
    cases = [store.add_case(NewCase(f"{n:064x}", "upload", {"Modality": "DX"}), ANNA) for n in range(len(scores))]
    worklist.queue(case.id for case in cases)
    for case, score in zip(cases, scores, strict=True):
        answer = NetworkAnswer(
            model_id="tiny", model_version="1", weights_sha256="0" * 64, frame=0, scores={"mass": score}, thresholds={}
        )
        worklist.keep_answer(case.id, ANNA, state="answered", answer=answer, foremost=score, novelty=1 - score)
    return store, worklist, cases


def commit(store: Store, case: Case, by: Reader) -> None:
    store.commit_first_read(case.id, by, Read(findings={"mass": Finding(mark="present")}), NOW)


def test_a_score_is_seen_by_who_has_read_the_case_and_by_nobody_else(database: Database) -> None:
    store, worklist, cases = filled(database, [0.2, 0.9, 0.5])
    assert all(row.hidden and row.score is None and row.novelty is None for row in worklist.rows(ANNA))
    commit(store, cases[1], ANNA)
    seen = {row.case.id: row.score for row in worklist.rows(ANNA)}
    assert seen == {cases[0].id: None, cases[1].id: 0.9, cases[2].id: None}
    assert all(row.score is None for row in worklist.rows(BO))
    assert {row.case.id: row.reviews for row in worklist.rows(BO)}[cases[1].id] == 1
    assert "0.9" not in as_csv(worklist.rows(BO))


def test_unread_cases_cannot_be_sorted_by_what_they_must_not_say(database: Database) -> None:
    store, worklist, cases = filled(database, [0.2, 0.9, 0.5])
    for order in ("score", "novelty"):
        with pytest.raises(ConfigurationError, match="cannot be sorted"):
            worklist.rows(ANNA, order=order)
    for case in cases:
        commit(store, case, ANNA)
    ordered = worklist.rows(ANNA, order="score", read="first read")
    assert [row.score for row in ordered] == [0.9, 0.5, 0.2]


def test_a_deployment_for_triage_sorts_by_score(database: Database) -> None:
    _, worklist, cases = filled(database, [0.2, 0.9, 0.5], triage=True)
    assert [row.case.id for row in worklist.rows(ANNA, order="score")] == [cases[1].id, cases[2].id, cases[0].id]
    assert [row.case.id for row in worklist.rows(ANNA, order="novelty")] == [cases[0].id, cases[2].id, cases[1].id]


def test_orders_filters_and_the_next_case(database: Database) -> None:
    store, worklist, cases = filled(database, [0.1] * 5)
    ids = [case.id for case in cases]
    assert [row.case.id for row in worklist.rows(ANNA)] == ids[::-1]
    assert [row.case.id for row in worklist.rows(ANNA, order="oldest")] == ids
    commit(store, cases[0], ANNA)
    assert [row.case.id for row in worklist.rows(ANNA, read="first read")] == ids[:1]
    assert [row.read for row in worklist.rows(ANNA, order="state")] == ["unread"] * 4 + ["first read"]
    following = worklist.next_unread(ANNA)
    assert following is not None
    assert following.id == ids[1]
    assert worklist.rows(ANNA, words=cases[2].pseudonym.lower())[0].case.id == ids[2]
    assert worklist.rows(ANNA, words="nothing of the kind") == ()
    shuffled = [row.case.id for row in worklist.rows(ANNA, order="random", seed=3)]
    assert sorted(shuffled) == sorted(ids)
    assert shuffled == [row.case.id for row in worklist.rows(ANNA, order="random", seed=3)]
    assert any(shuffled != [r.case.id for r in worklist.rows(ANNA, order="random", seed=s)] for s in range(4, 9))


def test_what_waits_waits_after_a_restart_too(database: Database, tmp_path: Path) -> None:
    store = Store(database)
    worklist = Worklist(database, store.policy)
    cases = [store.add_case(NewCase(f"{n:064x}", "upload"), ANNA) for n in range(3)]
    worklist.queue(case.id for case in cases)
    worklist.queue([cases[0].id])
    worklist.keep_answer(cases[1].id, ANNA, state="withheld", sentence="No model was made for this scan.")
    database.close()
    again = Worklist(Database(f"sqlite:///{tmp_path / 'reviews.db'}"), Policy())
    assert again.waiting() == (cases[0].id, cases[2].id)
    row = next(row for row in again.rows(ANNA) if row.case.id == cases[1].id)
    assert (row.answer, row.sentence) == ("withheld", "No model was made for this scan.")
    assert Store(database).events(cases[1].id)[-1]["outcome"] == "refused"


def test_earlier_cases_are_those_of_the_same_patient(database: Database) -> None:
    store = Store(database)
    worklist = Worklist(database, store.policy)
    first, second = (store.add_case(NewCase(f"{n:064x}", "upload", patient="p1"), ANNA) for n in (1, 2))
    other = store.add_case(NewCase(f"{3:064x}", "upload", patient="p2"), ANNA)
    unknown = store.add_case(NewCase(f"{4:064x}", "upload"), ANNA)
    assert [case.id for case in worklist.earlier(second)] == [first.id]
    assert worklist.earlier(other) == worklist.earlier(unknown) == ()


def test_no_cell_of_the_csv_is_a_formula(database: Database) -> None:
    store = Store(database)
    store.add_case(NewCase("a" * 64, "upload", {"Modality": "=cmd|' /C calc'!A0", "BodyPartExamined": '+1,"x"'}), ANNA)
    rows = list(csv.reader(StringIO(as_csv(Worklist(database, store.policy).rows(ANNA)))))
    assert rows[1][3:5] == ["'=cmd|' /C calc'!A0", '\'+1,"x"']
    assert [harmless(cell) for cell in ("-1", "@a", "\tb", "0.5", "")] == ["'-1", "'@a", "'\tb", "0.5", ""]


def test_a_thousand_cases_are_listed_in_one_go(database: Database) -> None:
    """Not a timed test: it counts what the database is asked, which must not grow with the list."""
    store, worklist, _ = filled(database, [0.5] * 3)
    few = _statements(database, worklist)
    with database.writing() as session:
        for n in range(100, 1100):
            session.add(
                CaseRow(
                    id=str(n), pseudonym=f"P{n}", digest=str(n), patient="", origin="upload", added_at=NOW, added_by="x",
                    facts={},
                )
            )  # fmt: skip
    assert len(worklist.rows(ANNA)) == 1003
    assert _statements(database, worklist) == few
    assert len(store.cases()) == 1003


def _statements(database: Database, worklist: Worklist) -> int:
    seen: list[str] = []
    event.listen(database._engine, "before_cursor_execute", lambda _c, _u, statement, *_: seen.append(statement))
    worklist.rows(ANNA)
    return sum(statement.startswith("SELECT") for statement in seen)
