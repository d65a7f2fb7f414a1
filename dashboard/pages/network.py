"""Network: the feature maps of any convolution on this scan, and its filters."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.answer import Answer
from dashboard.texts import t
from dashboard.widgets import answer_with_progress, banner, case_or_sentence, wait_for_network, wait_for_reading

if TYPE_CHECKING:
    from core.inside.feature_maps import ConvolutionLayer, FeatureMaps


def render() -> None:
    """The page."""
    if not wait_for_reading() or (opened := case_or_sentence()) is None or not wait_for_network():
        return
    case, scan = opened
    frame = state.chosen_frame(scan.frame_count)
    answer = answer_with_progress(scan, frame)
    banner(case, scan, frame, answer)
    if not isinstance(answer, Answer):
        st.info(t("network.no_model"))
        return
    st.subheader(t("network.title"))
    maps, layer, scale = _choices(answer)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _maps(maps, scale)
    with right:
        _filters(answer, layer)
    _one_channel(answer, maps)


def _choices(answer: Answer) -> "tuple[FeatureMaps, ConvolutionLayer, str]":
    from core.inside.feature_maps import convolution_layers, feature_maps

    layers = {layer.name: layer for layer in convolution_layers(answer.model.network)}
    first, second, third = st.columns([2, 1, 1])
    name = first.selectbox(
        t("network.layer"), list(layers), format_func=lambda n: str(layers[n]), key=state.choice(state.LAYER)
    )
    orders = {t(f"network.order_{order}"): order for order in ("channel", "strength", "variance")}
    scales = {t(f"network.scale_{scale}"): scale for scale in ("map", "layer")}
    order = orders[second.selectbox(t("network.order"), list(orders), key=state.ORDER)]
    scale = scales[third.selectbox(t("network.scale"), list(scales), key=state.SCALE)]
    return feature_maps(answer.analysis, name, order=order), layers[name], scale  # type: ignore[arg-type]


def _maps(maps: "FeatureMaps", scale: str) -> None:
    from core.inside.feature_maps import grid_png

    st.markdown(f"**{t('network.maps')}**")
    count, rows, columns = maps.maps.shape
    png = grid_png(maps.maps, columns=_columns(count), scale=scale)  # type: ignore[arg-type]
    caption = t("network.maps_caption", count=count, rows=rows, columns=columns, layer=maps.layer)
    silent = " " + t("network.silent", count=maps.silent) if maps.silent else ""
    st.image(png, caption=caption + silent, output_format="PNG", width="stretch")


def _filters(answer: Answer, layer: "ConvolutionLayer") -> None:
    from core.inside.filters import kernels, kernels_png

    st.markdown(f"**{t('network.filters')}**")
    weights = kernels(answer.model.network, layer.name)
    rows, columns = layer.kernel
    caption = t("network.filters_caption", rows=rows, columns=columns, count=layer.outputs)
    st.image(
        kernels_png(weights, columns=_columns(layer.outputs)), caption=caption, output_format="PNG", width="stretch"
    )


def _one_channel(answer: Answer, maps: "FeatureMaps") -> None:
    """One map larger, and the weights that made it."""
    from core.inside.feature_maps import channel_png
    from core.inside.filters import kernels, strongest_input

    st.markdown(f"**{t('network.channel')}**")
    channel = st.selectbox(
        t("network.channel"),
        maps.channels,
        help=t("network.channel_help"),
        key=state.choice(state.CHANNEL, maps.layer),
        label_visibility="collapsed",
    )
    left, right = st.columns([3, 2], gap="large")
    values = answer.analysis.activations[maps.layer][channel]
    low, high, mean = (f"{float(v):.3g}" for v in (values.min(), values.max(), values.mean()))
    words = t("network.channel_caption", channel=channel, low=low, high=high, mean=mean)
    left.image(channel_png(answer.analysis, values), caption=words, output_format="PNG", width="stretch")
    weights = kernels(answer.model.network, maps.layer)[channel]
    source = strongest_input(weights)
    right.markdown(t("network.filter_values", channel=channel, input=source))
    right.dataframe(weights[source].round(3), hide_index=True)


def _columns(count: int) -> int:
    return next(width for width in (6, 8, 12, 16, 24) if width * width >= count or width == 24)
