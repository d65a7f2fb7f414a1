"""RadLens' entry: page configuration and navigation. Start with ``make run``."""

from pathlib import Path

import streamlit as st

from dashboard import cache, frames, state
from dashboard.demo.stage import tour_is_on
from dashboard.pages import render_of
from dashboard.texts import t
from dashboard.widgets import open_panel


def main() -> None:
    """Draw the frame around the page that the address asks for."""
    started = cache.start_up()
    # Streamlit imports numpy and Pillow to read the icon: the very first run does without.
    icon = str(Path(__file__).parent / "assets" / "icon.png") if started.reading.is_set() else None
    st.set_page_config(page_title=t("app.title"), page_icon=icon, layout="wide")
    state.keep_choices()
    pages = [
        st.Page(render_of(name), title=t(f"page.{name}"), url_path=name, default=name == "review")
        for name in ("review", "worklist", "network", "bench", "lesson", "models", "agreement", "demo")
    ]
    page = st.navigation(pages, position="top")
    try:
        if not tour_is_on(page, pages[-1]):
            open_panel()
        page.run()
    finally:
        started.begin()


if __name__ == "__main__":
    main()
else:
    cache.start_up().begin_soon()
    app = st.App(__file__, routes=frames.ROUTES)  # what the server imports; Streamlit runs this file as the page
