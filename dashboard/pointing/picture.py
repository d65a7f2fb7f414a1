"""A picture with marks on it that reports where it was clicked, or the tile of a grid that was."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from dashboard import state
from dashboard.pointing.message import packed

Kind = Literal["chosen", "dead", "twin", "seen", "window", "faint"]
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on a picture, in shares of its width and height; ``words`` stand at it."""

    x: float
    y: float
    width: float
    height: float
    kind: Kind = "chosen"
    words: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture that is ``rows`` x ``columns`` of equal cells: one is pointed at; ``names`` are shown under the pointer."""

    rows: int
    columns: int
    chosen: tuple[int, int] | None = None
    names: tuple[str, ...] = ()


def pointing_picture(
    key: str,
    png: bytes,
    on_point: Callable[[float, float], None] | None,
    *,
    alt: str,
    marks: Sequence[Mark] = (),
    grid: Grid | None = None,
    sharp: bool = False,
) -> None:
    """Draw it as wide as its column.

    ``on_point`` gets (x, y) in shares of width and height, before the page runs again; None for a still picture. Arrow
    keys move the chosen cell of a grid. ``sharp`` keeps the pixels of small pictures square.
    """
    header = {
        "alt": alt, "sharp": sharp, "still": on_point is None, "marks": [asdict(mark) for mark in marks],
        "grid": None if grid is None else asdict(grid),
    }  # fmt: skip
    _element()(key=key, data=packed(header, png), on_point_change=lambda: _told(key, on_point))


def _told(key: str, on_point: Callable[[float, float], None] | None) -> None:
    point = point_of(state.reported(key, "point"))
    if point is not None and on_point is not None:
        on_point(*point)


def point_of(value: Any) -> tuple[float, float] | None:
    """(x, y) within 0..1 out of what a browser said, which may be anything; None where it is no point."""
    if not isinstance(value, dict):
        return None
    x, y = value.get("x"), value.get("y")
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in (x, y)):
        return None
    return min(max(float(x), 0.0), 1 - 1e-9), min(max(float(y), 0.0), 1 - 1e-9)  # type: ignore[arg-type]


@cache
def _element() -> Any:
    script, css = ((_FOLDER / f"picture.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return st.components.v2.component("radlens_picture", html='<div class="pointing"></div>', css=css, js=script)
