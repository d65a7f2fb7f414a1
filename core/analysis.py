"""analyse(model, scan) -> Analysis: one forward pass, everything a page needs."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from core.errors import AnalysisError, UnknownLabel
from core.explaining.gradcam import Evidence, evidence_of_all_labels
from core.explaining.seg_gradcam import evidence_of_masks
from core.masks import Mask, masks_of, presence_logits
from core.models.card import ModelCard
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

FloatArray = npt.NDArray[np.float32]

FIRST_ORDER_UNIT = "first-order change of the logit"
# Evidence below this share of the model's colour limit is not worth a colour.
FAINT = 0.05


@dataclass(frozen=True, slots=True)
class Prediction:
    """``logits`` and ``scores`` (0..1) by label code, in the card's order. A score is not a probability of disease."""

    logits: Mapping[str, float]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Signed evidence for one label: ``evidence`` (h, w) float32 on the feature grid, before any ReLU, in ``unit``.

    ``bias`` is what the cells leave to the logit where the map is exact, else None. ``limit`` is the end of the colour
    scale: the model's, the same for every scan, or with ``per_scan`` the strongest place of any label on this scan.
    ``absent`` says why there is nothing to explain. ``against``: the label that this one is compared with.
    """

    label: str
    evidence: FloatArray = field(repr=False)
    unit: str
    bias: float | None
    limit: float
    method: str
    layer: str
    absent: str | None = None
    against: str | None = None
    per_scan: bool = False

    @property
    def outcome(self) -> str | None:
        """A sentence where there is nothing to see, else None."""
        if self.absent:
            return self.absent
        peak = float(self.evidence.max())
        if peak > 0 and peak == float(self.evidence.min()):
            return "Flat: every place counts the same, so the map points nowhere."
        if peak <= 0:
            return "No positive evidence: nothing in the picture speaks for this label."
        if peak < FAINT * self.limit:
            return "No localised evidence: the strongest place is fainter than the colour scale shows."
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All that one forward pass gave, with what is needed to repeat it; ``masks`` is empty unless the task is segmentation."""

    scan_digest: str
    frame: int
    model_id: str
    model_version: str
    weights_sha256: str
    prediction: Prediction
    heatmaps: Mapping[str, Heatmap] = field(repr=False)
    letterbox: Letterbox
    activations: Mapping[str, FloatArray] = field(repr=False)
    versions: Mapping[str, str] = field(repr=False)
    masks: Mapping[str, Mask] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def heatmap(self, label: str) -> Heatmap:
        """The label's heatmap, matched without case.

        Raises UnknownLabel naming those there are.
        """
        if label.lower() in self.heatmaps:
            return self.heatmaps[label.lower()]
        raise UnknownLabel(f"The model has no label {label!r}; it knows: {', '.join(self.heatmaps)}.")

    def on_scan_grid(self, label: str) -> FloatArray:
        """The label's signed evidence at every pixel of the scan, (rows, columns) float32."""
        return self.letterbox.to_scan_grid(self.heatmap(label).evidence)


def analyse(model: Model, scan: Scan, frame: int = 0, *, layers: Sequence[str] = ()) -> Analysis:
    """Prediction, the Grad-CAM of every label and, on request, the activations of any ``layers``, from one forward pass.

    With ``layers`` the unfused network runs, since folded convolutions are not the network's own.
    Raises AnalysisError when an answer is not a finite number, UnknownLayer for a layer that does not exist.
    """
    entry = to_model_input(scan, frame, model.card.input)
    network = model.plain if layers else model.fast
    one_pass = network.run(entry.tensor.contiguous(memory_format=torch.channels_last), layers)
    _check_finite(one_pass.logits)
    masks: Mapping[str, Mask] = MappingProxyType({})
    if model.card.task == "segmentation":
        masks = masks_of(model.card, one_pass.logits, entry.letterbox, scan.geometry.spacing_mm)
        outlined = torch.from_numpy(np.stack([mask.outlined for mask in masks.values()]))
        evidence, outputs = evidence_of_masks(network, one_pass, outlined), presence_logits(masks)
    else:
        evidence, outputs = evidence_of_all_labels(network, one_pass), one_pass.logits
    _check_finite(evidence.maps)
    return Analysis(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        model_version=model.card.version,
        weights_sha256=model.card.weights_sha256,
        prediction=prediction_of(model, outputs),
        heatmaps=_heatmaps(model, evidence, masks),
        letterbox=entry.letterbox,
        activations=MappingProxyType({name: _frozen(value) for name, value in one_pass.layers.items()}),
        versions=software_versions(),
        masks=masks,
    )


@cache
def software_versions() -> Mapping[str, str]:
    """What the result depends on beside the model."""
    packages = {name: version(name) for name in ("torch", "torchvision", "pydicom", "numpy")}
    return MappingProxyType({"python": platform.python_version(), **packages})


def _check_finite(*tensors: torch.Tensor) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise AnalysisError("The network's answer is not a finite number, so there is no result for this scan.")


def prediction_of(model: Model, outputs: torch.Tensor) -> Prediction:
    """The network's outputs (outputs,) for one picture as logits and scores of every label."""
    logits = torch.cat([-outputs, outputs]) if model.card.head == "logit" else outputs
    scores = torch.softmax(logits, 0) if model.card.head == "softmax" else _stretched(model.card, torch.sigmoid(logits))
    codes = model.card.label_codes
    return Prediction(
        MappingProxyType(dict(zip(codes, logits.tolist(), strict=True))),
        MappingProxyType(dict(zip(codes, scores.tolist(), strict=True))),
    )


def _stretched(card: ModelCard, scores: torch.Tensor) -> torch.Tensor:
    """Scores with every published operating point at 0.5: below and above it, straight lines to 0 and 1.

    As TorchXRayVision shows its scores (Cohen et al. 2022, arXiv 2111.00595).
    """
    points = torch.tensor([card.published_points.get(code, 0.5) for code in card.label_codes])
    return torch.where(scores < points, scores / (2 * points), 1 - (1 - scores) / (2 * (1 - points)))


def _heatmaps(model: Model, evidence: Evidence, masks: Mapping[str, Mask]) -> Mapping[str, Heatmap]:
    card = model.card
    shown = evidence_for_labels(card, evidence)
    unit = card.evidence_unit if evidence.is_exact or masks else FIRST_ORDER_UNIT
    return MappingProxyType(
        {
            code: Heatmap(
                label=code,
                evidence=_frozen(shown.maps[index]),
                unit=unit,
                bias=None if shown.bias is None else float(shown.bias[index]),
                limit=card.evidence_limit,
                method="seg-gradcam" if masks else "evidence",
                layer=card.target_layer,
                absent=masks[code].outcome if masks else None,
            )
            for index, code in enumerate(card.label_codes)
        }
    )


def evidence_for_labels(card: ModelCard, evidence: Evidence) -> Evidence:
    """A map for each of the card's labels, from the maps of the network's outputs."""
    if card.head == "logit":
        return evidence.both_signs()
    return evidence.above_mean() if card.head == "softmax" else evidence


def _frozen(tensor: torch.Tensor) -> FloatArray:
    array = np.ascontiguousarray(tensor.numpy(), np.float32)
    array.setflags(write=False)
    return array
