"""The pixel history as small pictures in a row, with the part that the model does not see drawn on the original."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.answer import Answer
from dashboard.texts import t

if TYPE_CHECKING:
    from core.pixel_history import PixelHistory
    from core.scan import Scan
    from core.windowing import FloatImage

_IN_A_ROW = 4


def pixel_panel(scan: "Scan", frame: int, answer: Answer | None) -> None:
    """Folded away until asked for: nothing is computed before."""
    with st.expander(t("history.title"), on_change="rerun") as panel:
        if not panel.open:
            return
        from core.pixel_history import pixel_history

        history = pixel_history(scan, frame, None, answer.model.card.input if answer else None)
        st.caption(t("history.caption"))
        for start in range(0, len(history.steps), _IN_A_ROW):
            _row(scan, history, start)
        if history.seen is not None:
            whole = history.seen == (0, 0, scan.shape[1], scan.shape[0])
            st.caption(t("history.whole" if whole else "history.part"))


def _row(scan: "Scan", history: "PixelHistory", start: int) -> None:
    from core.overlay import encode_png, to_eight_bits

    steps = history.steps[start : start + _IN_A_ROW]
    for step, column in zip(steps, st.columns(_IN_A_ROW), strict=False):
        picture = step.picture
        if step.code == "stored" and history.seen is not None:
            picture = _hatched(picture, history.seen, scan.shape)
        with column:
            st.markdown(f"**{t(f'history.{step.code}')}**")
            words = "; ".join(f"{name} {value}" for name, value in step.numbers.items())
            st.image(encode_png(to_eight_bits(picture)), alt=words, output_format="PNG", width="stretch")
            lines = "<br>".join(html.escape(f"{name}: {value}") for name, value in step.numbers.items())
            st.html(f'<div style="font-size:.85rem;opacity:.8;line-height:1.5">{lines}</div>')


def _hatched(picture: "FloatImage", seen: tuple[float, float, float, float], shape: tuple[int, int]) -> "FloatImage":
    """Diagonal lines over what lies outside ``seen`` (left, top, right, bottom in pixels of the scan)."""
    import numpy as np

    rows, columns = picture.shape[:2]
    y = (np.arange(rows)[:, None] + 0.5) * shape[0] / rows
    x = (np.arange(columns)[None] + 0.5) * shape[1] / columns
    left, top, right, bottom = seen
    outside = (x < left) | (x > right) | (y < top) | (y > bottom)
    lines = (np.add.outer(np.arange(rows), np.arange(columns)) // 3) % 3 == 0
    marked = picture.copy()
    marked[outside & lines] = 1
    return marked
