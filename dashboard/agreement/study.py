"""The reader study on a page: what it is, adding it to the worklist, how far the reader is, and what had been drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from core.reader_study import FILMS, add_study, study_rows
from dashboard.tables import NOTHING, table
from dashboard.texts import t
from dashboard.who import ask_name
from dashboard.widgets import error_box

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Read, Reader, Review
    from core.reviews.worklist import WorklistRow

_READ_TO_THE_END = ("second read", "signed")


def study_panel(opened: "Reviews", by: "Reader | None") -> None:
    """The invitation, or how far the reader is; when all are read, what was drawn in."""
    st.markdown(f"**{t('agreement.study')}**")
    st.text(t("agreement.study_words", count=len(FILMS)))
    if by is None:
        st.text(t("agreement.study_who"))
        ask_name("agreement")
        return
    rows = study_rows(opened.worklist, by)
    if len(rows) < len(FILMS):
        _add_button(opened, by)
        return
    done = [row for row in rows if row.read in _READ_TO_THE_END]
    st.progress(len(done) / len(rows), t("agreement.study_done", done=len(done), count=len(rows)))
    if len(done) < len(rows):
        # Whoever knows of the network's errors on the films so far reads the rest otherwise.
        st.caption(t("agreement.study_later"))
        return
    with st.expander(t("agreement.study_films")):
        table(_film_line(row, opened.store.review(row.case.id, by)) for row in done)
        st.caption(t("agreement.study_films_words"))


def _add_button(opened: "Reviews", by: "Reader") -> None:
    if not st.button(t("agreement.study_add"), type="primary", icon=":material/playlist_add:"):
        return
    try:
        with st.spinner(t("agreement.study_adding")):
            add_study(opened.store, opened.worklist, by)
    except RadLensError as exc:
        error_box(t("agreement.not_added"), str(exc))
        return
    st.rerun()


def _film_line(row: "WorklistRow", review: "Review | None") -> dict[str, str]:
    answer = review.answer if review else None
    called = [
        code
        for code, score in (answer.scores if answer else {}).items()
        if answer and score >= answer.thresholds.get(code, 2)
    ]
    drawn = [code for code, there in (row.case.truth or {}).items() if there]
    first, second = (review.first, review.second.read if review.second else None) if review else (None, None)
    return {
        t("agreement.film"): row.case.pseudonym,
        t("agreement.drawn"): _named(drawn),
        t("agreement.your_first"): _named(_present(first)),
        t("agreement.network_called"): _named(called) if answer else NOTHING,
        t("agreement.your_final"): _named(_present(second)),
    }


def _present(read: "Read | None") -> list[str]:
    return [code for code, finding in (read.findings if read else {}).items() if finding.mark == "present"]


def _named(codes: Sequence[str]) -> str:
    """Findings in words; that any is there goes without saying."""
    found = [code for code in codes if code != "abnormal"] or list(codes)
    return ", ".join(found) or t("agreement.nothing")
