"""Which case is open, what was noted on it, and what is forgotten with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ScanError
from dashboard import cache
from dashboard.frames import Offer
from dashboard.state.choices import chosen_keys
from dashboard.state.keys import CASE, FORMER, FRAME, OF_THE_CASE, SAMPLE, SERIES, VISITED
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reading.guard import Report
    from core.reading.study import LeftOut
    from core.reviews.store import Case as StoredCase
    from core.scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is open: the scans of one upload, or the sentence that says why there are none.

    ``title`` may be a file's name: shown literally. ``offer`` lets the browser fetch the frames of the scan in front.
    ``origin`` is what the store keeps of where it came from, ``patient`` a hash of whom it shows (``Study.patient``), ``stored``
    its id in the store, empty where only its file is known. ``file`` are the bytes of an upload of one file, where the
    deployment keeps scans.
    """

    title: str
    scans: "tuple[Scan, ...]" = field(default=(), repr=False)
    left_out: "tuple[LeftOut, ...]" = field(default=(), repr=False)
    front: int = 0
    offer: Offer | None = field(default=None, repr=False)
    refusal: str | None = None
    simulated: bool = False
    origin: str = "upload"
    patient: str = field(default="", repr=False)
    stored: str = ""
    file: bytes | None = field(default=None, repr=False)

    @property
    def scan(self) -> "Scan | None":
        """The scan in front."""
        return self.scans[self.front] if self.scans else None

    @property
    def key(self) -> str:
        """The digest of the scan in front: what choices, notes and caches go by."""
        return self.scans[self.front].digest if self.scans else ""


def choice(name: str, *within: str) -> str:
    """The key of a choice that belongs to the open case, or to a part of it.

    A widget that kept its key over two cases would go on showing the former one's value.
    """
    case = current_case()
    return ":".join((name, case.key[:16] if case else "", *within))


def current_case() -> Case | None:
    """The open case, if any."""
    case: Case | None = st.session_state.get(CASE)
    return case


def open_files(files: Sequence[tuple[str, bytes]], title: str, report: "Report | None" = None) -> None:
    """Forget the former case, then read these files (name, bytes). What cannot be read becomes a case with its refusal."""
    from core.reading import read_study

    forget_case()
    try:
        study = read_study(files, report)
    except ScanError as exc:
        st.session_state[CASE] = Case(title, refusal=str(exc))
        return
    file = files[0][1] if len(files) == 1 and cache.settings().policy.keeps_files else None
    _put_in_front(Case(title, study.scans, study.left_out, patient=study.patient, file=file), 0)


def open_stored(stored: "StoredCase", data: bytes | None) -> None:
    """Open a case of the store from its file's bytes, under its pseudonym; without them it becomes a case with its refusal."""
    from core.reading import read_study

    forget_case()
    empty = Case(stored.pseudonym, origin=stored.origin, stored=stored.id, simulated=stored.origin == "study")
    if data is None:
        st.session_state[CASE] = replace(empty, refusal=t("reading.file_gone"))
        return
    try:
        study = read_study([(stored.pseudonym, data)])
    except ScanError as exc:
        st.session_state[CASE] = replace(empty, refusal=str(exc))
        return
    front = next((number for number, scan in enumerate(study.scans) if scan.digest == stored.digest), 0)
    _put_in_front(replace(empty, scans=study.scans, left_out=study.left_out, patient=study.patient), front)


def open_sample(identifier: str) -> None:
    """Open a sample case by id; an unknown id opens nothing."""
    from core.reading.decoding import decode_scan
    from core.samples import find_sample

    sample = find_sample(identifier)
    if sample is None:
        return
    forget_case()
    try:
        scan = decode_scan(sample.load())
    except ScanError as exc:
        st.session_state[CASE] = Case(sample.title, refusal=str(exc))
        return
    _put_in_front(Case(sample.title, (scan,), simulated=sample.simulated, origin="sample"), 0)


def _put_in_front(case: Case, series: int) -> None:
    scan = case.scans[series]
    st.session_state[CASE] = replace(case, front=series, offer=Offer(scan) if scan.frame_count > 1 else None)


def show_chosen_series() -> None:
    """Bring the scan of the case that the reader picked to the front."""
    case, chosen = current_case(), st.session_state.get(SERIES)
    if case is not None and isinstance(chosen, int) and chosen < len(case.scans):
        forget_choices()
        # In the store every scan of an upload is a case of its own.
        _put_in_front(replace(case, stored=case.stored if chosen == case.front else ""), chosen)


def open_chosen_sample() -> None:
    """Open the sample that the reader picked in the list."""
    chosen = st.session_state.get(SAMPLE)
    if chosen:
        open_sample(chosen)


def first_visit() -> bool:
    """True once a session, when the first case is to be opened."""
    first = VISITED not in st.session_state
    st.session_state[VISITED] = True
    return first


def chosen_frame(frame_count: int) -> int:
    """The frame that the reader looks at, counted from 0; a stack opens in its middle."""
    chosen = st.session_state.get(choice(FRAME), first_frame(frame_count))
    return min(max(int(chosen), 0), frame_count - 1)


def first_frame(frame_count: int) -> int:
    """The frame that a scan opens with."""
    return frame_count // 2 if frame_count > 1 else 0


def follow_viewer(key: str) -> None:
    """The viewer of that key says on which frame the reader came to rest; anything but a number is ignored."""
    frame = st.session_state[key].get("frame")
    if isinstance(frame, int | float) and math.isfinite(frame):
        st.session_state[choice(FRAME)] = int(frame)


def forget_case() -> None:
    """No result of the former case stays; what the reader wrote of it is on their desk."""
    case = st.session_state.pop(CASE, None)
    if case is not None and case.key:
        st.session_state[FORMER] = (case.key, case.title)
    forget_choices()


def forget_choices() -> None:
    """The choices that belonged to the scan in front; work on it in the background ends."""
    for key in chosen_keys(OF_THE_CASE):
        former = st.session_state.pop(key, None)
        if hasattr(former, "cancel"):
            former.cancel()


def close_case() -> None:
    """Nothing is open any more, and nothing of it is kept in memory; the list of samples shows no choice."""
    forget_case()
    cache.forget_session()
    st.session_state.pop(SAMPLE, None)


def former_case() -> tuple[str, str] | None:
    """(key, title) of the case that was open before, if there was one."""
    former: tuple[str, str] | None = st.session_state.get(FORMER)
    return former
