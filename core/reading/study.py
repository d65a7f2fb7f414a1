"""Several files as a study: series put together by UID, slices sorted by their places, one patient only."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from pydicom import Dataset

from core.errors import DamagedScan, NotAnImage, ScanError, ScanTooLarge, TwoPatients
from core.reading.archive import Entry, entries, is_zip
from core.reading.decoding import decode_file
from core.reading.dicom_geometry import Plane, plane
from core.reading.limits import max_decoded_bytes
from core.reading.patients import patient_digest, same_patient
from core.reading.stacks import Stack, arranged, in_one_scale
from core.scan import Overlay, Scan

Tick = Callable[[int, int], None]

# Cross-sections that belong together even where the files do not say where they lie.
SLICED = ("CT", "MR", "PT", "NM")
# What tells pictures at one place apart: temporal position, echo, acquisition number, or several of them.
_TIMES = ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
_WHO = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file of the upload that is no part of the study, by its own name, and why."""

    name: str = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What one upload holds: a scan for every series (its slices are the frames) and for every picture on its own.

    ``patient`` tells studies of one patient: a SHA-256 of what names them, empty where no file does. It never leaves the memory;
    what is kept of it is keyed (``core.reviews.patients``).
    """

    scans: tuple[Scan, ...]
    left_out: tuple[LeftOut, ...] = ()
    patient: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """One picture before it is put into a series, with what its header says of its place in one."""

    scan: Scan
    series: str = ""
    study: str = ""
    instance: str = ""
    number: int | None = None
    time_point: tuple[str, ...] = ()
    plane: Plane | None = None
    who: Dataset = field(default_factory=Dataset)


def read_files(files: Sequence[tuple[str, bytes | memoryview]], skip: frozenset[int], tick: Tick) -> Study:
    """The study that these files (name, bytes) and the archives among them make up.

    ``skip`` leaves out files by number, ``tick`` hears of each before it is read.
    Raises TwoPatients, and ScanError where no file of them can be shown.
    """
    pieces: list[_Piece] = []
    left_out: list[LeftOut] = []
    errors: list[ScanError] = []
    patients: dict[tuple[str, ...], Dataset] = {}
    decoded = 0
    for number, total, entry in _entries(files, skip):
        tick(number, total)
        try:
            found = _pieces(entry)
        except ScanError as exc:
            left_out.append(LeftOut(entry.name, str(exc)))
            # Not the error itself: it holds on to the file's pixels.
            errors.append(type(exc)(str(exc)))
            continue
        decoded += sum(piece.scan.stored.nbytes for piece in found)
        if decoded > max_decoded_bytes():
            raise ScanTooLarge(
                f"The study would take more than {max_decoded_bytes() >> 20} MiB once decoded; upload fewer series."
            )
        for piece in found:
            _check_one_patient(patients, piece.who)
        pieces += found
    if not pieces:
        raise _nothing(errors)
    damaged = len(skip) + sum(not isinstance(error, NotAnImage) for error in errors)
    return Study(tuple(_scans(pieces, damaged)), tuple(left_out), patient_digest(list(patients.values())))


def _entries(files: Sequence[tuple[str, bytes | memoryview]], skip: frozenset[int]) -> Iterator[tuple[int, int, Entry]]:
    first, total = 0, len(files)
    for name, content in files:
        count, found = _unpacked(name, content, skip, first)
        total += count - 1
        for number, entry in found:
            yield number, total, entry
        first += count


def _unpacked(
    name: str, content: bytes | memoryview, skip: frozenset[int], first: int
) -> tuple[int, Iterator[tuple[int, Entry]]]:
    """How many files one file of the upload stands for, and those that are not to be skipped, numbered from ``first``."""
    if not is_zip(content):
        return 1, iter([] if first in skip else [(first, Entry(name, bytes(content)))])
    try:
        return entries(bytes(content), skip, first)
    except DamagedScan as exc:
        return 1, iter([(first, Entry(name, refusal=str(exc)))])


def _pieces(entry: Entry) -> list[_Piece]:
    if entry.refusal:
        raise DamagedScan(entry.refusal)
    return [_piece(scan, dataset) for scan, dataset in decode_file(entry.data)]


def _piece(scan: Scan, dataset: Dataset | None) -> _Piece:
    if dataset is None:
        return _Piece(scan)
    who = Dataset()
    for keyword in _WHO:
        if keyword in dataset:
            who[keyword] = dataset[keyword]
    number = _text(dataset, "InstanceNumber")
    return _Piece(
        scan,
        series=_text(dataset, "SeriesInstanceUID"),
        study=_text(dataset, "StudyInstanceUID"),
        instance=_text(dataset, "SOPInstanceUID"),
        number=int(number) if number.lstrip("-").isdecimal() else None,
        time_point=tuple(_text(dataset, k) for k in ("TemporalPositionIdentifier", "EchoNumbers", "AcquisitionNumber")),
        plane=plane(dataset) if scan.frame_count == 1 else None,
        who=who,
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def _check_one_patient(known: dict[tuple[str, ...], Dataset], who: Dataset) -> None:
    """Compare with everyone known so far; files that say exactly the same are compared once."""
    said = tuple(_text(who, keyword) for keyword in _WHO)
    if said in known:
        return
    if not all(same_patient(other, who) for other in known.values()):
        raise TwoPatients(
            "The upload holds files of two patients, so none of them is shown; upload one patient's study at a time."
        )
    known[said] = who


def _nothing(errors: list[ScanError]) -> ScanError:
    if len(errors) == 1:
        return errors[0]
    if not errors:
        return NotAnImage("The upload holds no files; upload a scan, several, or an archive of them.")
    return NotAnImage(f"None of the {len(errors)} files is a scan that can be read. The first: {errors[0]}")


def _scans(pieces: list[_Piece], damaged: int) -> Iterator[Scan]:
    """Every series as one scan, in the order in which they came."""
    studies = len({piece.study for piece in pieces if piece.study})
    signs = {"two-studies": str(studies)} if studies > 1 else {}
    if damaged:
        signs["left-out"] = str(damaged)
    order = list(dict.fromkeys(_group(piece) for piece in pieces))
    ranked = sorted(pieces, key=lambda piece: order.index(_group(piece)))
    for _, members in groupby(ranked, key=_group):
        for scan in _series(list(members)):
            yield replace(scan, signs={**scan.signs, **signs}) if signs else scan


def _group(piece: _Piece) -> tuple[object, ...]:
    """What pictures must share to be slices of one stack; a picture that cannot be one stands alone."""
    scan = piece.scan
    alone = scan.frame_count > 1 or not piece.series or (piece.plane is None and scan.modality not in SLICED)
    if alone:
        return (scan.digest,)
    return piece.series, scan.shape, scan.photometric, scan.modality, piece.plane is None


def _series(members: list[_Piece]) -> Iterator[Scan]:
    unique = list({_identity(piece): piece for piece in reversed(members)}.values())[::-1]
    duplicates = {"duplicate": str(len(members) - len(unique))} if len(unique) < len(members) else {}
    parallel = _by_direction(unique)
    for same_direction in parallel:
        mixed = {"mixed-orientation": ""} if len(parallel) > 1 else {}
        for stack in _by_time(same_direction):
            scan = _stacked(stack)
            yield replace(scan, signs={**scan.signs, **duplicates, **mixed})


def _identity(piece: _Piece) -> tuple[object, ...]:
    """The same UID at another place is another picture: careless tools give all slices of a series one UID."""
    if piece.plane is None:
        return (piece.instance or piece.scan.digest,)
    return piece.instance or piece.scan.digest, round(piece.plane.depth, 2)


def _by_direction(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Parallel pictures together: one series may hold a localizer across its slices."""
    groups: list[list[_Piece]] = []
    for piece in pieces:
        place = piece.plane
        for group in groups:
            other = group[0].plane
            if place is None or other is None or place.is_parallel_to(other):
                group.append(piece)
                break
        else:
            groups.append([piece])
    return groups


