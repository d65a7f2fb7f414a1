"""Many files become cases, and the background answers them: what it says, what it survives, and what it leaves to the reader."""

import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from core.analysis import analyse
from core.engines.engine import Engine, FloatArray, Outputs, Run, run_alone
from core.engines.queue import FairQueue
from core.models.loading import Model, prepare
from core.reading import read_scan, read_study
from core.reading.many import bytes_of, groups_of
from core.reviews.background import Background, after_readers
from core.reviews.database import Database
from core.reviews.intake import take_in
from core.reviews.keeping import CaseFiles
from core.reviews.opening import Reviews
from core.reviews.record import Finding, Read, Reader
from core.reviews.settings import Policy, Settings
from core.reviews.store import Case, NewCase, Store
from core.reviews.tables import AnalysisRow, CaseRow
from core.reviews.worklist import Worklist
from tests.files import dicom_bytes
from tests.networks import card, seeded

ANNA = Reader(name="Anna")
PLENTY = 1 << 30
CHEST: dict[str, Any] = {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}
pytestmark = pytest.mark.xdist_group("reviews")


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@dataclass
class Server:
    """A server's worklist with its background, around one database."""

    reviews: Reviews
    kept: CaseFiles
    background: Background

    @property
    def store(self) -> Store:
        return self.reviews.store

    def add(self, *files: tuple[str, bytes]) -> tuple[list[Case], dict[str, str]]:
        taken = list(take_in(files, self.reviews, self.kept, ANNA))
        refused = {left.name: left.reason for step in taken for left in step.left_out}
        return [case for step in taken for case in step.cases], refused

    def states(self) -> list[str]:
        rows = self.reviews.worklist.rows(ANNA, order="oldest", at_hand=self.kept.at_hand)
        return [row.answer for row in rows]

    def run(self) -> None:
        self.background.begin()
        wait(lambda: not self.background.progress().waiting)


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come to an end"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path, model: Model) -> Any:
    """Makes servers; all are closed at the end."""
    made: list[Server] = []

    def make(policy: Policy | None = None, run: Run = run_alone, load: Any = None, limit: int = PLENTY) -> Server:
        settled = policy or Policy()
        database = Database(f"sqlite:///{tmp_path / 'reviews.db'}")
        store = Store(database, settled)
        reviews = Reviews(store, Worklist(database, settled), Settings(settled), b"key")
        kept = CaseFiles(store, limit)
        background = Background(reviews, kept, lambda: [model.card], load or (lambda _: model), run)
        made.append(Server(reviews, kept, background))
        return made[-1]

    yield make
    for one in made:
        one.background.close()


def film(number: int, **tags: Any) -> tuple[str, bytes]:
    pixels = np.random.default_rng(number).integers(0, 4000, (64, 64)).astype(np.uint16)
    return f"film{number}.dcm", dicom_bytes(pixels, **{**CHEST, **tags})


def ct_slice(number: int, patient: str) -> bytes:
    return dicom_bytes(
        np.full((16, 16), 10 * number + 1, np.int16), Modality="CT", SeriesInstanceUID="1.2.3", PatientID=patient,
        SOPInstanceUID=f"1.2.3.{number}", ImagePositionPatient=[0, 0, 2.0 * number], PixelSpacing=[1, 1],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )  # fmt: skip


def archive(files: Sequence[tuple[str, bytes]]) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as entries:
        for name, data in files:
            entries.writestr(name, data)
    return packed.getvalue()


def test_every_film_is_answered_as_the_page_would_and_the_rest_has_its_sentence(server: Any, model: Model) -> None:
    one = server()
    films = [film(number) for number in range(3)]
    cases, refused = one.add(
        *films, ("arm.dcm", film(9, BodyPartExamined="ARM")[1]), ("broken.dcm", b"nothing of the kind")
    )
    assert list(refused) == ["broken.dcm"]
    assert "DICOM" in refused["broken.dcm"]
    one.run()
    assert one.states() == ["answered"] * 3 + ["withheld"]
    given = {answer.scores["mass"] for answer in one.reviews.worklist.given_scores()}
    assert given == {analyse(model, read_scan(data)).prediction.scores["mass"] for _, data in films}
    sentence = one.reviews.worklist.rows(ANNA, order="newest")[0].sentence
    assert "made for CHEST" in sentence
    assert [event["reader"] for event in one.store.events() if event["event"] == "case analysed"] == ["RadLens"] * 4
    assert one.store.case(cases[0].id).has_file is False


