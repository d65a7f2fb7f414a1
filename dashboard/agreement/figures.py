"""The figures of agreement: kappas with their intervals, overrides, changes of mind, time to decision."""

from statistics import median
from typing import TYPE_CHECKING

import streamlit as st

from core.reviews.agreement import LEAST_PAIRS
from dashboard.agreement.charts import kappa_spec, time_spec
from dashboard.tables import percent_words, table
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.agreement import Agreement, ChangesOfMind, Kappa

_LEAST_BARS = 5


def kappa_figures(found: "Agreement") -> None:
    """Agreement with the network before and after its answer was seen, and between readers."""
    st.markdown(f"**{t('agreement.kappas')}**")
    kappas = {
        t("agreement.before"): found.with_network_before,
        t("agreement.after"): found.with_network_after,
        t("agreement.readers"): found.between_readers,
    }
    for column, (name, one) in zip(st.columns(3), kappas.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.metric(name, "\u2013" if one.value is None else f"{one.value:.2f}")
            st.caption(_kappa_words(one))
    if any(one.value is not None for one in kappas.values()):
        short = (t("agreement.before_short"), t("agreement.after_short"), t("agreement.readers_short"))
        st.vega_lite_chart(kappa_spec(dict(zip(short, kappas.values(), strict=True))), width="stretch")
    st.caption(t("agreement.kappa_words"))


def _kappa_words(one: "Kappa") -> str:
    counted = t("agreement.agreed", agreed=one.agreed, pairs=one.pairs)
    if one.value is None or one.low is None or one.high is None:
        return t("agreement.no_marks") if not one.pairs else f"{counted} {_why_none(one)}"
    return f"{t('agreement.interval', low=f'{one.low:.2f}', high=f'{one.high:.2f}')} {counted}"


def _why_none(one: "Kappa") -> str:
    return t("agreement.too_few", least=LEAST_PAIRS) if one.pairs < LEAST_PAIRS else t("agreement.one_answer")


def change_figures(found: "Agreement") -> None:
    """Which way minds changed where the truth is known, whose answers were followed, and how often they were overridden."""
    st.markdown(f"**{t('agreement.changes')}**")
    changes = found.changes
    if changes.judged:
        table(_change_rows(changes))
        st.text(_share_words("agreement.followed", changes.followed, changes.tempted))
        st.text(_share_words("agreement.corrected", changes.corrected, changes.correctable))
    else:
        st.caption(t("agreement.no_truth"))
    if found.override_rate is not None:
        share = percent_words(found.override_rate)
        st.text(t("agreement.overrides", share=share, count=found.overrides, answers=found.answers))
    st.caption(t("agreement.changes_words"))


def _change_rows(changes: "ChangesOfMind") -> list[dict[str, str]]:
    first, right, wrong = t("agreement.first_mark"), t("agreement.then_right"), t("agreement.then_wrong")
    return [
        {first: t("agreement.was_right"), right: str(changes.kept_right), wrong: str(changes.to_wrong)},
        {first: t("agreement.was_wrong"), right: str(changes.to_right), wrong: str(changes.kept_wrong)},
    ]


def _share_words(key: str, count: int, of: int) -> str:
    return t(key, count=count, of=of, share=f" ({percent_words(count / of)})" if of else "")


def time_figures(found: "Agreement") -> None:
    """How long readers took from opening a case to committing their first read."""
    st.markdown(f"**{t('agreement.time')}**")
    seconds = found.seconds_to_decision
    if not seconds:
        st.caption(t("agreement.no_time"))
        return
    st.text(t("agreement.time_words", median=_duration(median(seconds)), count=len(seconds)))
    if len(seconds) >= _LEAST_BARS:
        st.vega_lite_chart(time_spec(seconds), width="stretch")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
