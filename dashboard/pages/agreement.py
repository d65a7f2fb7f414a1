"""How we agree: readers with the network and with one another, changes of mind, time to decision, score drift."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache
from dashboard.readers import present_reader
from dashboard.texts import t
from dashboard.widgets import error_box

if TYPE_CHECKING:
    from core.reviews.agreement import Agreement
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader
    from dashboard.agreement.selection import Selection


def render() -> None:
    """The page."""
    from dashboard.agreement.drift import drift_figures
    from dashboard.agreement.selection import choose_reviews
    from dashboard.agreement.study import study_panel

    st.subheader(t("agreement.title"))
    st.caption(t("agreement.what"))
    try:
        opened, by = cache.reviews(), present_reader()
        chosen = choose_reviews(opened)
        _figures(opened, by, chosen)
        st.divider()
        study_panel(opened, by)
        st.divider()
        drift_figures(chosen.scores)
    except RadLensError as exc:
        error_box(t("agreement.unavailable"), str(exc))


def _figures(opened: "Reviews", by: "Reader | None", chosen: "Selection") -> None:
    from core.reviews.agreement import agreement_of
    from dashboard.agreement.figures import change_figures, kappa_figures, time_figures

    found = agreement_of(chosen.reviews, chosen.truths)
    if found.reviews:
        st.text(t("agreement.count", count=found.reviews))
        kappa_figures(found)
        left, right = st.columns(2, gap="large")
        with left:
            change_figures(found)
        with right:
            time_figures(found)
        if by is not None:
            _csv_button(opened, by, found)
    else:
        st.info(t("agreement.none"), icon=":material/groups:")


def _csv_button(opened: "Reviews", by: "Reader", found: "Agreement") -> None:
    st.download_button(
        t("agreement.csv"),
        partial(_csv, opened, by, found),
        "radlens-agreement.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )


def _csv(opened: "Reviews", by: "Reader", found: "Agreement") -> bytes:
    from core.reviews.agreement import as_csv

    opened.store.record(by, "exported", detail={"kind": "agreement"})
    return as_csv(found).encode()
