"""The store: cases, drafts and reviews. Every change and its audit event are one transaction, and reviews only grow.

A review goes one way: a first read is committed before the network's answer is revealed, the second read comes after it, then
the signature. Each step is a new version of the reader's own review; an amendment after signing is one more. What was
acknowledged is on the disk.
"""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.errors import ReviewRejected
from core.reviews import audit
from core.reviews.database import Database
from core.reviews.record import NetworkAnswer, Read, Reader, Review, SecondRead, canonical, digest_of
from core.reviews.settings import Policy
from core.reviews.tables import AnalysisRow, AuditRow, CaseRow, DraftRow, ReviewRow

# Letters and digits that nobody mistakes for one another (Crockford's base 32).
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_KEPT_OF_THE_DELETED: Mapping[str, Any] = {"facts": {}, "truth": None, "file": None, "patient": "", "digest": ""}


@dataclass(frozen=True, slots=True, eq=False)
class NewCase:
    """What is known of a case when it is added; ``patient`` is a keyed hash, never an identity."""

    digest: str
    origin: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    patient: str = ""
    truth: Mapping[str, Any] | None = None
    file: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A case as the worklist knows it. ``opens_revealed``: a sample or demo case, whose answer is shown from the start."""

    id: str
    pseudonym: str
    digest: str
    patient: str
    origin: str
    added_at: datetime
    added_by: str
    facts: Mapping[str, Any]
    truth: Mapping[str, Any] | None
    has_file: bool

    @property
    def opens_revealed(self) -> bool:
        """Whether the network's answer is shown from the start."""
        return self.origin in ("sample", "demo")


_Step = Callable[[Case, "Review | None", datetime], Review]