def test_slices_are_one_case_that_opens_again_and_patients_are_kept_apart(server: Any) -> None:
    one = server()
    first = [(f"a/{n}", ct_slice(n, "A")) for n in (2, 0, 1)]
    second = [(f"b/{n}", ct_slice(n, "B")) for n in range(3)]
    cases, refused = one.add(("both.zip", archive([*first, *second, ("notes.txt", b"hello")])), film(1, PatientID="A"))
    assert list(refused) == ["notes.txt"]
    assert len(cases) == 3
    stack = read_study(first).scans[0]
    assert cases[0].digest == stack.digest
    again = read_study([("", one.kept.file_of(cases[0]))]).scans
    assert [scan.digest for scan in again] == [stack.digest]
    np.testing.assert_array_equal(again[0].stored, stack.stored)
    assert again[0].stored[:, 0, 0].tolist() == [1, 11, 21]
    assert cases[0].patient == cases[2].patient != cases[1].patient
    assert [row.case.id for row in one.reviews.worklist.earlier_rows(cases[2], ANNA)] == [cases[0].id]


def test_the_bytes_that_are_kept_of_a_series_tell_no_name() -> None:
    group = groups_of([("DOE_JANE/1.dcm", ct_slice(1, "A")), ("DOE_JANE/2.dcm", ct_slice(2, "A"))])[0]
    assert len(group.files) == 2
    assert b"DOE_JANE" not in bytes_of(group)
    assert bytes_of(group) == bytes_of(group)


def test_two_files_of_one_name_are_two_cases(server: Any) -> None:
    cases, _ = server().add(("film.dcm", film(1)[1]), ("film.dcm", film(2)[1]))
    assert len({case.digest for case in cases}) == 2


def test_a_reader_stops_it_and_it_goes_on_where_it_was(server: Any) -> None:
    gate = threading.Semaphore(1)

    def slowly(engine: Engine, picture: FloatArray, layers: Sequence[str]) -> Outputs:
        gate.acquire()
        return engine.run(picture, layers)[0]

    one = server(run=slowly)
    one.add(*(film(number) for number in range(6)))
    one.background.begin()
    wait(lambda: one.states().count("answered") == 1)
    one.background.cancel()
    gate.release(10)  # those that are in work are finished
    wait(lambda: one.states().count("answered") == 4)
    time.sleep(0.2)
    assert one.states().count("waiting") == 2
    assert one.background.progress().cancelled
    assert not one.background.progress().is_at_work
    one.run()
    assert one.states() == ["answered"] * 6


def test_after_a_restart_it_goes_on_by_itself_where_files_are_kept(server: Any) -> None:
    keeps = Policy(keeps_files=True)
    one = server(keeps)
    one.add(*(film(number) for number in range(3)))
    assert one.kept.used == 0
    two = server(keeps)
    assert two.background.progress().waiting == 3
    two.run()
    assert two.states() == ["answered"] * 3


def test_a_file_that_is_gone_is_said_and_joins_its_case_and_reviews_when_it_comes_again(server: Any) -> None:
    one = server()
    cases, _ = one.add(film(1), film(2))
    one.store.commit_first_read(
        cases[0].id, ANNA, Read(findings={"mass": Finding(mark="absent")}), datetime(2026, 1, 2, tzinfo=UTC)
    )
    two = server()
    assert two.states() == ["file is gone"] * 2
    assert two.background.progress().waiting == 0
    assert two.background.progress().gone == 2
    two.run()
    assert one.states() == ["waiting"] * 2  # the server that has them will answer them
    again, _ = two.add(film(1))
    assert [case.id for case in again] == [cases[0].id]
    assert two.store.review(again[0].id, ANNA) is not None
    two.run()
    assert two.states() == ["answered", "file is gone"]


def test_two_servers_on_one_database_answer_each_case_once(server: Any) -> None:
    keeps = Policy(keeps_files=True)
    one, two = server(keeps), server(keeps)
    one.add(*(film(number) for number in range(24)))
    one.background.begin()
    two.background.begin()
    wait(lambda: one.states() == ["answered"] * 24)
    wait(lambda: not one.reviews.worklist.waiting())
    analysed = [event["case"] for event in one.store.events() if event["event"] == "case analysed"]
    assert len(analysed) == len(set(analysed)) == 24
    assert one.store.verify().holds


