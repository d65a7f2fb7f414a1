"""The kernel bench: a kernel of one's own on the scan, window by window."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.bench.window import BENCH_SIDE, pictures, place_choice, sliding_choice
from dashboard.inside.numbers import formula, in_a_row, number, number_grid
from dashboard.inside.opening import Inside, layer_choice
from dashboard.texts import t

if TYPE_CHECKING:
    from core.inside.convolution import Kernel, Sliding, WindowStep

_USE, _OWN, _LEARNT = "kernel", "own", "learnt"
_MOST_TERMS = 9


@st.fragment
def kernel_bench(inside: Inside) -> None:
    """Each step runs this part of the page again, and no other."""
    from core.inside.convolution import convolve, grey_levels, window_step

    left, right = st.columns([2, 3], gap="large")
    try:
        with left:
            kernel = _kernel_choice(inside)
            sliding = sliding_choice(_USE, 1, len(kernel) // 2, dilates=True)
        before = grey_levels(inside.scan, inside.frame, BENCH_SIDE)
        after = convolve(before, kernel, sliding)
    except RadLensError as exc:
        st.info(str(exc), icon=":material/info:")
        return
    with left:
        at = place_choice(_USE, after)
    with right:
        pictures(_USE, before, after, sliding, len(kernel), at)
    _arithmetic(window_step(before, kernel, sliding, *at))
    _sizes(before.shape, after.shape, sliding, len(kernel))


def _kernel_choice(inside: Inside) -> "Kernel":
    """A classic kernel, one that the network learnt, or one's own; it can be changed as text.

    Raises ConfigurationError.
    """
    from core.inside.convolution import KERNELS, kernel_text, parse_kernel

    key = state.choice(state.INSIDE, "bench", "preset")
    state.prefer(key, "edges")
    options = [*KERNELS, _LEARNT, _OWN]
    preset = st.selectbox(t("bench.kernel"), options, format_func=lambda one: t(f"kernel.{one}"), key=key)
    text_key = state.choice(state.INSIDE, "bench", "text")
    if preset == _OWN:
        state.prefer(text_key, kernel_text(KERNELS["sharpen"]))
        text = st.text_area(t("bench.own"), key=text_key, height=150, help=t("bench.own_help"))
        return parse_kernel(text)
    kernel = _learnt(inside) if preset == _LEARNT else KERNELS[preset]
    in_a_row(number_grid(kernel, t("bench.weights", sum=number(round(float(kernel.sum()), 4)))))
    st.button(t("bench.edit"), on_click=_edit, args=(key, text_key, kernel), icon=":material/edit:")
    return kernel


def _edit(key: str, text_key: str, kernel: "Kernel") -> None:
    from core.inside.convolution import kernel_text

    state.choose(key, _OWN)
    state.choose(text_key, kernel_text(kernel))


def _learnt(inside: Inside) -> "Kernel":
    """A slice of a filter of the open network, of an odd side up to 7."""
    import numpy as np

    from core.inside.filters import kernels, strongest_input

    network: Any = inside.model.network
    wide = [name for name in inside.model.convolutions if kernels(network, name).shape[2:] in ((3, 3), (5, 5), (7, 7))]
    layer = layer_choice(inside, wide, "bench")
    weights = kernels(network, layer)
    first, second = st.columns(2)
    key = state.choice(state.INSIDE, "bench", "filter", layer)
    channel = int(first.number_input(t("bench.filter"), 0, len(weights) - 1, key=key))
    strongest = strongest_input(weights[channel])
    source_key = state.choice(state.INSIDE, "bench", "source", layer, str(channel))
    state.prefer(source_key, strongest)
    source = int(second.number_input(t("bench.source"), 0, weights.shape[1] - 1, key=source_key))
    if layer != inside.model.convolutions[0]:
        st.caption(t("bench.deep"))
    return np.asarray(weights[channel][source], np.float64)


def _arithmetic(step: "WindowStep") -> None:
    """Patch x kernel = products, and their sum written out."""
    st.markdown(f"**{t('bench.arithmetic', row=step.row, column=step.column)}**")
    in_a_row(
        number_grid(step.patch, t("walk.patch")),
        "×",
        number_grid(step.kernel, t("walk.kernel")),
        "=",
        number_grid(step.products, t("walk.products")),
        "→",
        f'<strong data-window="{step.value!r}">{number(step.value)}</strong>',
    )
    pairs = [
        f"{number(float(x))} × {number(float(w))}" if w > 0 else f"{number(float(x))} × ({number(float(w))})"
        for x, w in zip(step.patch.flat, step.kernel.flat, strict=True)
        if w != 0
    ]
    more = t("bench.more_terms", count=len(pairs) - _MOST_TERMS) if len(pairs) > _MOST_TERMS else ""
    formula(f"y = Σ x · k = {' + '.join(pairs[:_MOST_TERMS])}{more} = {number(step.value)}")


def _sizes(before: tuple[int, ...], after: tuple[int, ...], sliding: "Sliding", side: int) -> None:
    st.caption(t("bench.size_words"))
    formula(t("bench.size_rows", formula=sliding.formula(before[0], side)))
    if before[0] != before[1] or after[0] != after[1]:
        formula(t("bench.size_columns", formula=sliding.formula(before[1], side)))