class Store:
    """The one door to the reviews. Raises StoreBusy or StoreError where the database does; nothing is saved by halves."""

    def __init__(self, database: Database, policy: Policy | None = None) -> None:
        self._database = database
        self.policy = policy or Policy()

    def add_case(self, new: NewCase, by: Reader) -> Case:
        """The case of this file: the one there is, or a new one."""
        with self._database.writing() as session:
            found = session.scalar(select(CaseRow).where(CaseRow.digest == new.digest, CaseRow.deleted_at.is_(None)))
            if found is None:
                found = CaseRow(
                    id=str(uuid.uuid4()),
                    pseudonym=_pseudonym(),
                    digest=new.digest,
                    patient=new.patient,
                    origin=new.origin,
                    added_at=datetime.now(UTC),
                    added_by=by.name,
                    facts=dict(new.facts),
                    truth=None if new.truth is None else dict(new.truth),
                    file=new.file if self.policy.keeps_files else None,
                )
                session.add(found)
                session.flush()
                audit.append(session, by, "case added", case_id=found.id, study=new.digest)
            return case_of(found)

    def case(self, case_id: str) -> Case:
        """A case by its id.

        Raises ReviewRejected when it is gone.
        """
        with self._database.reading() as session:
            return case_of(_row(session, case_id))

    def file_of(self, case_id: str) -> bytes | None:
        """The case's file, where the deployment keeps them.

        Raises ReviewRejected when the case is gone.
        """
        with self._database.reading() as session:
            return _row(session, case_id).file

    def cases(self) -> tuple[Case, ...]:
        """All cases, the newest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(CaseRow).where(CaseRow.deleted_at.is_(None)).order_by(CaseRow.added_at.desc(), CaseRow.id)
            )
            return tuple(case_of(row) for row in rows)

    def record(
        self,
        by: Reader,
        event: audit.Event,
        *,
        case_id: str = "",
        outcome: audit.Outcome = "success",
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """An event that changes nothing here: a view, a reveal, an export, another model."""
        with self._database.writing() as session:
            case = session.get(CaseRow, case_id) if case_id else None
            study = "" if case is None else case.digest
            audit.append(session, by, event, case_id=case_id, study=study, outcome=outcome, detail=detail)

    def save_draft(self, case_id: str, by: Reader, content: str) -> None:
        """What the reader has typed so far; replaces their former draft of the case.

        Raises ReviewRejected when the case is gone.
        """
        with self._database.writing() as session:
            _row(session, case_id)
            session.merge(DraftRow(case_id=case_id, reader=by.name, content=content, at=datetime.now(UTC)))

    def draft(self, case_id: str, by: Reader) -> str:
        """The reader's own draft of a case, empty where there is none."""
        with self._database.reading() as session:
            row = session.get(DraftRow, (case_id, by.name))
            return "" if row is None else row.content

    def commit_first_read(self, case_id: str, by: Reader, read: Read, opened_at: datetime) -> Review:
        """The reader's own read, before the network has said anything to them; it cannot be taken back.

        Raises ReviewRejected when they have committed one already, or the case is gone.
        """

        def step(_case: Case, former: Review | None, at: datetime) -> Review:
            if former is not None:
                raise ReviewRejected(
                    "Your first read of this case is committed already; what comes now is the second read."
                )
            return Review(
                case_id=case_id, reader=by, version=1, stage="first read", at=at, opened_at=opened_at,
                first=read, first_at=at,
            )  # fmt: skip

        return self._advance(case_id, by, "first read committed", step)

    def may_see_answer(self, case_id: str, by: Reader) -> bool:
        """Whether the network's answer may be shown to this reader now.

        Raises ReviewRejected when the case is gone.
        """
        with self._database.reading() as session:
            case = case_of(_row(session, case_id))
            if case.opens_revealed or not self.policy.read_first:
                return True
            return _latest(session, case_id, by.name) is not None

    def keep_second_read(
        self,
        case_id: str,
        by: Reader,
        second: SecondRead,
        answer: NetworkAnswer | None,
        *,
        opened_at: datetime,
        withheld: str = "",
    ) -> Review:
        """What the reader says once the answer (or the sentence that stood in its place) was in front of them.

        After a signature it is an amendment, and unsigned again.
        Raises ReviewRejected when the first read is still owed, or the case is gone.
        """

        def step(case: Case, former: Review | None, at: datetime) -> Review:
            if former is None and self.policy.read_first and not case.opens_revealed:
                raise ReviewRejected("Commit your own read first; the network's answer comes after it.")
            base = former or Review(
                case_id=case_id, reader=by, version=1, stage="second read", at=at, opened_at=opened_at
            )
            version = 1 if former is None else former.version + 1
            return base.model_copy(
                update={
                    "version": version, "stage": "second read", "at": at, "answer": answer, "withheld": withheld,
                    "second": second, "second_at": at,
                }
            )  # fmt: skip

        return self._advance(case_id, by, "second read kept", step)

    def sign(self, case_id: str, by: Reader) -> Review:
        """The reader's signature under what their review says now.

        Raises ReviewRejected when there is nothing to sign, it is signed already, or the case is gone.
        """

        def step(_case: Case, former: Review | None, at: datetime) -> Review:
            if former is None or former.final is None:
                raise ReviewRejected("There is no read to sign yet; mark at least one finding and commit it.")
            if former.stage == "signed":
                raise ReviewRejected("This review is signed already; change it first to sign it again.")
            return former.model_copy(update={"version": former.version + 1, "stage": "signed", "at": at})

        return self._advance(case_id, by, "review signed", step)

    def review(self, case_id: str, by: Reader) -> Review | None:
        """The reader's review of a case as it stands now."""
        with self._database.reading() as session:
            return _latest(session, case_id, by.name)

    def reviews(self, case_id: str | None = None) -> tuple[Review, ...]:
        """Every version of every review, of one case or of all, the oldest first."""
        with self._database.reading() as session:
            wanted = select(ReviewRow).order_by(ReviewRow.id)
            if case_id is not None:
                wanted = wanted.where(ReviewRow.case_id == case_id)
            return tuple(Review.model_validate_json(row.content) for row in session.scalars(wanted))

    def latest_reviews(self) -> tuple[Review, ...]:
        """Every review as it stands now, without its former versions, the oldest first."""
        newest = select(func.max(ReviewRow.id)).group_by(ReviewRow.case_id, ReviewRow.reader)
        with self._database.reading() as session:
            wanted = select(ReviewRow.content).where(ReviewRow.id.in_(newest)).order_by(ReviewRow.id)
            return tuple(Review.model_validate_json(content) for content in session.scalars(wanted))

    def delete_case(self, case_id: str, by: Reader, why: str) -> None:
        """Take a case out with its reviews, drafts, answers and pixels; that it was there and went stays in the audit trail.

        Raises ReviewRejected when it is gone already.
        """
        with self._database.writing() as session:
            _delete(session, _row(session, case_id), by, why)

    def delete_outdated(self, by: Reader) -> int:
        """Delete what is older than the policy's retention; how many cases that were."""
        if self.policy.retention_days is None:
            return 0
        limit = datetime.now(UTC) - timedelta(days=self.policy.retention_days)
        with self._database.writing() as session:
            rows = session.scalars(select(CaseRow).where(CaseRow.deleted_at.is_(None), CaseRow.added_at < limit)).all()
            for row in rows:
                _delete(session, row, by, f"older than {self.policy.retention_days} days")
            return len(rows)

    def events(self, case_id: str | None = None) -> tuple[dict[str, Any], ...]:
        """The audit trail, of one case or whole, the oldest first."""
        with self._database.reading() as session:
            wanted = select(AuditRow).order_by(AuditRow.number)
            if case_id is not None:
                wanted = wanted.where(AuditRow.case_id == case_id)
            return tuple(_event(row) for row in session.scalars(wanted))

    def verify(self) -> audit.Verdict:
        """Whether the audit trail and the reviews are as they were written."""
        with self._database.writing() as session:
            return audit.verify(session)

    def _advance(self, case_id: str, by: Reader, event: audit.Event, step: _Step) -> Review:
        with self._database.writing() as session:
            case = _row(session, case_id)
            former = _latest(session, case_id, by.name)
            review = step(case_of(case), former, datetime.now(UTC))
            content = canonical(review)
            session.add(
                ReviewRow(
                    case_id=case_id,
                    reader=by.name,
                    version=review.version,
                    stage=review.stage,
                    at=review.at,
                    content=content,
                    sha256=digest_of(review),
                )
            )
            session.execute(delete(DraftRow).where(DraftRow.case_id == case_id, DraftRow.reader == by.name))
            detail = {"version": review.version, "sha256": digest_of(review)}
            audit.append(session, by, event, case_id=case_id, study=case.digest, detail=detail)
            return review


