"""A card's part on confidence, on a page: calibration before and after, thresholds, sets of answers, novelty."""

from typing import TYPE_CHECKING

import streamlit as st

from core.confidence.calibration import confidence_of
from core.confidence.conformal import CLASSES, LEVELS
from dashboard.tables import NOTHING, Row, number_words, percent_words, span_words, table, term
from dashboard.texts import literal, t
from dashboard.threshold_panel import label_choice, threshold_panel

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.models.card import ModelCard
    from core.models.card_fields import Interval
    from core.models.confidence_card import AnswerSets, Calibration, Confidence, NoveltyFigures, NoveltyGate, SetLevel


def confidence_panel(card: "ModelCard") -> None:
    """All of it, a tab for each part that was measured; where nothing was, that is said."""
    st.subheader(t("confidence.title"))
    found = confidence_of(card)
    if found is None:
        st.info(t("confidence.none" if card.confidence is None else "confidence.other_weights"))
        return
    st.caption(t("confidence.data", data=literal(found.data), pictures=found.pictures))
    parts: dict[str, Callable[[], None]] = {t("confidence.tab_calibration"): lambda: _calibrations(card, found)}
    if found.curves:
        parts[t("confidence.tab_threshold")] = lambda: threshold_panel(card, found)
    parts[t("confidence.tab_sets")] = lambda: _sets(card, found)
    if (gate := found.novelty) is not None:
        parts[t("confidence.tab_novelty")] = lambda: _novelty(gate)
    for tab, draw in zip(st.tabs(list(parts)), parts.values(), strict=True):
        with tab:
            draw()


def _calibrations(card: "ModelCard", found: "Confidence") -> None:
    st.caption(t("confidence.calibration_words"))
    if not found.calibration:
        st.info(t("confidence.not_calibrated"))
    table(_calibration(card, code, one) for code, one in found.calibration.items())
    missing = [term(card, code) for code in card.label_codes if code not in found.calibration]
    if found.calibration and missing:
        st.caption(literal(t("confidence.without", labels=", ".join(missing))))


def _calibration(card: "ModelCard", code: str, found: "Calibration") -> Row:
    figures, own = found.figures, found.own
    row = {
        t("model.column_label"): term(card, code),
        t("confidence.column_pictures"): f"{found.cases} ({found.positives})",
        t("confidence.column_method"): found.method.replace("-", " "),
        t("confidence.column_before"): _error(figures.error_before),
        t("confidence.column_after"): _error(figures.error_after),
        t("confidence.column_loss"): f"{figures.log_loss_before:.3f} → {figures.log_loss_after:.3f}",
    }
    if own is not None:
        row[t("confidence.column_own")] = f"{_error(own.error_after)}, n = {own.pictures}"
    return row


def _error(found: "Interval") -> str:
    return t("model.interval", value=f"{found.value:.3f}", low=f"{found.low:.3f}", high=f"{found.high:.3f}")


def _sets(card: "ModelCard", found: "Confidence") -> None:
    st.caption(t("confidence.sets_words"))
    name = CLASSES if card.is_exclusive else label_choice(card, list(found.sets), "sets")
    sets = found.sets.get(name)
    if sets is None or not sets.levels:
        st.info(t("sets.not_available"))
        return
    levels = {one.level: one for one in sets.levels}
    table(_level(card, sets, level, levels.get(level)) for level in LEVELS)
    groups = {(kind, group): None for one in sets.levels for kind, of in one.subgroups.items() for group in of}
    if groups:
        st.caption(t("confidence.subgroups_words"))
        table(_subgroup(sets, kind, group) for kind, group in groups)


def _level(card: "ModelCard", sets: "AnswerSets", level: float, found: "SetLevel | None") -> Row:
    """A level's figures; one that is not available says so."""
    missing = t("confidence.not_available")
    row = {
        t("confidence.column_level"): f"{100 * level:g} %",
        t("confidence.column_coverage"): missing if found is None else _share(found.coverage["all"]),
    }
    for answer, count in sets.counts.items():
        name = t("confidence.column_of", answer=term(card, answer), count=count)
        row[name] = NOTHING if found is None else _share(found.coverage.get(answer))
    row[t("confidence.column_size")] = NOTHING if found is None else f"{found.mean_size:.2f}"
    row[t("confidence.column_alone")] = NOTHING if found is None else percent_words(found.alone)
    return row


def _subgroup(sets: "AnswerSets", kind: str, group: str) -> Row:
    names = {"age": t("model.by_age"), "sex": t("model.by_sex"), "view": t("model.by_view")}
    shares = {
        t("confidence.column_at", level=f"{100 * one.level:g} %"): _share(one.subgroups.get(kind, {}).get(group))
        for one in sets.levels
    }
    return {t("confidence.column_group"): f"{names.get(kind, kind)}: {group}", **shares}


def _share(found: "Interval | None") -> str:
    return NOTHING if found is None else f"{percent_words(found.value)} ({span_words(found)})"


def _novelty(gate: "NoveltyGate") -> None:
    st.markdown(
        t("confidence.novelty_line", own=_share(gate.own.held_back), n=gate.own.pictures,
          others=_share(gate.all_others.held_back), m=gate.all_others.pictures,
          area=number_words(gate.all_others.auroc, 3))
    )  # fmt: skip
    st.caption(literal(t("confidence.novelty_words", rule=gate.rule, method=gate.method, looks=", ".join(gate.looks))))
    kinds = {t("confidence.own_pictures"): gate.own, **gate.others}
    table(_kind(name, figures) for name, figures in kinds.items())


def _kind(name: str, found: "NoveltyFigures") -> Row:
    return {
        t("confidence.column_kind"): name,
        t("model.column_images"): str(found.pictures),
        t("confidence.column_held_back"): _share(found.held_back),
        t("confidence.column_area"): number_words(found.auroc, 3),
    }
