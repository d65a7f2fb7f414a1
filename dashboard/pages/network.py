"""Network: the layers at a glance, their maps and filters on this scan, and one pixel followed to the answer."""

from dashboard import state
from dashboard.inside.filters import filters_view
from dashboard.inside.glance import glance_view
from dashboard.inside.maps import maps_view
from dashboard.inside.opening import open_inside, view_choice
from dashboard.inside.walk import walk_view
from dashboard.texts import t

_VIEWS = {"glance": glance_view, "maps": maps_view, "filters": filters_view, "pixel": walk_view}


def render() -> None:
    """The page."""
    inside = open_inside()
    if inside is None:
        return
    view = view_choice(state.VIEW, tuple(_VIEWS), {name: t(f"network.view_{name}") for name in _VIEWS})
    _VIEWS[view](inside)
