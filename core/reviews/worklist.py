"""The worklist: many cases, what the network said of them in the background, and how far each reader is with them.

A reader who has not committed their own read of a case sees no score of it, and cannot sort by score: both are withheld here, not
on the page. A deployment that uses the network to decide what is read first sets ``triage``.
"""

import csv
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import ConfigurationError
from core.reviews import audit
from core.reviews.database import Database
from core.reviews.record import NetworkAnswer, Reader
from core.reviews.settings import Policy
from core.reviews.store import Case, case_of
from core.reviews.tables import AnalysisRow, CaseRow, ReviewRow

AnswerState = Literal["waiting", "answered", "withheld", "failed", "file is gone", "not asked"]
ReadState = Literal["unread", "first read", "second read", "signed"]
ReadFilter = Literal["unread", "first read", "second read", "signed", "read"]
Order = Literal["newest", "oldest", "score", "novelty", "state", "random"]
# Whether the file of a case (id, origin, whether the database has it) can be had on this server.
AtHand = Callable[[str, str, bool], bool]

ORDERS: tuple[Order, ...] = ("newest", "oldest", "score", "novelty", "state", "random")
# A case that a server has taken up to analyse, and how long the others leave it to that server.
_TAKEN = "taken"
_LEASE = timedelta(seconds=90)
_BY_STATE: dict[str, int] = {"unread": 0, "first read": 1, "second read": 2, "signed": 3}
# What a spreadsheet would take for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, eq=False)
class WorklistRow:
    """A case for one reader. ``score`` of the foremost label and ``novelty`` are None where they may not be seen yet.

    ``at_hand``: whether the case can be opened here. ``blind``: facts and counts are held back too, in a reader study.
    """

    case: Case
    answer: AnswerState
    sentence: str
    read: ReadState
    reviews: int
    score: float | None
    novelty: float | None
    hidden: bool
    at_hand: bool = True
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many cases wait for the network's answer, and of how many more the file is not at hand."""

    waiting: int
    gone: int


@dataclass(frozen=True, slots=True)
class GivenScores:
    """What one model said of one case, and when: scores 0..1 by label code."""

    model_id: str
    weights_sha256: str
    at: datetime
    scores: Mapping[str, float]
    origin: str = ""


