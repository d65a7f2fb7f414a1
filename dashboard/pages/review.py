"""Review: the scan with its heatmap, what the network answers, the reader's notes."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.answer import Answer, Failed, Withheld
from dashboard.explanation import explained
from dashboard.outlines import outline_table
from dashboard.pixel_panel import pixel_panel
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
    score_table,
    score_texts,
    series_choice,
    verdict_list,
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
        answer = answer_with_progress(scan, frame) if wait_for_network() else None
        _verdicts(scan, answer)
        _answers(scan, answer)
        answered = answer if isinstance(answer, Answer) else None
        shown = explained(scan, frame, answered) if answered else None
        if shown:
            _how_to_read(shown)
        notes_field(case.key)
        _details(scan)
    with place_for_picture:
        show_maps(case, shown, score_texts(shown) if shown else {})
        if answered:
            slice_scores(case, answered)
    with left:
        if answered:
            trust_panel(scan, frame, answered)
        pixel_panel(scan, frame, answered)
    with place_for_banner:
        banner(case, scan, frame, answer)


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
        if answer.analysis.masks:
            outline_table(answer.model.card, answer.analysis, score_texts(answer))
        else:
            score_table(answer)


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


def _details(scan: "Scan") -> None:
    with st.expander(t("review.details")):
        for name, value in scan.facts.items():
            st.text(f"{name}: {value}")
        for note in scan.notes:
            st.text(note)
