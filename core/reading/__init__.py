"""Bytes -> Scan. ``read_scan`` (one file) and ``read_study`` (several, or an archive) are the doors; both are guarded."""

from collections.abc import Sequence
from dataclasses import replace

from core.errors import DecodingStopped, ScanError, TwoPatients
from core.reading.archive import is_zip
from core.reading.guard import GUARD, Report, WorkerDied
from core.reading.study import LeftOut, Study
from core.scan import Scan

# The transfer syntaxes of JPEG 2000 begin so (PS3.6 A), and stand in the file's first bytes (PS3.10 7.1).
JPEG_2000 = b"1.2.840.10008.1.2.4.9"
_HEADER_BYTES = 1024
# Files of one upload that may each cost a worker its life before the upload is refused as a whole.
_PATIENCE = 3


def read_scan(data: bytes, report: Report | None = None) -> Scan:
    """Read a file's bytes: DICOM, PNG, JPEG, TIFF or NIfTI, told apart by content; the first volume where it holds several.

    It is decoded in a process of its own. Raises ScanError (NotAnImage, DamagedScan, ScanTooLarge, DecodingStopped) with a
    sentence to show.
    """
    scan: Scan = GUARD.run("scan", [("", data)], report=report)
    return scan


def read_preview(data: bytes) -> Scan | None:
    """A quick, reduced picture of a large JPEG 2000 film, or None where there is nothing to gain or to see.

    Raises nothing for a file that cannot be read: the full decode says what is wrong.
    """
    if JPEG_2000 not in data[:_HEADER_BYTES]:
        return None
    try:
        preview: Scan | None = GUARD.run("preview", [("", data)])
    except ScanError:
        return None
    return preview


def read_identity(files: Sequence[tuple[str, bytes]]) -> tuple[str, str]:
    """Patient's name and ID out of the headers of files (name, bytes), empty where none gives one. Nothing is raised.

    Only for deployments that show identities: a Scan holds neither.
    """
    try:
        name, identifier = GUARD.run("identity", files)
    except ScanError:
        return "", ""
    return str(name), str(identifier)


def read_study(files: Sequence[tuple[str, bytes]], report: Report | None = None) -> Study:
    """Read files (name, bytes) that belong together, zip archives among them: series by UID, slices sorted by place.

    A file that cannot be read is named in ``Study.left_out``, also one that its decoder died of.
    Raises TwoPatients, and ScanError with a sentence to show where nothing can be shown.
    """
    skip: frozenset[int] = frozenset()
    died: list[LeftOut] = []
    while True:
        try:
            study: Study = GUARD.run("study", files, skip=skip, report=report)
        except WorkerDied as exc:
            if _holds_one(files) or len(died) == _PATIENCE:
                raise DecodingStopped(str(exc)) from exc
            skip |= {exc.at}
            died.append(LeftOut(_name(files, exc.at), str(exc)))
        except ScanError as exc:
            if not died or isinstance(exc, TwoPatients):
                raise
            # Nothing is left to show, and what a decoder died of is worse than what the others are.
            raise DecodingStopped(died[0].reason) from exc
        else:
            return replace(study, left_out=study.left_out + tuple(died)) if died else study


def _name(files: Sequence[tuple[str, bytes]], number: int) -> str:
    """The name of a file by its number; archives are not opened here, so what they hold has only its number."""
    if any(is_zip(data) for _, data in files[: number + 1]):
        return f"file {number + 1}"
    return files[number][0]


def _holds_one(files: Sequence[tuple[str, bytes]]) -> bool:
    return len(files) == 1 and not is_zip(files[0][1])
