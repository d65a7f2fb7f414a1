"""Review: the scan with its heatmap, what the network answers, the reader's notes."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.answer import Answer, Failed, Withheld
from dashboard.answer_sets import set_panel, stability_panel
from dashboard.ask_panel import ask_panel
from dashboard.compare_panel import compare_panel
from dashboard.explanation import explained
from dashboard.outlines import outline_table
from dashboard.pixel_panel import pixel_panel
from dashboard.places import place_list
from dashboard.score_table import score_captions, score_table, score_texts
from dashboard.texts import t
from dashboard.trust_panel import trust_panel
from dashboard.viewer.strip import slice_scores
from dashboard.viewer.viewer import show_maps, show_pixels
from dashboard.widgets import (
    answer_with_progress,
    banner,
    case_or_sentence,
    error_box,
    notes_field,
    reader_choice,
    series_choice,
    verdict_list,
    wait_for_answer,
    wait_for_network,
    wait_for_reading,
    withheld_box,
)

if TYPE_CHECKING:
    from core.scan import Scan


def render() -> None:
    """The page."""
    if not wait_for_reading() or (opened := case_or_sentence()) is None:
        return
    case, scan = opened
    frame = state.chosen_frame(scan.frame_count)
    place_for_banner = st.container()
    left, right = st.columns([3, 2], gap="large")
    with left:
        series_choice(case)
        place_for_picture = st.container()
        with place_for_picture:
            show_pixels(case)
    with right:
        reader_choice(scan)
        answer = answer_with_progress(scan, frame) if wait_for_answer() else None
        _verdicts(scan, answer)
        _answers(scan, answer)
        answered = answer if isinstance(answer, Answer) else None
        place_for_choices = st.container()
        shown = answered
        boxes = answered is not None and answered.model.card.task == "detection"
        if answered and not boxes and cache.start_up().network.is_set():
            with place_for_choices:
                shown = explained(scan, frame, answered)
        if shown and not boxes:
            _how_to_read(shown)
        notes_field(case.key)
        _details(scan)
    with place_for_picture:
        show_maps(case, shown, score_texts(shown) if shown else {})
        if answered:
            slice_scores(case, answered)
    with left:
        if boxes:
            st.caption(t("places.no_heatmap"))
        elif answered:
            stability_panel(scan, frame, answered)
            trust_panel(scan, frame, answered)
            ask_panel(case, frame, answered)
        pixel_panel(scan, frame, answered)
    if answered and not boxes:
        compare_panel(scan, frame, answered)
    with place_for_banner:
        banner(case, scan, frame, answer)
    if answer is not None:
        with place_for_choices:
            # Only now: torch's import would keep the first answer waiting.
            wait_for_network()


def _verdicts(scan: "Scan", answer: Answer | Withheld | Failed | None) -> None:
    """What the doctor found, less what stands beside the answer anyway."""
    from core.reading.doctor import examine

    card = answer.model.card if isinstance(answer, Answer) else None
    said = answer.reason if isinstance(answer, Withheld) else answer.warning if isinstance(answer, Answer) else None
    verdict_list(tuple(verdict for verdict in examine(scan, card) if verdict.sentence not in (said or "")))


def _answers(scan: "Scan", answer: Answer | Withheld | Failed | None) -> None:
    """Scores, or why there are none."""
    if isinstance(answer, Withheld):
        withheld_box(scan, answer)
    elif isinstance(answer, Failed):
        error_box(t("missing.title"), answer.reason)
    elif isinstance(answer, Answer):
        st.markdown(f"#### {t('review.answers')}")
        if answer.model.untrained:
            st.warning(t("review.untrained"), icon=":material/warning:")
        if answer.warning:
            st.warning(t("withheld.by_hand", reason=""), icon=":material/warning:")
            st.text(answer.warning)
        if answer.despite:
            st.warning(t("withheld.despite"), icon=":material/warning:")
            st.text(answer.despite)
        if answer.analysis.masks:
            outline_table(answer.model.card, answer.analysis, score_texts(answer))
            score_captions(answer)
        else:
            score_table(answer)
            place_list(answer, scan)
        set_panel(answer)


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
