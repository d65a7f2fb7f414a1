"""Score drift over time: the network's scores by week or day, and whether the latest are like those before."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache
from dashboard.agreement.charts import drift_spec
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.drift import Drift
    from core.reviews.worklist import GivenScores


def drift_figures(scores: "tuple[GivenScores, ...]") -> None:
    """The chosen label's scores of all cases that the network answered, read or not, by period."""
    from core.reviews.drift import LEAST_SHOWN, PERIODS, score_drift

    st.markdown(f"**{t('agreement.drift')}**")
    words = _labels(scores)
    if not words:
        st.caption(t("agreement.no_scores"))
        return
    left, right = st.columns(2)
    label = left.selectbox(t("agreement.label"), list(words), format_func=words.__getitem__)
    periods = dict(zip(PERIODS, (t("agreement.by_week"), t("agreement.by_day")), strict=True))
    period = right.selectbox(t("agreement.period"), PERIODS, format_func=periods.__getitem__)
    drifts = score_drift(scores, label, period)
    if any(drift.periods for drift in drifts):
        st.vega_lite_chart(drift_spec(drifts, [_name(drift) for drift in drifts]), width="stretch")
    for drift in drifts:
        st.text(_told(drift))
    st.caption(t("agreement.drift_words", least=LEAST_SHOWN))


def _labels(scores: "tuple[GivenScores, ...]") -> dict[str, str]:
    """Every label that has a score, with its plain words; a model's headline first."""
    codes = dict.fromkeys(code for one in scores for code in one.scores)
    cards = [card for one in {one.model_id for one in scores} if (card := cache.catalogue().cards.get(one))]
    words = {label.code: label.words for card in cards for label in card.labels}
    heads = {card.headline for card in cards}
    return {code: words.get(code, code) for code in sorted(codes, key=lambda code: code not in heads)}


def _name(drift: "Drift") -> str:
    return f"{drift.model_id} ({drift.weights_sha256[:8]})"


def _told(drift: "Drift") -> str:
    from core.reviews.drift import LEAST_COMPARED

    known = {"model": _name(drift), "latest": drift.latest, "before": drift.before}
    if drift.statistic is None or drift.p_value is None:
        return t("agreement.drift_few", least=LEAST_COMPARED, **known)
    chance = "< 0.001" if drift.p_value < 0.001 else f"= {drift.p_value:.3f}"
    key = "agreement.drift_differs" if drift.differs else "agreement.drift_same"
    return t(key, statistic=f"{drift.statistic:.2f}", chance=chance, **known)
