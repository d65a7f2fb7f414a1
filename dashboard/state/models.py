"""Which models the reader chose by hand, and their own model on its way into the catalogue."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ModelError
from dashboard import cache
from dashboard.state.keys import ADDED, CHECKED, INACTIVE, MODELS, WEIGHTS
from dashboard.state.uploads import release

if TYPE_CHECKING:
    from core.models.checking import CompatibilityReport


def model_by_hand(case_key: str) -> str | None:
    """The model that the reader chose for a case that fits none by its tags."""
    chosen: str | None = st.session_state.get(MODELS, {}).get(case_key)
    return chosen


def choose_model_by_hand(case_key: str, model_id: str) -> None:
    """Read a case with this model although its tags do not fit."""
    st.session_state.setdefault(MODELS, {})[case_key] = model_id


def take_chosen_reader(key: str, case_key: str) -> None:
    """Read a case with the model that the reader picked in the widget of that key, if it works."""
    # A click during a page's first run may call before Streamlit knows the widget's key.
    chosen = st.session_state.get(key)
    if chosen is not None and (problem := try_model_by_hand(case_key, chosen)):
        del st.session_state[key]
        st.session_state[INACTIVE] = problem


def try_model_by_hand(case_key: str, model_id: str) -> str | None:
    """Read a case with this model once it has loaded and passed its self-test; else why not, and the former stays active."""
    try:
        cache.model(model_id)
    except ModelError as exc:
        return str(exc)
    choose_model_by_hand(case_key, model_id)
    return None


def inactive_model() -> str | None:
    """Why the model that was picked last could not become active, said once."""
    problem: str | None = st.session_state.pop(INACTIVE, None)
    return problem


def checked_model() -> "CompatibilityReport | str | None":
    """What the reader's own weights turned out to be, or the sentence that refuses them."""
    found: CompatibilityReport | str | None = st.session_state.get(CHECKED)
    return found


def keep_checked_model(found: "CompatibilityReport | str") -> None:
    """Hold on to a report or a refusal until the next weights come."""
    st.session_state[CHECKED] = found
    st.session_state.pop(ADDED, None)


def finish_own_model(title: str) -> None:
    """The model is in the catalogue: its weights and its upload are given back."""
    st.session_state.pop(CHECKED, None)
    st.session_state[ADDED] = title
    file = st.session_state.pop(weights_key(), None)
    st.session_state[WEIGHTS] = st.session_state.get(WEIGHTS, 0) + 1
    if file is not None:
        release(file)


def added_model() -> str | None:
    """The title of the model that was added last, until others are checked."""
    title: str | None = st.session_state.get(ADDED)
    return title


def weights_key() -> str:
    """The key of the present upload widget for weights."""
    return f"weights-{st.session_state.get(WEIGHTS, 0)}"
