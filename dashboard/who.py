"""Who reads, on the page: the name in the sidebar, the field that asks for it, the door that stays shut without the proxy."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import ConfigurationError
from dashboard import cache as kept
from dashboard import state
from dashboard.outbox import Outbox
from dashboard.packing import pack
from dashboard.readers import declares_name, present_reader, uses_oidc
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader

_LONGEST = 200
_KEEPER = "name-keeper"


def admit() -> None:
    """Nobody goes on where the settings mean nothing, or where a proxy must name the reader and has not."""
    try:
        refused = bool(kept.settings().user_header) and present_reader() is None
    except ConfigurationError as exc:
        st.error(literal(str(exc)), icon=":material/error:")
        st.stop()
    if refused:
        outbox().put_once("refused", _tell_refusal)
        st.error(t("who.refused"), icon=":material/block:")
        st.stop()


def name_in_sidebar() -> None:
    """Who reads and how that is known, small; where nobody has said so yet, a field or a button for it."""
    reader = present_reader()
    with st.container(key="who"):
        if declares_name():
            _keep_in_browser()
        if reader is None:
            ask_name("sidebar")
            return
        if kept.start_up().network.is_set():
            # Not before: the store's libraries would take the processor from the first answer.
            name_once(reader)
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            st.text(reader.name)
            st.caption(t("who.authenticated" if reader.is_authenticated else "who.declared"))
        if declares_name():
            right.button(t("who.other"), on_click=state.forget_name, type="tertiary", help=t("who.other_help"))
        elif uses_oidc():
            right.button(t("who.log_out"), on_click=st.logout, type="tertiary")


def ask_name(place: str) -> None:
    """A field for the reader's name, or the way to log in; ``place`` tells the fields of one page apart."""
    if uses_oidc():
        st.button(t("who.log_in"), on_click=st.login, icon=":material/login:", key=f"login-{place}")
        return
    key = f"name-{place}"
    st.text_input(
        t("who.name"),
        key=key,
        max_chars=_LONGEST,
        placeholder=t("who.placeholder"),
        help=t("who.help"),
        on_change=state.declare_typed_name,
        args=(key,),
    )


def outbox() -> Outbox:
    """What this session still has to write."""
    found: Outbox = state.outbox(lambda: Outbox(kept.reviews))
    return found


def name_once(reader: "Reader") -> None:
    """Who reads, in the audit trail, once a session."""
    outbox().put_once(("named", reader.name), lambda reviews: reviews.store.record(reader, "reader named"))


def _tell_refusal(reviews: "Reviews") -> None:
    from core.reviews.record import SERVER

    reviews.store.record(SERVER, "access refused", outcome="refused", detail={"why": "no name from the proxy"})


def _keep_in_browser() -> None:
    """A reload brings the name back; nothing else is kept in the browser."""
    message = pack({"kind": "name", "name": state.declared_name(), "forgotten": state.is_name_forgotten()}, {})

    def take() -> None:
        found = state.reported(_KEEPER, "name")
        if isinstance(found, str) and not state.declared_name():
            state.declare_name(found[:_LONGEST])

    _keeper()(key=_KEEPER, data=message, default={"name": None}, on_name_change=take)


@cache
def _keeper() -> Any:
    """An element without a face."""
    script = Path(__file__).with_name("js_name.js").read_text("utf-8")
    return st.components.v2.component("radlens_name", js=script)
