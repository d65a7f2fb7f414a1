"""A reader study of ten minutes: twenty simulated films whose truth is known, on some of which the shipped model errs.

Every film is one patient of ``core.simulation`` with one finding drawn in, or none; that is the truth. The films were chosen by
asking ``chest-xray-adult`` about some hundred: twelve that it answers as they were drawn, and eight on which it does not (it
misses what was drawn, or calls what was not). Its answers are kept nowhere: they are computed when a case is analysed, and
``tests/test_reader_study.py`` asks again whether the errors still are errors. The share of errors is far above the
model's own on such films, so that there is something to disagree with: nothing about the model's quality follows from it.

Nothing in a film's file or facts tells what was drawn, and the order here does not either.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from core.cache_folder import kept_or_made
from core.reading.decoding import decode_scan
from core.reviews.record import Reader
from core.reviews.store import Case, NewCase, Store
from core.reviews.worklist import Worklist, WorklistRow
from core.samples import film_to_dicom, generator
from core.simulation import FINDINGS, simulate_film

ORIGIN = "study"
ABNORMAL = "abnormal"
FACT = "Study film"
_SIDE = 512


@dataclass(frozen=True, slots=True)
class StudyFilm:
    """A patient of the simulation by ``seed``, and what was drawn in (one of FINDINGS, None for nothing)."""

    seed: int
    finding: str | None

    @property
    def truth(self) -> Mapping[str, bool]:
        """For every label of chest models whether it was drawn; any finding makes a film abnormal."""
        drawn = {finding: finding == self.finding for finding in FINDINGS}
        return {ABNORMAL: self.finding is not None, **drawn}


FILMS: tuple[StudyFilm, ...] = (
    StudyFilm(980_009, "pneumothorax"),
    StudyFilm(980_116, "effusion"),
    StudyFilm(980_014, None),
    StudyFilm(980_196, None),
    StudyFilm(980_015, "cardiomegaly"),
    StudyFilm(980_094, "mass"),
    StudyFilm(980_057, "effusion"),
    StudyFilm(980_001, None),
    StudyFilm(980_051, "nodule"),
    StudyFilm(980_011, "pneumothorax"),
    StudyFilm(980_067, "mass"),
    StudyFilm(980_021, None),
    StudyFilm(980_096, "effusion"),
    StudyFilm(980_008, "cardiomegaly"),
    StudyFilm(980_023, "cardiomegaly"),
    StudyFilm(980_218, None),
    StudyFilm(980_026, "effusion"),
    StudyFilm(980_129, "mass"),
    StudyFilm(980_025, None),
    StudyFilm(980_017, "pneumothorax"),
)


def film_file(film: StudyFilm) -> bytes:
    """The film as a DICOM file; drawn once by this version of the generator, then kept in the cache folder."""
    what = f"{generator()} {np.__version__} {film.seed} {film.finding} {_SIDE}"
    return kept_or_made(f"films/{hashlib.sha256(what.encode()).hexdigest()[:32]}", lambda: _drawn(film))


def add_study(store: Store, worklist: Worklist, by: Reader) -> tuple[Case, ...]:
    """All films as cases that are read first, waiting for the network's answer; those that are there already stay as they are.

    Raises StoreBusy or StoreError as the store does.
    """
    cases = tuple(store.add_case(_case_of(number), by) for number in range(len(FILMS)))
    worklist.queue(case.id for case in cases)
    return cases


def study_file(case: Case) -> bytes | None:
    """The file of a study's case, drawn again; None for another case, or one that this version draws otherwise."""
    number = str(case.facts.get(FACT, "")).split(" ")[0]
    if case.origin != ORIGIN or not number.isdecimal() or not 1 <= int(number) <= len(FILMS):
        return None
    file = film_file(FILMS[int(number) - 1])
    return file if hashlib.sha256(file).hexdigest() == case.digest else None


def study_rows(worklist: Worklist, by: Reader) -> tuple[WorklistRow, ...]:
    """The study's cases in the order of this reader: random, another for everybody, the same whenever they come back."""
    rows = worklist.rows(by, order="random", seed=_seed_of(by))
    return tuple(row for row in rows if row.case.origin == ORIGIN)


def next_film(worklist: Worklist, by: Reader) -> Case | None:
    """The study's case that this reader is to read next, None when all are read or none were added."""
    return next((row.case for row in study_rows(worklist, by) if row.read == "unread"), None)


def _case_of(number: int) -> NewCase:
    film = FILMS[number]
    file = film_file(film)
    scan = decode_scan(file)
    facts = {**scan.facts, FACT: f"{number + 1} of {len(FILMS)}"}
    return NewCase(scan.digest, ORIGIN, facts, truth=film.truth, file=file)


def _seed_of(by: Reader) -> int:
    return int.from_bytes(hashlib.sha256(by.name.encode()).digest()[:4], "big")


def _drawn(film: StudyFilm) -> bytes:
    drawn = simulate_film(film.seed, film.finding, rows=_SIDE, columns=_SIDE)
    # The file's UID is made from what was drawn; here it must not tell.
    return film_to_dicom(replace(drawn, finding=None))
