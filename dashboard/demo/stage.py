"""Entering and leaving the tour, and its large type."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.who import admit

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

PARAMETER = "demo"
BAR = "demo-bar"
# All sizes of the page go by the root's. The bar stays in sight where a stop is longer than the window.
_STYLE = f"""<style>
html {{font-size: clamp(16px, 1.1vw, 24px)}}
[data-testid="stMainBlockContainer"] {{padding: 4rem 2rem 2rem; max-width: 2200px}}
[data-testid="stMainBlockContainer"] h1 {{font-size: 2.2rem; padding: 0}}
[data-testid="stCaptionContainer"] {{font-size: .95rem}}
.demo-words {{font-size: 1.35rem; line-height: 1.45; margin: 0; max-width: 75em}}
@media (min-width: 900px) {{
  .st-key-{BAR} {{position: sticky; top: 3.5rem; z-index: 9; padding: .3rem 0; backdrop-filter: blur(16px)}}
  [data-icons] {{zoom: 1.4}}
}}
</style>"""


def tour_is_on(page: "Page", tour: "Page") -> bool:
    """Whether the tour is shown: it draws no sidebar, and what the reader had open is laid aside until they leave it.

    ``?demo=1`` at any address leads to it.
    """
    if page != tour and PARAMETER in st.query_params:
        st.switch_page(tour, query_params={PARAMETER: st.query_params[PARAMETER]})
    if page != tour:
        state.take_back()
        return False
    admit()
    state.put_aside()
    return True


def large_type() -> None:
    """To be read from the back of a room."""
    st.html(_STYLE)


def say(words: str) -> None:
    """What a stop is about, larger than what it shows."""
    st.html(f'<p class="demo-words">{html.escape(words)}</p>')
