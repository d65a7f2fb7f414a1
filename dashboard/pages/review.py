"""Review: the scan with its heatmap, what the network answers, the reader's notes."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.answer import Answer, Failed, Withheld
from dashboard.texts import t
from dashboard.viewer.viewer import Look, Overlaid, show
from dashboard.widgets import (
    answer_with_progress,
    banner,
    case_or_sentence,
    error_box,
    notes_field,
    score_table,
    score_text,
    wait_for_network,
    wait_for_reading,
    withheld_box,
)

if TYPE_CHECKING:
    from core.scan import Scan, Window

# Percent: the scan stays readable under the strongest evidence.
_OPACITY = 60


def render() -> None:
    """The page."""
    if not wait_for_reading() or (opened := case_or_sentence()) is None:
        return
    case, scan = opened
    place_for_banner = st.container()
    left, right = st.columns([5, 4], gap="large")
    with left:
        place_for_picture = st.container()
        frame = _frame(scan)
    with right:
        answer = answer_with_progress(scan, frame) if wait_for_network() else None
        label = _answers(scan, answer)
        notes_field(case.key)
        _details(scan)
    with left:
        look = _look(scan, with_heatmap=label is not None)
        if isinstance(answer, Answer) and label:
            _explanation(answer, label)
    with place_for_picture:
        show(scan, frame, look, _overlaid(answer, label))
    with place_for_banner:
        banner(case, scan, frame, answer)


def _frame(scan: "Scan") -> int:
    if scan.frame_count == 1:
        return 0
    return int(st.slider(t("review.frame"), 1, scan.frame_count, key=state.choice(state.FRAME))) - 1


def _answers(scan: "Scan", answer: Answer | Withheld | Failed | None) -> str | None:
    """Scores, or why there are none; returns the label whose heatmap is shown."""
    if isinstance(answer, Withheld):
        withheld_box(scan, answer)
    elif isinstance(answer, Failed):
        error_box(t("missing.title"), answer.reason)
    elif isinstance(answer, Answer):
        st.markdown(f"#### {t('review.answers')}")
        if answer.warning:
            st.warning(t("withheld.by_hand", reason=""), icon=":material/warning:")
            st.text(answer.warning)
        words = {label.code: label.words for label in answer.model.card.labels}
        state.prefer(state.choice(state.LABEL), answer.foremost_label)
        scores = answer.analysis.prediction.scores
        label: str = st.selectbox(
            t("review.label"),
            list(words),
            format_func=lambda code: f"{words[code]}: {score_text(scores[code])}",
            key=state.choice(state.LABEL),
        )
        score_table(answer, label)
        return label
    return None


def _overlaid(answer: Answer | Withheld | Failed | None, label: str | None) -> Overlaid | None:
    if not isinstance(answer, Answer) or label is None:
        return None
    words = next(known.words for known in answer.model.card.labels if known.code == label)
    return Overlaid(answer.analysis, label, words)


def _look(scan: "Scan", *, with_heatmap: bool) -> Look:
    first, second, third = st.columns(3)
    with first:
        window = _window(scan)
    if not with_heatmap:
        return Look(window)
    state.prefer(state.OPACITY, _OPACITY)
    opacity = second.slider(t("review.opacity"), 0, 100, step=5, format="%d %%", key=state.OPACITY)
    modes = {t("review.mode_for"): "for", t("review.mode_signed"): "signed"}
    mode = third.selectbox(t("review.mode"), list(modes), key=state.MODE)
    return Look(window, opacity / 100, "signed" if modes[mode] == "signed" else "for")


def _window(scan: "Scan") -> "Window | None":
    """The reader's window; None for colour, and where the file's own VOI LUT stands in the first place."""
    from core.windowing import window_choices

    if scan.is_colour:
        return None
    choices = {str(choice): choice for choice in window_choices(scan)}
    chosen = st.selectbox(t("review.window"), list(choices), key=state.choice(state.WINDOW))
    if scan.voi_lut is not None and chosen == next(iter(choices)):
        return None
    return choices[chosen]


def _explanation(answer: Answer, label: str) -> None:
    analysis, card = answer.analysis, answer.model.card
    heatmap = analysis.heatmap(label)
    with st.expander(t("review.how_title")):
        cell = card.input.size // heatmap.evidence.shape[0]
        st.write(t("review.how", cell=cell, size=card.input.size))
        if heatmap.bias is not None:
            logit, score = analysis.prediction.logits[label], analysis.prediction.scores[label]
            st.write(t("review.exact", bias=f"{heatmap.bias:.2f}", logit=f"{logit:.2f}", score=score_text(score)))


def _details(scan: "Scan") -> None:
    with st.expander(t("review.details")):
        for name, value in scan.facts.items():
            st.text(f"{name}: {value}")
        for note in scan.notes:
            st.text(note)
