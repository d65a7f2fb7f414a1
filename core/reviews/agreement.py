"""How we agree: readers with the network and with one another, and which way they change their minds.

Cohen's kappa (Cohen 1960, Educ. Psychol. Meas. 20:37) with a bootstrap interval over cases. Where the truth is known, a change of
mind after the reveal is right or wrong; both kinds are counted, for a network that helps also misleads (Parasuraman and Manzey
2010, Hum. Factors 52:381).
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from itertools import combinations

import numpy as np

from core.reviews.record import Mark, Read, Review

_RESAMPLES = 1000
_SEED = 0
_SAID: Mapping[Mark, bool | None] = {"present": True, "absent": False, "cannot tell": None}
# Fewer pairs than this say nothing about agreement.
LEAST_PAIRS = 10


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance, its 95 % interval, over so many pairs; None where it cannot be said."""

    pairs: int
    agreed: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ChangesOfMind:
    """Marks that changed after the reveal, in cases whose truth is known, and those that stayed.

    ``to_right`` from a wrong first mark to the right one, ``to_wrong`` the other way; ``kept_right`` and ``kept_wrong`` did
    not change. ``tempted``: the network was wrong where the reader had been right; ``followed`` of these were taken over.
    ``correctable``: it was right where the reader had been wrong; ``corrected`` of these were taken over.
    """

    to_right: int
    to_wrong: int
    kept_right: int
    kept_wrong: int
    tempted: int
    followed: int
    correctable: int
    corrected: int

    @property
    def judged(self) -> int:
        """All marks of which it can be said which way they went."""
        return self.to_right + self.to_wrong + self.kept_right + self.kept_wrong


@dataclass(frozen=True, slots=True)
class Agreement:
    """All reviews together; ``overrides`` are answers of the network that the reader changed or rejected."""

    reviews: int
    with_network_before: Kappa
    with_network_after: Kappa
    between_readers: Kappa
    overrides: int
    answers: int
    changes: ChangesOfMind
    seconds_to_decision: tuple[float, ...]

    @property
    def override_rate(self) -> float | None:
        """Share of the network's answers that were changed or rejected."""
        return self.overrides / self.answers if self.answers else None


def agreement_of(reviews: Iterable[Review], truths: Mapping[str, Mapping[str, bool]]) -> Agreement:
    """Agreement over the latest version of every review. ``truths``: case id -> label -> whether it is there."""
    latest = {(review.case_id, review.reader.name): review for review in sorted(reviews, key=lambda r: r.version)}
    kept = tuple(latest.values())
    decisions = [decision for review in kept if review.second for decision in review.second.decisions.values()]
    return Agreement(
        reviews=len(kept),
        with_network_before=kappa(_pairs_with_network(kept, lambda review: review.first)),
        with_network_after=kappa(
            _pairs_with_network(kept, lambda review: review.second.read if review.second else None)
        ),
        between_readers=kappa(_pairs_of_readers(kept)),
        overrides=sum(decision != "agree" for decision in decisions),
        answers=len(decisions),
        changes=changes_of_mind(kept, truths),
        seconds_to_decision=tuple(
            (review.first_at - review.opened_at).total_seconds() for review in kept if review.first_at
        ),
    )


def kappa(pairs: Mapping[str, Sequence[tuple[bool, bool]]]) -> Kappa:
    """Cohen's kappa of yes-or-no pairs by case; the interval comes from drawing whole cases again and again."""
    cases = [np.asarray(found, bool) for found in pairs.values() if len(found)]
    every = np.concatenate(cases) if cases else np.zeros((0, 2), bool)
    agreed = int((every[:, 0] == every[:, 1]).sum())
    first, second = map(int, every.sum(axis=0))
    value = _kappa_of(int(every.all(axis=1).sum()), first, second, len(every))
    if len(every) < LEAST_PAIRS or value is None:
        return Kappa(len(every), agreed, None, None, None)
    # Both yes, first yes, second yes, pairs: all that kappa needs of a case.
    counts = np.array([(case.all(axis=1).sum(), *case.sum(axis=0), len(case)) for case in cases])
    # How often each case is drawn: the same as drawing cases one by one, and far less to add up.
    times = np.random.default_rng(_SEED).multinomial(len(cases), np.full(len(cases), 1 / len(cases)), _RESAMPLES)
    usable = [draw for sums in (times @ counts).tolist() if (draw := _kappa_of(*sums)) is not None]
    low, high = np.percentile(usable, [2.5, 97.5]) if usable else (value, value)
    return Kappa(len(every), agreed, value, float(low), float(high))


