"""Work that starts when the reader presses its button: progress while it runs, a way to stop it, then what came out."""

from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from dashboard import cache, state
from dashboard.texts import t
from dashboard.watched_run import WatchedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.explaining.perturbation import Watch

T = TypeVar("T")
_LOOK_SECONDS = 0.5


def network_is_there() -> bool:
    """Whether networks can be asked; while they cannot, the panel says so, and the page looks again by itself."""
    if cache.start_up().network.is_set():
        return True
    st.info(t("start.network"), icon=":material/hourglass_top:")
    return False


def on_demand(question: tuple[str, ...], button: str, work: "Callable[[Watch], T]") -> T | None:
    """The result, once there is one; ``question`` tells one work from another, its first word which part of the page asks."""
    run = state.watched_run(question)
    if run is None or (not run.running and run.result is None):
        if run is not None:
            st.text(run.problem or t("ask.stopped"))
        if st.button(button, key=state.choice("start", *question), icon=":material/search:"):
            state.keep_watched_run(question, WatchedRun(question[0], work))
            st.rerun()
        return None
    if run.running:
        _follow(run, question)
        return None
    found: T | None = run.result
    return found


def _follow(run: "WatchedRun[Any]", question: tuple[str, ...]) -> None:
    @st.fragment(run_every=_LOOK_SECONDS)
    def progress() -> None:
        if not run.running:
            st.rerun()
        st.progress(run.share, t("ask.progress", share=f"{run.share:.0%}"))
        st.button(t("ask.stop"), key=state.choice("stop", *question), on_click=run.cancel)

    progress()
