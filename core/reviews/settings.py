"""What a deployment has settled about reviews, from its environment. Light: a page asks for it before a database is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import ConfigurationError

READ_FIRST = "RADLENS_READ_FIRST"
KEEP_FILES = "RADLENS_KEEP_FILES"
RETENTION_DAYS = "RADLENS_RETENTION_DAYS"
TRIAGE = "RADLENS_TRIAGE"
USER_HEADER = "RADLENS_USER_HEADER"
HELD_MIB = "RADLENS_HELD_MIB"
SHOW_IDENTITIES = "RADLENS_SHOW_IDENTITIES"
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the deployment has settled: whether the reader speaks first, whether scans are kept, and for how many days."""

    read_first: bool = True
    keeps_files: bool = False
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """``triage``: the network decides what is read first, so its scores are shown for unread cases too.

    ``user_header``: the header in which a trusted proxy names who is logged in; empty where there is none.
    ``shows_identities``: names and numbers of patients are kept with new cases and stand on the worklist.
    ``held_mib``: what the files of cases may take of the server's memory, where the database does not keep them.
    """

    policy: Policy = field(default_factory=Policy)
    triage: bool = False
    user_header: str = ""
    held_mib: int = 1024
    shows_identities: bool = False


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings that these variables name.

    Raises ConfigurationError for a value that means nothing.
    """
    return Settings(
        Policy(
            read_first=_switch(environment, READ_FIRST, otherwise=True),
            keeps_files=_switch(environment, KEEP_FILES, otherwise=False),
            retention_days=_days(environment),
        ),
        triage=_switch(environment, TRIAGE, otherwise=False),
        user_header=environment.get(USER_HEADER, "").strip(),
        held_mib=_held(environment),
        shows_identities=_switch(environment, SHOW_IDENTITIES, otherwise=False),
    )


def data_folder() -> Path:
    """Where the embedded database lies: the user's own data folder (XDG Base Directory)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "radlens"


def _switch(environment: Mapping[str, str], name: str, *, otherwise: bool) -> bool:
    given = environment.get(name, "").strip().lower()
    if not given:
        return otherwise
    if given not in _SWITCH:
        raise ConfigurationError(f"{name} must be 1 or 0 (on or off); it is neither.")
    return _SWITCH[given]


def _days(environment: Mapping[str, str]) -> int | None:
    given = environment.get(RETENTION_DAYS, "").strip()
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 36500:
        raise ConfigurationError(f"{RETENTION_DAYS} must be a whole number of days, 1 or more; it is none.")
    return int(given)


def _held(environment: Mapping[str, str]) -> int:
    given = environment.get(HELD_MIB, "").strip() or "1024"
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 1 << 20:
        raise ConfigurationError(f"{HELD_MIB} must be a whole number of MiB, 1 or more; it is none.")
    return int(given)
