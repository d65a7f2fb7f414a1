"""Uploaded files, whose memory is given back."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.state.case import open_files
from dashboard.state.keys import SAMPLE, UPLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.reading.guard import Report


def upload_key() -> str:
    """The key of the present upload widget."""
    return f"upload-{st.session_state.get(UPLOADS, 0)}"


def take_uploads(files: "Sequence[UploadedFile]", report: "Report | None" = None) -> None:
    """Open uploaded files, then give their memory back: Streamlit would hold the bytes as long as the session lives."""
    folder, slash, _ = files[0].name.partition("/")
    title = files[0].name if len(files) == 1 else f"{folder if slash else files[0].name} ({len(files)} files)"
    open_files([(file.name, file.getvalue()) for file in files], title, report)
    st.session_state[UPLOADS] = st.session_state.get(UPLOADS, 0) + 1
    st.session_state.pop(SAMPLE, None)
    for file in files:
        release(file)


def release(file: "UploadedFile") -> None:
    """Streamlit offers no public way; where this one is gone, the new widget key alone still frees it at session end."""
    try:
        from streamlit.runtime.scriptrunner import get_script_run_ctx
    except ImportError:
        return
    context = get_script_run_ctx()
    if context is not None and hasattr(context.uploaded_file_mgr, "remove_file"):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
