"""Which files of a large upload belong together, by their headers alone; archives are unpacked here too. Runs in the worker."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from core.errors import ScanError
from core.reading.archive import Entry, entries, is_zip
from core.reading.formats import sniff
from core.reading.header_values import text_of
from core.reading.study import SLICED, Tick

# Name, what it shares with the slices of its series (empty: it stands alone), which file of the upload it is or was packed in,
# its bytes where it was packed, why it is none.
Found = tuple[str, str, int, npt.NDArray[np.uint8] | None, str]
_SHARED = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID")
_ASKED = [*_SHARED, "Modality", "ImagePositionPatient", "NumberOfFrames"]


def sort_files(files: Sequence[tuple[str, bytes | memoryview]], skip: frozenset[int], tick: Tick) -> list[Found]:
    """What every file of an upload, and of the archives in it, is. ``skip`` leaves out by number, ``tick`` hears of each."""
    found: list[Found] = []
    first = 0
    for source, (name, content) in enumerate(files):
        count, inside = _inside(name, content, skip, first)
        first += count
        try:
            for number, entry in inside:
                tick(number, max(first, len(files)))
                found.append(_found(entry, source, packed=is_zip(content)))
        except ScanError as exc:
            found.append((name, "", source, None, str(exc)))
    return found


def _inside(
    name: str, content: bytes | memoryview, skip: frozenset[int], first: int
) -> tuple[int, Iterator[tuple[int, Entry]]]:
    if not is_zip(content):
        return 1, iter([] if first in skip else [(first, Entry(name, bytes(content)))])
    try:
        return entries(bytes(content), skip, first)
    except ScanError as exc:
        return 1, iter([(first, Entry(name, refusal=str(exc)))])


def _found(entry: Entry, source: int, *, packed: bool) -> Found:
    if entry.refusal:
        return entry.name, "", source, None, entry.refusal
    # An array travels beside the answer, not in it.
    content = np.frombuffer(entry.data, np.uint8) if packed else None
    return entry.name, _series_of(entry.data), source, content, ""


def _series_of(data: bytes) -> str:
    """What the slices of one series share: a digest that names nobody; empty for what is no slice, or cannot be read."""
    try:
        if sniff(data) != "DICOM":
            return ""
        header: Any = dcmread(BytesIO(data), stop_before_pixels=True, force=True, specific_tags=list(_ASKED))
        sliced = text_of(header, "Modality") in SLICED or "ImagePositionPatient" in header
        alone = not text_of(header, "SeriesInstanceUID") or text_of(header, "NumberOfFrames") not in ("", "1")
        shared = [text_of(header, keyword) for keyword in _SHARED]
    except Exception:  # noqa: BLE001 - whatever it is, reading the file itself says what is wrong with it
        return ""
    return hashlib.sha256(json.dumps(shared).encode()).hexdigest() if sliced and not alone else ""
