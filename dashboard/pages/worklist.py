"""Worklist: many cases, analysed in the background, read one after the other."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache
from dashboard.case_opening import go_to_review, open_case
from dashboard.readers import present_reader
from dashboard.texts import t
from dashboard.who import ask_name, name_once
from dashboard.widgets import error_box
from dashboard.worklist.adding import add_panel
from dashboard.worklist.chosen import chosen_panel
from dashboard.worklist.listing import Question, next_of, question_of, rows_of, show_list
from dashboard.worklist.running import running_line

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader
    from core.reviews.worklist import WorklistRow


def render() -> None:
    """The page."""
    st.subheader(t("worklist.title"))
    try:
        reader = present_reader()
        if reader is None:
            st.info(t("worklist.who"), icon=":material/person:")
            ask_name("worklist")
            return
        name_once(reader)
        _page(cache.reviews(), reader)
    except RadLensError as exc:
        error_box(t("worklist.unavailable"), str(exc))


def _page(reviews: "Reviews", reader: "Reader") -> None:
    is_empty = reviews.worklist.is_empty()
    add_panel(reviews, reader, unfolded=is_empty)
    if is_empty:
        st.info(t("worklist.empty"), icon=":material/inbox:")
        return
    running_line()
    question = question_of(reviews)
    rows = rows_of(reviews, reader, question)
    _actions(reviews, reader, rows, question)
    if not rows:
        st.info(t("worklist.none_such"), icon=":material/filter_alt_off:")
        return
    if chosen := show_list(rows, question):
        chosen_panel(reviews, reader, chosen)


def _actions(reviews: "Reviews", reader: "Reader", rows: "tuple[WorklistRow, ...]", question: Question) -> None:
    following = next_of(rows, question)
    unread = sum(row.read == "unread" for row in rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            t("worklist.next"),
            type="primary",
            disabled=following is None,
            help=t("worklist.next_help" if following else "worklist.next_none"),
            icon=":material/play_arrow:",
        )
        if pressed and following is not None:
            open_case(following.case)
            go_to_review()
        st.download_button(
            t("worklist.csv"),
            partial(_csv, reviews, reader, rows),
            "radlens-worklist.csv",
            "text/csv",
            on_click="ignore",
            disabled=not rows,
            icon=":material/download:",
        )
        st.text(t("worklist.count", count=len(rows), unread=unread))


def _csv(reviews: "Reviews", reader: "Reader", rows: "tuple[WorklistRow, ...]") -> bytes:
    """Raises StoreError: what the audit trail cannot tell of does not leave."""
    from core.reviews.worklist import as_csv

    reviews.store.record(reader, "exported", detail={"kind": "worklist", "cases": len(rows)})
    return as_csv(rows).encode()
