"""The files of a zip archive, unpacked in memory and counted while they unpack. Nothing is ever written to a disk."""

import stat
import struct
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
# What zipfile raises of a damaged archive; OverflowError where a place of 64 bits lies outside any file.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, OverflowError, OSError, EOFError
)  # fmt: skip
# The others (bzip2, LZMA) would unpack at one go whatever a few bytes hold.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an upload: ``data``, or the reason why it was not unpacked."""

    name: str
    data: bytes = b""
    refusal: str = ""


def is_zip(data: bytes | memoryview) -> bool:
    """Whether these bytes begin like a zip archive, and not like a DICOM file whose preamble does (PS3.10 7.1)."""
    return bytes(data[:4]) in (ZIP_START, _EMPTY_ZIP) and bytes(data[128:132]) != b"DICM"


def entries(data: bytes, skip: frozenset[int], first: int) -> tuple[int, Iterator[tuple[int, Entry]]]:
    """How many files the archive holds, and (number, entry) of those not to skip; numbers count from ``first``.

    Raises DamagedScan where the archive cannot be read, ScanTooLarge above RADLENS_MAX_ARCHIVE_ENTRIES entries,
    and while it unpacks above RADLENS_MAX_ARCHIVE_MIB in all or RADLENS_MAX_ARCHIVE_RATIO times its own size.
    """
    archive = _opened(data)
    files = [info for info in archive.infolist() if not _is_litter(info)]
    wanted = [(number, info) for number, info in enumerate(files, first) if number not in skip]
    budget = min(max_archive_bytes(), max_archive_ratio() * len(data))
    return len(files), _entries(archive, wanted, budget)


def _entries(
    archive: zipfile.ZipFile, wanted: list[tuple[int, zipfile.ZipInfo]], budget: int
) -> Iterator[tuple[int, Entry]]:
    for number, info in wanted:
        entry = _entry(archive, info, budget)
        budget -= len(entry.data)
        yield number, entry


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except _BROKEN as exc:
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
    except _BROKEN:
        return Entry(info.filename, refusal="The file is damaged inside the archive; make the archive again.")
    if is_zip(content):
        return Entry(info.filename, refusal="An archive inside an archive is not opened; unpack it first.")
    return Entry(info.filename, content)


def _refusal(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "The file is encrypted; make the archive again without a password."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "This is a link, not a file; put the file itself into the archive."
    if info.compress_type not in _METHODS:
        return "The file is packed in a way that RadLens does not unpack; make the archive again as an ordinary zip."
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
