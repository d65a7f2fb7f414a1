"""The network at a glance: every block and layer in order, to be entered by a click."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import state
from dashboard.inside.opening import Inside, enter_layer, shape_words
from dashboard.pointing.layers import layer_list
from dashboard.texts import t

if TYPE_CHECKING:
    from core.inside.glance import Block, LayerFacts

_THUMBS_IN_A_ROW = 24
# A network of so few layers is shown unfolded.
_FEW = 24
_BADGES = {"residual": "glance.residual", "dense": "glance.dense", "joining": "glance.joining"}


def glance_view(inside: Inside) -> None:
    """The list, with a sentence above it that says what it is."""
    from core.inside.glance import thumbnails_png

    blocks = inside.blocks
    layers = [layer for block in blocks for layer in block.layers]
    parameters = sum(layer.parameters for layer in layers)
    work = sum(layer.multiplications for layer in layers) / 1e6
    st.caption(
        t("glance.caption", layers=len(layers), blocks=len(blocks), parameters=f"{parameters:,}", work=f"{work:,.0f}")
    )
    if not inside.recording.followed:
        st.info(t("glance.not_followed"), icon=":material/info:")
    unfold = len(layers) > _FEW and st.toggle(t("glance.unfold"), key=state.choice(state.INSIDE, "unfold"))
    shown = [layer for layer in layers if layer.mean is not None]
    numbers = {layer.name: index for index, layer in enumerate(shown)}
    header = {
        "look": {
            "columns": _THUMBS_IN_A_ROW, "rows": -(-len(shown) // _THUMBS_IN_A_ROW),
            "open": bool(unfold) or len(layers) <= _FEW,
            "chosen": state.chosen(state.choice(state.LAYER, "maps"), ""), "heads": _heads(),
        },
        "blocks": [_block(block, numbers) for block in blocks],
    }  # fmt: skip
    maps = [layer.mean for layer in shown if layer.mean is not None]
    layer_list(f"glance-{inside.scan.digest[:16]}", header, thumbnails_png(maps, _THUMBS_IN_A_ROW), _entered(inside))
    st.caption(t("glance.how"))


def _entered(inside: Inside) -> Any:
    names = set(inside.recording.layers)

    def enter(name: str) -> None:
        if name not in names:
            return
        convolution = name in inside.model.convolutions
        enter_layer(name, *(("maps", "filters") if convolution else ("maps",)))
        state.choose(state.VIEW, "maps")

    return enter


def _heads() -> dict[str, str]:
    return {
        "named": t("glance.head_layer"), "shape": t("glance.head_shape"), "parameters": t("glance.head_parameters"),
        "sees": t("glance.head_sees"), "share": t("glance.head_share"),
    }  # fmt: skip


def _block(block: "Block", numbers: dict[str, int]) -> dict[str, object]:
    last = block.layers[-1]
    return {
        **_row(last, numbers), "name": block.name, "kind": block.kind,
        "badge": t(_BADGES[block.kind]) if block.kind in _BADGES and len(block.layers) > 1 else "",
        "words": t("glance.layers", count=len(block.layers)), "parameters": _count(block.parameters),
        "share": block.share, "percent": _percent(block.share),
        "layers": [_row(layer, numbers) for layer in block.layers],
    }  # fmt: skip


def _row(layer: "LayerFacts", numbers: dict[str, int]) -> dict[str, object]:
    return {
        "name": layer.name, "words": layer.words, "shape": shape_words(layer.shape), "kind": "", "badge": "",
        "parameters": _count(layer.parameters), "sees": sees_words(layer), "share": layer.share,
        "percent": _percent(layer.share), "thumb": numbers.get(layer.name, -1),
    }  # fmt: skip


def sees_words(layer: "LayerFacts") -> str:
    """``47 x 47``; a layer behind a pooling of the whole map sees everything."""
    if layer.seen is None:
        return t("glance.sees_unknown")
    size = layer.seen.size
    if size is None:
        return t("glance.sees_all")
    return f"{size[0]} x {size[1]}" + (f" ({t('glance.sees_all')})" if layer.seen.sees_all else "")


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


def _percent(share: float) -> str:
    return "–" if share == 0 else "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"
