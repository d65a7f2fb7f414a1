"""Who is reading, and how that is known: a trusted proxy's header, OIDC, or the name that the reader declared."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state

if TYPE_CHECKING:
    from core.reviews.record import HowKnown, Reader


def present_reader() -> "Reader | None":
    """The reader of this session, or None until they have said their name.

    Where the deployment names a proxy's header or OIDC is set up, only that counts: nobody can declare another name.
    Raises ConfigurationError.
    """
    if header := cache.settings().user_header:
        return _named(st.context.headers.get(header, ""), "proxy")
    if uses_oidc():
        return _named(_of_token() if st.user.is_logged_in else "", "oidc")
    return _named(state.declared_name(), "declared")


def uses_oidc() -> bool:
    """Whether Streamlit is set up for OpenID Connect (``[auth]`` in its secrets)."""
    return "is_logged_in" in st.user


def declares_name() -> bool:
    """Whether readers say themselves who they are.

    Raises ConfigurationError.
    """
    return not cache.settings().user_header and not uses_oidc()


def _of_token() -> str:
    return str(st.user.get("email") or st.user.get("name") or st.user.get("sub") or "")


def _named(name: str, how_known: "HowKnown") -> "Reader | None":
    if not name.strip():
        return None
    # Late: the first page must not wait for pydantic.
    from pydantic import ValidationError

    from core.reviews.record import Reader

    try:
        return Reader(name=name, how_known=how_known)
    except ValidationError:
        return None