def _row(session: Session, case_id: str) -> CaseRow:
    row = session.get(CaseRow, case_id)
    if row is None or row.deleted_at is not None:
        raise ReviewRejected("This case is not there any more: it was deleted, or never added.")
    return row


def _latest(session: Session, case_id: str, reader: str) -> Review | None:
    row = session.scalar(
        select(ReviewRow)
        .where(ReviewRow.case_id == case_id, ReviewRow.reader == reader)
        .order_by(ReviewRow.version.desc())
        .limit(1)
    )
    return None if row is None else Review.model_validate_json(row.content)


def _delete(session: Session, case: CaseRow, by: Reader, why: str) -> None:
    study = case.digest
    case.deleted_at = datetime.now(UTC)
    for name, value in _KEPT_OF_THE_DELETED.items():
        setattr(case, name, value)
    session.flush()
    for table in (DraftRow, AnalysisRow, ReviewRow):
        session.execute(delete(table).where(table.case_id == case.id))
    audit.append(session, by, "case deleted", case_id=case.id, study=study, detail={"why": why})


def case_of(row: CaseRow) -> Case:
    """A row of the table as a case."""
    return Case(
        id=row.id,
        pseudonym=row.pseudonym,
        digest=row.digest,
        patient=row.patient,
        origin=row.origin,
        added_at=row.added_at,
        added_by=row.added_by,
        facts=row.facts,
        truth=row.truth,
        has_file=row.has_file,
    )


def _event(row: AuditRow) -> dict[str, Any]:
    return {
        "number": row.number, "at": row.at.isoformat(), "reader": row.reader, "how_known": row.how_known,
        "event": row.event, "code": row.code, "case": row.case_id, "study": row.study, "outcome": row.outcome,
        "detail": json.loads(row.detail), "sha256": row.sha256,
    }  # fmt: skip


def _pseudonym() -> str:
    """Such as ``K7QD-2M9F``: random, so that nothing about the patient or the order of arrival can be told from it."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"
