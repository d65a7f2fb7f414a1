"""Work in the background that belongs to the open case, and its results."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.state.case import choice
from dashboard.state.choices import chosen_keys
from dashboard.state.keys import ASKED, EXPLANATION_RUN, SLICE_RUN, TRUST_RUN, WATCHED_RUN

if TYPE_CHECKING:
    from core.explaining.asking import Asked
    from dashboard.explanation_run import ExplanationRun
    from dashboard.slices import SliceRun
    from dashboard.trust_run import TrustRun
    from dashboard.watched_run import WatchedRun


def slice_run(weights: str) -> "SliceRun | None":
    """The run through all slices of the open case with this model, if it was started."""
    run: SliceRun | None = st.session_state.get(choice(SLICE_RUN, weights))
    return run


def keep_slice_run(weights: str, run: "SliceRun") -> None:
    """Hold on to a run for as long as its case is open."""
    st.session_state[choice(SLICE_RUN, weights)] = run


def _keep_run(name: str, question: tuple[str, ...], run: "ExplanationRun | TrustRun | WatchedRun[Any]") -> None:
    for key in chosen_keys((name,)):
        st.session_state[key].cancel()
    st.session_state[choice(name, *question)] = run


def explanation_run(question: tuple[str, ...]) -> "ExplanationRun | None":
    """The making of the heatmap that answers this question about the open case, if it was started."""
    run: ExplanationRun | None = st.session_state.get(choice(EXPLANATION_RUN, *question))
    return run


def keep_explanation_run(question: tuple[str, ...], run: "ExplanationRun") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(EXPLANATION_RUN, question, run)


def trust_run(question: tuple[str, ...]) -> "TrustRun | None":
    """The checks of this heatmap of the open case (weights, frame, label), if they were started."""
    run: TrustRun | None = st.session_state.get(choice(TRUST_RUN, *question))
    return run


def keep_trust_run(question: tuple[str, ...], run: "TrustRun") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(TRUST_RUN, question, run)


def watched_run(question: tuple[str, ...]) -> "WatchedRun[Any] | None":
    """The work that answers this question about the open case, if it was started."""
    run: WatchedRun[Any] | None = st.session_state.get(choice(WATCHED_RUN, *question))
    return run


def keep_watched_run(question: tuple[str, ...], run: "WatchedRun[Any]") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(WATCHED_RUN, question, run)


def asked(question: tuple[object, ...]) -> "Asked | None":
    """The answer to the question about a marked place that was asked last, if it is this one."""
    kept: tuple[tuple[object, ...], Asked] | None = st.session_state.get(choice(ASKED))
    return kept[1] if kept is not None and kept[0] == question else None


def keep_asked(question: tuple[object, ...], answer: "Asked") -> None:
    """Hold on to an answer until the next one; of the marked place nothing else is kept."""
    st.session_state[choice(ASKED)] = (question, answer)