def test_what_a_dead_server_had_taken_is_taken_over(server: Any) -> None:
    one = server(Policy(keeps_files=True))
    one.add(film(1))
    assert len(one.reviews.worklist.take(5, one.kept.at_hand)) == 1
    assert one.reviews.worklist.take(5, one.kept.at_hand) == ()
    with one.reviews.worklist._database.writing() as session:
        session.execute(update(AnalysisRow).values(at=datetime.now(UTC) - timedelta(hours=1)))
    one.run()
    assert one.states() == ["answered"]


def test_a_network_that_breaks_on_one_scan_does_not_hold_up_the_others(server: Any, model: Model) -> None:
    asked: list[str] = []

    def load(model_id: str) -> Model:
        asked.append(model_id)
        if len(asked) == 2:
            raise RuntimeError("out of memory, with a path and a name in it")
        return model

    one = server(load=load)
    one.add(*(film(number) for number in range(4)))
    one.run()
    assert sorted(one.states()) == ["answered", "answered", "answered", "failed"]
    failed = next(row for row in one.reviews.worklist.rows(ANNA) if row.answer == "failed")
    assert "broke down" in failed.sentence
    assert "path" not in failed.sentence


def test_memory_holds_no_more_than_it_may_and_the_oldest_goes_first(server: Any) -> None:
    size = len(film(1)[1])
    one = server(limit=2 * size + 100)
    cases, _ = one.add(*(film(number) for number in range(4)))
    assert [one.kept.at_hand(case.id, case.origin, case.has_file) for case in cases] == [False, False, True, True]
    assert one.kept.used <= one.kept.limit
    assert one.kept.file_of(cases[0]) is None
    assert one.kept.file_of(cases[3]) == film(3)[1]


def test_readers_come_first_at_the_engine(model: Model) -> None:
    """One worker is busy; what a reader asks then is answered before what the background asked earlier still."""
    queue, order = FairQueue(workers=1), []
    busy, go = threading.Event(), threading.Event()

    class Slow:
        at_once = 1

        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, picture: FloatArray, layers: Sequence[str]) -> Any:
            busy.set()
            go.wait(30)
            order.append(self.name)
            return model.engine.run(picture, layers)

    picture = np.zeros((1, 1, 64, 64), np.float32)
    queue.submit("a", Slow("first"), picture)  # type: ignore[arg-type]
    assert busy.wait(30)
    last = queue.submit("a", Slow("reader"), picture)  # type: ignore[arg-type]
    background = threading.Thread(target=lambda: after_readers(queue)(Slow("background"), picture, ()))  # type: ignore[arg-type]
    background.start()
    time.sleep(0.1)
    assert queue.waiting == 1
    go.set()
    last.result(30)
    background.join(30)
    queue.close()
    assert order == ["first", "reader", "background"]


def test_what_is_past_its_time_goes_without_anybody_asking(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.reviews.background._HOUR", 0.0)
    one = server(Policy(retention_days=1))
    cases, _ = one.add(film(1), film(2))
    with one.reviews.worklist._database.writing() as session:
        old = datetime.now(UTC) - timedelta(days=2)
        session.execute(update(CaseRow).where(CaseRow.id == cases[0].id).values(added_at=old))
    one.background.begin()
    wait(lambda: one.kept.file_of(cases[0]) is None)
    assert [case.id for case in one.store.cases()] == [cases[1].id]
    assert [event["reader"] for event in one.store.events(cases[0].id) if event["event"] == "case deleted"] == [
        "RadLens"
    ]


def test_the_films_of_the_reader_study_need_no_file(server: Any) -> None:
    from core.reader_study import FILMS, ORIGIN, film_file

    one = server()
    data = film_file(FILMS[0])
    scan = read_scan(data)
    facts = {**scan.facts, "Study film": f"1 of {len(FILMS)}"}
    case = one.store.add_case(NewCase(scan.digest, ORIGIN, facts), ANNA)
    assert one.kept.at_hand(case.id, case.origin, case.has_file)
    assert one.kept.file_of(case) == data
