"""Charts as Vega-Lite specifications, drawn by the page itself: they follow its theme and ask nobody for data."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.explaining.faithfulness import FloatArray
    from core.models.card import ReliabilityBin

Spec = dict[str, Any]


def reliability_spec(curves: Mapping[str, Sequence["ReliabilityBin"]], axes: tuple[str, str]) -> Spec:
    """Mean score against the share that has the label, with intervals, by label; the diagonal is what a probability does."""
    values = [
        {
            "label": label,
            "score": one.mean_score,
            "share": one.share.value,
            "low": one.share.low,
            "high": one.share.high,
        }
        for label, bins in curves.items()
        for one in bins
    ]
    x, y = (_quantitative(name, title, [0, 1]) for name, title in zip(("score", "share"), axes, strict=True))
    colour = {"field": "label", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 2}}
    diagonal = {
        "data": {"values": [{"score": 0, "share": 0}, {"score": 1, "share": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "gray"},
        "encoding": {"x": x, "y": y},
    }
    spans = {
        "mark": {"type": "rule", "opacity": 0.5},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
    }
    points = {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": y, "color": colour}}
    return {"data": {"values": values}, "layer": [diagonal, spans, points], "height": 440}


def epochs_spec(
    epochs: Sequence[int],
    columns: Mapping[str, Sequence[float]],
    axes: tuple[str, str],
    limits: list[float] | None = None,
) -> Spec:
    """A line a column over the epochs; what is not known of an epoch is left out."""
    values = [
        {"epoch": epoch, "value": value, "name": name}
        for name, column in columns.items()
        for epoch, value in zip(epochs, column, strict=True)
        if not math.isnan(value)
    ]
    colour = {"field": "name", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 3}}
    encoding = {
        "x": {**_quantitative("epoch", axes[0], None), "axis": {"tickMinStep": 1}},
        "y": _quantitative("value", axes[1], limits),
        "color": colour,
    }
    mark = {"type": "line", "point": len(epochs) == 1}
    return {"data": {"values": values}, "mark": mark, "encoding": encoding, "height": 340}


def curves_spec(
    shares: "FloatArray", own: "FloatArray", chance: "FloatArray", names: tuple[str, str], axes: tuple[str, str]
) -> Spec:
    """The answer by the share of the picture: the map's order (p,) thick, each random one (orders, p) thin and grey.

    Without a legend, which would take the room of a small chart: the words beside it say which is which.
    """
    lines = [(names[0], "own", own), *((names[1], f"chance {i}", line) for i, line in enumerate(chance))]
    values = [
        {"share": float(share), "answer": float(value), "name": name, "line": line}
        for name, line, column in lines
        for share, value in zip(shares, column, strict=True)
    ]
    by_name = {"field": "name", "type": "nominal", "legend": None}
    encoding = {
        "x": {**_quantitative("share", axes[0], [0, 1]), "axis": {"format": "%", "tickCount": 3}},
        "y": _quantitative("answer", axes[1], None),
        "detail": {"field": "line", "type": "nominal"},
        "color": {**by_name, "scale": {"domain": list(names), "range": ["#3f8fbf", "#999999"]}},
        "size": {**by_name, "scale": {"domain": list(names), "range": [3.5, 1]}},
    }
    return {"data": {"values": values}, "mark": {"type": "line", "clip": True}, "encoding": encoding, "height": 220}


def _quantitative(field: str, title: str, limits: list[float] | None) -> Spec:
    scale = {"zero": False} if limits is None else {"domain": limits}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}
