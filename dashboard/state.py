"""The only file that names st.session_state keys: which case is open, which choices the reader made, what was noted."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ScanError

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.scan import Scan

_CASE = "case"
_NOTES = "notes"
_FORMER = "former_case"
_UPLOADS = "upload_number"
_VISITED = "visited"
_MODELS = "models_chosen_by_hand"

LABEL, OPACITY, MODE, FRAME, WINDOW = "label", "opacity", "mode", "frame", "window"
LAYER, ORDER, SCALE, CHANNEL = "layer", "order", "scale", "channel"
SAMPLE = "sample"
# What the reader chose stays when the page changes; Streamlit forgets a widget that is not drawn.
_KEPT = (LABEL, OPACITY, MODE, FRAME, WINDOW, LAYER, ORDER, SCALE, CHANNEL)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is open: a scan, or the sentence that says why there is none. ``title`` may be a file's name: shown literally."""

    title: str
    scan: "Scan | None" = field(default=None, repr=False)
    refusal: str | None = None
    simulated: bool = False
    key: str = ""


def choice(name: str, *within: str) -> str:
    """The key of a choice that belongs to the open case, or to a part of it.

    A widget that kept its key over two cases would go on showing the former one's value.
    """
    case = current_case()
    return ":".join((name, case.key[:16] if case else "", *within))


def keep_choices() -> None:
    """Hold on to the choices that this run's page does not draw."""
    for key in _chosen(_KEPT):
        st.session_state[key] = st.session_state[key]


def _chosen(names: tuple[str, ...]) -> list[str]:
    return [key for key in map(str, st.session_state) if key.partition(":")[0] in names]


def prefer(key: str, value: object) -> None:
    """What a choice stands at until the reader makes it. A widget must not be given the same as its own default."""
    if key not in st.session_state:
        st.session_state[key] = value


def current_case() -> Case | None:
    """The open case, if any."""
    case: Case | None = st.session_state.get(_CASE)
    return case


def open_case(data: bytes, title: str, *, simulated: bool = False) -> None:
    """Forget the former case, then read this one; a file that cannot be read becomes a case with its refusal."""
    from core.reading import read_scan

    forget_case()
    try:
        scan = read_scan(data)
    except ScanError as exc:
        st.session_state[_CASE] = Case(title, refusal=str(exc), simulated=simulated)
        return
    st.session_state[_CASE] = Case(title, scan, simulated=simulated, key=scan.digest)


def open_sample(identifier: str) -> None:
    """Open a sample case by id; an unknown id opens nothing."""
    from core.samples import find_sample

    sample = find_sample(identifier)
    if sample is None:
        return
    try:
        data = sample.load()
    except ScanError as exc:
        forget_case()
        st.session_state[_CASE] = Case(sample.title, refusal=str(exc))
        return
    open_case(data, sample.title, simulated=sample.simulated)


def open_chosen_sample() -> None:
    """Open the sample that the reader picked in the list."""
    chosen = st.session_state.get(SAMPLE)
    if chosen:
        open_sample(chosen)


def first_visit() -> bool:
    """True once a session, when the first case is to be opened."""
    first = _VISITED not in st.session_state
    st.session_state[_VISITED] = True
    return first


def chosen_frame(frame_count: int) -> int:
    """The frame that the reader looks at, counted from 0."""
    return min(int(st.session_state.get(choice(FRAME), 1)), frame_count) - 1


def note_key(case_key: str) -> str:
    """The key of the notes field of a case."""
    return f"notes-{case_key}"


def forget_case() -> None:
    """No result of the former case stays; the reader's notes on it do."""
    case = st.session_state.pop(_CASE, None)
    if case is not None and case.key:
        st.session_state[_FORMER] = (case.key, case.title)
    for key in _chosen((LABEL, FRAME, WINDOW, LAYER, CHANNEL)):
        st.session_state.pop(key, None)


def close_case() -> None:
    """Nothing is open any more; the list of samples shows no choice."""
    forget_case()
    st.session_state.pop(SAMPLE, None)


def former_case() -> tuple[str, str] | None:
    """(key, title) of the case that was open before, if there was one."""
    former: tuple[str, str] | None = st.session_state.get(_FORMER)
    return former


def notes(case_key: str) -> str:
    """The reader's notes on a case."""
    found: str = st.session_state.get(_NOTES, {}).get(case_key, "")
    return found


def keep_notes(case_key: str) -> None:
    """Keep what stands in the notes field of a case, for this session."""
    st.session_state.setdefault(_NOTES, {})[case_key] = st.session_state[note_key(case_key)]


def model_by_hand(case_key: str) -> str | None:
    """The model that the reader chose for a case that fits none by its tags."""
    chosen: str | None = st.session_state.get(_MODELS, {}).get(case_key)
    return chosen


def choose_model_by_hand(case_key: str, model_id: str) -> None:
    """Read a case with this model although its tags do not fit."""
    st.session_state.setdefault(_MODELS, {})[case_key] = model_id


def upload_key() -> str:
    """The key of the present upload widget."""
    return f"upload-{st.session_state.get(_UPLOADS, 0)}"


def take_upload(file: "UploadedFile") -> None:
    """Open an uploaded file, then give its memory back: Streamlit would hold the bytes as long as the session lives."""
    open_case(file.getvalue(), file.name)
    st.session_state[_UPLOADS] = st.session_state.get(_UPLOADS, 0) + 1
    st.session_state.pop(SAMPLE, None)
    _release(file)


def _release(file: "UploadedFile") -> None:
    """Streamlit offers no public way; where this one is gone, the new widget key alone still frees it at session end."""
    try:
        from streamlit.runtime.scriptrunner import get_script_run_ctx
    except ImportError:
        return
    context = get_script_run_ctx()
    if context is not None and hasattr(context.uploaded_file_mgr, "remove_file"):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
