"""One file a page, each with render()."""

from collections.abc import Callable
from importlib import import_module

from dashboard.widgets import wait_for_reading


def render_of(name: str) -> Callable[[], None]:
    """The page's ``render``; its file is imported when files can be opened, so that the very first run waits for nothing."""

    def render() -> None:
        if wait_for_reading():
            import_module(f"dashboard.pages.{name}").render()

    return render
