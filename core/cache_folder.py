"""What RadLens made itself and can make again, kept in the user's cache folder. Nothing of a patient ever goes there."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE_VARIABLE = "RADLENS_CACHE"
_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """RADLENS_CACHE, else a folder in the platform's own place for what can be made again."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "radlens"
    variable, usual = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    return Path(os.environ.get(variable) or Path.home() / usual) / "radlens"


def kept_or_made(name: str, make: Callable[[], bytes]) -> bytes:
    """The bytes of that name, from the folder where they lie there undamaged; else made, and kept where that is possible."""
    path = cache_folder() / name
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    if found and hashlib.sha256(found[_DIGEST:]).digest() == found[:_DIGEST]:
        return found[_DIGEST:]
    made = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, hashlib.sha256(made).digest() + made)
    except OSError:  # a folder that cannot be written costs time the next time, and nothing else
        pass
    return made


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:  # also when the process is told to end: half a file must not stay; it is raised again
        Path(name).unlink(missing_ok=True)
        raise
