"""The limits of sets of answers, from held-out scores, and how often the sets hold the true answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.confidence.conformal import ABSENT, CLASSES, LEVELS, PRESENT, both_sides, sets_of
from core.confidence.held_out import BoolArray, FloatArray, HeldOut, IntArray
from core.metrics import wilson
from core.models.card_fields import Interval
from core.models.confidence_card import AnswerSets, SetLevel
from core.training.subgroups import in_order

# Beside the coverage of each answer.
ALL = "all"
_DECIMALS = 6


def fit_sets(held_out: HeldOut, *, exclusive: bool, own: HeldOut | None = None) -> dict[str, AnswerSets]:
    """The sets' limits from all pictures, their coverage held out part by part.

    ``own``: scores of the card's own weights, where ``held_out`` comes from networks made in the same way.
    """
    names = (CLASSES,) if exclusive else held_out.codes
    cases = {name: _cases(held_out, name, exclusive=exclusive) for name in names}
    looked = {name: None if own is None else _cases(own, name, exclusive=exclusive) for name in names}
    return {name: _fitted(found, looked[name]) for name, found in cases.items() if len(found.truths)}


def _cases(held_out: HeldOut, name: str, *, exclusive: bool) -> "_Cases":
    """The pictures with a known answer: of labels that exclude each other, those with exactly one."""
    if exclusive:
        part = held_out.taken(~np.isnan(held_out.truths).any(1) & (np.nansum(held_out.truths, 1) == 1))
        return _Cases(part, held_out.codes, part.scores, part.truths.argmax(1), binary=False)
    column = held_out.codes.index(name)
    part = held_out.taken(~np.isnan(held_out.truths[:, column]))
    truths = part.truths[:, column].astype(np.int64)
    return _Cases(part, (ABSENT, PRESENT), both_sides(part.scores[:, column]), truths, binary=True)


def least_score(scores: FloatArray, level: float) -> float | None:
    """The least score with which an answer stays in the set, from the scores (n,) of pictures for which it is true.

    Of 1 - score the ceil((n + 1) level)-th smallest, so that a further picture's true answer stays in with at least that
    chance; None where n is too small for the level.
    """
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    return None if rank > len(scores) else float(np.sort(scores)[len(scores) - rank])


def balance_of(truths: IntArray, scores: FloatArray) -> float:
    """The score (of "present") that as large a share of pictures with the label falls short of as exceed it without it."""
    present, absent = np.sort(scores[truths == 1]), np.sort(scores[truths == 0])
    at = np.unique(scores)
    short = np.searchsorted(present, at, "left") / len(present)
    beyond = 1 - np.searchsorted(absent, at, "left") / len(absent)
    return float(at[np.argmax(short >= beyond)]) if bool((short >= beyond).any()) else float(at[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """Pictures with a true answer: ``scores`` (n, answers), ``truths`` (n,); ``binary`` where it is present or absent."""

    part: HeldOut
    answers: Sequence[str]
    scores: FloatArray
    truths: IntArray
    binary: bool

    def balance(self, which: BoolArray) -> float | None:
        """The balance of some of the pictures, where there is one."""
        both_sides = len(np.unique(self.truths[which])) == 2
        return balance_of(self.truths[which], self.scores[which, 1]) if self.binary and both_sides else None

    def limits(self, which: BoolArray, level: float) -> list[float] | None:
        """The least score of each answer, rounded down so that no picture at it falls out; None: too few of one."""
        scores, truths = self.scores[which], self.truths[which]
        found = [least_score(scores[truths == number, number], level) for number in range(len(self.answers))]
        known = [math.floor(one * 10**_DECIMALS) / 10**_DECIMALS for one in found if one is not None]
        return known if len(known) == len(self.answers) else None

    def true_in(self, inside: BoolArray) -> BoolArray:
        """Whether each picture's true answer is in its set."""
        return inside[np.arange(len(self.truths)), self.truths]


def _fitted(cases: _Cases, own: _Cases | None) -> AnswerSets:
    counts = {answer: int((cases.truths == number).sum()) for number, answer in enumerate(cases.answers)}
    balance = cases.balance(np.ones(len(cases.truths), np.bool_))
    levels = (_level(cases, own, level) for level in LEVELS)
    return AnswerSets(
        counts=counts,
        balance=None if balance is None else round(balance, _DECIMALS),
        levels=tuple(level for level in levels if level is not None),
    )


def _level(cases: _Cases, own: _Cases | None, level: float) -> SetLevel | None:
    """One level, or None where an answer has too few pictures; coverage is left out where no part can be held out."""
    everything = np.ones(len(cases.truths), np.bool_)
    least = cases.limits(everything, level)
    if least is None:
        return None
    held = _held_out_sets(cases, level)
    inside = sets_of(cases.scores, least, cases.balance(everything)) if held is None else held[0]
    return SetLevel(
        level=level,
        least=dict(zip(cases.answers, least, strict=True)),
        coverage={} if held is None else _coverage(cases, cases.true_in(held[0])),
        bare_coverage={} if held is None else _coverage(cases, cases.true_in(held[1])),
        mean_size=float(inside.sum(1).mean()),
        alone=float((inside.sum(1) == 1).mean()),
        subgroups={} if held is None else _by_subgroup(cases.part, cases.true_in(held[0])),
        own_coverage=None if own is None else _own_coverage(own, least, cases.balance(everything)),
    )


def _own_coverage(own: _Cases, least: Sequence[float], balance: float | None) -> Interval:
    right = own.true_in(sets_of(own.scores, least, balance))
    return wilson(int(right.sum()), len(right))


def _held_out_sets(cases: _Cases, level: float) -> tuple[BoolArray, BoolArray] | None:
    """The sets of every picture by limits from the other parts, and the same with sets that may be empty."""
    inside, bare = np.zeros(cases.scores.shape, np.bool_), np.zeros(cases.scores.shape, np.bool_)
    turns = list(cases.part.in_turn())
    if len(turns) < 2:
        return None
    for others, this in turns:
        least = cases.limits(others, level)
        if least is None:
            return None
        inside[this] = sets_of(cases.scores[this], least, cases.balance(others))
        bare[this] = cases.scores[this] >= np.array(least)
    return inside, bare


def _coverage(cases: _Cases, right: BoolArray) -> dict[str, Interval]:
    by_answer = {
        answer: wilson(int(right[cases.truths == number].sum()), int((cases.truths == number).sum()))
        for number, answer in enumerate(cases.answers)
    }
    return {**by_answer, ALL: wilson(int(right.sum()), len(right))}


def _by_subgroup(part: HeldOut, right: BoolArray) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {}
    for column in dict.fromkeys(name for one in part.subgroups for name in one):
        groups = np.array([one.get(column, "") for one in part.subgroups])
        found[column] = {
            group: wilson(int(right[groups == group].sum()), int((groups == group).sum()))
            for group in in_order(one for one in np.unique(groups).tolist() if one)
        }
    return found