def changes_of_mind(reviews: Iterable[Review], truths: Mapping[str, Mapping[str, bool]]) -> ChangesOfMind:
    """Which way marks changed after the reveal, where the truth is known."""
    counts = dict.fromkeys((field.name for field in fields(ChangesOfMind)), 0)
    for review in reviews:
        if review.first is None or review.second is None:
            continue
        for code, truth in truths.get(review.case_id, {}).items():
            before, after = _said(review.first, code), _said(review.second.read, code)
            if before is None or after is None:
                continue
            counts[_kind(right_before=before == truth, right_after=after == truth)] += 1
            machine = _network_said(review, code)
            if machine is not None and machine != before:
                met, taken = ("tempted", "followed") if before == truth else ("correctable", "corrected")
                counts[met] += 1
                counts[taken] += after == machine
    return ChangesOfMind(**counts)


def _kind(*, right_before: bool, right_after: bool) -> str:
    if right_before == right_after:
        return "kept_right" if right_after else "kept_wrong"
    return "to_right" if right_after else "to_wrong"


def _kappa_of(both: int, first: int, second: int, pairs: int) -> float | None:
    """Of so many pairs the first said yes, the second did, both did."""
    if not pairs:
        return None
    chance = (first * second + (pairs - first) * (pairs - second)) / pairs**2
    observed = (pairs - first - second + 2 * both) / pairs
    # Where both always say the same one thing, agreement beyond chance has no meaning.
    return None if chance >= 1 else (observed - chance) / (1 - chance)


def _said(read: Read | None, code: str) -> bool | None:
    return _SAID[read.findings[code].mark] if read is not None and code in read.findings else None


def _network_said(review: Review, code: str) -> bool | None:
    answer = review.answer
    if answer is None or code not in answer.scores or code not in answer.thresholds:
        return None
    return answer.scores[code] >= answer.thresholds[code]


def _pairs_with_network(
    reviews: Iterable[Review], read_of: Callable[[Review], Read | None]
) -> dict[str, list[tuple[bool, bool]]]:
    found: dict[str, list[tuple[bool, bool]]] = {}
    for review in reviews:
        for code in review.answer.scores if review.answer else ():
            own, machine = _said(read_of(review), code), _network_said(review, code)
            if own is not None and machine is not None:
                found.setdefault(review.case_id, []).append((own, machine))
    return found


def _pairs_of_readers(reviews: Sequence[Review]) -> dict[str, list[tuple[bool, bool]]]:
    """The final marks of every two readers of one case."""
    finals: dict[str, list[Read]] = {}
    for review in reviews:
        if review.final is not None:
            finals.setdefault(review.case_id, []).append(review.final)
    return {
        case_id: [pair for one, other in combinations(reads, 2) for pair in _pairs_of(one, other)]
        for case_id, reads in finals.items()
    }


def _pairs_of(one: Read, other: Read) -> list[tuple[bool, bool]]:
    said = ((_said(one, code), _said(other, code)) for code in one.findings)
    return [(first, second) for first, second in said if first is not None and second is not None]


def as_csv(found: Agreement) -> str:
    """All figures as CSV (RFC 4180), one a line; what cannot be said is empty."""
    changes = found.changes
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(("figure", "value", "low", "high", "of"))
    for name in ("with_network_before", "with_network_after", "between_readers"):
        one: Kappa = getattr(found, name)
        writer.writerow((f"kappa {name.replace('_', ' ')}", *map(_cell, (one.value, one.low, one.high)), one.pairs))
        writer.writerow((f"agreed {name.replace('_', ' ')}", one.agreed, "", "", one.pairs))
    writer.writerow(("network's answers changed or rejected", found.overrides, "", "", found.answers))
    for name in ("to_right", "to_wrong", "kept_right", "kept_wrong"):
        writer.writerow((name.replace("_", " "), getattr(changes, name), "", "", changes.judged))
    writer.writerow(("wrong answers followed", changes.followed, "", "", changes.tempted))
    writer.writerow(("right answers taken", changes.corrected, "", "", changes.correctable))
    for seconds in found.seconds_to_decision:
        writer.writerow(("seconds to decision", f"{seconds:.1f}", "", "", ""))
    return stream.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
