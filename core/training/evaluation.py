"""The figures of a model on a split, measured through the same ``analyse`` as a reader's scan."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.analysis import Analysis, analyse
from core.errors import ConfigurationError, ScanError
from core.metrics import (
    Box,
    auroc,
    confusion,
    energy_in_box,
    energy_in_mask,
    expected_calibration_error,
    operating_figures,
    peak_in_box,
    peak_in_mask,
    threshold_for_sensitivity,
    wilson,
)
from core.models.card import ClassFigures, Evaluation, LabelFigures, ModelCard, OperatingPoint
from core.models.loading import Model
from core.reading.decoding import decode_scan
from core.samples import simulated_scan
from core.scan import Scan
from core.training.data import MASK_COLUMN, Mask, boxes_of, read_index, read_mask, simulated_findings, truths_of

Progress = Callable[[int, int], None]
# Where a finding lies, by label code: boxes, or an outline on the scan's grid.
Regions = Mapping[str, list[Box] | Mask]

TARGET_SENSITIVITY = 0.8
# A scale must end above zero, even where no picture with a label has evidence for it.
_LEAST_LIMIT = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One example's outcome: truths by label (NaN unknown), scores, and for boxed findings where the evidence lies."""

    truths: Mapping[str, float]
    scores: Mapping[str, float]
    peaks: Mapping[str, float]
    hits: Mapping[str, tuple[bool, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """A split as measured; ``unreadable`` counts the files that were left out."""

    data: str
    split: str
    examples: tuple[Measured, ...] = field(repr=False)
    unreadable: int = 0


def measure(
    model: Model,
    folder: Path,
    split: str,
    *,
    data: str = "",
    column: str = "label",
    progress: Progress | None = None,
) -> Measurements:
    """Every readable picture of a folder's split, analysed.

    Raises ConfigurationError when the split holds no readable picture.
    """
    rows = read_index(folder, column)
    classes, labels = {row[column] for row in rows}, model.card.label_codes
    wanted = [row for row in rows if row["split"] == split]
    examples, unreadable = [], 0
    for position, row in enumerate(wanted):
        try:
            scan = decode_scan((folder / row["file"]).read_bytes())
        except (ScanError, OSError):
            unreadable += 1
            continue
        truths = dict(zip(labels, truths_of(row, labels, classes, column), strict=True))
        examples.append(_measured(model, scan, truths, _regions(folder, row, labels, column)))
        if progress:
            progress(position + 1, len(wanted))
    if not examples:
        raise ConfigurationError(f"The split {split!r} holds no readable picture; it has {len(wanted)} rows.")
    return Measurements(data or folder.name, split, tuple(examples), unreadable)


def _regions(folder: Path, row: Mapping[str, str], labels: Sequence[str], column: str) -> Regions:
    """The row's boxes, or its outline; an empty outline (of a picture without a lesion) is no place to point to."""
    boxes, code = boxes_of(row, labels, column), row[column].lower()
    if not row.get(MASK_COLUMN) or code not in labels:
        return boxes
    mask = read_mask(folder, row)
    return {**boxes, code: mask} if bool(mask.any()) else boxes


def measure_simulated(model: Model, count: int, seed: int, *, progress: Progress | None = None) -> Measurements:
    """Films of our own generator with seeds that no training used, every second one with a planted finding."""
    findings = simulated_findings(model.card.label_codes)
    examples = []
    for index in range(count):
        finding = findings[index // 2 % len(findings)] if index % 2 else None
        scan, film = simulated_scan(seed + index, finding)
        present = {finding, "abnormal"} if finding else {"normal", "no_finding"}
        truths = {code: float(code in present) for code in model.card.label_codes}
        boxes = {finding: [film.box_xywh]} if finding and film.box_xywh else {}
        examples.append(_measured(model, scan, truths, boxes))
        if progress:
            progress(index + 1, count)
    return Measurements("simulated films", f"seeds {seed} to {seed + count - 1}", tuple(examples))


def figures(measurements: Measurements, card: ModelCard) -> Evaluation:
    """AUROC with interval, pointing game and energy in the box, a label; for a softmax head its accuracy as well."""
    return Evaluation(
        data=measurements.data,
        split=measurements.split,
        images=len(measurements.examples),
        unreadable=measurements.unreadable,
        labels={code: _label_figures(measurements, code) for code in card.label_codes},
        classes=_class_figures(measurements, card.label_codes) if card.head == "softmax" else None,
        weights_sha256=card.weights_sha256,
    )


def operating_points(measurements: Measurements, labels: Iterable[str]) -> dict[str, OperatingPoint]:
    """For every label with cases enough: the highest threshold that reaches a sensitivity of 0.80 on this split."""
    points = {}
    for code in labels:
        truths, scores = _known(measurements, code)
        if auroc(truths, scores, repeats=1) is None:
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
        )
    return points


def evidence_limit(measurements: Measurements) -> float:
    """The end of the colour scale: the 99th percentile, over pictures with the label, of the map's strongest cell."""
    peaks = [m.peaks[code] for m in measurements.examples for code, truth in m.truths.items() if truth == 1]
    return max(float(np.percentile(peaks, 99)), _LEAST_LIMIT) if peaks else 1.0


def _measured(model: Model, scan: Scan, truths: Mapping[str, float], regions: Regions) -> Measured:
    analysis = analyse(model, scan)
    scores = analysis.prediction.scores
    peaks = {code: float(heatmap.evidence.max()) for code, heatmap in analysis.heatmaps.items()}
    hits = {
        code: _hit(analysis, code, region) for code, region in {**regions, **_together(model, truths, regions)}.items()
    }
    return Measured(truths, scores, peaks, hits)


def _together(model: Model, truths: Mapping[str, float], regions: Regions) -> Regions:
    """The boxes of all findings for the headline, where labels go together and it stands for any of them."""
    everything = [box for found in regions.values() if isinstance(found, list) for box in found]
    stands_for_all = model.card.head == "sigmoid" and truths.get(model.card.headline) == 1
    return {model.card.headline: everything} if everything and stands_for_all else {}


def _hit(analysis: Analysis, code: str, region: list[Box] | Mask) -> tuple[bool, float]:
    evidence = analysis.on_scan_grid(code)
    if isinstance(region, list):
        return peak_in_box(evidence, region), energy_in_box(evidence, region)
    return peak_in_mask(evidence, region), energy_in_mask(evidence, region)


def _class_figures(measurements: Measurements, codes: tuple[str, ...]) -> ClassFigures | None:
    known = [m for m in measurements.examples if not any(np.isnan(m.truths[code]) for code in codes)]
    if not known:
        return None
    truths = np.array([[m.truths[code] for code in codes] for m in known]).argmax(1)
    scores = np.array([[m.scores[code] for code in codes] for m in known])
    answers = scores.argmax(1)
    areas = [auroc((truths == index).astype(np.int64), scores[:, index], repeats=1) for index in range(len(codes))]
    return ClassFigures(
        accuracy=wilson(int((answers == truths).sum()), len(known)),
        macro_auroc=None if None in areas else float(np.mean([area.value for area in areas if area])),
        calibration_error=expected_calibration_error(answers == truths, scores.max(1)),
        confusion=confusion(truths, answers, len(codes)),
    )


def _label_figures(measurements: Measurements, code: str) -> LabelFigures:
    truths, scores = _known(measurements, code)
    hits = [m.hits[code] for m in measurements.examples if code in m.hits]
    return LabelFigures(
        positives=int((truths == 1).sum()),
        negatives=int((truths == 0).sum()),
        auroc=auroc(truths, scores),
        boxes=len(hits),
        pointing_game=float(np.mean([hit for hit, _ in hits])) if hits else None,
        energy_in_box=float(np.mean([energy for _, energy in hits])) if hits else None,
    )


def _known(measurements: Measurements, code: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    known = [m for m in measurements.examples if not np.isnan(m.truths[code])]
    return np.array([m.truths[code] for m in known], np.int64), np.array([m.scores[code] for m in known])
