"""analyse(model, scan) -> Analysis: one forward pass, everything a page needs. With a fast engine no torch is needed."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.confidence.novelty import Novelty, novelty, some_colour
from core.engines.engine import Engine, Outputs, Run, run_alone
from core.errors import AnalysisError, UnknownLabel
from core.explaining.evidence import Evidence, exact_evidence
from core.models.card import ModelCard
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

if TYPE_CHECKING:
    from core.detections import Detection
    from core.masks import Mask
    from core.models.loading import Model

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
    """All that one forward pass gave, with what is needed to repeat it; ``masks`` is empty unless the task is segmentation.

    ``engine`` ran the network. ``detections`` are a detector's boxes by label code. ``novelty`` says whether the model may
    speak about such a picture, None where it has no gate.
    """

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
    masks: "Mapping[str, Mask]" = field(default_factory=lambda: MappingProxyType({}), repr=False)
    engine: str = ""
    detections: "Mapping[str, tuple[Detection, ...]]" = field(default_factory=lambda: MappingProxyType({}), repr=False)
    novelty: Novelty | None = None

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


def analyse(
    model: "Model", scan: Scan, frame: int = 0, *, layers: Sequence[str] = (), run: Run = run_alone
) -> Analysis:
    """Prediction, the Grad-CAM of every label and, on request, the activations of any ``layers``, from one forward pass.

    The activations are those of the unfused network, since folded convolutions are not its own. ``run`` runs the model's
    engine: at once, unless a queue of several readers does so.
    Raises AnalysisError when an answer is not a finite number, UnknownLayer for a layer that does not exist.
    """
    if model.card.task == "detection":
        from core.detections import detect

        return detect(model, scan, frame)
    entry, engine = to_model_input(scan, frame, model.card.input), model.engines.giving(layers)
    outputs = run(engine, entry.picture, layers)
    _check_finite(outputs.logits)
    novel = None
    if model.novelty is not None:
        colour = some_colour(scan, frame)
        novel = novelty(outputs.target, entry.picture[0], entry.letterbox, model.card.input, model.novelty, colour)
    masks: Mapping[str, Mask] = MappingProxyType({})
    if model.card.task == "segmentation":
        masks, evidence, logits = _outlined(model, outputs, entry.letterbox, scan)
    else:
        evidence, logits = _evidence(model, engine, outputs), outputs.logits
    _check_finite(evidence.maps)
    return Analysis(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        model_version=model.card.version,
        weights_sha256=model.card.weights_sha256,
        prediction=prediction_of(model, logits),
        heatmaps=_heatmaps(model.card, evidence, masks),
        letterbox=entry.letterbox,
        activations=MappingProxyType({name: _frozen(value) for name, value in outputs.layers.items()}),
        versions=software_versions(),
        masks=masks,
        engine=engine.name,
        novelty=novel,
    )


def _evidence(model: "Model", engine: Engine, outputs: Outputs) -> Evidence:
    """In closed form behind pooling and one linear layer; else from the gradient through the tail, which torch gives."""
    if engine.tail is not None:
        return exact_evidence(engine.tail, outputs.target)
    from core.engines.torch_engine import pass_of
    from core.explaining.gradcam import evidence_of_all_labels

    return evidence_of_all_labels(model.fast if outputs.fused else model.plain, pass_of(outputs))


def _outlined(
    model: "Model", outputs: Outputs, letterbox: Letterbox, scan: Scan
) -> "tuple[Mapping[str, Mask], Evidence, FloatArray]":
    """Every label's mask, what the network went by when it drew it, and the label's score in log-odds."""
    import torch

    from core.engines.torch_engine import pass_of
    from core.explaining.seg_gradcam import evidence_of_masks
    from core.masks import masks_of, presence_logits

    one_pass = pass_of(outputs)
    masks = masks_of(model.card, one_pass.logits, letterbox, scan.geometry.spacing_mm)
    outlined = torch.from_numpy(np.stack([mask.outlined for mask in masks.values()]))
    evidence = evidence_of_masks(model.fast if outputs.fused else model.plain, one_pass, outlined)
    return masks, evidence, presence_logits(masks).numpy()


@cache
def software_versions() -> Mapping[str, str]:
    """What the result depends on beside the model."""
    packages = {name: version(name) for name in ("torch", "torchvision", "pydicom", "numpy")}
    return MappingProxyType({"python": platform.python_version(), **packages})


def _check_finite(values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise AnalysisError("The network's answer is not a finite number, so there is no result for this scan.")


def prediction_of(model: "Model", outputs: Any) -> Prediction:
    """The network's outputs (outputs,) for one picture, an array or a tensor, as logits and scores of every label."""
    found = np.asarray(outputs, np.float64)
    logits = np.concatenate([-found, found]) if model.card.head == "logit" else found
    scores = _softmax(logits) if model.card.head == "softmax" else _stretched(model.card, _sigmoid(logits))
    codes = model.card.label_codes
    return Prediction(
        MappingProxyType(dict(zip(codes, logits.tolist(), strict=True))),
        MappingProxyType(dict(zip(codes, scores.tolist(), strict=True))),
    )


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Without overflow on either side."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, powers) / (1 + powers)


def _stretched(card: ModelCard, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores with every published operating point at 0.5: below and above it, straight lines to 0 and 1.

    As TorchXRayVision shows its scores (Cohen et al. 2022, arXiv 2111.00595).
    """
    points = np.array([card.published_points.get(code, 0.5) for code in card.label_codes])
    return np.where(scores < points, scores / (2 * points), 1 - (1 - scores) / (2 * (1 - points)))


def _heatmaps(card: ModelCard, evidence: Evidence, masks: "Mapping[str, Mask]") -> Mapping[str, Heatmap]:
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


def _frozen(values: FloatArray) -> FloatArray:
    array = np.ascontiguousarray(values, np.float32)
    array.setflags(write=False)
    return array
