"""Tour: six stops for those who have to decide about RadLens; each has its own address (``?demo=3``)."""

import streamlit as st

from dashboard import state
from dashboard.demo.stage import BAR, PARAMETER, large_type, say
from dashboard.demo.stops import STOPS
from dashboard.texts import t


def render() -> None:
    """The page. Its buttons come first: whatever happens below, they are there and stay where they are."""
    at = _present()
    name = tuple(STOPS)[at - 1]
    large_type()
    with st.container(key=BAR):
        _bar(at, t(f"demo.{name}_name"))
    st.title(t(f"demo.{name}_title"), anchor=False)
    say(t(f"demo.{name}_words"))
    STOPS[name]()
    st.caption(t("demo.leave"))


def _present() -> int:
    """The stop that the address names, else the one that was shown last."""
    asked = st.query_params.get(PARAMETER, "")
    named = next((stop for stop in range(1, len(STOPS) + 1) if asked == str(stop)), 0)
    if asked and not named:
        st.info(t("demo.no_stop", count=len(STOPS)), icon=":material/info:")
    at = named or state.tour_stop() or 1
    _go(at)
    return at


def _go(to: int) -> None:
    state.keep_tour_stop(to)
    st.query_params[PARAMETER] = str(to)


def _begin_again() -> None:
    state.begin_tour_again()
    _go(1)


def _bar(at: int, name: str) -> None:
    """Each stop has buttons of its own: pressing one twice in a hurry goes one stop, not two."""
    last = at == len(STOPS)
    back, on, again, place = st.columns([2, 2, 2, 3], vertical_alignment="center")
    back.button(
        t("demo.back"), key=f"demo-back-{at}", on_click=_go, args=(at - 1,), disabled=at == 1, width="stretch",
        icon=":material/arrow_back:", shortcut="PageUp",
    )  # fmt: skip
    on.button(
        t("demo.next"), key=f"demo-next-{at}", on_click=_go, args=(at + 1,), disabled=last, width="stretch",
        icon=":material/arrow_forward:", type="primary", shortcut="PageDown",
    )  # fmt: skip
    again.button(
        t("demo.again"), key=f"demo-again-{at}", on_click=_begin_again, width="stretch", icon=":material/replay:",
        type="primary" if last else "secondary",
    )  # fmt: skip
    place.progress(at / len(STOPS), t("demo.progress", stop=at, count=len(STOPS), title=name))
