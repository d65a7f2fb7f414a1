"""A film of the tour in the viewer, and what the network answers."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import state
from dashboard.answer import Answer
from dashboard.score_table import score_texts
from dashboard.texts import t
from dashboard.viewer.viewer import show_maps, show_pixels
from dashboard.widgets import answer_with_progress, error_box, wait_for_answer


def film_beside(case: state.Case, *widths: int) -> list[DeltaGenerator]:
    """The film, at once, in the first of so many columns. The whole of it should fit on a screen."""
    state.show_case(case)
    columns: list[DeltaGenerator] = st.columns(widths or (2, 3), gap="large")
    with columns[0]:
        show_pixels(case)
    return columns


def answered(case: state.Case) -> Answer | None:
    """What the network answers, with a sign of life; where there is no answer, the sentence that says why."""
    state.show_case(case)
    if case.scan is None or not wait_for_answer():
        return None
    given = answer_with_progress(case.scan, 0)
    if isinstance(given, Answer):
        return given
    error_box(t("withheld.title"), given.reason)
    return None


def film_with_map(place: DeltaGenerator, case: state.Case, answer: Answer | None) -> None:
    """Lay the heatmaps over the film; without an answer, take them away."""
    with place:
        show_maps(case, answer, score_texts(answer) if answer else {})