class Worklist:
    """Cases in the order of their reading, and the queue of those that the network has still to answer."""

    def __init__(self, database: Database, policy: Policy, *, triage: bool = False) -> None:
        self._database, self._policy, self.triage = database, policy, triage

    def queue(self, case_ids: Iterable[str]) -> None:
        """These cases wait for an answer, unless they have one."""
        with self._database.writing() as session:
            known = set(session.scalars(select(AnalysisRow.case_id)))
            for case_id in dict.fromkeys(case_ids):
                if case_id not in known:
                    session.add(AnalysisRow(case_id=case_id, frame=0, state="waiting", at=datetime.now(UTC)))

    def waiting(self) -> tuple[str, ...]:
        """The ids of the cases that wait, those that a server is at among them, first come first."""
        with self._database.reading() as session:
            return tuple(session.scalars(select(AnalysisRow.case_id).where(_WAITING).order_by(AnalysisRow.id)))

    def backlog(self, at_hand: AtHand) -> Backlog:
        """How many cases wait, and how many cannot be answered here because their file is gone."""
        with self._database.reading() as session:
            found = [at_hand(case, origin, kept) for _, case, origin, kept in session.execute(_FILES.where(_WAITING))]
        return Backlog(sum(found), len(found) - sum(found))

    def take(self, most: int, at_hand: AtHand) -> tuple[Case, ...]:
        """Up to ``most`` of the cases that wait and whose files are at hand, first come first; no other server takes them now.

        Those of a server that has not answered for a while are taken over.
        """
        now = datetime.now(UTC)
        free = or_(AnalysisRow.state == "waiting", and_(AnalysisRow.state == _TAKEN, AnalysisRow.at < now - _LEASE))
        with self._database.reading() as session:
            # Who finds nothing to do takes no writer's place.
            if not any(at_hand(case, origin, kept) for _, case, origin, kept in session.execute(_FILES.where(free))):
                return ()
        with self._database.writing() as session:
            taken: list[Case] = []
            for number, case_id, origin, kept in session.execute(_FILES.where(free).order_by(AnalysisRow.id)).all():
                if len(taken) < most and at_hand(case_id, origin, kept):
                    session.execute(update(AnalysisRow).where(AnalysisRow.id == number).values(state=_TAKEN, at=now))
                    taken.append(case_of(session.get_one(CaseRow, case_id)))
            return tuple(taken)

    def give_back(self, case_ids: Iterable[str]) -> None:
        """Cases that were taken and not answered wait again."""
        with self._database.writing() as session:
            mine = (AnalysisRow.case_id.in_(list(case_ids)), AnalysisRow.state == _TAKEN)
            session.execute(update(AnalysisRow).where(*mine).values(state="waiting"))

    def attach(self, case_id: str, file: bytes) -> None:
        """The file of a case came again: it is kept where the deployment keeps files, and a case that missed it waits again."""
        with self._database.writing() as session:
            case = session.get(CaseRow, case_id)
            if case is None or case.deleted_at is not None:
                return
            if self._policy.keeps_files and not case.has_file:
                case.file = file
            missed = (AnalysisRow.case_id == case_id, AnalysisRow.state == "file is gone")
            session.execute(update(AnalysisRow).where(*missed).values(state="waiting", sentence=""))

    def keep_answer(
        self,
        case_id: str,
        by: Reader,
        *,
        state: AnswerState,
        frame: int = 0,
        answer: NetworkAnswer | None = None,
        sentence: str = "",
        foremost: float | None = None,
        novelty: float | None = None,
    ) -> None:
        """What became of a waiting case: an answer, or the sentence that stands in its place.

        Of two servers that answer with the same weights, the first is kept.
        """
        with self._database.writing() as session:
            row = session.scalar(select(AnalysisRow).where(AnalysisRow.case_id == case_id))
            case = session.get(CaseRow, case_id)
            if row is None or case is None or case.deleted_at is not None:
                return
            if answer is not None and row.state == "answered" and row.weights_sha256 == answer.weights_sha256:
                return
            row.state, row.frame, row.sentence, row.at = state, frame, sentence, datetime.now(UTC)
            row.answer = None if answer is None else answer.model_dump(mode="json")
            row.model_id, row.weights_sha256 = (answer.model_id, answer.weights_sha256) if answer else ("", "")
            row.foremost, row.novelty = foremost, novelty
            outcome: audit.Outcome = (
                "success" if state == "answered" else "refused" if state == "withheld" else "failed"
            )
            detail = {"model": row.model_id, "weights": row.weights_sha256}
            audit.append(
                session, by, "case analysed", case_id=case_id, study=case.digest, outcome=outcome, detail=detail
            )

    def rows(
        self,
        by: Reader,
        *,
        order: Order = "newest",
        read: ReadFilter | None = None,
        words: str = "",
        seed: int = 0,
        at_hand: AtHand | None = None,
        blind: bool = False,
    ) -> tuple[WorklistRow, ...]:
        """The cases as this reader may see them, filtered by how far they are and by words in their facts or names.

        ``at_hand``: where given, a waiting case whose file cannot be had says so. ``blind``: until the reader has read all cases
        with these words, facts, counts of readers and scores are held back, also of those already read.
        Raises ConfigurationError when unread cases would be sorted by what the network said of them.
        """
        if order in ("score", "novelty") and (blind or (self._hides and read in (None, "unread"))):
            raise ConfigurationError(
                "Unread cases cannot be sorted by what the network says of them; choose another order, or read cases only."
            )
        with self._database.reading() as session:
            seen = self._all(session, by, at_hand or _anywhere)
        found = [_blinded(row) for row in seen] if blind else seen
        wanted = words.casefold().strip()
        kept = [row for row in found if wanted in _searchable(row)]
        if blind and all(row.read != "unread" for row in kept):
            read_now = {row.case.id for row in kept}
            kept = [row for row in seen if row.case.id in read_now]
        return tuple(_ordered([row for row in kept if _passes(row, read)], order, seed))

    def given_scores(self) -> tuple[GivenScores, ...]:
        """Every answer that a network gave, the oldest first: for figures over many cases, not for a reader of one."""
        with self._database.reading() as session:
            found = session.execute(
                select(AnalysisRow, CaseRow.origin)
                .join(CaseRow, CaseRow.id == AnalysisRow.case_id)
                .where(AnalysisRow.state == "answered", CaseRow.deleted_at.is_(None))
                .order_by(AnalysisRow.at)
            ).all()
            return tuple(
                GivenScores(row.model_id, row.weights_sha256, row.at, row.answer["scores"], origin)
                for row, origin in found
                if row.answer is not None
            )

    def is_empty(self) -> bool:
        """Whether there is no case at all."""
        with self._database.reading() as session:
            return session.scalar(select(CaseRow.id).where(CaseRow.deleted_at.is_(None)).limit(1)) is None

    def next_unread(self, by: Reader, after: str = "") -> Case | None:
        """The case to read next: the oldest that this reader has not read, other than ``after``."""
        unread = self.rows(by, order="oldest", read="unread")
        return next((row.case for row in unread if row.case.id != after), None)

    def earlier(self, case: Case) -> tuple[Case, ...]:
        """Other cases of the same patient, the latest first; none where the patient is not known."""
        if not case.patient:
            return ()
        with self._database.reading() as session:
            rows = session.scalars(select(CaseRow).where(*_others_of(case)).order_by(CaseRow.added_at.desc()))
            return tuple(case_of(row) for row in rows)

    def earlier_rows(self, case: Case, by: Reader, at_hand: AtHand | None = None) -> tuple[WorklistRow, ...]:
        """The same with how far this reader is with each."""
        if not case.patient:
            return ()
        with self._database.reading() as session:
            return tuple(self._all(session, by, at_hand or _anywhere, *_others_of(case)))

    @property
    def _hides(self) -> bool:
        return self._policy.read_first and not self.triage

    def _all(self, session: Session, by: Reader, at_hand: AtHand, *only: ColumnElement[bool]) -> list[WorklistRow]:
        cases = session.scalars(
            select(CaseRow).where(CaseRow.deleted_at.is_(None), *only).order_by(CaseRow.added_at.desc(), CaseRow.id)
        ).all()
        told = select(
            AnalysisRow.case_id, AnalysisRow.state, AnalysisRow.sentence, AnalysisRow.foremost, AnalysisRow.novelty
        )
        answers = {
            row.case_id: _Told(row.state, row.sentence, row.foremost, row.novelty) for row in session.execute(told)
        }
        stages, counts = _stages(session, by), _counts(session)
        return [
            self._row(
                case_of(case),
                answers.get(case.id, _NOTHING_YET),
                stages.get(case.id, "unread"),
                counts.get(case.id, 0),
                at_hand=at_hand(case.id, case.origin, case.has_file),
            )
            for case in cases
        ]

    def _row(self, case: Case, told: "_Told", read: Any, reviews: int, *, at_hand: bool) -> WorklistRow:
        hidden = self._hides and read == "unread" and not case.opens_revealed
        state: Any = "waiting" if told.state == _TAKEN else told.state
        if state == "waiting" and not at_hand:
            state = "file is gone"
        score, novelty = (None, None) if hidden else (told.foremost, told.novelty)
        # The sentence is said of the file, not of what is in it.
        return WorklistRow(case, state, told.sentence, read, reviews, score, novelty, hidden, at_hand)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a list needs of a case's analysis."""

    state: str = "not asked"
    sentence: str = ""
    foremost: float | None = None
    novelty: float | None = None


