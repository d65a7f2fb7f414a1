"""``?case=K7QD-2M9F`` in the address opens that case, once its reader is known."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache
from dashboard.case_opening import open_case
from dashboard.readers import present_reader
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.store import Case

PARAMETER = "case"


def open_case_of_address() -> None:
    """Open the case that the address names, once; until somebody has said who reads, say what it waits for."""
    name = st.query_params.get(PARAMETER)
    if name is None:
        return
    try:
        if present_reader() is None:
            st.info(t("worklist.address_who"), icon=":material/person:")
            return
        found = _named(name)
        if found is None:
            st.warning(t("worklist.address_unknown"), icon=":material/search_off:")
        else:
            open_case(found)
    except RadLensError as exc:
        st.text(str(exc))
        return
    del st.query_params[PARAMETER]


def _named(name: str) -> "Case | None":
    wanted = name.strip().upper()
    return next((case for case in cache.reviews().store.cases() if case.pseudonym == wanted), None)
