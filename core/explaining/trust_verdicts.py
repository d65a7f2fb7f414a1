"""From what was measured of a heatmap to a verdict: green, amber or red, what was found, and what to make of it.

The thresholds are ours. They are set so that maps of trained networks on films with a planted lesion pass, and that a shuffled
map or an untrained network does not; other data move the borders, so every part shows its number as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.explaining.faithfulness import Curves
from core.explaining.sanity import Randomised, Shifted

Verdict = Literal["green", "amber", "red", "not available"]
PartName = Literal["faithfulness", "learnt", "repeatability", "agreement", "body", "sum"]
Map = npt.NDArray[np.float32]

# Standard deviations of the random orders by which the map must beat them. A shuffled map is one more random order: with
# six of them it gets beyond 3 once in 50 times, beyond 2.5 once in 29 (Student's t, 5 degrees of freedom).
BEATS_CHANCE, BEATS_CHANCE_BARELY = 3.0, 2.5
# In logits: less moves a score of 0.50 to 0.52 at most, which nobody would notice.
LEAST_GAIN = 0.1
# Absolute rank correlation with maps of random top layers. Unrelated maps over the same feature maps reach 0.4 (measured on
# trained networks of ours); 0.75 says that more than half of the order of the places is the picture's own.
LIKE_RANDOM, TOO_LIKE_RANDOM = 0.5, 0.75
# How strong maps of random top layers may be beside the real one. Those of trained networks were 2 to 10 times stronger.
RANDOM_STRENGTH = 0.9
# Rank correlation of the map with that of the shifted picture, and how far its peak may go, in shares of the picture's side.
STABLE, UNSTABLE = 0.8, 0.5
PEAK_STAYS = 0.1
# Mean rank correlation with other methods: above 0.5 they agree on which half of the picture matters. Never red: methods
# are known to disagree (Krishna et al. 2022), and disagreement does not say which of them is wrong.
AGREE = 0.5
# Share of the positive evidence that lies on the body.
ON_BODY, OFF_BODY = 0.8, 0.5
# Relative to the logit, or to 1 where that is smaller: single precision over a thousand cells and a folded network.
SUM_ERROR = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One question asked about a heatmap.

    ``value`` is its number, None where it could not be asked; ``found`` says what came out, ``advice`` what a clinician
    should make of it. ``curves`` belong to faithfulness, ``maps`` by method to agreement, ``likeness`` goes with them.
    """

    name: PartName
    value: float | None
    verdict: Verdict
    found: str
    advice: str
    curves: Curves | None = field(default=None, repr=False)
    maps: Mapping[str, Map] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    likeness: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}), repr=False)


def not_available(name: PartName, why: str) -> Part:
    """A question that could not be asked, and why."""
    return Part(name, None, "not available", why, "Nothing can be said about this; do not take it for a good sign.")


def judge_faithfulness(curves: Curves | None, unit: str) -> Part:
    """``unit`` is what the curves are in, such as log-odds."""
    if curves is None:
        return not_available("faithfulness", "The map's grid is too coarse to be taken apart.")
    gain, spread = curves.gain, curves.spread
    verdict: Verdict = "red"
    if gain >= max(BEATS_CHANCE * spread, LEAST_GAIN):
        verdict = "green"
    elif gain >= max(BEATS_CHANCE_BARELY * spread, LEAST_GAIN / 2):
        verdict = "amber"
    more = f"{abs(gain):.2f} {'more' if gain >= 0 else 'less'} than"
    found = (
        f"Taking the warmest places away first, and bringing them back first, moves the answer {more} random order does "
        f"({unit}, averaged over both curves; random orders differ by {spread:.2f} among themselves)."
    )
    return Part("faithfulness", gain, verdict, found, _FAITHFULNESS[verdict], curves=curves)


_FAITHFULNESS = {
    "green": "The answer hangs on the places that the map marks. That does not make the answer right.",
    "amber": "The marked places matter a little more than others. Take the map as a hint, not as the reason.",
    "red": "The answer does not hang on the marked places. Do not use this map to tell where the network looked.",
}


