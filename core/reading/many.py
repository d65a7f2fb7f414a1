"""Many files at once, of many patients: put together into one group a series, and each group as the bytes that open it again."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from core.errors import DecodingStopped
from core.reading.guard import GUARD, Report, WorkerDied
from core.reading.limits import max_archive_entries
from core.reading.sorting import Found

# Files that may each cost a worker its life before the upload is refused as a whole.
_PATIENCE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Files that are read together: a series, or one file alone. ``refusal`` says why there is nothing to read."""

    name: str = field(repr=False)
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    refusal: str = ""


def groups_of(files: Sequence[tuple[str, bytes]], report: Report | None = None) -> tuple[Group, ...]:
    """The groups that these files (name, bytes), and those in the archives among them, make up, in the order of their coming.

    Only headers are read, in a process of its own. Raises DecodingStopped where too many files break it.
    """
    skip: frozenset[int] = frozenset()
    died: list[Group] = []
    while True:
        try:
            found: list[Found] = GUARD.run("sort", files, skip=skip, report=report)
        except WorkerDied as exc:
            if len(died) == _PATIENCE:
                raise DecodingStopped(str(exc)) from exc
            skip |= {exc.at}
            died.append(Group(f"file {exc.at + 1}", refusal=str(exc)))
        else:
            return (*_grouped(files, found), *died)


def bytes_of(group: Group) -> bytes:
    """What opens the group again: its only file, or an archive of its files that is not packed further.

    Raises DecodingStopped for more files than an archive may hold.
    """
    if len(group.files) == 1:
        return group.files[0][1]
    if len(group.files) > max_archive_entries():
        raise DecodingStopped(
            f"The series has {len(group.files)} files; the worklist keeps up to {max_archive_entries()}. Open it by itself."
        )
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as kept:
        for number, (_, data) in enumerate(group.files):
            # Names may say who the patient is, and the time of packing must not change the bytes.
            kept.writestr(zipfile.ZipInfo(f"{number:05d}"), data)
    return archive.getvalue()


def _grouped(files: Sequence[tuple[str, bytes]], found: Sequence[Found]) -> Iterator[Group]:
    groups: dict[str, list[tuple[str, bytes]]] = {}
    refused = []
    for number, (name, series, source, content, refusal) in enumerate(found):
        if refusal:
            refused.append(Group(name, refusal=refusal))
        else:
            data = files[source][1] if content is None else content.tobytes()
            groups.setdefault(series or f"alone {number}", []).append((name, data))
    for members in groups.values():
        yield Group(members[0][0], tuple(members))
    yield from refused
