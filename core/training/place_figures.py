"""The place thresholds of a card, and how well its places fit those known, from what was measured on a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from core.free_response import (
    HIT,
    Counts,
    Sweep,
    interval,
    patients_drawn,
    rates_with_intervals,
    step_of,
    sweep,
    threshold_of,
)
from core.metrics import MIN_CASES
from core.models.card import ModelCard
from core.models.card_fields import Interval
from core.models.place_card import MeanPlaceFigures, PlaceFigures, PlaceThreshold
from core.training.label_figures import REACHES
from core.training.measuring import Measured, Measurements

# So many false places a picture are borne with, for each label: nine labels are shown one at a time.
MOST_FALSE = 0.5
RULE = (
    f"highest sensitivity (IoBB >= {HIT:g}) at a mean of at most {MOST_FALSE:g} false places a picture, over pictures whose "
    "places are known; labels below their operating point show none"
)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The pictures of which a label's places are known, all thresholds over, and where each stands among the examples.

    A picture with the label but without a box is none of them: whether a place there is false nobody knows.
    """

    examples: tuple[Measured, ...] = field(repr=False)
    positions: tuple[int, ...] = field(repr=False)
    shown: tuple[bool, ...] = field(repr=False)
    sweep: Sweep = field(repr=False)

    @property
    def findings(self) -> int:
        """How many places are known."""
        return int(self.sweep.findings.sum())


def place_thresholds(measurements: Measurements, card: ModelCard) -> dict[str, PlaceThreshold]:
    """For every label with findings enough of known place: the evidence from which on its places are drawn, by RULE.

    ``card`` has its operating points already.
    """
    chosen = {}
    for code, known in _known(measurements.examples, card).items():
        step = known.sweep.best_step(MOST_FALSE)
        if known.findings < MIN_CASES or step is None:
            continue
        sensitivity, false = _at_step(known, step, _drawn(measurements.examples))
        chosen[code] = PlaceThreshold(
            threshold=threshold_of(step),
            rule=RULE,
            sensitivity=sensitivity,
            false_places=false,
            findings=known.findings,
            pictures=len(known.positions),
            split=measurements.split,
            weights_sha256=card.weights_sha256,
        )
    return chosen


def place_figures(
    examples: tuple[Measured, ...], card: ModelCard
) -> tuple[Mapping[str, PlaceFigures], MeanPlaceFigures | None]:
    """The free-response figures of every label with findings enough, and their mean without the headline's.

    The headline of labels that go together has the places of all others: it is no finding of its own.
    """
    labels = {code: known for code, known in _known(examples, card).items() if known.findings >= MIN_CASES}
    if not labels:
        return {}, None
    drawn = _drawn(examples)
    rates = {code: _rates(known, drawn) for code, known in labels.items()}
    figures = {code: _figures(known, *rates[code], code, card, drawn) for code, known in labels.items()}
    own = [pair for code, pair in rates.items() if card.is_exclusive or code != card.headline]
    if not own:
        return figures, None
    values, samples = np.mean([value for value, _ in own], axis=0), _mean([sample for _, sample in own])
    at, mean = rates_with_intervals(values, samples)
    return figures, MeanPlaceFigures(at=dict(at), mean=mean)


def _known(examples: tuple[Measured, ...], card: ModelCard) -> dict[str, Known]:
    return {
        code: _of_label(examples, code, card.threshold(code))
        for code in card.label_codes
        if any(m.found[code].findings for m in examples if code in m.found)
    }


def _of_label(examples: tuple[Measured, ...], code: str, point: float | None) -> Known:
    positions = tuple(index for index, m in enumerate(examples) if code in m.found)
    kept = tuple(examples[index] for index in positions)
    shown = tuple(point is None or m.scores[code] >= point for m in kept)
    pairs = [(m.found[code], is_shown) for m, is_shown in zip(kept, shown, strict=True)]
    return Known(kept, positions, shown, sweep(pairs))


def _drawn(examples: tuple[Measured, ...]) -> Counts:
    return patients_drawn([m.group for m in examples])


def _rates(known: Known, drawn: Counts) -> tuple[Counts, Counts]:
    """Sensitivities at RATES of all pictures (rates,), and of each bootstrap sample (samples, rates)."""
    everyone = np.ones((1, len(known.positions)))
    return known.sweep.at_rates(everyone)[0], known.sweep.at_rates(drawn[:, known.positions])


def _at_step(known: Known, step: int, drawn: Counts) -> tuple[Interval, Interval]:
    everyone = known.sweep.at_step(step, np.ones((1, len(known.positions))))
    samples = known.sweep.at_step(step, drawn[:, known.positions])
    sensitivity, false = (interval(float(value[0]), sample) for value, sample in zip(everyone, samples, strict=True))
    return sensitivity, false


def _figures(known: Known, values: Counts, samples: Counts, code: str, card: ModelCard, drawn: Counts) -> PlaceFigures:
    at, mean = rates_with_intervals(values, samples)
    stated: dict[str, object] = {}
    if (tuned := card.place_thresholds.get(code)) is not None:
        step = step_of(tuned.threshold)
        sensitivity, false = _at_step(known, step, drawn)
        stated = {"threshold": tuned.threshold, "sensitivity": sensitivity, "false_places": false}
        stated |= _reached(known, code, step)
    return PlaceFigures.model_validate(
        {
            "findings": known.findings, "pictures": len(known.positions), "at": dict(at), "mean": mean,
            "curve": known.sweep.curve(), **stated,
        }
    )  # fmt: skip


def _reached(known: Known, code: str, step: int) -> dict[str, dict[str, float]]:
    """The share of findings that a place reaches with each of REACHES, by IoBB and by intersection over union."""
    pairs = [
        m.found[code].at(step)[:2] if is_shown else (np.zeros(m.found[code].findings),) * 2
        for m, is_shown in zip(known.examples, known.shown, strict=True)
    ]
    best = {name: np.concatenate([pair[part] for pair in pairs]) for part, name in enumerate(("iobb", "iou"))}
    return {name: {f"{at:g}": float((one >= at).mean()) for at in REACHES} for name, one in best.items()}


def _mean(samples: list[Counts]) -> Counts:
    """The mean over labels of (samples, rates), without those that drew no finding."""
    with np.errstate(invalid="ignore"):
        stacked = np.stack(samples)
        known = ~np.isnan(stacked)
        return np.where(known, stacked, 0).sum(0) / known.sum(0)
