"""The first version: cases, analyses, reviews, drafts, audit trail, and the triggers that keep the last two append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NAME, _HASH, _ID = sa.String(200), sa.String(64), sa.String(36)
_TIME = sa.DateTime(timezone=True)
_SQLITE = """
CREATE TRIGGER {table}_keeps_{act} BEFORE {verb} ON {table} {when}
BEGIN SELECT RAISE(ABORT, '{table} is append only'); END
"""
_POSTGRES = """
CREATE FUNCTION {table}_keeps_{act}() RETURNS trigger AS $$
BEGIN IF {allowed} THEN RETURN OLD; END IF; RAISE EXCEPTION '{table} is append only'; END $$ LANGUAGE plpgsql
"""
_POSTGRES_TRIGGER = """
CREATE TRIGGER {table}_keeps_{act} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_keeps_{act}()
"""
# Of a case that was deleted, reviews may go too; of the audit trail nothing ever.
_DELETED = "(SELECT deleted_at FROM cases WHERE id = OLD.case_id) IS NOT NULL"


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "cases",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("pseudonym", sa.String(40), nullable=False, unique=True),
        sa.Column("digest", _HASH, nullable=False, index=True),
        sa.Column("patient", _HASH, nullable=False, index=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.Column("added_by", _NAME, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("truth", sa.JSON),
        sa.Column("file", sa.LargeBinary),
        sa.Column("deleted_at", _TIME),
    )
    op.create_table(
        "analyses",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", _ID, sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("frame", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model_id", _HASH, nullable=False),
        sa.Column("weights_sha256", _HASH, nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("foremost", sa.Float),
        sa.Column("novelty", sa.Float),
        sa.Column("at", _TIME, nullable=False),
        sa.UniqueConstraint("case_id", "frame", "weights_sha256"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", _ID, sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("reader", _NAME, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sha256", _HASH, nullable=False),
        sa.UniqueConstraint("case_id", "reader", "version"),
    )
    op.create_table(
        "drafts",
        sa.Column("case_id", _ID, sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("reader", _NAME, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("reader", _NAME, nullable=False),
        sa.Column("how_known", sa.String(16), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("case_id", _ID, nullable=False, index=True),
        sa.Column("study", _HASH, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("before", _HASH, nullable=False),
        sa.Column("sha256", _HASH, nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("sha256", _HASH, nullable=False),
    )
    for table, delete_when in (("reviews", _DELETED), ("audit", None)):
        for act, verb, allowed in (("values", "UPDATE", None), ("rows", "DELETE", delete_when)):
            _append_only(table, act, verb, allowed)


def _append_only(table: str, act: str, verb: str, allowed: str | None) -> None:
    if op.get_bind().dialect.name == "sqlite":
        when = f"WHEN NOT ({allowed})" if allowed else ""
        op.execute(_SQLITE.format(table=table, act=act, verb=verb, when=when))
    else:
        op.execute(_POSTGRES.format(table=table, act=act, allowed=allowed or "false"))
        op.execute(_POSTGRES_TRIGGER.format(table=table, act=act, verb=verb))


def downgrade() -> None:
    """There is nothing before the first version."""
    raise NotImplementedError("The first version has nothing before it.")
