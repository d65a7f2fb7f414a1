"""Who reads in this session, by their own word."""

import streamlit as st

from dashboard.state.keys import READER


def declared_name() -> str:
    """The name that the reader gave, empty until they have."""
    name: str = st.session_state.get(READER, "")
    return name


def declare_name(name: str) -> None:
    """Read under this name from now on."""
    st.session_state[READER] = name
