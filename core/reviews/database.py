"""The database: SQLite beside the deployment's files, or PostgreSQL by URL; opened once, brought up to date on start.

SQLite runs with a write-ahead log and full synchronisation, so that what was acknowledged survives a kill and a power cut
(https://sqlite.org/pragma.html#pragma_synchronous). Writers stand in line: one transaction at a time appends to the audit trail.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from core.errors import StoreBusy, StoreError
from core.reviews.settings import data_folder

DATABASE_VARIABLE = "RADLENS_DATABASE"
# How long a writer stands in line before the reader is told.
_PATIENCE_SECONDS = 5.0
# The key of PostgreSQL's advisory lock on the audit trail.
_CHAIN_LOCK = 0x5261644C656E73
_MIGRATIONS = Path(__file__).with_name("migrations")
_BUSY = ("database is locked", "database table is locked", "lock timeout", "canceling statement due to lock")


def database_url() -> str:
    """What RADLENS_DATABASE names, else a file in the user's own data folder (XDG Base Directory)."""
    if given := os.environ.get(DATABASE_VARIABLE):
        return given
    return f"sqlite:///{data_folder() / 'reviews.db'}"


class Database:
    """An open database of the present version.

    Raises StoreError when it cannot be opened, is of a newer version, or is none.
    """

    def __init__(self, url: str, *, patience: float = _PATIENCE_SECONDS) -> None:
        with _sentences():
            self._engine = _engine(url, patience)
            with self._engine.connect() as connection:
                _bring_up_to_date(connection)
                connection.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads."""
        with _sentences(), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, all of it or nothing. Writers stand in line.

        Raises StoreBusy when the line does not move, StoreError when nothing can be written.
        """
        with _sentences(), Session(self._engine) as session, session.begin():
            if self.is_sqlite:
                session.execute(text("BEGIN IMMEDIATE"))
            else:
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
            yield session

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the embedded one."""
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def _engine(url: str, patience: float) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": patience})
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        raise StoreError(
            f"{DATABASE_VARIABLE} must name SQLite (sqlite:///file) or PostgreSQL (postgresql://host/name); it names another."
        )
    parsed = parsed.set(drivername="postgresql+psycopg")
    options = f"-c lock_timeout={int(patience * 1000)}"
    return create_engine(parsed, pool_pre_ping=True, connect_args={"options": options})


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and not at once.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _bring_up_to_date(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise StoreError(
            "The database of the reviews was written by a newer RadLens; start that version, or name another database."
        )
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
    command.upgrade(config, "head")


@contextmanager
def _sentences() -> Iterator[None]:
    """Foreign errors become one of ours, once."""
    try:
        yield
    except OperationalError as exc:
        if any(words in str(exc.orig).lower() for words in _BUSY):
            raise StoreBusy(
                "The database of the reviews is busy, so nothing was saved yet; what you typed is still here. "
                "Try again in a moment."
            ) from exc
        raise StoreError(
            "The database of the reviews cannot be reached or written to, so nothing was saved; what you typed is still here. "
            "Ask whoever runs RadLens to look at its disk and its rights."
        ) from exc
    except (DBAPIError, ArgumentError, OSError) as exc:
        raise StoreError(
            "The database of the reviews refused the change, so nothing was saved; what you typed is still here."
        ) from exc
    except SQLAlchemyError as exc:
        raise StoreError("The database of the reviews gave an unexpected answer; nothing was saved.") from exc
