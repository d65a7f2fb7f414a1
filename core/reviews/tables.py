"""The tables of the review database. Reviews and the audit trail are append-only: triggers refuse all else."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A moment with its time zone, kept as UTC: SQLite drops the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database: UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database: what comes without a zone is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables."""


class CaseRow(Base):
    """A case: the digest of its file and the least that a worklist needs. ``file`` only where the deployment keeps scans."""

    __tablename__ = "cases"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    pseudonym: Mapped[str] = mapped_column(String(40), unique=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    patient: Mapped[str] = mapped_column(String(64), index=True, default="")
    origin: Mapped[str] = mapped_column(String(16))
    added_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by: Mapped[str] = mapped_column(String(200))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    truth: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    # Read only where it is asked for: a list of a thousand cases must not bring their scans along.
    file: Mapped[bytes | None] = mapped_column(LargeBinary, nullable=True, deferred=True)
    has_file: Mapped[bool] = column_property(file.is_not(None))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)


class AnalysisRow(Base):
    """What one model said of one frame of a case, or why it said nothing."""

    __tablename__ = "analyses"
    __table_args__ = (UniqueConstraint("case_id", "frame", "weights_sha256"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    frame: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    model_id: Mapped[str] = mapped_column(String(64), default="")
    weights_sha256: Mapped[str] = mapped_column(String(64), default="")
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    sentence: Mapped[str] = mapped_column(Text, default="")
    foremost: Mapped[float | None] = mapped_column(nullable=True)
    novelty: Mapped[float | None] = mapped_column(nullable=True)
    at: Mapped[datetime] = mapped_column(UtcTime)


class ReviewRow(Base):
    """One version of one reader's review, whole."""

    __tablename__ = "reviews"
    __table_args__ = (UniqueConstraint("case_id", "reader", "version"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    reader: Mapped[str] = mapped_column(String(200))
    version: Mapped[int] = mapped_column(Integer)
    stage: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcTime)
    content: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))


class DraftRow(Base):
    """What a reader has typed and not committed: theirs alone, replaced as they type."""

    __tablename__ = "drafts"
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    reader: Mapped[str] = mapped_column(String(200), primary_key=True)
    content: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class AuditRow(Base):
    """One event. ``sha256`` covers all of the row and the hash of the row before it."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcTime)
    reader: Mapped[str] = mapped_column(String(200))
    how_known: Mapped[str] = mapped_column(String(16))
    event: Mapped[str] = mapped_column(String(40))
    code: Mapped[str] = mapped_column(String(16))
    case_id: Mapped[str] = mapped_column(String(36), default="", index=True)
    study: Mapped[str] = mapped_column(String(64), default="")
    outcome: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text, default="{}")
    before: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))


class HeadRow(Base):
    """Where the audit trail ends: so that rows cut off its end are missed."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(64))
