"""The filters of a convolution: all kernels in one picture, one of them in numbers, and its passport."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.inside.maps import channel_key, columns_of
from dashboard.inside.numbers import in_a_row, number_grid
from dashboard.inside.opening import Inside, layer_choice
from dashboard.inside.passport import passport
from dashboard.pointing.picture import Grid, pointing_picture
from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import FloatArray

_STRONGEST = -1


def filters_view(inside: Inside) -> None:
    """The kernels, the chosen one, its passport."""
    from core.inside.filters import kernels

    first, second = st.columns([2, 1])
    with first:
        layer = layer_choice(inside, inside.model.convolutions, "filters")
    weights = kernels(inside.model.network, layer)
    with second:
        source = _input_choice(layer, weights)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _grid(layer, weights, source)
    with right:
        channel = _filter_choice(layer, len(weights))
        _one_filter(weights[channel], source)
    passport(inside, layer, channel)


def _input_choice(layer: str, weights: "FloatArray") -> int:
    """Which input channel's weights are shown: the one with the largest, or one by number."""
    options = [_STRONGEST, *range(weights.shape[1])] if weights.shape[1] > 1 else [0]
    chosen: int = st.selectbox(
        t("filters.input"), options, help=t("filters.input_help"), key=state.choice(state.INSIDE, "input", layer),
        format_func=lambda at: t("filters.strongest") if at == _STRONGEST else str(at),
    )  # fmt: skip
    return chosen


def _grid(layer: str, weights: "FloatArray", source: int) -> None:
    from core.inside.filters import kernels_png

    count, inputs, rows, columns = weights.shape
    width = columns_of(count)
    png = kernels_png(weights, input_channel=None if source == _STRONGEST else source, columns=width)
    chosen = state.chosen(channel_key(layer), 0)
    at = chosen if chosen < count else 0
    grid = Grid(-(-count // width), width, (at // width, at % width), tuple(str(number) for number in range(count)))

    def choose(x: float, y: float) -> None:
        clicked = int(y * grid.rows) * width + int(x * width)
        if clicked < count:
            state.choose(channel_key(layer), clicked)

    words = t("filters.caption", count=count, rows=rows, columns=columns, inputs=inputs)
    pointing_picture(f"kernels-{layer}", png, choose, alt=words, grid=grid, sharp=True)
    st.caption(f"{words} {t('filters.colours')}")


def _filter_choice(layer: str, count: int) -> int:
    key = channel_key(layer)
    state.prefer(key, 0)
    chosen: int = st.selectbox(t("filters.filter"), range(count), key=key, help=t("filters.filter_help"))
    return chosen


def _one_filter(kernel: "FloatArray", source: int) -> None:
    """The weights for one input channel, and the waves they answer to."""
    from core.inside.filters import response_png, strongest_input

    at = strongest_input(kernel) if source == _STRONGEST else source
    in_a_row(number_grid(kernel[at], t("filters.weights", input=at)))
    if kernel.shape[1:] == (1, 1):
        st.caption(t("filters.one_cell"))
        return
    picture, words = st.columns([2, 3])
    picture.image(response_png(kernel[at]), alt=t("filters.response"), output_format="PNG", width="stretch")
    words.caption(t("filters.response_words"))
