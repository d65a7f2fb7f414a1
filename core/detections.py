"""What a detector answers: boxes with a label and a score each, on the scan. There is no evidence map, and none is made up."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from core.analysis import Analysis, Heatmap, Prediction, software_versions
from core.errors import BOXES_ONLY, AnalysisError
from core.explaining.places import Place, ScanBox, all_places, box_on_scan
from core.models.card import ModelCard
from core.preprocessing import to_model_input
from core.scan import Scan

if TYPE_CHECKING:
    from core.models.loading import Model

# Boxes are shown from this score on where the card has no operating point: what torchvision's own examples show.
SHOWN_FROM = 0.5
_LEAST_SCORE = 1e-6


@dataclass(frozen=True, slots=True)
class Detection:
    """A box that a detector drew around what it calls ``label``; overlapping boxes of a label are already left out (NMS)."""

    label: str
    box: ScanBox
    score: float


def detect(model: "Model", scan: Scan, frame: int = 0) -> Analysis:
    """The analysis of a frame by a detector: all boxes it puts out, and for each label the score of its best one.

    Every heatmap is empty and says that there is none. Raises AnalysisError when a box or a score is not a finite number.
    """
    import torch

    entry = to_model_input(scan, frame, model.card.input)
    with torch.inference_mode():
        (found,) = model.network(list(entry.tensor))
    if not all(bool(torch.isfinite(found[name]).all()) for name in ("boxes", "scores")):
        raise AnalysisError("The network's answer is not a finite number, so there is no result for this scan.")
    edges = found["boxes"].tolist()
    boxes = [box_on_scan(left, top, right, bottom, entry.letterbox) for left, top, right, bottom in edges]
    pairs = zip(boxes, found["labels"].tolist(), found["scores"].tolist(), strict=True)
    codes = model.card.label_codes
    detections = [
        Detection(codes[number - 1], box, score)
        for box, number, score in pairs
        # Class 0 is the background; a box on the letterbox's bars only has no area on the scan.
        if 0 < number <= len(codes) and box.height > 0 and box.width > 0
    ]
    return Analysis(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        model_version=model.card.version,
        weights_sha256=model.card.weights_sha256,
        prediction=_prediction(model.card, detections),
        heatmaps=MappingProxyType({code: _no_heatmap(code) for code in codes}),
        letterbox=entry.letterbox,
        activations=MappingProxyType({}),
        versions=software_versions(),
        engine="torch",
        detections=_by_label(model.card, detections),
    )


def findings_as_places(analysis: Analysis, card: ModelCard) -> Mapping[str, tuple[Place | Detection, ...]]:
    """By label code what is shown as places: a detector's boxes, or places of evidence where the card has thresholds for them."""
    return shown(analysis, card) if card.task == "detection" else all_places(analysis, card)


def shown(analysis: Analysis, card: ModelCard) -> Mapping[str, tuple[Detection, ...]]:
    """The boxes from each label's operating point on, else from SHOWN_FROM, the surest first."""
    least = {code: SHOWN_FROM if (point := card.threshold(code)) is None else point for code in card.label_codes}
    return {
        code: tuple(one for one in analysis.detections.get(code, ()) if one.score >= least[code])
        for code in card.label_codes
    }


def _by_label(card: ModelCard, detections: list[Detection]) -> Mapping[str, tuple[Detection, ...]]:
    ranked = sorted(detections, key=lambda one: -one.score)
    return MappingProxyType({code: tuple(o for o in ranked if o.label == code) for code in card.label_codes})


def _prediction(card: ModelCard, detections: list[Detection]) -> Prediction:
    """Each label's best score, 0 without a box, and its log-odds."""
    scores = {code: max((o.score for o in detections if o.label == code), default=0.0) for code in card.label_codes}
    kept = {code: min(max(score, _LEAST_SCORE), 1 - _LEAST_SCORE) for code, score in scores.items()}
    logits = {code: float(np.log(share / (1 - share))) for code, share in kept.items()}
    return Prediction(MappingProxyType(logits), MappingProxyType(scores))


def _no_heatmap(code: str) -> Heatmap:
    empty = np.zeros((1, 1), np.float32)
    empty.setflags(write=False)
    return Heatmap(code, empty, "", None, 1.0, "detector", "", absent=BOXES_ONLY)
