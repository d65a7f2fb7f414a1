"""How answers moved, as a table with bars: number, bar and word say the same, so that colour is never needed."""

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from core.explaining.asking import Asked, Change
    from core.explaining.regions import Regions
    from core.explaining.shortcuts import ShortcutScan
    from core.scan import Scan

# The least length of the bars' scale, in logits: a change that nobody would notice must look small.
_LEAST_SCALE = 1.0
_FALL, _RISE = "#3f8fbf", "#c98a00"
_PICTURE_SIDE = 420
_IN_A_LINE = 3
_CELL = "padding:.35rem .4rem;vertical-align:middle"


def scores_in_a_line(asked: "Asked", words: Mapping[str, str]) -> str:
    """The scores that moved furthest, before and after, for the line at the picture."""
    ranked = sorted(asked.changes.values(), key=lambda change: -abs(change.change))[:_IN_A_LINE]
    return t("ask.line", scores=" · ".join(f"{words[one.label].partition(' (')[0]} {_scores(one)}" for one in ranked))


def change_table(asked: "Asked", words: Mapping[str, str]) -> None:
    """Every label's score before and after, furthest moved first; the band shows what other places of the size do."""
    ranked = sorted(asked.changes.values(), key=lambda change: -abs(change.change))
    longest = max(abs(change.change) for change in ranked)
    scale = max(_LEAST_SCALE, longest, *(change.usual or 0 for change in ranked))
    _table(("ask.column_label", "ask.column_score", "ask.column_change", "ask.column_words"),
           [_change_row(change, words[change.label], scale) for change in ranked])  # fmt: skip


def shortcut_table(found: "ShortcutScan", words: Mapping[str, str]) -> None:
    """Every place that was tried with the label it moved furthest, furthest first."""
    rows = []
    for spot in found.spots:
        change = max(spot.changes.values(), key=lambda one: abs(one.change))
        leans = t("ask.leans" if any(spot.leans(code) for code in spot.changes) else "ask.leans_not")
        usual = "–" if change.usual is None else f"{change.usual:.2f}"
        cells = (spot.name, words[change.label], f"{_signed(change.change)} ({usual})", leans)
        rows.append((abs(change.change), "".join(_cell(cell) for cell in cells)))
    heads = ("ask.column_place", "ask.column_label", "ask.column_change_usual", "ask.column_verdict")
    _table(heads, [f"<tr>{row}</tr>" for _, row in sorted(rows, reverse=True)])


def region_in_a_line(regions: "Regions", label: str, words: str) -> str:
    """The region whose removal moves a label furthest, and by how much."""
    zone, fall = regions.strongest(label)
    return t("ask.region_line", label=words.partition(" (")[0], zone=zone, change=_signed(-fall))


def regions_png(scan: "Scan", regions: "Regions", label: str) -> bytes:
    """What erasing each place does to a label, over the scan: the stronger the colour, the further it moves. PNG."""
    import numpy as np

    from core.overlay import blend, encode_png, resize
    from core.windowing import display_grey

    rows, columns = scan.shape
    scale = min(1.0, _PICTURE_SIDE / max(rows, columns))
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    falls = regions.letterbox.to_scan_grid(regions.falls[label], *size)
    limit = max(_LEAST_SCALE, float(np.abs(regions.falls[label]).max()))
    picture = resize(display_grey(scan, regions.frame), *size)
    return encode_png(blend(picture, falls, limit=limit))


def _change_row(change: "Change", words: str, scale: float) -> str:
    term, _, plain = words.partition(" (")
    small = f' <span style="font-size:.8rem;opacity:.75">({html.escape(plain)}</span>' if plain else ""
    return (
        f'<tr data-change="{html.escape(change.label)}" data-by="{change.change:.4f}">'
        f'<td style="{_CELL}">{html.escape(term)}{small}</td>'
        f'<td style="{_CELL};white-space:nowrap;font-variant-numeric:tabular-nums">{html.escape(_scores(change))}</td>'
        f'<td style="{_CELL};width:28%">{_bar(change, scale)}</td>'
        f'<td style="{_CELL};font-size:.85rem">{html.escape(_in_words(change))}</td></tr>'
    )


def _scores(change: "Change") -> str:
    return f"{score_text(change.score_before)} → {score_text(change.score_after)}"


def _in_words(change: "Change") -> str:
    from core.explaining.asking import LEAST_CHANGE

    if abs(change.change) < LEAST_CHANGE:
        return t("ask.unmoved", change=_signed(change.change))
    if not change.stands_out:
        return t("ask.as_elsewhere", change=_signed(change.change))
    return t("ask.falls" if change.change < 0 else "ask.rises", change=_signed(change.change))


def _bar(change: "Change", scale: float) -> str:
    """From the middle to the left where the answer falls; the grey band is what as large a place elsewhere does."""
    length = 50 * abs(change.change) / scale
    side, colour = ("right", _FALL) if change.change < 0 else ("left", _RISE)
    band = 50 * (change.usual or 0) / scale
    return (
        '<div style="position:relative;height:12px">'
        f'<div style="position:absolute;left:{50 - band:.1f}%;width:{2 * band:.1f}%;top:0;height:12px;'
        'background:rgba(127,127,127,.3)"></div>'
        f'<div style="position:absolute;{side}:50%;width:{length:.1f}%;top:2px;height:8px;background:{colour}"></div>'
        '<div style="position:absolute;left:calc(50% - 1px);top:-2px;width:2px;height:16px;background:currentColor"></div></div>'
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}"


def _cell(text: str) -> str:
    return f'<td style="{_CELL};border-top:1px solid rgba(127,127,127,.25)">{html.escape(text)}</td>'


def _table(heads: tuple[str, ...], rows: list[str]) -> None:
    head = "".join(
        f'<th scope="col" style="text-align:left;padding:.2rem .4rem;font-weight:600">{html.escape(t(key))}</th>'
        for key in heads
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem"><thead><tr>{head}</tr></thead>'
        f"{''.join(rows)}</table>"
    )
