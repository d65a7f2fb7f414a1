"""The charts of the page How we agree, as Vega-Lite specifications."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.agreement import Kappa
    from core.reviews.drift import Drift

Spec = dict[str, Any]
_BLUE = "#3f8fbf"
# Seconds at which a bar ends; what takes longer is one more bar.
_BAR_ENDS = (10, 20, 30, 45, 60, 90, 120, 180, 300, 600)


def kappa_spec(kappas: "Mapping[str, Kappa]") -> Spec:
    """Every kappa that can be said as a point with its interval, one under the other, on one scale."""
    values = [
        {"name": name, "value": one.value, "low": one.low, "high": one.high}
        for name, one in kappas.items()
        if one.value is not None
    ]
    y = {"field": "name", "type": "nominal", "title": None, "sort": list(kappas), "axis": {"labelLimit": 260}}
    scale = {"domain": [min(0.0, *(float(one["low"] or 0) for one in values)), 1.0]}
    x = {
        "field": "low",
        "type": "quantitative",
        "title": t("agreement.kappa_axis"),
        "scale": scale,
        "axis": {"tickCount": 6},
    }
    spans = {
        "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.5, "color": _BLUE},
        "encoding": {"x": x, "x2": {"field": "high"}, "y": y},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1, "color": _BLUE},
        "encoding": {"x": {**x, "field": "value"}, "y": y},
    }
    return {"data": {"values": values}, "layer": [spans, points], "height": 40 + 34 * len(values)}


def time_spec(seconds: Sequence[float]) -> Spec:
    """How many first reads took how long."""
    values = [{"bar": name, "count": count} for name, count in time_bars(seconds)]
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "color": _BLUE},
        "encoding": {
            "x": {"field": "bar", "type": "ordinal", "title": t("agreement.time_axis"), "sort": None,
                  "axis": {"labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "count", "type": "quantitative", "title": t("agreement.reads_axis"),
                  "axis": {"tickMinStep": 1}},
        },
        "height": 220,
    }  # fmt: skip


def time_bars(seconds: Sequence[float]) -> list[tuple[str, int]]:
    """From 0 to 10 s, from 10 to 20 s and so on, each with how many; a bar holds its beginning, not its end."""
    starts = (0, *_BAR_ENDS)
    names = [*(f"{low}\u2013{high}" for low, high in zip(starts, _BAR_ENDS, strict=False)), f"> {_BAR_ENDS[-1]}"]
    counts = [0] * len(names)
    for one in seconds:
        counts[sum(one >= end for end in _BAR_ENDS)] += 1
    return list(zip(names, counts, strict=True))


def drift_spec(drifts: "Sequence[Drift]", names: Sequence[str]) -> Spec:
    """The median score of every period as a line with the band between its quartiles, a colour a model."""
    values = [
        {
            "start": one.start.isoformat(), "low": one.low, "median": one.median, "high": one.high, "model": name,
            "count": one.count,
        }
        for drift, name in zip(drifts, names, strict=True)
        for one in drift.periods
    ]  # fmt: skip
    x = {
        "field": "start",
        "type": "temporal",
        "title": t("agreement.period_axis"),
        "axis": {"format": "%d %b", "tickCount": 6},
    }
    y = {"field": "low", "type": "quantitative", "title": t("agreement.score_axis"), "scale": {"domain": [0, 1]}}
    legend = None if len(names) < 2 else {"orient": "top", "columns": 1, "labelLimit": 400}
    colour = {"field": "model", "type": "nominal", "title": None, "legend": legend}
    band = {
        "mark": {"type": "area", "opacity": 0.25},
        "encoding": {"x": x, "y": y, "y2": {"field": "high"}, "color": colour},
    }
    line = {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": x, "y": {**y, "field": "median"}, "color": colour,
            "tooltip": [{"field": name, "type": kind} for name, kind in
                        (("model", "nominal"), ("count", "quantitative"), ("median", "quantitative"))],
        },
    }  # fmt: skip
    return {"data": {"values": values}, "layer": [band, line], "height": 260}
