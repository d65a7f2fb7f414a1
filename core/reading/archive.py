"""The files of a zip archive, unpacked in memory and counted while they unpack. Nothing is ever written to a disk."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from core.errors import DamagedScan, ScanTooLarge
from core.reading.limits import max_archive_bytes, max_archive_entries, max_archive_ratio, max_inflated_bytes

ZIP_START = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_CHUNK = 1 << 20
# What systems leave behind, of no interest to anybody.
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an upload: ``data``, or the reason why it was not unpacked."""

    name: str
    data: bytes = b""
    refusal: str = ""


def is_zip(data: bytes | memoryview) -> bool:
    """Whether these bytes begin like a zip archive."""
    return bytes(data[:4]) in (ZIP_START, _EMPTY_ZIP)


def entries(data: bytes, skip: frozenset[int], first: int) -> Iterator[tuple[int, int, Entry]]:
    """(number, how many there are in all, entry) of every file in the archive; numbers count from ``first``.

    Raises DamagedScan where the archive cannot be read, ScanTooLarge above RADLENS_MAX_ARCHIVE_ENTRIES entries,
    RADLENS_MAX_ARCHIVE_MIB in all or RADLENS_MAX_ARCHIVE_RATIO times its own size.
    """
    budget = min(max_archive_bytes(), max_archive_ratio() * len(data))
    with _opened(data) as archive:
        files = [info for info in archive.infolist() if not _is_litter(info)]
        for number, info in enumerate(files):
            if first + number in skip:
                continue
            entry = _entry(archive, info, budget)
            budget -= len(entry.data)
            yield first + number, len(files), entry


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as exc:
        raise DamagedScan("The archive is damaged or cut short; make or copy it again.") from exc
    if len(archive.infolist()) > max_archive_entries():
        raise ScanTooLarge(
            f"The archive holds {len(archive.infolist())} files; RadLens opens up to {max_archive_entries()}. Split it."
        )
    return archive


def _is_litter(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or info.filename.startswith(_LITTER[0]) or info.filename.rsplit("/", 1)[-1] in _LITTER[1:]


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: int) -> Entry:
    refusal = _refusal(info)
    if refusal:
        return Entry(info.filename, refusal=refusal)
    try:
        content = _unpacked(archive, info, budget)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError, OSError, EOFError):
        return Entry(info.filename, refusal="The file is damaged inside the archive; make the archive again.")
    if is_zip(content):
        return Entry(info.filename, refusal="An archive inside an archive is not opened; unpack it first.")
    return Entry(info.filename, content)


def _refusal(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "The file is encrypted; make the archive again without a password."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "This is a link, not a file; put the file itself into the archive."
    return ""


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: int) -> bytes:
    """The file's bytes, counted as they come: what the archive says of their number is not believed."""
    limit = min(budget, max_inflated_bytes())
    content = bytearray()
    with archive.open(info) as file:
        while part := file.read(_CHUNK):
            content += part
            if len(content) > limit:
                raise ScanTooLarge(
                    "The archive unpacks to more than RadLens opens "
                    f"({max_archive_bytes() >> 20} MiB in all, {max_inflated_bytes() >> 20} MiB a file, "
                    f"{max_archive_ratio()} times its size); split it."
                )
    return bytes(content)
