"""The background at work: how far it is, a way to stop it and to let it go on."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.background import Progress

_LOOK_SECONDS = 1.0


def running_line() -> None:
    """Progress while there is something to do; it looks again by itself, and draws the page anew at the end.

    Raises StoreError.
    """
    background = cache.background()
    first = background.progress()
    if not first.is_at_work:
        _standing(first)
        return

    @st.fragment(run_every=_LOOK_SECONDS)
    def follow() -> None:
        try:
            now = background.progress()
        except RadLensError as exc:
            st.text(str(exc))
            return
        if not now.is_at_work:
            st.rerun()
        _moving(now)

    follow()


def _moving(now: "Progress") -> None:
    left, right = st.columns([5, 1], vertical_alignment="center")
    total = now.done + now.waiting
    left.progress(now.done / total if total else 0.0, t("worklist.analysing", done=now.done, total=total))
    right.button(
        t("worklist.stop"),
        on_click=cache.background().cancel,
        icon=":material/stop_circle:",
        help=t("worklist.stop_help"),
    )
    if now.problem:
        st.text(now.problem)


def _standing(now: "Progress") -> None:
    if now.cancelled and now.waiting:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.info(t("worklist.stopped", waiting=now.waiting), icon=":material/pause_circle:")
        right.button(t("worklist.go_on"), on_click=cache.background().begin, icon=":material/play_circle:")
