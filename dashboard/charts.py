"""Charts as Vega-Lite specifications, drawn by the page itself: they follow its theme and ask nobody for data."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.confidence.operating import Outcome
    from core.explaining.faithfulness import FloatArray
    from core.models.card import ReliabilityBin
    from core.models.card_fields import Interval
    from core.models.confidence_card import RocTable
    from core.models.place_card import FrocPoint

Spec = dict[str, Any]
# Where the axis of false places begins: a logarithm has no 0.
_LEAST_RATE = 1 / 16
_MEAN = {"value": "#808890"}


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


def free_response_spec(
    curves: "Mapping[str, Sequence[FrocPoint]]", mean: "Mapping[str, Interval] | None", axes: tuple[str, str]
) -> Spec:
    """Sensitivity against false places a picture, a step line a label; their ``mean`` thick and grey, with its intervals."""
    values = [
        {"label": label, "false": max(point.false_places, _LEAST_RATE), "sensitivity": point.sensitivity}
        for label, points in curves.items()
        for point in points
    ]
    rates = [
        {"false": float(rate), "sensitivity": one.value, "low": one.low, "high": one.high}
        for rate, one in (mean or {}).items()
    ]
    x = {
        "field": "false", "type": "quantitative", "title": axes[0], "axis": {"values": [0.125, 0.25, 0.5, 1, 2, 4]},
        "scale": {"type": "log", "base": 2, "domain": [_LEAST_RATE, 4], "clamp": True},
    }  # fmt: skip
    y = _quantitative("sensitivity", axes[1], [0, 1])
    colour = {"field": "label", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 3}}
    encoding = {"x": x, "y": y, "color": colour}
    lines = {"mark": {"type": "line", "interpolate": "step-after", "opacity": 0.7}, "encoding": encoding}
    spans = {
        "data": {"values": rates}, "mark": {"type": "rule", "opacity": 0.5},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": _MEAN},
    }  # fmt: skip
    thick = {"type": "line", "point": {"color": _MEAN["value"]}, "strokeWidth": 4}
    means = {"data": {"values": rates}, "mark": thick, "encoding": {"x": x, "y": y, "color": _MEAN}}
    return {"data": {"values": values}, "layer": [lines, spans, means] if rates else [lines], "height": 420}


def roc_spec(table: "RocTable", outcome: "Outcome", axes: tuple[str, str]) -> Spec:
    """Sensitivity against the share of false alarms along all thresholds, and the point of one with both its intervals."""
    ends = [(0.0, 0.0), *zip(table.false_alarms, table.hits, strict=True)]
    values = [
        {"x": alarms / max(table.negatives, 1), "y": hits / max(table.positives, 1), "order": place}
        for place, (alarms, hits) in enumerate(ends)
    ]
    hit, clear = outcome.sensitivity, outcome.specificity
    here = {
        "x": 1 - clear.value, "y": hit.value, "left": 1 - clear.high, "right": 1 - clear.low, "low": hit.low,
        "high": hit.high,
    }  # fmt: skip
    x, y = _quantitative("x", axes[0], [0, 1]), _quantitative("y", axes[1], [0, 1])
    line = {
        "data": {"values": values},
        "mark": {"type": "line", "color": "#3f8fbf"},
        "encoding": {"x": x, "y": y, "order": {"field": "order", "type": "quantitative"}},
    }
    chance = {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "gray"},
        "encoding": {"x": x, "y": y},
    }
    rule = {"type": "rule", "color": "#d9822b", "strokeWidth": 2}
    up = {"mark": rule, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}}
    across = {"mark": rule, "encoding": {"y": y, "x": {**x, "field": "left"}, "x2": {"field": "right"}}}
    point = {
        "mark": {"type": "point", "filled": True, "size": 140, "color": "#d9822b", "opacity": 1},
        "encoding": {"x": x, "y": y},
    }
    marked = {"data": {"values": [here]}, "layer": [up, across, point]}
    return {"layer": [chance, line, marked], "height": 340}


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


def function_spec(
    points: Sequence[tuple[float, float]], bars: Sequence[tuple[float, float, float]], axes: tuple[str, str, str]
) -> Spec:
    """A function as a line, and grey behind it how often each of its inputs occurs: bars from, to, count."""
    x = {**_quantitative("x", axes[0], None), "axis": {"tickCount": 5}}
    counts = {
        "data": {"values": [{"x": low, "to": high, "count": count} for low, high, count in bars]},
        "mark": {"type": "rect", "color": "#999999", "opacity": 0.4},
        "encoding": {
            "x": x,
            "x2": {"field": "to"},
            "y": {**_quantitative("count", axes[2], None), "scale": {"zero": True}, "axis": None},
            "y2": {"datum": 0},
        },
    }
    line = {
        "data": {"values": [{"x": at, "y": value} for at, value in points]},
        "mark": {"type": "line", "color": "#3f8fbf", "strokeWidth": 3},
        "encoding": {"x": x, "y": _quantitative("y", axes[1], None)},
    }
    return {"layer": [counts, line], "resolve": {"scale": {"y": "independent"}}, "height": 280}


def _quantitative(field: str, title: str, limits: list[float] | None) -> Spec:
    scale = {"zero": False} if limits is None else {"domain": limits}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}
