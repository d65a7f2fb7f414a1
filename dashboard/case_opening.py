"""A case of the store, opened on Review: by its row, its address, or beside another case of its patient."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.store import Case


def open_case(case: "Case") -> None:
    """Bring a case to the front; where its file is gone, what is open is the sentence that says so.

    Raises StoreError.
    """
    with st.spinner(t("worklist.opening")):
        state.open_stored(case, cache.case_files().file_of(case))


def go_to_review() -> None:
    """Leave this page for Review."""
    # The entry's own page of that address: only this keeps the session.
    st.switch_page(st.Page(lambda: None, title=t("page.review"), url_path="review", default=True))
