"""The figures of a model, from what was measured: for one held-out split, or for the folds of a cross-validation."""

from collections.abc import Mapping, Sequence

import numpy as np

from core.metrics import confusion, expected_calibration_error, operating_figures, threshold_for_sensitivity, wilson
from core.models.card import (
    ClassFigures,
    Evaluation,
    LabelFigures,
    MeanFigures,
    ModelCard,
    OperatingPoint,
    Probes,
    SubgroupFigures,
)
from core.models.place_card import MeanPlaceFigures
from core.training.label_figures import Pooled, label_figures, label_probes
from core.training.measuring import Measurements
from core.training.place_figures import place_figures
from core.training.probes import BORDER
from core.training.subgroups import in_order

TARGET_SENSITIVITY = 0.8
# A scale must end above zero, even where no picture with a label has evidence for it.
_LEAST_LIMIT = 1e-3


def figures(measurements: Measurements, card: ModelCard) -> Evaluation:
    """Scores, decisions at the card's thresholds, calibration, localisation, subgroups and probes of one split.

    Intervals of AUROC draw whole patients or groups where a group has several pictures.
    """
    kind = "simulated" if measurements.simulated else "held-out"
    return _evaluation([measurements], card).model_copy(update={"kind": kind})


def cross_validated(folds: Sequence[Measurements], card: ModelCard) -> Evaluation:
    """Development figures: ``folds`` are the held-out parts of networks made in the same way, each measured by its own.

    AUROC is that within a fold, averaged by the number of its cases, since scores of two networks cannot be ranked
    together; its interval draws patients within the folds. Decisions, calibration and localisation are counted over all.
    """
    return _evaluation(folds, card).model_copy(update={"kind": "cross-validation", "folds": len(folds)})


def pooled(folds: Sequence[Measurements]) -> Measurements:
    """All folds as one, for thresholds and the colour scale; not for AUROC: see ``cross_validated``."""
    first = folds[0]
    return Measurements(
        first.data,
        f"{len(folds)} folds" if len(folds) > 1 else first.split,
        tuple(example for fold in folds for example in fold.examples),
        unreadable=sum(fold.unreadable for fold in folds),
        missing_regions=sum(fold.missing_regions for fold in folds),
        simulated=first.simulated,
        blanked=first.blanked,
    )


def written_into(card: ModelCard, evaluation: Evaluation) -> ModelCard:
    """The card with these figures in place of those of the same data, split and kind, else after all others."""

    def same(other: Evaluation) -> bool:
        return (other.data, other.split, other.kind) == (evaluation.data, evaluation.split, evaluation.kind)

    if not any(map(same, card.evaluations)):
        return card.model_copy(update={"evaluations": (*card.evaluations, evaluation)})
    return card.model_copy(update={"evaluations": tuple(evaluation if same(e) else e for e in card.evaluations)})


def operating_points(measurements: Measurements, card: ModelCard) -> dict[str, OperatingPoint]:
    """For every label with cases enough: the highest threshold that reaches a sensitivity of 0.80 on this split."""
    points = {}
    for code in card.label_codes:
        cases = Pooled.of([measurements]).cases(code)
        truths, scores = cases.truths, cases.scores
        if cases.auroc(repeats=1) is None:
            continue
        threshold = max(0.0, round(threshold_for_sensitivity(truths, scores, TARGET_SENSITIVITY) - 5e-5, 4))
        found = operating_figures(truths, scores, threshold)
        points[code] = OperatingPoint(
            threshold=threshold,
            rule=f"highest threshold with a sensitivity of at least {TARGET_SENSITIVITY:g}",
            sensitivity=found.sensitivity,
            specificity=found.specificity,
            positives=int((truths == 1).sum()),
            negatives=int((truths == 0).sum()),
            split=measurements.split,
            weights_sha256=card.weights_sha256,
        )
    return points


def evidence_limit(measurements: Measurements) -> float:
    """The end of the colour scale: the 99th percentile, over pictures with the label, of the map's strongest cell."""
    peaks = [m.peaks[code] for m in measurements.examples for code, truth in m.truths.items() if truth == 1]
    return max(float(np.percentile(peaks, 99)), _LEAST_LIMIT) if peaks else 1.0