_NOTHING_YET = _Told()
_WAITING = AnalysisRow.state.in_(("waiting", _TAKEN))
_FILES = select(AnalysisRow.id, CaseRow.id, CaseRow.origin, CaseRow.has_file).join(
    CaseRow, AnalysisRow.case_id == CaseRow.id
)


def _stages(session: Session, by: Reader) -> dict[str, str]:
    """How far this reader is, by case."""
    latest = (
        select(ReviewRow.case_id, func.max(ReviewRow.version).label("version"))
        .where(ReviewRow.reader == by.name)
        .group_by(ReviewRow.case_id)
        .subquery()
    )
    found = session.execute(
        select(ReviewRow.case_id, ReviewRow.stage)
        .join(latest, (ReviewRow.case_id == latest.c.case_id) & (ReviewRow.version == latest.c.version))
        .where(ReviewRow.reader == by.name)
    )
    return {row.case_id: row.stage for row in found}


def _counts(session: Session) -> dict[str, int]:
    """How many have read each case."""
    readers = select(ReviewRow.case_id, func.count(ReviewRow.reader.distinct())).group_by(ReviewRow.case_id)
    return {case_id: count for case_id, count in session.execute(readers)}  # noqa: C416


def _others_of(case: Case) -> tuple[ColumnElement[bool], ...]:
    return CaseRow.patient == case.patient, CaseRow.deleted_at.is_(None), CaseRow.id != case.id


