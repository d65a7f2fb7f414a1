"""The audit trail: who did what to which case, when, and how it ended; each event carries the hash of the one before it.

Event codes are DICOM's (PS3.15 A.5, PS3.16 context group 400). An event that is changed, taken out, put elsewhere or cut off the
end breaks the chain, and ``verify`` says where. Whoever may write the whole database can also write a whole new chain: keep the
number and hash of the last event (``Verdict.head``) elsewhere to notice even that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.reviews.record import Reader
from core.reviews.tables import AuditRow, CaseRow, HeadRow, ReviewRow

Event = Literal[
    "application started",
    "reader named",
    "case added",
    "case viewed",
    "case analysed",
    "answer revealed",
    "first read committed",
    "second read kept",
    "review signed",
    "exported",
    "worklist asked",
    "model chosen",
    "case deleted",
    "settings changed",
    "access refused",
]
Outcome = Literal["success", "refused", "failed"]

CODES: dict[Event, str] = {
    "application started": "110120",  # Application Start
    "reader named": "110114",  # User Authentication
    "case added": "110107",  # Import
    "case viewed": "110103",  # DICOM Instances Accessed
    "case analysed": "110103",
    "answer revealed": "110103",
    "first read committed": "110111",  # Procedure Record
    "second read kept": "110111",
    "review signed": "110111",
    "exported": "110106",  # Export
    "worklist asked": "110112",  # Query
    "model chosen": "110100",  # Application Activity
    "case deleted": "110105",  # DICOM Study Deleted
    "settings changed": "110100",
    "access refused": "110113",  # Security Alert
}
_NOTHING_BEFORE = "0" * 64


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the trail does not hold, and why, in one sentence."""

    number: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the trail found; ``head`` is the last event's number and hash, to be kept elsewhere."""

    events: int
    reviews: int
    head: tuple[int, str]
    broken: tuple[Broken, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken


def append(
    session: Session,
    by: Reader,
    event: Event,
    *,
    case_id: str = "",
    study: str = "",
    outcome: Outcome = "success",
    detail: Mapping[str, object] | None = None,
) -> None:
    """One event at the end of the trail, in the transaction of what it tells of."""
    head = session.get(HeadRow, 1)
    if head is None:
        head = HeadRow(id=1, number=0, sha256=_NOTHING_BEFORE)
        session.add(head)
    row = AuditRow(
        number=head.number + 1,
        at=datetime.now(UTC),
        reader=by.name,
        how_known=by.how_known,
        event=event,
        code=CODES[event],
        case_id=case_id,
        study=study,
        outcome=outcome,
        detail=json.dumps(detail or {}, sort_keys=True, ensure_ascii=False),
        before=head.sha256,
        sha256="",
    )
    row.sha256 = hash_of(row)
    head.number, head.sha256 = row.number, row.sha256
    session.add(row)


def hash_of(row: AuditRow) -> str:
    """SHA-256 of all that an event says and of the hash before it."""
    said = (
        row.number, row.at.astimezone(UTC).isoformat(timespec="microseconds"), row.reader, row.how_known, row.event,
        row.code, row.case_id, row.study, row.outcome, row.detail, row.before,
    )  # fmt: skip
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()


def verify(session: Session) -> Verdict:
    """Go through the whole trail, and through all reviews that it names."""
    rows = session.scalars(select(AuditRow).order_by(AuditRow.number)).all()
    broken = [*_breaks(rows), *_missing_end(session, rows)]
    reviews = session.scalars(select(ReviewRow).order_by(ReviewRow.id)).all()
    broken += _changed_reviews(rows, reviews)
    broken += _missing_reviews(session, rows, reviews)
    head = (rows[-1].number, rows[-1].sha256) if rows else (0, _NOTHING_BEFORE)
    return Verdict(len(rows), len(reviews), head, tuple(broken))


def _breaks(rows: Sequence[AuditRow]) -> list[Broken]:
    found, expected, before = [], 1, _NOTHING_BEFORE
    for row in rows:
        if row.number != expected:
            found.append(Broken(row.number, f"Events {expected} to {row.number - 1} are missing."))
        elif row.before != before:
            found.append(Broken(row.number, f"Event {row.number} does not follow the one before it."))
        if row.sha256 != hash_of(row):
            found.append(Broken(row.number, f"Event {row.number} was changed after it was written."))
        expected, before = row.number + 1, row.sha256
    return found


def _missing_end(session: Session, rows: Sequence[AuditRow]) -> list[Broken]:
    head = session.get(HeadRow, 1)
    last = (rows[-1].number, rows[-1].sha256) if rows else (0, _NOTHING_BEFORE)
    wanted = (head.number, head.sha256) if head is not None else (0, _NOTHING_BEFORE)
    if last == wanted:
        return []
    return [Broken(wanted[0], f"The trail should end with event {wanted[0]}; it ends with event {last[0]}.")]


def _changed_reviews(rows: Sequence[AuditRow], reviews: Sequence[ReviewRow]) -> list[Broken]:
    """A review must be the one whose hash its event names."""
    named = {_review_of(row): (row.number, json.loads(row.detail).get("sha256")) for row in rows if _review_of(row)}
    found = []
    for review in reviews:
        number, sha256 = named.get((review.case_id, review.reader, review.version), (0, None))
        content = hashlib.sha256(review.content.encode()).hexdigest()
        if sha256 is None:
            found.append(Broken(number, f"No event tells of version {review.version} of a review that is kept."))
        elif sha256 != content or review.sha256 != content:
            found.append(Broken(number, f"The review that event {number} tells of was changed after it was written."))
    return found


def _missing_reviews(session: Session, rows: Sequence[AuditRow], reviews: Sequence[ReviewRow]) -> list[Broken]:
    kept = {(review.case_id, review.reader, review.version) for review in reviews}
    deleted = set(session.scalars(select(CaseRow.id).where(CaseRow.deleted_at.is_not(None))))
    return [
        Broken(row.number, f"The review that event {row.number} tells of is missing.")
        for row in rows
        if (key := _review_of(row)) and key not in kept and row.case_id not in deleted
    ]


def _review_of(row: AuditRow) -> tuple[str, str, int] | None:
    """Which version of which review an event tells of, if it does."""
    if row.event not in ("first read committed", "second read kept", "review signed") or row.outcome != "success":
        return None
    try:
        return row.case_id, row.reader, int(json.loads(row.detail)["version"])
    except (ValueError, KeyError, TypeError):
        return None
