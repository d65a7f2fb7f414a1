"""Lesson: ten short steps from pixel to diagnosis on the open case; each has its own address (``?step=4``)."""

import streamlit as st

from core.errors import NotFollowed
from dashboard import state
from dashboard.inside.opening import open_inside
from dashboard.lesson.steps import STEPS
from dashboard.texts import t

_ASKED = "step"


def render() -> None:
    """The page."""
    inside = open_inside()
    if inside is None:
        return
    at = _present()
    name = tuple(STEPS)[at - 1]
    st.progress(at / len(STEPS), t("lesson.progress", step=at, count=len(STEPS)))
    st.subheader(t(f"lesson.{name}_title"))
    st.markdown(t(f"lesson.{name}_words"))
    try:
        STEPS[name](inside)
    except NotFollowed as exc:
        st.text(str(exc))
    _navigation(at)


def _present() -> int:
    """The step that is shown: the one that was gone to last, else the one that the address names."""
    asked = st.query_params.get(_ASKED, "")
    named = (
        int(asked) if len(asked) < 3 and asked.isascii() and asked.isdigit() and 1 <= int(asked) <= len(STEPS) else 0
    )
    if asked and not named:
        st.info(t("lesson.no_step", count=len(STEPS)), icon=":material/info:")
    state.prefer(state.LESSON, named or 1)
    at: int = state.chosen(state.LESSON, 1)
    st.query_params[_ASKED] = str(at)
    return at


def _navigation(at: int) -> None:
    def go(to: int) -> None:
        state.choose(state.LESSON, to)

    st.space("small")
    back, on, _ = st.columns([1, 1, 3])
    back.button(
        t("lesson.back"), on_click=go, args=(at - 1,), disabled=at == 1, width="stretch", icon=":material/arrow_back:"
    )
    if at < len(STEPS):
        on.button(
            t("lesson.on"),
            on_click=go,
            args=(at + 1,),
            width="stretch",
            icon=":material/arrow_forward:",
            type="primary",
        )
    else:
        on.button(t("lesson.again"), on_click=go, args=(1,), width="stretch", icon=":material/replay:")