def _anywhere(_case_id: str, _origin: str, _has_file: bool) -> bool:  # noqa: FBT001
    return True


def _passes(row: WorklistRow, read: ReadFilter | None) -> bool:
    return read is None or row.read == read or (read == "read" and row.read != "unread")


def _blinded(row: WorklistRow) -> WorklistRow:
    """A row of which nothing can be told but its name and whether one has read it."""
    case = replace(row.case, facts={}, truth=None, patient="")
    # That an answer was withheld says something about the picture.
    answer: AnswerState = "file is gone" if row.answer == "file is gone" else "waiting"
    return replace(
        row, case=case, answer=answer, sentence="", reviews=0, score=None, novelty=None, hidden=True, blind=True
    )


def as_csv(rows: Sequence[WorklistRow]) -> str:
    """The rows as CSV (RFC 4180); no cell begins as a formula does."""
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(
        ("case", "added (UTC)", "origin", "modality", "body part", "answer", "read", "readers", "score", "novelty")
    )
    for row in rows:
        facts = row.case.facts
        shown = (
            row.case.pseudonym, f"{row.case.added_at:%Y-%m-%d %H:%M:%S}", row.case.origin, facts.get("Modality", ""),
            facts.get("BodyPartExamined", ""), row.answer, row.read, row.reviews, _number(row.score), _number(row.novelty),
        )  # fmt: skip
        writer.writerow([harmless(str(cell)) for cell in shown])
    return stream.getvalue()


def harmless(cell: str) -> str:
    """A cell that no spreadsheet computes: what begins like a formula gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _searchable(row: WorklistRow) -> str:
    return " ".join([row.case.pseudonym, row.case.origin, *map(str, row.case.facts.values())]).casefold()


def _ordered(rows: list[WorklistRow], order: Order, seed: int) -> list[WorklistRow]:
    if order == "oldest":
        return rows[::-1]
    if order == "random":
        # Of the case itself, so that a case that comes later does not shuffle the others.
        return sorted(rows, key=lambda row: random.Random(f"{seed} {row.case.id}").random())  # noqa: S311
    if order == "state":
        return sorted(rows, key=lambda row: _BY_STATE[row.read])
    if order in ("score", "novelty"):
        return sorted(rows, key=lambda row: -_value(row.score if order == "score" else row.novelty))
    return rows


def _value(number: float | None) -> float:
    return float("-inf") if number is None else number
