"""What other pages say of a case that its reader has not read yet."""

import streamlit as st

from dashboard import state
from dashboard.texts import t


def owed(case: state.Case) -> None:
    """The sentence, and the way to the read; nothing of what the network says or computes."""
    st.text(case.title)
    st.info(t("reading.owed"), icon=":material/visibility_off:")
    # The entry's own page of that address: only this keeps the session.
    st.page_link(
        st.Page(lambda: None, title="Review", url_path="review", default=True),
        label=t("reading.to_review"),
        icon=":material/arrow_forward:",
    )
