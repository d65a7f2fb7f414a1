"""Which cases are of one patient, without keeping who that is: a hash with a key of this deployment's own (RFC 2104).

Without the key nobody can try all patient numbers against the database. Several servers on one database share the key by
``RADLENS_PATIENT_KEY``; else it is drawn once and lies beside the embedded database.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from core.reviews.settings import data_folder

KEY_VARIABLE = "RADLENS_PATIENT_KEY"
_KEY_FILE = "patient.key"


def keyed(patient: str, key: bytes) -> str:
    """What is kept of a study's patient (``Study.patient``): HMAC-SHA-256, hexadecimal; empty stays empty."""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest() if patient else ""


def patient_key() -> bytes:
    """The deployment's key; drawn and kept, readable by its user alone, at the first call.

    Raises OSError where it can be neither read nor kept.
    """
    if given := os.environ.get(KEY_VARIABLE):
        return given.encode()
    path = data_folder() / _KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two servers may start at once: the first one's key holds for both.
    with suppress(FileExistsError):
        _keep(path, secrets.token_hex(32).encode())
    return path.read_bytes()


def _keep(path: Path, key: bytes) -> None:
    """Write a new file whole: another process sees all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(key)
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
