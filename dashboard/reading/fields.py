"""What both reads have: a free comment, a place on the picture, and the line that says whether the draft is saved."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.reviews.record import LONGEST_TEXT
from dashboard import state
from dashboard.packing import pack
from dashboard.reading.form import COMMENT, FIRST, WHERE, Form
from dashboard.reading.rows import term_of
from dashboard.texts import t
from dashboard.viewer.asker import marked_place, say_beside_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.models.card import Label
    from core.scan import Scan
    from dashboard.marked import Marked
    from dashboard.reading.desk import Desk

_LOOK_SECONDS = 2.0
_TALL = 90


def comment_field(form: Form) -> None:
    """Whatever the reader wants to say; saved while they type."""
    with st.container(key="reading-text"):
        st.text_area(
            t("reading.comment"),
            key=form.key(COMMENT),
            height=_TALL,
            max_chars=LONGEST_TEXT,
            on_change=form.keep,
            placeholder=t("reading.comment_placeholder"),
        )
        _typing()(key="reading-typing", data=pack({"kind": "typing"}, {}))


def where_field(case: state.Case, form: Form, labels: "Sequence[Label]") -> None:
    """Where the reader sees what they marked as present; only when they want to say so."""
    seen = {label.code: term_of(label) for label in labels if form.value(FIRST, label.code) == "present"}
    scan = case.scan
    if not seen or scan is None:
        return
    with st.expander(t("reading.where"), on_change="rerun") as fold:
        if not fold.open:
            return
        st.caption(t("reading.where_how"))
        code = st.radio(
            t("reading.where_label"), list(seen), format_func=lambda one: seen[one], horizontal=True,
            key=f"where-{form.desk.key[:16]}", label_visibility="collapsed",
        )  # fmt: skip
        place = marked_place(case, unanswered=True)
        if place is not None:
            say_beside_picture(case, place.number, t("reading.where_marked", label=seen[code]))
        _boxes(form, scan, code, place, seen[code])


def _boxes(form: Form, scan: "Scan", code: str, place: "Marked | None", term: str) -> None:
    kept = list(form.value(WHERE, code) or ())
    box = box_of(place, scan) if place is not None else None

    def keep() -> None:
        form.fill({f"{WHERE}:{code}": [*kept, box]})
        form.keep()

    def drop() -> None:
        form.fill({f"{WHERE}:{code}": []})
        form.keep()

    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("reading.where_keep", label=term), on_click=keep, disabled=box is None or box in kept,
            key=f"box-{form.desk.key[:16]}", icon=":material/crop_free:",
        )  # fmt: skip
        if kept:
            st.text(t("reading.where_kept", count=len(kept)))
            st.button(t("reading.where_drop"), on_click=drop, type="tertiary", key=f"drop-{form.desk.key[:16]}")


def box_of(place: "Marked", scan: "Scan") -> dict[str, float] | None:
    """The box around what was marked, in pixels of the scan; None where nothing was.

    As ``core.reviews.record.Region`` takes it.
    """
    rows, columns = (np.flatnonzero(place.region.any(axis=axis)) for axis in (1, 0))
    if not len(rows) or place.frame >= scan.frame_count:
        return None
    down, across = scan.shape[0] / place.rows, scan.shape[1] / place.columns
    return {
        "frame": place.frame,
        "top": float(rows[0] * down),
        "left": float(columns[0] * across),
        "height": float((rows[-1] + 1 - rows[0]) * down),
        "width": float((columns[-1] + 1 - columns[0]) * across),
    }


def saved_line(desk: "Desk") -> None:
    """Whether what stands in the form is saved; while it is not, the line looks again by itself."""
    if desk.gone:
        st.warning(desk.gone, icon=":material/warning:")
        return
    if not desk.outbox.waits and desk.ready.is_set():
        st.caption(t("reading.saved") if desk.values else t("reading.as_you_go"))
        return

    @st.fragment(run_every=_LOOK_SECONDS)
    def line() -> None:
        if not desk.outbox.waits:
            # The page stops looking.
            st.rerun()
        if desk.outbox.problem:
            st.warning(t("reading.unsaved"), icon=":material/cloud_off:")
        else:
            st.caption(t("reading.saving"))

    line()


@cache
def _typing() -> Any:
    """An element without a face."""
    script = Path(__file__).with_name("js_typing.js").read_text("utf-8")
    return st.components.v2.component("radlens_typing", js=script)