def judge_randomised(measured: Randomised) -> Part:
    """Weights randomised from the top."""
    if measured.likeness is None or measured.strength is None:
        return not_available("learnt", "The map is flat, so it cannot be compared.")
    likeness = measured.likeness
    if measured.strength >= RANDOM_STRENGTH:
        found = f"Networks with random last layers make maps {measured.strength:.1f} times as strong as this one."
        return Part("learnt", likeness, "red", found, "Nothing learnt shows in this map: do not read it.")
    verdict: Verdict = "green" if likeness < LIKE_RANDOM else "amber" if likeness < TOO_LIKE_RANDOM else "red"
    found = (
        f"With its last layers drawn at random the network makes maps whose rank correlation with this one is "
        f"{likeness:.2f} on average, and {measured.strength:.1f} times as strong."
    )
    return Part("learnt", likeness, verdict, found, _LEARNT[verdict])


_LEARNT = {
    "green": "The map shows something that the network has learnt, not the edges of the picture alone.",
    "amber": "Part of the map would be there whatever the network had learnt. Do not read its fine structure.",
    "red": "The map would look like this whatever the network had learnt: do not read it.",
}


def judge_shifted(measured: Shifted, pixels: int) -> Part:
    """Small shifts, of so many ``pixels`` of the model's input."""
    if measured.likeness is None:
        return not_available("repeatability", "A map is flat, so it cannot be compared.")
    likeness, moved = measured.likeness, measured.peak_moved
    verdict: Verdict = "red" if likeness < UNSTABLE else "amber"
    if likeness >= STABLE and moved <= PEAK_STAYS:
        verdict = "green"
    found = (
        f"With the picture moved by {pixels} pixels in four directions, the map keeps a rank correlation of at least "
        f"{likeness:.2f}, and its warmest place moves by {100 * moved:.0f} % of the picture's side."
    )
    return Part("repeatability", likeness, verdict, found, _REPEATABILITY[verdict])


_REPEATABILITY = {
    "green": "The map stays where it is when the patient stands a little aside.",
    "amber": "Read the region, not the exact place: it wanders when the picture is moved a little.",
    "red": "The same patient a little aside would get another map: do not read places from it.",
}


def judge_agreement(maps: Mapping[str, Map], likeness: Mapping[str, float | None], titles: Mapping[str, str]) -> Part:
    """Other methods' maps and their rank correlation with this one; ``titles`` are the methods' names for people."""
    known = {name: value for name, value in likeness.items() if value is not None}
    if not known:
        return not_available("agreement", "No other method finds a map that can be compared.")
    mean = sum(known.values()) / len(known)
    verdict: Verdict = "green" if mean >= AGREE else "amber"
    each = ", ".join(f"{titles[name]} {value:.2f}" for name, value in known.items())
    found = f"Rank correlation with the maps of other methods: {each}; {mean:.2f} on average."
    return Part("agreement", mean, verdict, found, _AGREEMENT[verdict], maps=maps, likeness=likeness)


_AGREEMENT = {
    "green": "Methods that work in different ways rank the places alike.",
    "amber": "Methods that work in different ways see different places. Look at the others before you rely on this one.",
}


def judge_body(share: float | None, *, fills: bool) -> Part:
    """The share of the positive evidence on the body; ``fills``: only the picture's rim was told from it."""
    if share is None:
        return not_available("body", "The picture shows no body that stands out, so places on it cannot be told.")
    verdict: Verdict = "green" if share >= ON_BODY else "amber" if share >= OFF_BODY else "red"
    place = "inside the picture's rim" if fills else "on the body"
    rest = "on the rim or the bars" if fills else "in the air, on markers beside it, on the rim or the bars"
    found = f"{100 * share:.0f} % of the positive evidence lies {place}, the rest {rest}."
    return Part("body", share, verdict, found, _BODY[verdict])


_BODY = {
    "green": "The evidence comes from where the patient is. Letters and devices on the body count as body here.",
    "amber": "Part of the evidence comes from outside the patient. Look whether a marker or an edge is marked.",
    "red": "Most of the evidence comes from outside the patient: the answer may rest on a marker or the film's edge.",
}


def judge_sum(error: float | None) -> Part:
    """The relative difference of the logit and the sum of cells and bias, None where the map is not made of such cells."""
    if error is None:
        return not_available(
            "sum", "This network does not end in pooling and one linear layer, so cells need not add up."
        )
    if error <= SUM_ERROR:
        found = f"All cells plus the bias add up to the answer's logit (difference {error:.0e})."
        return Part("sum", error, "green", found, "Nothing of the answer is missing from the map.")
    found = f"All cells plus the bias miss the answer's logit by {error:.1g} of it."
    return Part("sum", error, "red", found, "The map does not belong to this answer: do not read it, and report it.")
