"""Review: the scan, the reader's own read of it, then the network's answer with its heatmap, and what the reader makes of it."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.answer import Answer
from dashboard.answer_panel import Given, answer_panel, caveats, file_verdicts, given_for
from dashboard.answer_sets import stability_panel
from dashboard.ask_panel import ask_panel
from dashboard.compare_panel import compare_panel
from dashboard.explanation import explained
from dashboard.pixel_panel import pixel_panel
from dashboard.reading.desk import REVEALED, keeps_back
from dashboard.reading.panel import audit_what_is_shown, reading_panel, words_of_former
from dashboard.score_table import score_texts
from dashboard.texts import t
from dashboard.trust_panel import trust_panel
from dashboard.viewer.strip import slice_scores
from dashboard.viewer.viewer import show_maps, show_pixels
from dashboard.widgets import (
    banner,
    case_or_sentence,
    reader_choice,
    series_choice,
    wait_for_answer,
    wait_for_network,
    wait_for_reading,
)

if TYPE_CHECKING:
    from core.scan import Scan


def render() -> None:
    """The page."""
    if not wait_for_reading():
        return
    if (opened := case_or_sentence()) is None:
        _former_words()
    else:
        _page(*opened)


def _page(case: state.Case, scan: "Scan") -> None:
    frame = state.chosen_frame(scan.frame_count)
    kept_back = keeps_back(case)
    place_for_banner = st.container()
    left, right = st.columns([3, 2], gap="large")
    with left:
        series_choice(case)
        place_for_picture = st.container()
        with place_for_picture:
            show_pixels(case)
    with right:
        reader_choice(scan)
        given = given_for(scan, frame, kept_back=kept_back) if wait_for_answer() else None
        file_verdicts(scan, given)
        answered = given if isinstance(given, Answer) else None
        if given is not None:
            _answer_and_read(case, scan, frame, given, kept_back=kept_back)
        place_for_choices = st.container()
        shown = answered
        boxes = answered is not None and answered.model.card.task == "detection"
        if answered and not boxes and cache.start_up().network.is_set():
            with place_for_choices:
                shown = explained(scan, frame, answered)
        if shown and not boxes:
            _how_to_read(shown)
        _details(scan)
    with place_for_picture:
        show_maps(case, shown, score_texts(shown) if shown else {})
        if answered:
            slice_scores(case, answered)
    with left:
        _beside_picture(case, scan, frame, answered)
    if answered and not boxes:
        compare_panel(scan, frame, answered)
    with place_for_banner:
        banner(case, scan, frame, given)
    if given is not None:
        with place_for_choices:
            # Only now: torch's import would keep the first answer waiting.
            wait_for_network()


def _answer_and_read(case: state.Case, scan: "Scan", frame: int, given: Given, *, kept_back: bool) -> None:
    caveats(given)
    # Where the reader's form stood before the answer came, it stands after it; a sentence instead of an answer goes first.
    panel_first = isinstance(given, Answer) and case.origin not in REVEALED
    place_for_read = st.container()
    answer_panel(scan, frame, given)
    with place_for_read if panel_first else st.container():
        reading_panel(case, given, kept_back=kept_back)
    audit_what_is_shown(case, given)


def _beside_picture(case: state.Case, scan: "Scan", frame: int, answered: Answer | None) -> None:
    if answered and answered.model.card.task == "detection":
        st.caption(t("places.no_heatmap"))
    elif answered:
        stability_panel(scan, frame, answered)
        trust_panel(scan, frame, answered)
        ask_panel(case, frame, answered)
    pixel_panel(scan, frame, answered)


def _former_words() -> None:
    if words := words_of_former():
        st.markdown(f"**{t('refused.kept_notes')}**")
        st.text(words)


def _how_to_read(answer: Answer) -> None:
    heatmap = answer.analysis.heatmap(answer.foremost_label)
    size = answer.model.card.input.size
    cell = size // heatmap.evidence.shape[0]
    with st.expander(t("review.how_title")):
        if answer.analysis.masks:
            st.write(t("review.how_outline", cell=cell, size=size, half=size // 2))
        else:
            st.write(t("review.how", cell=cell, size=size))
        st.write(t("explain.per_scan" if heatmap.per_scan else "review.how_scale"))
        st.caption(t("review.engine", engine=answer.analysis.engine))
        if answer.model.engine_note:
            st.caption(answer.model.engine_note)


def _details(scan: "Scan") -> None:
    with st.expander(t("review.details")):
        for name, value in scan.facts.items():
            st.text(f"{name}: {value}")
        for note in scan.notes:
            st.text(note)
