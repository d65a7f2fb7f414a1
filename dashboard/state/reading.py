"""Who reads in this session by their own word, what of their reading is not written yet, and what stands in their forms."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.state.keys import DESKS, OUTBOX, READER

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


def declared_name() -> str:
    """The name that the reader gave, empty until they have."""
    name: str = st.session_state.get(READER) or ""
    return name


def declare_name(name: str) -> None:
    """Read under this name from now on."""
    st.session_state[READER] = name


def declare_typed_name(key: str) -> None:
    """Read under the name that stands in the field of that key."""
    if name := str(st.session_state.get(key) or "").strip():
        declare_name(name)


def forget_name() -> None:
    """Somebody else reads from now on; the browser forgets the name as well."""
    st.session_state[READER] = ""


def is_name_forgotten() -> bool:
    """Whether the reader has taken their name back."""
    return st.session_state.get(READER) == ""


def outbox(make: "Callable[[], Any]") -> Any:
    """What this session still has to write; made at the first call."""
    if OUTBOX not in st.session_state:
        st.session_state[OUTBOX] = make()
    return st.session_state[OUTBOX]


def desk(key: "Hashable") -> Any:
    """A reader's desk for a case, None until it is kept."""
    return st.session_state.get(DESKS, {}).get(key)


def keep_desk(key: "Hashable", found: object) -> None:
    """Hold on to a reader's desk for a case as long as the session lives: what they typed must not go with the case."""
    st.session_state.setdefault(DESKS, {})[key] = found


def form_values(prefix: str) -> dict[str, Any]:
    """What stands in the fields whose keys begin with this, by the rest of their keys."""
    found = {str(key): value for key, value in st.session_state.items() if str(key).startswith(prefix)}
    return {key.removeprefix(prefix): value for key, value in found.items()}


def fill_form(prefix: str, values: dict[str, Any], *, over_empty: bool) -> None:
    """Put these into the fields that are not drawn yet; into empty ones too, where that is asked for."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key not in st.session_state or (over_empty and not st.session_state[key]):
            st.session_state[key] = value


def empty_form(prefix: str) -> None:
    """Forget what stands in these fields."""
    for name in form_values(prefix):
        del st.session_state[f"{prefix}{name}"]
