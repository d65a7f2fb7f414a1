"""The guided tour has cases of its own: what the reader had open steps aside meanwhile, and comes back untouched."""

from typing import Any

import streamlit as st

from dashboard.state.case import Case, forget_case, forget_choices
from dashboard.state.choices import chosen_keys
from dashboard.state.keys import ASIDE, CASE, FORMER, MODELS, OF_THE_CASE, SAMPLE, TOUR_STOP, TOUR_TOLD


def put_aside() -> None:
    """Lay the open case, its choices and its work in the background aside, once; nothing of it ends."""
    if ASIDE not in st.session_state:
        names = [CASE, FORMER, SAMPLE, MODELS, *chosen_keys(OF_THE_CASE)]
        st.session_state[ASIDE] = {name: st.session_state.pop(name) for name in names if name in st.session_state}


def take_back() -> None:
    """What was laid aside is open again; of the tour's case nothing stays."""
    aside: dict[str, Any] | None = st.session_state.pop(ASIDE, None)
    if aside is None:
        return
    forget_case()
    st.session_state.pop(FORMER, None)
    for name, value in aside.items():
        st.session_state[name] = value


def show_case(case: Case) -> None:
    """Bring one of the tour's cases to the front; the work on its others goes on."""
    st.session_state[CASE] = case


def begin_tour_again() -> None:
    """As if nobody had touched the tour's cases."""
    forget_choices()
    st.session_state.pop(TOUR_TOLD, None)


def tour_stop() -> int:
    """The stop that was shown last, counted from 1, or 0."""
    stop: int = st.session_state.get(TOUR_STOP, 0)
    return stop


def keep_tour_stop(stop: int) -> None:
    """Remember where the tour is, for who leaves it and comes back."""
    st.session_state[TOUR_STOP] = stop


def is_told() -> bool:
    """Whether the network's answer on the last stop's film was asked for."""
    return TOUR_TOLD in st.session_state


def tell() -> None:
    """Let the network speak on the last stop."""
    st.session_state[TOUR_TOLD] = True
