"""The network as a list of blocks and layers that reports which layer was clicked."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.pointing.message import packed

_FOLDER = Path(__file__).parent


def layer_list(key: str, header: Mapping[str, object], thumbnails: bytes, on_layer: Callable[[str], None]) -> None:
    """``header`` as ``dashboard.inside.glance`` writes it; ``thumbnails`` one picture of all, side by side.

    ``on_layer`` gets the name that the browser says, before the page runs again: it may be no layer's.
    """
    _element()(key=key, data=packed(header, thumbnails), on_layer_change=lambda: _told(key, on_layer))


def _told(key: str, on_layer: Callable[[str], None]) -> None:
    name = state.reported(key, "layer")
    if isinstance(name, str):
        on_layer(name)


@cache
def _element() -> Any:
    script, css = ((_FOLDER / f"layers.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return st.components.v2.component("radlens_layers", html='<div class="layers"></div>', css=css, js=script)
