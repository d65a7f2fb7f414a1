"""What another threshold would do, and what an answer means where patients are as ill as mine: two sliders."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from core.confidence.operating import outcome_at
from core.confidence.predictive_values import PATIENTS, at_prevalence, patients_like_these, predictive_values
from dashboard import state
from dashboard.charts import roc_spec
from dashboard.tables import percent_words, span_words, term
from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.confidence.operating import Outcome
    from core.confidence.predictive_values import Icons
    from core.models.card import ModelCard
    from core.models.card_fields import Interval
    from core.models.confidence_card import Calibration, Confidence, RocTable

# From screening to a clinic where nearly all are ill.
PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, *(n / 20 for n in range(2, 20)))
_SCORES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Ill ones are orange squares, well ones grey circles; who is called is filled. Shape and filling are enough without colour.
_ILL, _WELL = "#d9822b", "#7a8794"


def threshold_panel(card: "ModelCard", found: "Confidence") -> None:
    """The ROC with the point of a threshold, its figures, and the predictive values at a prevalence."""
    code = label_choice(card, list(found.curves), "curves")
    roc = found.curves[code]
    left, right = st.columns([2, 3], gap="large")
    with left:
        outcome = _threshold(card, code, roc)
        axes = (t("confidence.axis_alarms"), t("confidence.axis_hits"))
        st.vega_lite_chart(spec=roc_spec(roc, outcome, axes), alt=t("confidence.roc_alt"))
    with right:
        _outcome(outcome, roc)
        prevalence = _at_prevalence(card, code, roc, outcome)
        if (calibration := found.calibration.get(code)) is not None:
            _scores_there(calibration, prevalence)


def label_choice(card: "ModelCard", codes: "Sequence[str]", part: str) -> str:
    """Which label a part of the page speaks of: the headline to begin with; no choice where there is only one."""
    if len(codes) < 2:
        return codes[0]
    key = f"{state.OF_LABEL}:{card.id}:{part}"
    state.prefer(key, card.headline if card.headline in codes else codes[0])
    chosen: str = st.selectbox(t("confidence.label"), codes, format_func=lambda one: term(card, one), key=key)
    return chosen


def _threshold(card: "ModelCard", code: str, roc: "RocTable") -> "Outcome":
    """The slider, from many called to few; it begins at the card's own threshold."""
    options, own = sorted(set(roc.thresholds)), card.threshold(code)
    key = f"{state.THRESHOLD}:{card.id}:{code}"
    state.prefer(key, outcome_at(roc, 0.5 if own is None else own).threshold)
    at = st.select_slider(t("confidence.threshold"), options, key=key, format_func=lambda one: f"{one:.4g}")
    st.caption(t("confidence.no_threshold") if own is None else t("confidence.own_threshold", threshold=f"{own:.4g}"))
    return outcome_at(roc, at)


def _outcome(outcome: "Outcome", roc: "RocTable") -> None:
    hits, _, _, rejections = outcome.counts
    for column, name, figure, count, of in zip(
        st.columns(2),
        (t("confidence.sensitivity"), t("confidence.specificity")),
        (outcome.sensitivity, outcome.specificity),
        (hits, rejections),
        (roc.positives, roc.negatives),
        strict=True,
    ):
        column.metric(name, percent_words(figure.value), border=True)
        column.caption(t("confidence.of_pictures", span=span_words(figure), count=count, of=of, split=roc.split))


def _at_prevalence(card: "ModelCard", code: str, roc: "RocTable", outcome: "Outcome") -> float:
    """The slider, and what follows from where it stands; returns the share."""
    share = roc.positives / (roc.positives + roc.negatives)
    key = f"{state.PREVALENCE}:{card.id}:{code}"
    state.prefer(key, min(PREVALENCES, key=lambda one: abs(one - share)))
    prevalence = st.select_slider(
        t("confidence.prevalence"),
        PREVALENCES,
        key=key,
        format_func=_prevalence_words,
        help=t("confidence.prevalence_help"),
    )
    st.caption(t("confidence.prevalence_here", share=percent_words(share)))
    values, label = predictive_values(outcome, prevalence), term(card, code)
    named = ((t("confidence.ppv"), values.ppv), (t("confidence.npv"), values.npv))
    for column, (name, value) in zip(st.columns(2), named, strict=True):
        column.metric(name, _value_words(value), border=True)
        column.caption(t("confidence.nobody") if value is None else t("confidence.interval", span=_fine_span(value)))
    icons = patients_like_these(outcome, prevalence)
    st.html(icon_array(icons, label))
    return float(prevalence)


def _scores_there(calibration: "Calibration", prevalence: float) -> None:
    """What calibrated scores come to among my patients."""
    measured = calibration.positives / calibration.cases
    if 0 < measured < 1:
        pairs = [f"{score:.2f} → {score_text(at_prevalence(score, measured, prevalence))}" for score in _SCORES]
        st.caption(t("confidence.scores_there", pairs=", ".join(pairs)), help=t("confidence.scores_there_help"))


def icon_array(icons: "Icons", label: str) -> str:
    """A hundred patients as signs, in four groups, with the sentence that a reader without eyes for it gets."""
    groups = (
        (icons.hits, _ILL, "2px", True, t("confidence.hits")),
        (icons.misses, _ILL, "2px", False, t("confidence.misses")),
        (icons.false_alarms, _WELL, "50%", True, t("confidence.false_alarms")),
        (icons.rejections, _WELL, "50%", False, t("confidence.rejections")),
    )
    signs = "".join(_sign(colour, corner, filled) * count for count, colour, corner, filled, _ in groups)
    legend = "".join(
        f'<div style="display:flex;align-items:center;gap:.45rem">{_sign(colour, corner, filled)}'
        f"<span><strong>{count}</strong> {html.escape(words)}</span></div>"
        for count, colour, corner, filled, words in groups
    )
    sentence = t(
        "confidence.icons", patients=PATIENTS, ill=icons.hits + icons.misses, called=icons.called, hits=icons.hits,
        label=label,
    )  # fmt: skip
    grid = "display:grid;grid-template-columns:repeat(20,14px);gap:3px;margin:.5rem 0"
    return (
        f'<div><div style="font-weight:600">{html.escape(sentence)}</div>'
        f'<div role="img" aria-label="{html.escape(sentence)}" data-icons="{PATIENTS}" style="{grid}">{signs}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;font-size:.88rem">{legend}</div></div>'
    )


def _sign(colour: str, corner: str, filled: bool) -> str:  # noqa: FBT001 - a property of the sign
    ground = colour if filled else "transparent"
    return (
        f'<span style="display:inline-block;flex:none;width:14px;height:14px;box-sizing:border-box;'
        f'border:2px solid {colour};border-radius:{corner};background:{ground}"></span>'
    )


def _prevalence_words(share: float) -> str:
    return f"{100 * share:g} %"


def _value_words(value: "Interval | None") -> str:
    return "–" if value is None else f"{100 * value.value:.1f} %"


def _fine_span(value: "Interval") -> str:
    return t("model.span", low=f"{100 * value.low:.1f} %", high=f"{100 * value.high:.1f} %")
