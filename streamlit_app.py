"""RadLens' entry: page configuration and navigation. Start with ``make run``."""

from pathlib import Path

import streamlit as st

from dashboard import cache, frames, state
from dashboard.pages import models, network, review
from dashboard.texts import t
from dashboard.widgets import open_panel


def main() -> None:
    """Draw the frame around the page that the address asks for."""
    started = cache.start_up()
    # Streamlit imports numpy and Pillow to read the icon: the very first run does without.
    icon = str(Path(__file__).parent / "assets" / "icon.png") if started.reading.is_set() else None
    st.set_page_config(page_title=t("app.title"), page_icon=icon, layout="wide")
    state.keep_choices()
    page = st.navigation(
        [
            st.Page(review.render, title=t("page.review"), url_path="review", default=True),
            st.Page(network.render, title=t("page.network"), url_path="network"),
            st.Page(models.render, title=t("page.models"), url_path="models"),
        ],
        position="top",
    )
    try:
        open_panel()
        page.run()
    finally:
        started.begin()


if __name__ == "__main__":
    main()
else:
    # The server imports this file for its routes; Streamlit runs it as the page.
    app = st.App(__file__, routes=frames.ROUTES)
