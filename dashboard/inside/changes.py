"""The answer of a changed copy of the network beside the real one."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache
from dashboard.inside.numbers import signed
from dashboard.inside.opening import Inside
from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.analysis import Analysis
    from core.inside.altering import Change

_LINE = "padding:.3rem .4rem;border-top:1px solid rgba(127,127,127,.25)"
_RISE, _FALL = "#c98a00", "#3f8fbf"
# A change of the logit as long as the whole bar.
_LEAST_SCALE = 1.0


def changed_analysis(inside: Inside, changes: "Mapping[str, Change]") -> "Analysis":
    """The answer with changed maps; without changes, the real one itself.

    Raises UnknownLayer, AnalysisError.
    """
    if not changes:
        return inside.answer.analysis
    told = repr([(layer, sorted(one.silenced), one.swapped) for layer, one in sorted(changes.items())])
    return cache.altered_analysis(*inside.key, told, changes, inside.scan, inside.model)


def change_table(inside: Inside, after: "Analysis") -> None:
    """Every label's score before and after, and how far its logit moved, as number and bar."""
    before = inside.answer.analysis.prediction
    moves = {code: after.prediction.logits[code] - logit for code, logit in before.logits.items()}
    scale = max(_LEAST_SCALE, *(abs(move) for move in moves.values()))
    heads = ("changes.label", "changes.score", "changes.logit")
    head = "".join(
        f'<th scope="col" style="text-align:left;padding:.2rem .4rem;font-weight:600">{html.escape(t(k))}</th>'
        for k in heads
    )
    rows = "".join(
        f'<tr data-changed="{html.escape(label.code)}"><td style="{_LINE}">{html.escape(label.words.split(" (")[0])}</td>'
        f'<td style="{_LINE};white-space:nowrap;font-variant-numeric:tabular-nums">'
        f"{html.escape(score_text(before.scores[label.code]))} → "
        f"{html.escape(score_text(after.prediction.scores[label.code]))}</td>"
        f'<td style="{_LINE};width:38%">{_bar(moves[label.code], scale)}</td></tr>'
        for label in inside.card.labels
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem"><thead><tr>{head}</tr></thead>{rows}</table>'
    )


def _bar(move: float, scale: float) -> str:
    """From the middle: to the left where the logit falls."""
    length, side = 50 * abs(move) / scale, "right" if move < 0 else "left"
    colour = _FALL if move < 0 else _RISE
    return (
        '<div style="display:flex;align-items:center;gap:.5rem"><div style="position:relative;height:10px;flex:1">'
        f'<div style="position:absolute;{side}:50%;width:{length:.1f}%;top:1px;height:8px;background:{colour}"></div>'
        '<div style="position:absolute;left:calc(50% - 1px);top:-2px;width:2px;height:14px;background:currentColor"></div></div>'
        f'<span style="min-width:3.6rem;text-align:right;font-variant-numeric:tabular-nums">{signed(round(move, 3))}</span></div>'
    )
