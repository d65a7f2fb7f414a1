"""Scores and sets in words that promise no more than they may."""

from collections.abc import Mapping

from core.confidence.conformal import ABSENT, CLASSES, PRESENT, Answers
from core.models.card import ModelCard

_PATIENTS = 100


def percent(score: float) -> str:
    """``37 %``; never 0 % or 100 %, and one decimal below 1 and above 99."""
    if score < 0.001:
        return "below 0.1 %"
    if score > 0.999:
        return "above 99.9 %"
    return f"{100 * score:.1f} %" if score < 0.01 or score > 0.99 else f"{100 * score:.0f} %"


def frequency(score: float) -> str:
    """``37 of 100 such pictures``, or ``4 of 1000`` where that says more."""
    if 0.005 <= score <= 0.995:
        return f"{min(99, max(1, round(_PATIENTS * score)))} of {_PATIENTS} such pictures"
    return f"{min(999, max(1, round(1000 * score)))} of 1000 such pictures"


def set_words(card: ModelCard, sets: Mapping[str, Answers | None], label: str) -> str:
    """What can be said of a label at the sets' level; of labels that exclude each other, of all of them."""
    found = sets[CLASSES if card.is_exclusive else label]
    if found is None:
        return "Not available: too few pictures with this answer to promise such a coverage."
    words = {one.code: one.words for one in card.labels} | {PRESENT: "present", ABSENT: "absent"}
    named = [words[answer] for answer in found.answers]
    if not found.is_open:
        return f"{named[0]}."
    return f"{' or '.join((', '.join(named[:-1]), named[-1]))}: cannot tell."
