"""The review store on SQLite and on PostgreSQL: order of the reads, nothing lost, nothing changed unnoticed."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from core.errors import ReviewRejected, StoreBusy, StoreError
from core.reviews.database import Database
from core.reviews.record import Finding, NetworkAnswer, Read, Reader, SecondRead
from core.reviews.settings import Policy
from core.reviews.store import Case, NewCase, Store
from tests.postgres import find_postgres, running_postgres

ANNA, BO = Reader(name="Anna"), Reader(name="Bo", how_known="proxy")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANSWER = NetworkAnswer(
    model_id="tiny", model_version="1", weights_sha256="0" * 64, frame=0, scores={"mass": 0.7}, thresholds={"mass": 0.4}
)

pytestmark = pytest.mark.xdist_group("reviews")


def read(mark: str = "present", comment: str = "") -> Read:
    return Read(findings={"mass": Finding(mark=mark, confidence=3)}, comment=comment)  # type: ignore[arg-type]


def second(mark: str = "present", decision: str = "agree", reason: str = "") -> SecondRead:
    return SecondRead(decisions={"mass": decision}, read=read(mark), reason=reason)  # type: ignore[dict-item]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed on this machine: these tests ran on SQLite alone.")
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'reviews.db'}", patience=1)
    else:
        url = request.getfixturevalue("postgres")
        opened = Database(url, patience=1)
        with opened.writing() as session:
            session.execute(text("TRUNCATE audit, audit_head, drafts, reviews, analyses, cases"))
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def case(store: Store) -> Case:
    return store.add_case(NewCase("a" * 64, "upload", {"Modality": "DX"}), ANNA)


def tamper(database: Database, *statements: str) -> None:
    """What somebody who holds the database itself could do: the triggers out of the way first."""
    with database.writing() as session:
        for table in ("audit", "reviews"):
            for act in ("values", "rows"):
                if database.is_sqlite:
                    session.execute(text(f"DROP TRIGGER IF EXISTS {table}_keeps_{act}"))
                else:
                    session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {table}_keeps_{act}"))
        for statement in statements:
            session.execute(text(statement))
        if not database.is_sqlite:
            for table in ("audit", "reviews"):
                session.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER ALL"))


def test_the_reader_speaks_first_and_both_reads_are_kept(store: Store, case: Case) -> None:
    assert not store.may_see_answer(case.id, ANNA)
    with pytest.raises(ReviewRejected, match="Commit your own read first"):
        store.keep_second_read(case.id, ANNA, second(), ANSWER, opened_at=NOW)
    first = store.commit_first_read(case.id, ANNA, read("absent"), NOW)
    assert (first.version, first.stage, first.opened_at, first.answer) == (1, "first read", NOW, None)
    assert store.may_see_answer(case.id, ANNA)
    # Another reader's commit reveals nothing to Bo.
    assert not store.may_see_answer(case.id, BO)
    changed = store.keep_second_read(case.id, ANNA, second("present"), ANSWER, opened_at=NOW)
    assert changed.changes == ("mass",)
    assert changed.first == read("absent")
    assert changed.answer == ANSWER
    assert changed.first_at == first.at < changed.at
    signed = store.sign(case.id, ANNA)
    assert [review.version for review in store.reviews(case.id)] == [1, 2, 3]
    assert store.review(case.id, ANNA) == signed
    assert signed.final == read("present")


def test_steps_out_of_order_are_refused_and_change_nothing(store: Store, case: Case) -> None:
    with pytest.raises(ReviewRejected, match="no read to sign"):
        store.sign(case.id, ANNA)
    store.commit_first_read(case.id, ANNA, read(), NOW)
    with pytest.raises(ReviewRejected, match="committed already"):
        store.commit_first_read(case.id, ANNA, read("absent"), NOW)
    store.sign(case.id, ANNA)
    with pytest.raises(ReviewRejected, match="signed already"):
        store.sign(case.id, ANNA)
    assert len(store.reviews()) == 2
    amended = store.keep_second_read(case.id, ANNA, second("absent"), ANSWER, opened_at=NOW)
    assert (amended.version, amended.stage) == (3, "second read")
    assert store.sign(case.id, ANNA).version == 4
    with pytest.raises(ReviewRejected, match="not there any more"):
        store.commit_first_read("nowhere", ANNA, read(), NOW)


def test_samples_and_deployments_without_read_first_open_revealed(store: Store, database: Database) -> None:
    sample = store.add_case(NewCase("b" * 64, "sample"), ANNA)
    assert store.may_see_answer(sample.id, ANNA)
    assert store.keep_second_read(sample.id, ANNA, second(), ANSWER, opened_at=NOW).first is None
    open_house = Store(database, Policy(read_first=False))
    upload = open_house.add_case(NewCase("c" * 64, "upload"), ANNA)
    assert open_house.may_see_answer(upload.id, BO)


def test_two_readers_at_once_keep_two_reviews_of_every_case(store: Store) -> None:
    def review_all(by: Reader, cases: list[Case]) -> None:
        for case in cases:
            store.commit_first_read(case.id, by, read(), NOW)

    cases = [store.add_case(NewCase(f"{n:064x}", "upload"), ANNA) for n in range(20)]
    threads = [threading.Thread(target=review_all, args=(by, cases)) for by in (ANNA, BO)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.reviews()) == 40
    assert store.verify().holds


def test_a_case_is_added_once_and_named_by_nothing_of_the_patient(store: Store, case: Case) -> None:
    assert store.add_case(NewCase("a" * 64, "upload"), BO).id == case.id
    assert [c.id for c in store.cases()] == [case.id]
    assert len(case.pseudonym) == 9
    assert not case.has_file


def test_files_are_kept_only_where_the_deployment_says_so(database: Database) -> None:
    new = NewCase("d" * 64, "upload", file=b"pixels")
    without = Store(database).add_case(new, ANNA)
    assert Store(database).file_of(without.id) is None
    keeping = Store(database, Policy(keeps_files=True))
    kept = keeping.add_case(NewCase("e" * 64, "upload", file=b"pixels"), ANNA)
    assert keeping.file_of(kept.id) == b"pixels"


def test_drafts_belong_to_their_author_and_survive(store: Store, case: Case) -> None:
    store.save_draft(case.id, ANNA, "half a thought")
    store.save_draft(case.id, ANNA, "a thought")
    assert store.draft(case.id, ANNA) == "a thought"
    assert store.draft(case.id, BO) == ""
    store.commit_first_read(case.id, ANNA, read(comment="a thought"), NOW)
    assert store.draft(case.id, ANNA) == ""


def test_whatever_is_typed_is_kept_literally(store: Store, case: Case) -> None:
    typed = (
        "=cmd|' /C calc'!A0 <script>alert(1)</script> \u202egnorw\u202c \U0001f9ec 肺炎 '; DROP TABLE reviews; --\n"
        * 900
    )
    store.commit_first_read(case.id, ANNA, read(comment=typed), NOW)
    kept = store.review(case.id, ANNA)
    assert kept is not None
    assert kept.first is not None
    assert kept.first.comment == typed
    assert Read(comment="a\0b").comment == "ab"
    with pytest.raises(ValidationError):
        Read(comment="x" * 100_001)
    assert Reader(name=" Dr\u0007 A.\n ").name == "Dr A."
    with pytest.raises(ValidationError):
        Reader(name="\u0007")
    with pytest.raises(ValidationError, match="needs a reason"):
        second(decision="reject")


def test_reviews_and_events_cannot_be_changed_or_taken_out(store: Store, database: Database, case: Case) -> None:
    store.commit_first_read(case.id, ANNA, read(), NOW)
    for statement in (
        "UPDATE audit SET reader = 'x'",
        "DELETE FROM audit",
        "UPDATE reviews SET content = '{}'",
        "DELETE FROM reviews",
    ):
        with pytest.raises(StoreError, match="refused the change"), database.writing() as session:
            session.execute(text(statement))
    assert store.verify().holds


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE audit SET outcome = 'failed' WHERE number = 500", 500),
        ("UPDATE audit SET detail = '{\"n\": 1}' WHERE number = 777", 777),
        ("DELETE FROM audit WHERE number = 300", 301),
        ("UPDATE audit SET number = CASE number WHEN 400 THEN -1 ELSE number END WHERE number = 400", -1),
        ("DELETE FROM audit WHERE number > 990", 1001),
    ],
)
def test_one_event_of_a_thousand_is_missed(
    store: Store, database: Database, case: Case, statement: str, where: int
) -> None:
    with database.writing() as session:
        from core.reviews import audit

        for number in range(1000):
            audit.append(session, BO, "case viewed", case_id=case.id, detail={"n": number})
    assert store.verify().holds
    tamper(database, statement)
    found = store.verify()
    assert not found.holds
    assert found.broken[0].number == where


def test_two_events_that_change_places_are_missed(store: Store, database: Database, case: Case) -> None:
    for _ in range(4):
        store.record(ANNA, "case viewed", case_id=case.id)
    tamper(
        database,
        "UPDATE audit SET number = -3 WHERE number = 3",
        "UPDATE audit SET number = 3 WHERE number = 4",
        "UPDATE audit SET number = 4 WHERE number = -3",
    )
    assert {broken.number for broken in store.verify().broken} >= {3, 4}


def test_a_review_that_was_changed_or_taken_out_is_missed(store: Store, database: Database, case: Case) -> None:
    store.commit_first_read(case.id, ANNA, read(), NOW)
    store.commit_first_read(case.id, BO, read(), NOW)
    tamper(database, "UPDATE reviews SET content = replace(content, 'present', 'absent') WHERE reader = 'Anna'")
    assert [b.sentence for b in store.verify().broken] == [
        "The review that event 2 tells of was changed after it was written."
    ]
    tamper(database, "DELETE FROM reviews WHERE reader = 'Bo'")
    assert "The review that event 3 tells of is missing." in [b.sentence for b in store.verify().broken]


def test_events_say_who_what_when_and_in_dicoms_codes(store: Store, case: Case) -> None:
    store.record(BO, "exported", case_id=case.id, detail={"as": "PDF"})
    event = store.events(case.id)[-1]
    assert (event["reader"], event["how_known"], event["event"], event["code"]) == ("Bo", "proxy", "exported", "110106")
    assert event["study"] == "a" * 64
    assert datetime.fromisoformat(event["at"]).utcoffset() == timedelta(0)


def test_a_deleted_case_leaves_its_traces_in_the_trail_alone(store: Store, database: Database, case: Case) -> None:
    store.commit_first_read(case.id, ANNA, read(comment="MARKER-17"), NOW)
    store.save_draft(case.id, BO, "MARKER-18")
    store.delete_case(case.id, BO, "asked by the patient")
    assert store.cases() == ()
    assert store.reviews() == ()
    with pytest.raises(ReviewRejected):
        store.delete_case(case.id, BO, "again")
    assert store.verify().holds
    assert store.events(case.id)[-1]["detail"] == {"why": "asked by the patient"}
    # The same file comes back as a new case.
    assert store.add_case(NewCase("a" * 64, "upload"), ANNA).id != case.id


def test_the_retention_limit_takes_out_what_is_older(database: Database, case: Case) -> None:
    kept = Store(database, Policy(retention_days=30))
    with database.writing() as session:
        session.execute(text("UPDATE cases SET added_at = '2020-01-01 00:00:00.000000'"))
    fresh = kept.add_case(NewCase("f" * 64, "upload"), ANNA)
    assert kept.delete_outdated(BO) == 1
    assert [c.id for c in kept.cases()] == [fresh.id]
    assert kept.delete_outdated(BO) == 0


def test_a_locked_database_says_so_and_saves_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "reviews.db"
    store = Store(Database(f"sqlite:///{path}", patience=0.2))
    case = store.add_case(NewCase("a" * 64, "upload"), ANNA)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="what you typed is still here"):
            store.save_draft(case.id, ANNA, "text")
        other.execute("ROLLBACK")
    store.save_draft(case.id, ANNA, "text")
    assert store.draft(case.id, ANNA) == "text"


def test_a_database_that_is_newer_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reviews.db"
    Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="newer RadLens"):
        Database(f"sqlite:///{path}")
    (tmp_path / "text.db").write_text("This is a letter, not a database. " * 50)
    for url in (f"sqlite:///{tmp_path / 'text.db'}", "sqlite:////proc/none/reviews.db", "no url", "oracle://x"):
        with pytest.raises(StoreError):
            Database(url)


def test_opening_it_again_keeps_all_that_was_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'reviews.db'}"
    first = Database(url)
    case = Store(first).add_case(NewCase("a" * 64, "upload"), ANNA)
    first.close()
    assert Store(Database(url)).case(case.id).pseudonym == case.pseudonym


_WRITER = """
import sys
from datetime import UTC, datetime
from core.reviews.database import Database
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import NewCase, Store
store, me = Store(Database(sys.argv[1], patience=30)), Reader(name=sys.argv[2])
while True:
    case = store.add_case(NewCase(__import__("secrets").token_hex(32), "upload"), me)
    store.commit_first_read(case.id, me, Read(findings={"mass": Finding(mark="present")}), datetime.now(UTC))
    print(case.id, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'reviews.db'}"
    Database(url).close()
    acknowledged: list[str] = []
    for _ in range(2):
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, url, f"writer {n}"], stdout=subprocess.PIPE, text=True)
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            acknowledged.append(writer.stdout.readline().strip())
        time.sleep(0.2)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            acknowledged += [line.strip() for line in writer.communicate()[0].splitlines()]
    store = Store(Database(url))
    kept = {review.case_id for review in store.reviews()}
    # A line that was cut off by the kill is no acknowledgement.
    whole = {case for case in acknowledged if len(case) == 36}
    assert len(whole) >= 4
    assert whole <= kept
    assert store.verify().holds
    with closing(sqlite3.connect(tmp_path / "reviews.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
