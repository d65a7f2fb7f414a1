"""A training's log as curves: losses and held-out scores by epoch, read from JSON lines and drawn without global state."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from core.models.card import Evaluation, MeanFigures

LOG_FILE = "training.jsonl"
CURVES_FILE = "training.png"
FREE_RESPONSE_FILE = "free-response.png"
# Where the axis of false places begins: a logarithm has no 0.
_LEAST_RATE = 1 / 16
_RATES = (0.125, 0.25, 0.5, 1, 2, 4)
_LOSS = "_loss"
_SCORE = "validation_"


@dataclass(frozen=True, slots=True)
class Curves:
    """``losses`` and ``scores`` by name, a value an epoch; NaN where the log says nothing of that epoch.

    ``losses`` are named train, box, validation as in the log; ``scores`` are those of the held-out split (0..1): the AUROC
    of each label, by its code, or one figure, such as dice.
    """

    epochs: tuple[int, ...]
    losses: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, tuple[float, ...]]


def read_curves(log: Path) -> Curves:
    """The curves of a log.

    Lines that are no record of an epoch (a line cut off when the training was killed) are passed over; an epoch that was
    trained again counts as it was last. Raises ConfigurationError where there is no log or no epoch in it.
    """
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError as exc:
        raise ConfigurationError(
            f"There is no {LOG_FILE} in this folder; train first, or name the model's folder."
        ) from exc
    records = {record["epoch"]: record for line in lines if (record := _record(line))}
    if not records:
        raise ConfigurationError(
            f"{LOG_FILE} holds no record of an epoch; expected a JSON object a line with its epoch."
        )
    ranked = [records[epoch] for epoch in sorted(records)]
    return Curves(tuple(sorted(records)), _columns(map(_losses, ranked)), _columns(map(_scores, ranked)))


def draw_png(curves: Curves, path: Path) -> None:
    """The curves as a PNG of 1000 x 420 pixels: losses on the left, held-out scores on the right."""
    # Not pyplot: it keeps every figure in global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, curves.epochs, curves.losses, "loss")
    _draw(right, curves.epochs, curves.scores, "held-out score")
    right.set_ylim(0, 1)
    figure.savefig(path, format="png")


def draw_free_response_png(evaluation: "Evaluation", path: Path) -> bool:
    """The free-response ROC of every label with places, and the mean of them, as a PNG of 700 x 500 pixels.

    Whether there was one to draw.
    """
    measured = {code: found.places for code, found in evaluation.labels.items() if found.places}
    if not measured:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    for code, found in measured.items():
        rates = [max(point.false_places, _LEAST_RATE) for point in found.curve]
        axes.step(rates, [point.sensitivity for point in found.curve], where="post", label=code, alpha=0.7)
    _draw_mean(axes, evaluation.means)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_RATES, [f"{rate:g}" for rate in _RATES])
    axes.set(xlim=(_LEAST_RATE, 4), ylim=(0, 1), xlabel="false places a picture", ylabel="sensitivity")
    axes.set_title(f"{evaluation.data}, {evaluation.split}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, format="png")
    return True


def _draw_mean(axes: "Axes", means: "MeanFigures | None") -> None:
    if means is None or means.places is None:
        return
    at = means.places.at
    rates, values = [float(rate) for rate in at], [one.value for one in at.values()]
    spans = [[one.value - one.low for one in at.values()], [one.high - one.value for one in at.values()]]
    axes.errorbar(rates, values, yerr=spans, label="mean", color="black", linewidth=2.5, marker="o", capsize=3)


def _draw(axes: "Axes", epochs: tuple[int, ...], columns: Mapping[str, tuple[float, ...]], title: str) -> None:
    for name, values in columns.items():
        # A single epoch is no line: without a mark it would not be seen.
        axes.plot(epochs, values, label=name, marker="o" if len(epochs) == 1 else "")
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if columns:
        axes.legend(fontsize="small")


def _record(line: str) -> dict[str, Any] | None:
    """The record of an epoch that a line holds, or None."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and type(record.get("epoch")) is int and record["epoch"] >= 0
    return record if whole else None


def _losses(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        key.removesuffix(_LOSS): value for key, value in record.items() if key.endswith(_LOSS) and _is_number(value)
    }


def _scores(record: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the held-out split: by label, or one."""
    scores: dict[str, float] = {}
    for key, value in record.items():
        if not key.startswith(_SCORE) or key.endswith(_LOSS):
            continue
        by_name = value if isinstance(value, dict) else {key.removeprefix(_SCORE): value}
        scores |= {name: number for name, number in by_name.items() if _is_number(number)}
    return scores


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _columns(rows: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Rows of named values -> a column a name, NaN where a row lacks it; names in the order of their first appearance."""
    kept = list(rows)
    names = dict.fromkeys(name for row in kept for name in row)
    return {name: tuple(row.get(name, math.nan) for row in kept) for name in names}
