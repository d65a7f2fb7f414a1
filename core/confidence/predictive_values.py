"""What a threshold means where patients are as ill as mine: predictive values by Bayes, and the same as 100 patients."""

import math
from dataclasses import dataclass

from core.confidence.operating import Outcome
from core.errors import ConfigurationError
from core.models.card_fields import Interval

_Z95 = 1.959964
PATIENTS = 100


@dataclass(frozen=True, slots=True)
class PredictiveValues:
    """``ppv``: of those called positive, the share that has the label; ``npv``: of the others, the share without it.

    None where nobody would be called so.
    """

    prevalence: float
    ppv: Interval | None
    npv: Interval | None


@dataclass(frozen=True, slots=True)
class Icons:
    """Of so many patients: ill and called, ill and missed, well and called (false alarm), well and left in peace."""

    hits: int
    misses: int
    false_alarms: int
    rejections: int

    @property
    def called(self) -> int:
        """All who are called positive."""
        return self.hits + self.false_alarms


def predictive_values(outcome: Outcome, prevalence: float) -> PredictiveValues:
    """PPV and NPV by Bayes' rule with 95 % intervals for what few pictures leave open.

    The intervals are on the log-odds (Mercaldo, Lau and Zhou 2007, Stat. Med. 26:2170), with their adjusted counts,
    z^2 / 2 added to hits and misses, where a count is 0. Raises ConfigurationError for a prevalence that is not between 0
    and 1.
    """
    if not 0 < prevalence < 1:
        raise ConfigurationError("A prevalence lies between 0 and 100 %; give the share of patients with the finding.")
    ill, well = prevalence, 1 - prevalence
    hits, misses, alarms, rejections = outcome.counts
    return PredictiveValues(
        prevalence,
        _value((hits, misses), (alarms, rejections), ill / well),
        _value((rejections, alarms), (misses, hits), well / ill),
    )


def patients_like_these(outcome: Outcome, prevalence: float, patients: int = PATIENTS) -> Icons:
    """The four groups of so many patients, in whole people that add up (the largest remainders are rounded up)."""
    ill, well = prevalence * patients, (1 - prevalence) * patients
    sensitivity, specificity = outcome.sensitivity.value, outcome.specificity.value
    exact = (ill * sensitivity, ill * (1 - sensitivity), well * (1 - specificity), well * specificity)
    whole = [math.floor(share) for share in exact]
    for place in sorted(range(4), key=lambda place: whole[place] - exact[place])[: patients - sum(whole)]:
        whole[place] += 1
    return Icons(*whole)


def at_prevalence(score: float, measured: float, prevalence: float) -> float:
    """A calibrated score where another share of patients has the label (Saerens et al. 2002, doi:10.1162/089976602753284446).

    Its odds are multiplied by those of the prevalence over those of ``measured``, the share in the data of the calibration.
    Raises ConfigurationError for a share that is not between 0 and 1.
    """
    if not (0 < measured < 1 and 0 < prevalence < 1):
        raise ConfigurationError("A prevalence lies between 0 and 100 %; give the share of patients with the finding.")
    factor = prevalence / (1 - prevalence) / (measured / (1 - measured))
    return score * factor / (score * factor + 1 - score)


def _value(right: tuple[int, int], wrong: tuple[int, int], odds: float) -> Interval | None:
    """One value by Bayes, p odds / (p odds + q): ``right`` counts who of the group are called so, and the rest."""
    p, q = right[0] / max(sum(right), 1), wrong[0] / max(sum(wrong), 1)
    if not (sum(right) and sum(wrong)) or p + q == 0:
        return None
    value = p * odds / (p * odds + q)
    extra = 0.0 if all((*right, *wrong)) else _Z95**2 / 2
    centre, half = _log_odds(right, wrong, odds, extra)
    low, high = (1 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1))
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _log_odds(right: tuple[int, int], wrong: tuple[int, int], odds: float, extra: float) -> tuple[float, float]:
    """The log-odds of a predictive value and 1.96 times its standard error."""
    ours, theirs = sum(right) + 2 * extra, sum(wrong) + 2 * extra
    p, q = (right[0] + extra) / ours, (wrong[0] + extra) / theirs
    variance = (1 - p) / (p * ours) + (1 - q) / (q * theirs)
    return math.log(p * odds / q), _Z95 * math.sqrt(variance)
