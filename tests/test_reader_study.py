"""The reader study: its films are what they say, tell nobody, and the shipped model really errs on some."""

import hashlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from core.analysis import analyse
from core.models.loading import load_model
from core.reader_study import (
    ABNORMAL,
    FILMS,
    ORIGIN,
    StudyFilm,
    add_study,
    film_file,
    next_film,
    study_file,
    study_rows,
)
from core.reading.decoding import decode_scan
from core.reviews.database import Database
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import NewCase, Store
from core.reviews.worklist import Worklist
from core.simulation import simulate_film

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# What the shipped weights did when the films were chosen: what was drawn and not called, and what was called and not drawn.
MISSED = {980_008, 980_051, 980_094, 980_116, 980_129}
FALSE_ALARMS = {980_067, 980_196, 980_218}


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Store, Worklist]:
    database = Database(f"sqlite:///{tmp_path / 'reviews.db'}")
    store = Store(database)
    return store, Worklist(database, store.policy)


def test_the_truth_is_what_was_drawn() -> None:
    assert len({film.seed for film in FILMS}) == len(FILMS) == 20
    for film in FILMS:
        assert film.truth[ABNORMAL] == (film.finding is not None)
        assert [code for code, there in film.truth.items() if there and code != ABNORMAL] == [film.finding] * bool(
            film.finding
        )
    film = StudyFilm(980_094, "mass")
    drawn = simulate_film(film.seed, "mass")
    stored = decode_scan(film_file(film)).stored[0]
    assert np.array_equal(stored, drawn.pixels)
    changed = stored != simulate_film(film.seed).pixels
    assert changed.any()
    assert np.array_equal(changed & drawn.mask, changed)


def test_the_model_is_right_on_most_and_really_errs_on_some() -> None:
    model = load_model("chest-xray-adult")
    missed, alarms = set(), set()
    for film in FILMS:
        analysis = analyse(model, decode_scan(film_file(film)))
        assert analysis.novelty is not None
        assert analysis.novelty.reason is None
        called = {
            code for code, score in analysis.prediction.scores.items() if score >= (model.card.threshold(code) or 1)
        }
        truth = {code for code, there in film.truth.items() if there}
        if film.finding and not called:
            missed.add(film.seed)
        elif called - truth:
            alarms.add(film.seed)
        elif called != truth:
            pytest.fail(f"{film}: {called}")
    assert missed == MISSED
    assert alarms == FALSE_ALARMS


def test_nothing_in_file_facts_or_order_tells_what_was_drawn(opened: tuple[Store, Worklist]) -> None:
    cases = add_study(*opened, ANNA)
    for film, case in zip(FILMS, cases, strict=True):
        header = pydicom.dcmread(BytesIO(film_file(film)), stop_before_pixels=True)
        said = f"{header} {dict(case.facts)} {case.pseudonym} {case.patient}".lower()
        assert not [finding for finding in FILMS if finding.finding and finding.finding in said]
        twin = pydicom.dcmread(BytesIO(film_file(StudyFilm(film.seed, None))), stop_before_pixels=True)
        assert twin == header
    findings = [film.finding for film in FILMS]
    assert all(len({*findings[start : start + 3]}) > 1 for start in range(len(findings) - 2))


def test_the_set_is_added_once_read_first_and_waits_for_its_answers(opened: tuple[Store, Worklist]) -> None:
    store, worklist = opened
    other = store.add_case(NewCase("ab" * 32, "upload"), ANNA)
    cases = add_study(store, worklist, ANNA)
    assert [case.id for case in add_study(store, worklist, BO)] == [case.id for case in cases]
    assert len(store.cases()) == 21
    assert set(worklist.waiting()) == {case.id for case in cases}
    for case in cases:
        assert (case.origin, case.opens_revealed, store.may_see_answer(case.id, ANNA)) == (ORIGIN, False, False)
        file = study_file(case)
        assert file is not None
        assert hashlib.sha256(file).hexdigest() == case.digest
    assert study_file(other) is None


def test_everybody_reads_in_an_order_of_their_own_that_stays(opened: tuple[Store, Worklist]) -> None:
    store, worklist = opened
    assert next_film(worklist, ANNA) is None
    add_study(store, worklist, ANNA)
    store.add_case(NewCase("ab" * 32, "upload"), ANNA)
    order = [row.case.id for row in study_rows(worklist, ANNA)]
    assert len(order) == 20
    assert order == [row.case.id for row in study_rows(worklist, ANNA)]
    assert order != [row.case.id for row in study_rows(worklist, BO)]
    first = next_film(worklist, ANNA)
    assert first is not None
    assert first.id == order[0]
    store.commit_first_read(first.id, ANNA, Read(findings={"mass": Finding(mark="absent")}), NOW)
    following = next_film(worklist, ANNA)
    assert following is not None
    assert following.id == order[1]
