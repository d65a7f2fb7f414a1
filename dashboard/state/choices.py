"""What the reader chose in any widget, by key."""

from typing import Any

import streamlit as st

from dashboard.state.keys import KEPT


def keep_choices() -> None:
    """Hold on to the choices that this run's page does not draw."""
    for key in chosen_keys(KEPT):
        st.session_state[key] = st.session_state[key]


def chosen_keys(names: tuple[str, ...]) -> list[str]:
    """The keys of all choices of these names."""
    return [key for key in map(str, st.session_state) if key.partition(":")[0] in names]


def prefer(key: str, value: object) -> None:
    """What a choice stands at until the reader makes it. A widget must not be given the same as its own default."""
    if key not in st.session_state:
        st.session_state[key] = value


def chosen(key: str, otherwise: Any) -> Any:
    """What a choice of that key stands at, wherever its widget is."""
    return st.session_state.get(key, otherwise)


def choose(key: str, value: object) -> None:
    """Make a choice in the reader's name, before its widget is drawn: they pointed at it elsewhere."""
    st.session_state[key] = value


def reported(key: str, name: str) -> Any:
    """What an element of that key told in this run; the browser may say anything."""
    return st.session_state[key].get(name)
