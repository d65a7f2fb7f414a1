"""What a filter, or a label, looks for: a picture made to excite it, in the background, to be stopped."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.charts import epochs_spec
from dashboard.inside.opening import Inside, label_choice, layer_choice
from dashboard.on_demand import on_demand
from dashboard.texts import t

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.explaining.perturbation import Watch
    from core.inside.looks_for import Wanted

_FILTER, _LABEL = "filter", "label"
# So many pixels on the picture's longer side at least.
_SHOWN = 384


def looks_for_bench(inside: Inside) -> None:
    """A filter of a layer, or a label; a seed; how many steps."""
    st.caption(t("looksfor.caption"))
    left, right = st.columns([2, 3], gap="large")
    with left:
        question, work = _question(inside)
    with right:
        found = on_demand(question, t("looksfor.start"), work)
        if found is not None:
            _show(found)


def _question(inside: Inside) -> "tuple[tuple[str, ...], Callable[[Watch], Wanted]]":
    key = _key("unit")
    state.prefer(key, _FILTER)
    unit = st.radio(t("looksfor.unit"), (_FILTER, _LABEL), format_func=lambda one: t(f"looksfor.{one}"), key=key,
                    horizontal=True)  # fmt: skip
    if unit == _FILTER:
        layer = layer_choice(inside, inside.model.convolutions, "looks_for")
        count = inside.facts[layer].shape[0]
        channel = int(st.number_input(t("looksfor.channel"), 0, count - 1, key=_key("channel", layer)))
        asked: tuple[str, ...] = (layer, str(channel))
    else:
        asked = (label_choice(inside, "looks_for"),)
    state.prefer(_key("steps"), 96)
    steps = st.select_slider(t("looksfor.steps"), (32, 64, 96, 192, 384), key=_key("steps"))
    seed = int(st.number_input(t("looksfor.seed"), 0, 9999, key=_key("seed"), help=t("looksfor.seed_help")))
    model = inside.model

    def work(watch: "Watch") -> "Wanted":
        from core.inside.looks_for import picture_for_channel, picture_for_label

        if unit == _FILTER:
            return picture_for_channel(model, layer, channel, steps=steps, seed=seed, watch=watch)
        return picture_for_label(model, asked[0], steps=steps, seed=seed, watch=watch)

    return ("looks-for", inside.card.weights_sha256, *asked, str(steps), str(seed)), work


def _show(found: "Wanted") -> None:
    from core.overlay import encode_png, to_eight_bits

    rows, columns = found.picture.shape[:2]
    low, high = (f"{100 * grey:.0f} %" for grey in found.span)
    key = "looksfor.picture" if min(rows, columns) >= found.whole else "looksfor.part"
    words = t(key, rows=rows, columns=columns, whole=found.whole, low=low, high=high)
    # Pixels stay pixels: of five by five a smooth picture would show what is not there.
    factor = max(1, -(-_SHOWN // max(rows, columns)))
    enlarged = to_eight_bits(found.stretched).repeat(factor, 0).repeat(factor, 1)
    picture, course = st.columns(2, gap="large")
    picture.image(encode_png(enlarged), caption=words, output_format="PNG", width="stretch")
    with course:
        spec = epochs_spec(
            range(len(found.course)), {t("looksfor.answer"): found.course}, (t("looksfor.step"), t("looksfor.answer"))
        )
        st.vega_lite_chart(spec=spec, alt=t("looksfor.course"), width="stretch")
        st.caption(t("looksfor.rose" if found.rose else "looksfor.fell"))
    st.caption(t("looksfor.sources"))


def _key(*what: str) -> str:
    return state.choice(state.INSIDE, "looks_for", *what)
