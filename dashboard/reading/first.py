"""The first read: every label marked by the reader alone, before the network has said a word."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.reading.fields import comment_field, saved_line, where_field
from dashboard.reading.form import FIRST, Form, codes_of
from dashboard.reading.rows import STYLE, mark_fields, name_of, row, rows
from dashboard.texts import t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.models.card import Label
    from core.reviews.opening import Reviews
    from core.reviews.record import Read, Review
    from dashboard.reading.desk import Desk


@st.fragment
def first_read(case: state.Case, desk: "Desk", labels: "Sequence[Label]") -> None:
    """The form and its button; a click in it runs this part of the page again, no more."""
    form = Form(desk)
    st.html(STYLE)
    st.caption(t("reading.first_how") if labels else t("reading.first_no_labels"))
    _marks(form, labels)
    where_field(case, form, labels)
    comment_field(form)
    read = form.first_read(codes_of(labels))
    can = bool(read.findings) or (not labels and bool(read.comment.strip()))
    pressed = st.button(
        t("reading.commit"),
        key=f"commit-{desk.key[:16]}",
        type="primary",
        icon=":material/lock:",
        width="stretch",
        disabled=not can,
        help=t("reading.commit_help") if labels else None,
    )
    if pressed and _committed(desk, form, read):
        st.rerun()
    saved_line(desk)


def _marks(form: Form, labels: "Sequence[Label]") -> None:
    if not labels:
        return
    with rows():
        for number, label in enumerate(labels):
            with row(number):
                name_of(label)
                mark_fields(form, FIRST, label)

    def rest_absent() -> None:
        open_ones = [label.code for label in labels if form.value(FIRST, label.code) is None]
        form.fill({f"{FIRST}:{code}": "absent" for code in open_ones})
        form.keep()

    marked = sum(form.value(FIRST, label.code) is not None for label in labels)
    if len(labels) - marked > 0 and len(labels) > 1:
        st.button(
            t("reading.rest_absent") if marked else t("reading.all_absent"),
            key=f"rest-{form.desk.key[:16]}",
            on_click=rest_absent,
            type="tertiary",
            icon=":material/done_all:",
        )


def _committed(desk: "Desk", form: Form, read: "Read") -> bool:
    def step(reviews: "Reviews") -> "Review":
        return reviews.store.commit_first_read(desk.case_id, desk.reader, read, desk.opened_at)

    if not desk.ready.is_set():
        st.warning(t("reading.not_yet"), icon=":material/hourglass_top:")
        return False
    if problem := desk.take_step(step):
        st.warning(t("reading.not_committed"), icon=":material/warning:")
        st.text(problem)
        # Where another window of the same reader was first, the page shows what stands there.
        return desk.review is not None
    form.clear()
    return True
