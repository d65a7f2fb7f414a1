"""What the reader chose on the worklist, and what came of their last upload there."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.state.keys import LIST_ASKED, LIST_BLIND, LIST_TAKEN, LIST_UPLOADS
from dashboard.state.uploads import release

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.reading.study import LeftOut


def list_upload_key() -> str:
    """The key of the worklist's present upload widget."""
    return f"list-upload-{st.session_state.get(LIST_UPLOADS, 0)}"


def finish_list_upload(files: "Sequence[UploadedFile]", cases: int, left_out: "Sequence[LeftOut]") -> None:
    """The upload was read: its memory is given back, and what came of it is kept to be shown."""
    st.session_state[LIST_UPLOADS] = st.session_state.get(LIST_UPLOADS, 0) + 1
    st.session_state[LIST_TAKEN] = (cases, tuple(left_out))
    for file in files:
        release(file)


def list_taken() -> "tuple[int, tuple[LeftOut, ...]] | None":
    """How many cases the last upload made, and what of it could not be read; None until there was one."""
    taken: tuple[int, tuple[LeftOut, ...]] | None = st.session_state.get(LIST_TAKEN)
    return taken


def is_asked_anew(question: "Hashable") -> bool:
    """Whether the worklist is asked something else than the last time, in this session."""
    anew = st.session_state.get(LIST_ASKED) != question
    st.session_state[LIST_ASKED] = question
    return anew


def is_blind() -> bool:
    """Whether the reader reads a set blind: facts, counts, scores and other cases stay hidden until all of it is read."""
    return bool(st.session_state.get(LIST_BLIND, False))
