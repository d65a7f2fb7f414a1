"""Pooling: the largest, mean or smallest value of each window, on the same scan."""

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.bench.window import BENCH_SIDE, pictures, place_choice, sliding_choice
from dashboard.inside.numbers import fact_list, formula, in_a_row, number, number_grid
from dashboard.inside.opening import Inside
from dashboard.texts import t

_USE = "pooling"
_WAYS = ("max", "average", "min")


@st.fragment
def pooling_bench(inside: Inside) -> None:
    """One way is shown as a picture; the same patch is told under all three."""
    import numpy as np

    from core.inside.convolution import grey_levels, pool, window_step

    left, right = st.columns([2, 3], gap="large")
    try:
        with left:
            key = state.choice(state.INSIDE, "bench", "way")
            state.prefer(key, _WAYS[0])
            way = st.radio(
                t("pooling.way"), _WAYS, format_func=lambda one: t(f"pooling.{one}"), key=key, horizontal=True
            )
            side_key = state.choice(state.INSIDE, "bench", "side")
            state.prefer(side_key, 4)
            side = st.slider(t("pooling.side"), 2, 8, key=side_key)
            sliding = sliding_choice(_USE, 4, 0, dilates=False)
        before = grey_levels(inside.scan, inside.frame, BENCH_SIDE)
        results = {one: pool(before, one, side, sliding) for one in _WAYS}  # type: ignore[arg-type]
    except RadLensError as exc:
        st.info(str(exc), icon=":material/info:")
        return
    after = results[way]
    with left:
        at = place_choice(_USE, after)
    with right:
        pictures(_USE, before, after, sliding, side, at)
    step = window_step(before, np.ones((side, side)), sliding, *at)
    st.markdown(f"**{t('bench.arithmetic', row=at[0], column=at[1])}**")
    patch, facts = st.columns([3, 2], gap="large")
    with patch:
        in_a_row(number_grid(step.patch, t("walk.patch")))
    with facts:
        fact_list([(t(f"pooling.{one}"), number(float(results[one][at]))) for one in _WAYS])
        st.caption(t("pooling.words"))
    formula(t("bench.size_rows", formula=sliding.formula(before.shape[0], side)))