def _by_time(pieces: list[_Piece]) -> list[list[_Piece]]:
    """One stack where all places differ; else one for each time, echo or acquisition, the fewest that tell them apart."""
    if _at_different_places(pieces) or any(piece.plane is None for piece in pieces):
        return [pieces]
    divisions = [_divided(pieces, which) for which in _TIMES]
    good = [groups for groups in divisions if all(map(_at_different_places, groups))]
    return min(good or divisions[-1:], key=len)


def _at_different_places(pieces: list[_Piece]) -> bool:
    return len(pieces) == 1 or arranged([piece.plane for piece in pieces]) is not None


def _divided(pieces: list[_Piece], which: tuple[int, ...]) -> list[list[_Piece]]:
    """The pieces by some of what says when they were taken, in the order of its numbers."""

    def when(piece: _Piece) -> tuple[tuple[float, str], ...]:
        texts = [piece.time_point[index] for index in which]
        return tuple((float(text) if text.isdecimal() else -1.0, text) for text in texts)

    return [list(members) for _, members in groupby(sorted(pieces, key=when), key=when)]


def _stacked(pieces: list[_Piece]) -> Scan:
    """One scan of all pieces, in the order of their places, or of their numbers where no places are known."""
    if len(pieces) == 1:
        return pieces[0].scan
    stack = arranged([piece.plane for piece in pieces])
    ranked = [pieces[index] for index in stack.order] if stack else sorted(pieces, key=lambda p: p.number or 0)
    scans = [piece.scan for piece in ranked]
    middle = scans[len(scans) // 2]
    kind = np.result_type(*(scan.stored.dtype for scan in scans))
    scan = replace(
        middle,
        stored=np.concatenate([scan.stored.astype(kind, copy=False) for scan in scans]),
        digest=hashlib.sha256("".join(scan.digest for scan in scans).encode()).hexdigest(),
        bits_stored=max(scan.bits_stored for scan in scans),
        geometry=stack.applied_to(middle.geometry) if stack else middle.geometry,
        facts={**middle.facts, "Size": f"{middle.shape[1]} x {middle.shape[0]}, {len(scans)} slices"},
        overlays=_overlays(scans),
        signs=_signs(ranked, stack),
        notes=tuple(dict.fromkeys(note for scan in scans for note in scan.notes)),
    )
    return in_one_scale(scan, [part.modality_lut for part in scans])


def _overlays(scans: list[Scan]) -> tuple[Overlay, ...]:
    """All graphics of the slices in one mask."""
    if not any(scan.overlays for scan in scans):
        return ()
    masks = [
        np.logical_or.reduce([overlay.mask for overlay in scan.overlays])
        if scan.overlays
        else np.zeros((1, *scan.shape), np.bool_)
        for scan in scans
    ]
    return (Overlay(np.concatenate(masks)),)


def _signs(pieces: list[_Piece], stack: Stack | None) -> dict[str, str]:
    signs = {code: detail for piece in pieces for code, detail in piece.scan.signs.items()}
    if stack is None:
        return signs | {"no-geometry": ""}
    signs |= stack.signs
    numbers = {piece.number for piece in pieces if piece.number is not None}
    if len(numbers) == len(pieces) and "gap" not in signs:
        wanted = max(numbers) - min(numbers) + 1
        # Numbers that run in larger steps say nothing of missing files.
        if len(pieces) < wanted <= len(pieces) * 1.2:
            signs["incomplete"] = f"{len(pieces)} of {wanted}"
    return signs
