"""Numbers as small tables: windows of values coloured by sign and size, sums line by line."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Positive is orange and negative purple, as in the pictures of filters; the number is always there as well.
_FOR, _AGAINST = "224,130,20", "128,115,172"
_CELL = "padding:.15rem .35rem;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"
_LINE = "padding:.3rem .4rem;border-top:1px solid rgba(127,127,127,.25)"


def number(value: float) -> str:
    """Three significant digits, whole numbers whole, a real minus; what lies outside a map is a dot."""
    if math.isnan(value):
        return "·"
    size = abs(value)
    said = f"{size:.0f}" if size >= 1000 or (size == round(size) and size >= 1) else f"{size:.3g}"
    if "e" in said:
        said = f"{size:.1e}" if size else "0"
    return ("−" if value < 0 and float(said) != 0 else "") + said


def signed(value: float) -> str:
    """With its sign always."""
    said = number(value)
    return said if said.startswith("−") or float(value) == 0 else f"+{said}"


def number_grid(values: "npt.NDArray[np.floating]", title: str, chosen: tuple[int, int] | None = None) -> str:
    """A window of numbers (rows, columns) as a table with its title above; NaN is a dot; one cell can be framed."""
    import numpy as np

    known = np.abs(values[~np.isnan(values)])
    limit = max(float(known.max()) if known.size else 0.0, 1e-12)
    digits = 0 if bool((known == np.round(known)).all()) else min(max(2 - math.floor(math.log10(limit)), 0), 9)
    rows = "".join(
        "<tr>"
        + "".join(_grid_cell(float(v), limit, digits, framed=chosen == (r, c)) for c, v in enumerate(row))
        + "</tr>"
        for r, row in enumerate(values)
    )
    return (
        f'<div style="min-width:0"><div style="font-size:.85rem;margin-bottom:.2rem">{html.escape(title)}</div>'
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:.8rem">{rows}</table></div></div>'
    )


def in_a_row(*parts: str) -> None:
    """Tables side by side with signs between them, below each other where there is no room."""
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:center">'
        + "".join(
            part if part.startswith("<") else f'<span style="font-size:1.3rem">{html.escape(part)}</span>'
            for part in parts
        )
        + "</div>"
    )


def sum_table(lines: Sequence[tuple[str, str, float]], total: tuple[str, float], *, name: str = "sum") -> None:
    """Lines of words, how the number came about, and the number; then the sum. Tests read the exact numbers from it."""
    rows = "".join(
        f'<tr data-{name}-term="{value!r}"><td style="{_LINE}">{html.escape(words)}</td>'
        f'<td style="{_LINE};{_CELL};opacity:.75">{html.escape(how)}</td>'
        f'<td style="{_LINE};{_CELL}">{html.escape(signed(value))}</td></tr>'
        for words, how, value in lines
    )
    words, value = total
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem">{rows}'
        f'<tr data-{name}-total="{value!r}" style="font-weight:600"><td style="{_LINE};border-top-width:2px" colspan="2">'
        f'{html.escape(words)}</td><td style="{_LINE};border-top-width:2px;{_CELL}">{html.escape(signed(value))}</td></tr>'
        "</table>"
    )


def fact_list(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    rows = "".join(
        f'<tr><td style="{_LINE};opacity:.75">{html.escape(name)}</td>'
        f'<td style="{_LINE};{_CELL}">{html.escape(value)}</td></tr>'
        for name, value in facts
    )
    st.html(f'<table style="width:100%;border-collapse:collapse;font-size:.92rem">{rows}</table>')


def formula(words: str) -> None:
    """A formula with its numbers, on one line that can be scrolled."""
    st.html(
        '<div style="overflow-x:auto;padding:.4rem .6rem;border-left:3px solid rgba(127,127,127,.4);'
        f'font-variant-numeric:tabular-nums;font-size:.92rem">{html.escape(words)}</div>'
    )


def _grid_cell(value: float, limit: float, digits: int, *, framed: bool) -> str:
    """The same number of decimals in all cells of a window, so that they can be compared."""
    strength = 0.0 if math.isnan(value) else abs(value) / limit
    colour = _FOR if value > 0 else _AGAINST
    frame = "outline:2px solid currentColor;outline-offset:-2px;" if framed else ""
    return (
        f'<td style="{_CELL};min-width:2.3rem;{frame}border:1px solid rgba(127,127,127,.25);'
        f'background:rgba({colour},{0.55 * strength:.2f})">{_decimals(value, digits)}</td>'
    )


def _decimals(value: float, digits: int) -> str:
    if math.isnan(value):
        return "·"
    said = f"{abs(value):.{digits}f}"
    return ("−" if value < 0 and float(said) != 0 else "") + said
