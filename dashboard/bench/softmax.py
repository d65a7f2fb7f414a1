"""Softmax: logits as sliders, from the real ones on, and a temperature."""

import html

import streamlit as st

from dashboard import state
from dashboard.inside.numbers import formula, number
from dashboard.inside.opening import Inside, label_words
from dashboard.texts import t

_REACH = 12.0


@st.fragment
def softmax_bench(inside: Inside) -> None:
    """Sliders on the left, shares on the right."""
    from core.inside.activations import softmax

    if inside.card.head != "softmax":
        st.info(t("softmax.other_head"), icon=":material/info:")
    real = inside.answer.analysis.prediction.logits
    words = label_words(inside)
    keys = {code: _key(inside, code) for code in real}
    heat_key = _key(inside, "temperature")
    left, right = st.columns(2, gap="large")
    with left:
        logits = {code: _slider(words[code], keys[code], real[code]) for code in real}
        state.prefer(heat_key, 1.0)
        heat = st.slider(
            t("softmax.temperature"), 0.1, 10.0, step=0.1, key=heat_key, help=t("softmax.temperature_help")
        )
        st.button(t("softmax.reset"), on_click=_reset, args=(keys, real, heat_key), icon=":material/undo:")
    shares = softmax(tuple(logits.values()), heat)
    before = softmax(tuple(real.values()))
    with right:
        st.markdown(f"**{t('softmax.shares')}**")
        rows = [
            _row(words[code], share, was)
            for (code, share), was in zip(zip(real, shares, strict=True), before, strict=True)
        ]
        st.html(f'<table style="width:100%;border-collapse:collapse;font-size:.92rem">{"".join(rows)}</table>')
        st.caption(t("softmax.tick"))
        first, value, share = next(iter(words.values())), next(iter(logits.values())), shares[0]
        total = " + ".join(f"e^{number(one / heat)}" for one in logits.values())
        formula(f"{first}: e^{number(value / heat)} / ({total}) = {share:.3f}")
        st.caption(t("softmax.words"))


def _key(inside: Inside, code: str) -> str:
    return state.choice(state.INSIDE, "bench", "logit", inside.card.id, str(inside.frame), code)


def _slider(words: str, key: str, real: float) -> float:
    state.prefer(key, round(real, 2))
    reach = max(_REACH, abs(real) + 1)
    return st.slider(words, -reach, reach, step=0.01, key=key)


def _reset(keys: dict[str, str], real: dict[str, float], heat_key: str) -> None:
    for code, key in keys.items():
        state.choose(key, round(real[code], 2))
    state.choose(heat_key, 1.0)


def _row(words: str, share: float, was: float) -> str:
    """A bar with a tick where the network itself stands."""
    return (
        f'<tr style="border-top:1px solid rgba(127,127,127,.25)"><td style="padding:.35rem .4rem">{html.escape(words)}</td>'
        '<td style="padding:.35rem .4rem;width:50%"><div style="position:relative;height:10px;border-radius:5px;'
        f'background:rgba(127,127,127,.25)"><div style="width:{100 * share:.1f}%;height:10px;border-radius:5px;'
        f'background:#3f8fbf"></div><div style="position:absolute;left:calc({100 * was:.1f}% - 1px);top:-3px;width:2px;'
        'height:16px;background:currentColor"></div></div></td>'
        f'<td style="padding:.35rem .4rem;text-align:right;font-variant-numeric:tabular-nums" data-share="{share!r}">'
        f"{share:.3f}</td></tr>"
    )
