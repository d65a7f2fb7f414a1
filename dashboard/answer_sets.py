"""Set-valued answers and stability beside the scores: what cannot be ruled out, and how far a score moves."""

from typing import TYPE_CHECKING

import streamlit as st

from core.confidence.calibration import confidence_of
from core.confidence.conformal import CLASSES, LEVELS, PRESENT, answer_sets
from core.confidence.words import percent, set_words
from dashboard import state
from dashboard.answer import Answer
from dashboard.on_demand import network_is_there, on_demand
from dashboard.tables import Row, span_words, table, term
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.confidence.conformal import Answers
    from core.confidence.stability import Stability
    from core.models.card import ModelCard
    from core.scan import Scan

_USUAL = 0.9


def set_panel(answer: Answer) -> None:
    """What cannot be ruled out, in a sentence; folded below it the level and what it means.

    Not of pictures that the novelty gate had held back: no coverage is promised for them.
    """
    card = answer.model.card
    if card.task == "detection" or confidence_of(card) is None or answer.despite:
        return
    level = state.chosen(state.SET_LEVEL, _USUAL)
    st.markdown("\n".join(_sentences(card, answer_sets(card, answer.analysis.prediction.scores, level), level)))
    with st.expander(t("sets.title", level=_level_words(level))):
        state.prefer(state.SET_LEVEL, _USUAL)
        st.segmented_control(t("sets.level"), LEVELS, key=state.SET_LEVEL, format_func=_level_words, required=True)
        st.write(t("sets.words", level=_level_words(level)))
        if measured := _measured(card, level):
            st.caption(literal(measured))


def stability_panel(scan: "Scan", frame: int, answer: Answer) -> None:
    """On demand: the scores of copies that a reader would not tell from the picture."""
    if answer.model.card.task == "detection":
        return
    with st.expander(t("stability.title"), on_change="rerun") as panel:
        if not panel.open:
            return
        st.caption(t("stability.caption"))
        if not network_is_there():
            return
        from core.confidence.stability import stability

        question = ("stability", answer.model.card.weights_sha256, str(frame))
        found = on_demand(question, t("stability.start"), lambda watch: stability(answer.model, scan, frame, watch))
        if found is not None:
            st.caption(t("stability.found", copies=found.copies))
            table(_moves(answer.model.card, code, found) for code in answer.model.card.label_codes)


def _sentences(card: "ModelCard", sets: "dict[str, Answers | None]", level: float) -> list[str]:
    words = _level_words(level)
    if card.is_exclusive:
        told = set_words(card, sets, card.headline)
        return [literal(told) if sets[CLASSES] is None else f"**{literal(told)}** {t('sets.at', level=words)}"]
    groups: dict[str, list[str]] = {"sets.present": [], "sets.open": [], "sets.absent": [], "sets.too_few": []}
    for code, found in sets.items():
        groups[_group(found)].append(term(card, code))
    named = {key: literal(", ".join(terms)) for key, terms in groups.items() if terms}
    return [f"**{t('sets.of_labels', level=words)}**\n", *(f"- {t(key)}: {terms}" for key, terms in named.items())]


def _group(found: "Answers | None") -> str:
    if found is None:
        return "sets.too_few"
    if found.is_open:
        return "sets.open"
    return "sets.present" if PRESENT in found.answers else "sets.absent"


def _level_words(level: float) -> str:
    return f"{100 * level:g} %"


def _measured(card: "ModelCard", level: float) -> str:
    """The coverage that was measured at a level, of the classes or of the headline."""
    known = confidence_of(card)
    name = CLASSES if card.is_exclusive else card.headline
    sets = known.sets.get(name) if known else None
    found = next((one for one in sets.levels if one.level == level), None) if sets else None
    if sets is None or found is None:
        return t("sets.not_available")
    whole = found.coverage["all"]
    of = "" if card.is_exclusive else f" ({term(card, card.headline)})"
    return t("sets.measured", share=percent(whole.value), span=span_words(whole), n=sum(sets.counts.values()), of=of)


def _moves(card: "ModelCard", code: str, found: "Stability") -> Row:
    one = found.calibrated.get(code)
    shown = found.scores[code] if one is None else one
    turned = found.turned.get(code)
    return {
        t("review.column_label"): term(card, code),
        t("review.column_score"): percent(shown.value) if one else t("stability.raw", score=f"{shown.value:.2f}"),
        t("stability.column_moves"): t("model.span", low=percent(shown.low), high=percent(shown.high))
        if one
        else f"{shown.low:.2f} – {shown.high:.2f}",
        t("stability.column_turned"): "–" if turned is None else t("stability.turned", share=f"{100 * turned:.0f} %"),
    }
