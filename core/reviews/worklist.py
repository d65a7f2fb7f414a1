"""The worklist: many cases, what the network said of them in the background, and how far each reader is with them.

A reader who has not committed their own read of a case sees no score of it, and cannot sort by score: both are withheld here, not
on the page. A deployment that uses the network to decide what is read first sets ``triage``.
"""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import ConfigurationError
from core.reviews import audit
from core.reviews.database import Database
from core.reviews.record import NetworkAnswer, Reader
from core.reviews.settings import Policy
from core.reviews.store import Case, case_of
from core.reviews.tables import AnalysisRow, CaseRow, ReviewRow

AnswerState = Literal["waiting", "answered", "withheld", "failed", "file is gone"]
ReadState = Literal["unread", "first read", "second read", "signed"]
Order = Literal["newest", "oldest", "score", "novelty", "state", "random"]

ORDERS: tuple[Order, ...] = ("newest", "oldest", "score", "novelty", "state", "random")
_BY_STATE: dict[str, int] = {"unread": 0, "first read": 1, "second read": 2, "signed": 3}
# What a spreadsheet would take for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, eq=False)
class WorklistRow:
    """A case for one reader. ``score`` of the foremost label and ``novelty`` are None where they may not be seen yet."""

    case: Case
    answer: AnswerState
    sentence: str
    read: ReadState
    reviews: int
    score: float | None
    novelty: float | None
    hidden: bool


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
        """The ids of the cases that wait, first come first."""
        with self._database.reading() as session:
            return tuple(
                session.scalars(
                    select(AnalysisRow.case_id).where(AnalysisRow.state == "waiting").order_by(AnalysisRow.id)
                )
            )

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
        """What became of a waiting case: an answer, or the sentence that stands in its place."""
        with self._database.writing() as session:
            row = session.scalar(select(AnalysisRow).where(AnalysisRow.case_id == case_id))
            case = session.get(CaseRow, case_id)
            if row is None or case is None or case.deleted_at is not None:
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
        read: ReadState | None = None,
        words: str = "",
        seed: int = 0,
    ) -> tuple[WorklistRow, ...]:
        """The cases as this reader may see them, filtered by how far they are and by words in their facts or names.

        Raises ConfigurationError when unread cases would be sorted by what the network said of them.
        """
        if order in ("score", "novelty") and self._hides and read in (None, "unread"):
            raise ConfigurationError(
                "Unread cases cannot be sorted by what the network says of them; choose another order, or read cases only."
            )
        with self._database.reading() as session:
            found = self._all(session, by)
        wanted = words.casefold().strip()
        kept = [row for row in found if (read is None or row.read == read) and wanted in _searchable(row)]
        return tuple(_ordered(kept, order, seed))

    def next_unread(self, by: Reader, after: str = "") -> Case | None:
        """The case to read next: the oldest that this reader has not read, other than ``after``."""
        unread = self.rows(by, order="oldest", read="unread")
        return next((row.case for row in unread if row.case.id != after), None)

    def earlier(self, case: Case) -> tuple[Case, ...]:
        """Earlier cases of the same patient, the latest first; none where the patient is not known."""
        if not case.patient:
            return ()
        with self._database.reading() as session:
            rows = session.scalars(
                select(CaseRow)
                .where(CaseRow.patient == case.patient, CaseRow.deleted_at.is_(None), CaseRow.id != case.id)
                .order_by(CaseRow.added_at.desc())
            )
            return tuple(case_of(row) for row in rows)

    @property
    def _hides(self) -> bool:
        return self._policy.read_first and not self.triage

    def _all(self, session: Session, by: Reader) -> list[WorklistRow]:
        cases = session.scalars(
            select(CaseRow).where(CaseRow.deleted_at.is_(None)).order_by(CaseRow.added_at.desc(), CaseRow.id)
        ).all()
        answers = {row.case_id: row for row in session.scalars(select(AnalysisRow))}
        latest = (
            select(ReviewRow.case_id, func.max(ReviewRow.version).label("version"))
            .where(ReviewRow.reader == by.name)
            .group_by(ReviewRow.case_id)
            .subquery()
        )
        stages: dict[str, str] = {
            row.case_id: row.stage
            for row in session.execute(
                select(ReviewRow.case_id, ReviewRow.stage)
                .join(latest, (ReviewRow.case_id == latest.c.case_id) & (ReviewRow.version == latest.c.version))
                .where(ReviewRow.reader == by.name)
            )
        }
        readers = select(ReviewRow.case_id, func.count(ReviewRow.reader.distinct())).group_by(ReviewRow.case_id)
        counts: dict[str, int] = {case_id: count for case_id, count in session.execute(readers)}  # noqa: C416
        return [
            self._row(case_of(case), answers.get(case.id), stages.get(case.id, "unread"), counts.get(case.id, 0))
            for case in cases
        ]

    def _row(self, case: Case, answer: AnalysisRow | None, read: Any, reviews: int) -> WorklistRow:
        hidden = self._hides and read == "unread" and not case.opens_revealed
        seen = answer if answer is not None and not hidden else None
        state: Any = "waiting" if answer is None else answer.state
        # "withheld" is said of the file, not of what is in it.
        sentence = "" if answer is None else answer.sentence
        score, novelty = (None, None) if seen is None else (seen.foremost, seen.novelty)
        return WorklistRow(case, state, sentence, read, reviews, score, novelty, hidden)


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
