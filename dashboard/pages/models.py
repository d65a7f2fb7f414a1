"""Models: the catalogue with its cards, the reader's own model, TorchXRayVision's."""

import streamlit as st

from dashboard import cache
from dashboard.model_list import model_list
from dashboard.own_model import own_model
from dashboard.published_models import published_models
from dashboard.texts import t


def render() -> None:
    """The page."""
    catalogue, own, published = st.tabs([t("models.tab_catalogue"), t("models.tab_own"), t("models.tab_published")])
    with catalogue:
        model_list()
    with own:
        own_model()
    with published:
        # The tab before looks by itself when networks can run; twice would only take time from their import.
        if cache.start_up().network.is_set():
            published_models()
        else:
            st.info(t("start.network"), icon=":material/hourglass_top:")
