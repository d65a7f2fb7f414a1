"""Activations: what ReLU, sigmoid and tanh do to a map, beside their curves."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.charts import function_spec
from dashboard.inside.numbers import fact_list, formula, number
from dashboard.inside.opening import Inside, layer_choice
from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import FloatArray

_NAMES = ("ReLU", "sigmoid", "tanh")
_POINTS = 121


@st.fragment
def activation_bench(inside: Inside) -> None:
    """A map before and after, with the curve between them."""
    from core.inside.activations import ACTIVATION_FORMULAS
    from core.inside.feature_maps import layers_with_maps

    first, second, third = st.columns([3, 1, 2])
    with first:
        layers = layers_with_maps(inside.recording)
        layer = layer_choice(inside, layers, "activation", _before_activation(inside))
    maps = inside.recording.value(inside.recording.step(layer)).numpy()
    key = state.choice(state.INSIDE, "bench", "map", layer)
    channel = int(second.number_input(t("activation.map"), 0, len(maps) - 1, key=key))
    name_key = state.choice(state.INSIDE, "bench", "activation")
    state.prefer(name_key, _NAMES[0])
    name = third.radio(t("activation.name"), _NAMES, key=name_key, horizontal=True)
    before = maps[channel]
    after = _applied(name, before)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        _picture(inside, before, t("activation.before"))
    with middle:
        _curve(name, before)
        formula(f"{name} = {ACTIVATION_FORMULAS[name]}")
    with right:
        _picture(inside, after, t("activation.after"))
    st.caption(t(f"activation.{name.lower()}_words"))
    negative = float((before < 0).mean())
    fact_list(
        [
            (t("activation.range_before"), f"{number(float(before.min()))} … {number(float(before.max()))}"),
            (t("activation.range_after"), f"{number(float(after.min()))} … {number(float(after.max()))}"),
            (t("activation.below"), f"{100 * negative:.0f} %"),
        ]
    )


def _before_activation(inside: Inside) -> str | None:
    """The first layer that an activation of the network reads: what it does there can be compared."""
    recording = inside.recording
    found = (step.sources[0] for step in recording.steps.values() if step.kind == "activation" and step.sources)
    return next((recording.name(source) for source in found), None)


def _applied(name: str, values: "FloatArray") -> "FloatArray":
    import numpy as np

    from core.inside.activations import ACTIVATIONS

    return np.vectorize(ACTIVATIONS[name], otypes=[np.float32])(values)


def _picture(inside: Inside, values: "FloatArray", title: str) -> None:
    from core.inside.feature_maps import over_scan_png

    png = over_scan_png(inside.scan, inside.frame, inside.recording.letterbox, values, opacity=1.0)
    st.image(png, caption=title, output_format="PNG", width="stretch")


def _curve(name: str, values: "FloatArray") -> None:
    """The function over the range of the map, with how often each value occurs below it."""
    import numpy as np

    from core.inside.activations import ACTIVATIONS

    reach = max(3.0, float(np.abs(values).max()))
    xs = np.linspace(-reach, reach, _POINTS)
    points = [(float(x), float(ACTIVATIONS[name](float(x)))) for x in xs]
    counts, edges = np.histogram(values, 30, (-reach, reach))
    bars = [(float(a), float(b), float(count)) for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)]
    spec = function_spec(points, bars, (t("activation.axis_in"), t("activation.axis_out"), t("activation.axis_count")))
    st.vega_lite_chart(spec=spec, alt=t("activation.curve", name=name), width="stretch")
