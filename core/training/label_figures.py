"""The figures of one label over the examples of one network, or of the folds of a cross-validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.metrics import MIN_CASES, auroc, calibration_error, operating_figures, reliability, wilson
from core.models.card import LabelFigures, LabelProbes
from core.models.card_fields import Interval
from core.models.place_card import PlaceFigures
from core.training.measuring import Measured, Measurements, Placed
from core.training.probes import Probed

# The thresholds T(IoBB) at which a finding counts as found (Wang et al. 2017, arXiv 1705.02315, table 4).
REACHES = (0.1, 0.25, 0.5)
# The border's own classifier: folds, and the inverse of its penalty, strong because there are more cells than cases.
_FOLDS = 5
_RIDGE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Examples of which a label is known: its truths 0 and 1, what each is scored, whose they are, which fold's."""

    truths: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    groups: tuple[str, ...]
    folds: tuple[int, ...]

    def auroc(self, repeats: int = 2000) -> Interval | None:
        """As ``core.metrics.auroc``."""
        return auroc(self.truths, self.scores, groups=self.groups, folds=self.folds, repeats=repeats)


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Examples of all folds, with the fold of each."""

    measured: tuple[Measured, ...] = field(repr=False)
    folds: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, parts: Sequence[Measurements]) -> "Pooled":
        """The examples of one split, or of several folds."""
        pairs = [(example, fold) for fold, part in enumerate(parts) for example in part.examples]
        return cls(tuple(example for example, _ in pairs), tuple(fold for _, fold in pairs))

    def where(self, wanted: Callable[[Measured], bool]) -> "Pooled":
        """Those of the examples that are wanted."""
        kept = [(m, fold) for m, fold in zip(self.measured, self.folds, strict=True) if wanted(m)]
        return Pooled(tuple(m for m, _ in kept), tuple(fold for _, fold in kept))

    def cases(self, code: str, score: Callable[[Measured], float] | None = None) -> Cases:
        """The examples of which a label is known, by their own score for it or by another number."""
        known = self.where(lambda m: not np.isnan(m.truths[code]))
        scored = score or (lambda m: m.scores[code])
        return Cases(
            np.array([m.truths[code] for m in known.measured], np.int64),
            np.array([scored(m) for m in known.measured], np.float64),
            tuple(m.group for m in known.measured),
            known.folds,
        )


def label_figures(
    examples: Pooled, code: str, threshold: float | None, places: PlaceFigures | None = None
) -> LabelFigures:
    """AUROC, calibration, and where there are places or a threshold: localisation and decisions."""
    cases = examples.cases(code)
    bins = reliability(cases.truths, cases.scores)
    return LabelFigures.model_validate(
        {
            "positives": int((cases.truths == 1).sum()),
            "negatives": int((cases.truths == 0).sum()),
            "auroc": cases.auroc(),
            "reliability": bins,
            "ece": calibration_error(bins),
            **_localisation([m.places[code] for m in examples.measured if code in m.places]),
            **_decisions(cases, threshold),
            "places": places,
        }
    )


def label_probes(examples: Pooled, code: str) -> LabelProbes:
    """What each probe says of a label; the set's own probes by the better of both directions."""
    probed = examples.where(lambda m: m.probed is not None)
    ill = [m.probed for m in probed.measured if m.probed and m.truths[code] == 1]
    return LabelProbes(
        whole=probed.cases(code).auroc(),
        file_size=_either_way(_cases(probed, code, lambda p: p.file_size)),
        brightness=_either_way(_cases(probed, code, lambda p: p.brightness)),
        border_learnt=_learnt(probed, code),
        border_only=_cases(probed, code, lambda p: p.border_only[code]).auroc(),
        region_blanked=_cases(probed, code, lambda p: p.region_blanked[code]).auroc(),
        evidence_inside=_mean([p.inside[code] for p in ill if code in p.inside]),
        evidence_in_region=_mean([p.in_region[code] for p in ill if code in p.in_region]),
    )


def _cases(examples: Pooled, code: str, number: Callable[[Probed], float]) -> Cases:
    return examples.cases(code, lambda m: number(m.probed) if m.probed else np.nan)


def _learnt(examples: Pooled, code: str) -> Interval | None:
    """What a logistic regression learns of a label from the border, scored out of fold; groups stay in one fold."""
    known = [m for m in examples.measured if m.probed and not np.isnan(m.truths[code])]
    truths = np.array([m.truths[code] for m in known], np.int64)
    groups = np.array([m.group for m in known])
    if min((truths == 1).sum(), (truths == 0).sum()) < MIN_CASES or len(set(groups)) < _FOLDS:
        return None
    rings = np.stack([m.probed.ring for m in known if m.probed])
    scores, folds = np.zeros(len(known)), np.zeros(len(known), np.int64)
    for fold, (learn, ask) in enumerate(StratifiedGroupKFold(_FOLDS).split(rings, truths, groups)):
        if len(set(truths[learn])) == 2:
            regression = make_pipeline(StandardScaler(), LogisticRegression(C=_RIDGE, max_iter=1000))
            scores[ask] = regression.fit(rings[learn], truths[learn]).predict_proba(rings[ask])[:, 1]
        folds[ask] = fold
    return Cases(truths, scores, tuple(groups), tuple(folds.tolist())).auroc()


def _either_way(cases: Cases) -> Interval | None:
    """The area of a number, turned round where small numbers speak for the label."""
    area = cases.auroc()
    if area is None or area.value >= 0.5:
        return area
    return Interval(value=1 - area.value, low=1 - area.high, high=1 - area.low)


def _mean(shares: Sequence[float]) -> float | None:
    return min(1.0, float(np.mean(shares))) if shares else None


def _localisation(places: Sequence[Placed]) -> Mapping[str, object]:
    if not places:
        return {}
    hits = sum(place.peak_inside for place in places)
    best = np.array([max(place.iobb, default=0.0) for place in places])
    return {
        "boxes": len(places),
        "pointing_game": hits / len(places),
        "pointing_interval": wilson(hits, len(places)),
        "energy_in_box": _mean([place.energy for place in places]),
        "iobb": {f"{at:g}": float((best >= at).mean()) for at in REACHES},
        "false_boxes": float(np.mean([sum(value < REACHES[0] for value in place.iobb) for place in places])),
    }


def _decisions(cases: Cases, threshold: float | None) -> Mapping[str, object]:
    if threshold is None or cases.auroc(repeats=1) is None:
        return {}
    found = operating_figures(cases.truths, cases.scores, threshold)
    return {
        "threshold": threshold,
        "sensitivity": found.sensitivity,
        "specificity": found.specificity,
        "ppv": found.ppv,
        "npv": found.npv,
    }