def _evaluation(folds: Sequence[Measurements], card: ModelCard) -> Evaluation:
    whole, examples = pooled(folds), Pooled.of(folds)
    places, mean_places = place_figures(examples.measured, card)
    labels = {code: label_figures(examples, code, card.threshold(code), places.get(code)) for code in card.label_codes}
    return Evaluation(
        data=whole.data,
        split=whole.split,
        images=len(whole.examples),
        unreadable=whole.unreadable,
        missing_regions=whole.missing_regions,
        labels=labels,
        means=_means(labels, card, mean_places),
        classes=_class_figures(examples, labels, card) if card.is_exclusive else None,
        subgroups=_subgroups(examples, card),
        probes=_probes(examples, whole.blanked, card),
        weights_sha256=card.weights_sha256,
    )


def _means(labels: Mapping[str, LabelFigures], card: ModelCard, places: MeanPlaceFigures | None) -> MeanFigures | None:
    """Means over the findings with places of their own; the headline of labels that go together has those of all."""
    marked = {
        code: found for code, found in labels.items() if found.boxes and (card.is_exclusive or code != card.headline)
    }
    if not marked:
        return None
    areas = [found.auroc.value for found in marked.values() if found.auroc]
    return MeanFigures(
        labels=tuple(marked),
        auroc=float(np.mean(areas)) if len(areas) == len(marked) else None,
        pointing_game=float(np.mean([found.pointing_game or 0 for found in marked.values()])),
        energy_in_box=float(np.mean([found.energy_in_box or 0 for found in marked.values()])),
        iobb={
            at: float(np.mean([found.iobb[at] for found in marked.values()])) for at in next(iter(marked.values())).iobb
        },
        places=places,
    )


def _class_figures(examples: Pooled, labels: Mapping[str, LabelFigures], card: ModelCard) -> ClassFigures | None:
    codes = card.label_codes
    known = [m for m in examples.measured if not any(np.isnan(m.truths[code]) for code in codes)]
    if not known:
        return None
    truths = np.array([[m.truths[code] for code in codes] for m in known]).argmax(1)
    scores = np.array([[m.scores[code] for code in codes] for m in known])
    answers = scores.argmax(1)
    areas = [found.auroc.value for found in labels.values() if found.auroc]
    return ClassFigures(
        accuracy=wilson(int((answers == truths).sum()), len(known)),
        macro_auroc=float(np.mean(areas)) if len(areas) == len(codes) else None,
        calibration_error=expected_calibration_error(answers == truths, scores.max(1)),
        confusion=confusion(truths, answers, len(codes)),
    )


def _subgroups(examples: Pooled, card: ModelCard) -> dict[str, dict[str, SubgroupFigures]]:
    """For age, sex and view, where the index has them: the headline's AUROC, or that of every class."""
    codes = card.label_codes if card.is_exclusive else (card.headline,)
    names = dict.fromkeys(name for m in examples.measured for name in m.subgroups)
    return {name: _groups(examples, name, codes) for name in names}


def _groups(examples: Pooled, name: str, codes: Sequence[str]) -> dict[str, SubgroupFigures]:
    members = {m.subgroups[name] for m in examples.measured if name in m.subgroups}
    return {group: _group(examples, name, group, codes) for group in in_order(members)}


def _group(examples: Pooled, name: str, group: str, codes: Sequence[str]) -> SubgroupFigures:
    part = examples.where(lambda m: m.subgroups.get(name) == group)
    areas = {code: part.cases(code).auroc() for code in codes}
    return SubgroupFigures(
        images=len(part.measured), auroc={code: area for code, area in areas.items() if area is not None}
    )


def _probes(examples: Pooled, blanked: str | None, card: ModelCard) -> Probes | None:
    probed = [m.probed for m in examples.measured if m.probed]
    if not probed or blanked is None:
        return None
    return Probes(
        images=len(probed),
        border=BORDER,
        region=blanked,
        inside_area=float(np.mean([p.inside_area for p in probed])),
        region_area=float(np.mean([p.region_area for p in probed])),
        labels={code: label_probes(examples, code) for code in card.label_codes},
    )
