"""One file a page, each with render()."""

from collections.abc import Callable
from importlib import import_module

from dashboard.widgets import wait_for_reading
from dashboard.worklist.address import open_case_of_address

# The page that the bare address opens.
_FIRST = "review"


def render_of(name: str) -> Callable[[], None]:
    """The page's ``render``; its file is imported when files can be opened, so that the very first run waits for nothing."""

    def render() -> None:
        if wait_for_reading():
            if name == _FIRST:
                open_case_of_address()
            import_module(f"dashboard.pages.{name}").render()

    return render
