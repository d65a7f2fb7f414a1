"""Many files become cases of the worklist: read, put together, kept as the policy says, and queued for the network's answer."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import ScanError
from core.reading import read_identity, read_study
from core.reading.guard import Report
from core.reading.many import Group, bytes_of, groups_of
from core.reading.study import LeftOut
from core.reviews.keeping import CaseFiles
from core.reviews.opening import Reviews
from core.reviews.patients import keyed
from core.reviews.record import Reader
from core.reviews.store import Case, NewCase
from core.scan import Scan

ORIGIN = "upload"
# Facts of a case where the deployment shows identities.
PATIENT, PATIENT_ID = "Patient", "Patient ID"


@dataclass(frozen=True, slots=True, eq=False)
class TakenIn:
    """What became of one group of files, number ``done`` of ``total``: its cases, and what could not be read and why."""

    done: int
    total: int
    cases: tuple[Case, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=(), repr=False)


def take_in(
    files: Sequence[tuple[str, bytes]], reviews: Reviews, kept: CaseFiles, by: Reader, report: Report | None = None
) -> Iterator[TakenIn]:
    """Add the scans of these files (name, bytes) and archives as cases, group by group; what cannot be read holds up nothing.

    A file that came before belongs to the case that it made then. Raises StoreError, and DecodingStopped where nothing can be
    told of the upload.
    """
    groups = groups_of(files, report)
    for number, group in enumerate(groups, 1):
        cases, left_out = _cases_of(group, reviews, kept, by)
        reviews.worklist.queue(case.id for case in cases)
        yield TakenIn(number, len(groups), cases, left_out)


def _cases_of(
    group: Group, reviews: Reviews, kept: CaseFiles, by: Reader
) -> tuple[tuple[Case, ...], tuple[LeftOut, ...]]:
    if group.refusal:
        return (), (LeftOut(group.name, group.refusal),)
    try:
        study, data = read_study(group.files), bytes_of(group)
    except ScanError as exc:
        return (), (LeftOut(group.name, str(exc)),)
    facts = _identity(group) if reviews.settings.shows_identities else {}
    alone = {hashlib.sha256(file).hexdigest(): file for _, file in group.files}
    cases = (_case(scan, facts, study.patient, alone.get(scan.digest, data), reviews, kept, by) for scan in study.scans)
    return tuple(cases), study.left_out


def _identity(group: Group) -> dict[str, str]:
    said = zip((PATIENT, PATIENT_ID), read_identity(group.files), strict=True)
    return {name: value for name, value in said if value}


def _case(
    scan: Scan, identity: Mapping[str, str], patient: str, data: bytes, reviews: Reviews, kept: CaseFiles, by: Reader
) -> Case:
    new = NewCase(scan.digest, ORIGIN, {**identity, **scan.facts}, patient=keyed(patient, reviews.key), file=data)
    case = reviews.store.add_case(new, by)
    reviews.worklist.attach(case.id, data)
    kept.keep(case, data)
    return case
