"""ModelCard: all that a reader and the code must know of a model, in one JSON file beside its weights.

The words follow the MONAI bundle's metadata and the Hugging Face model card.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.models.card_fields import Identifier, Interval, Record, Sha256, Share
from core.models.confidence_card import Confidence
from core.models.place_card import MeanPlaceFigures, PlaceFigures, PlaceThreshold

Task = Literal["classification", "segmentation", "detection"]


class Label(Record):
    """One answer of the network: its stable lower-case code, plain words for people, and what is known to go wrong."""

    code: Identifier
    words: str
    limits: str = ""


class InputSpec(Record):
    """The tensor that the network takes: ``size`` x ``size``, grey 0..1 after the file's own window, (x - mean) / std.

    ``fit``: the whole picture on a black square, or a picture that fills the square and loses its longer ends.
    """

    channels: Literal[1, 3]
    size: Annotated[int, Field(ge=8, le=2048)]
    fit: Literal["whole", "crop"] = "whole"
    mean: float
    std: Annotated[float, Field(gt=0)]


class Scope(Record):
    """What the model was made for, in DICOM's words: Modality, BodyPartExamined, ViewPosition. Empty views: any.

    ``ages`` of the patients in whole years, from and to; a model for children asks for a file that states the age.
    A model that is ``by_hand_only`` (one for teaching) is never chosen for a scan by itself.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    views: tuple[str, ...] = ()
    ages: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(le=130)]] | None = None
    by_hand_only: bool = False


class OperatingPoint(Record):
    """A threshold on the score, how it was chosen, and what it gave on the named split with the weights of that hash."""

    threshold: Share
    rule: str
    sensitivity: Interval
    specificity: Interval
    positives: int
    negatives: int
    split: str
    weights_sha256: Sha256


class ReliabilityBin(Record):
    """Cases of like score: how many, their mean score, and the share of them that has the label."""

    cases: int
    mean_score: Share
    share: Interval


class LabelFigures(Record):
    """What ``core.training.evaluation`` measured for one label; None where the split has too few cases to say.

    ``iobb`` is the share of findings that a box drawn around the evidence reaches, by threshold ("0.1"), ``false_boxes``
    the mean number of boxes a picture that do not reach 0.1; ``places``: how places fit those known. Predictive values hold
    for this split's share of cases.
    """

    positives: int
    negatives: int
    auroc: Interval | None
    boxes: int = 0
    pointing_game: Share | None = None
    pointing_interval: Interval | None = None
    energy_in_box: Share | None = None
    iobb: dict[str, Share] = Field(default_factory=dict)
    false_boxes: float | None = None
    threshold: Share | None = None
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    ppv: Interval | None = None
    npv: Interval | None = None
    ece: Share | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    places: PlaceFigures | None = None


class MeanFigures(Record):
    """Plain means over the labels whose places are known."""

    labels: tuple[str, ...]
    auroc: Share | None
    pointing_game: Share
    energy_in_box: Share
    iobb: dict[str, Share]
    places: MeanPlaceFigures | None = None


class SubgroupFigures(Record):
    """A part of the pictures, such as women: how many, and the AUROC of the labels that have cases enough."""

    images: int
    auroc: dict[str, Interval]


class LabelProbes(Record):
    """Whether a label can be told without looking where it lies: AUROC of each probe, and where the positive evidence is.

    ``file_size`` and ``brightness`` are the better of both directions, ``border_learnt`` what a logistic regression learns
    from the border in these pictures, out of fold; ``border_only`` and ``region_blanked`` are the model's own answers.
    ``evidence_inside`` is the share that lies off the border, ``evidence_in_region`` that in the blanked region, over
    pictures with the label.
    """

    whole: Interval | None
    file_size: Interval | None
    brightness: Interval | None
    border_learnt: Interval | None = None
    border_only: Interval | None
    region_blanked: Interval | None
    evidence_inside: Share | None
    evidence_in_region: Share | None


class Probes(Record):
    """Shortcut probes: ``border`` is the ring's width in shares of the sides, ``region`` what was blanked.

    ``inside_area`` and ``region_area`` are shares of the picture: what evenly spread evidence would give.
    """

    images: int
    border: Share
    region: str
    inside_area: Share
    region_area: Share
    labels: dict[str, LabelProbes]


class ClassFigures(Record):
    """Figures of an answer that is one class of several: rows of ``confusion`` are the true classes, in the card's order."""

    accuracy: Interval
    macro_auroc: float | None
    calibration_error: Share
    confusion: tuple[tuple[int, ...], ...]


class MaskThreshold(Record):
    """The probability from which a pixel belongs to the outline, how it was chosen and on which split.

    Where the score of the whole picture is below ``least_score`` nothing is outlined.
    """

    value: Annotated[float, Field(gt=0, lt=1)]
    least_score: Share = 0.0
    rule: str
    split: str
    weights_sha256: Sha256


class OverlapFigures(Record):
    """How outlines agree with those drawn by people, over pictures that have one; means with bootstrap intervals over groups.

    Dice 1945 (2 intersection / sum) and intersection over union, each on the picture's own grid.
    """

    pictures: int
    dice: Interval
    median_dice: Share
    iou: Interval


class SegmentationFigures(Record):
    """What ``core.training.outline_figures`` measured.

    ``classes``: the same by the class that the index names. ``missed``: pictures with a lesion of which no pixel was
    outlined. ``normals`` pictures without one, and the share of them in which something was outlined all the same.
    """

    overlap: OverlapFigures
    classes: dict[str, OverlapFigures] = Field(default_factory=dict)
    missed: int
    normals: int
    false_masks: Interval | None = None


class Evaluation(Record):
    """Figures of one data set and split, as written by ``python -m core evaluate``.

    A cross-validation measures ``folds`` networks made in the same way as these weights, each on pictures it has not seen:
    development figures of the recipe. ``missing_regions`` counts boxes and outlines that could not be read or do not fit
    their picture. ``subgroups`` are by what is split (age, sex, view), then by group.
    """

    data: str
    split: str
    kind: Literal["held-out", "cross-validation", "simulated"] = "held-out"
    folds: int = 1
    images: int
    unreadable: int = 0
    missing_regions: int = 0
    labels: dict[str, LabelFigures]
    means: MeanFigures | None = None
    classes: ClassFigures | None = None
    subgroups: dict[str, dict[str, SubgroupFigures]] = Field(default_factory=dict)
    probes: Probes | None = None
    segmentation: SegmentationFigures | None = None
    weights_sha256: Sha256


class TrainingFacts(Record):
    """How the weights were made; the configuration is in the repository."""

    configuration: str
    data: str
    images: int
    simulated_images: int
    patients: int
    epochs: int
    device: str
    minutes: float
    software: dict[str, str]
    started_from: str = ""


class ModelCard(Record):
    """A model: identity, network, scope, thresholds, figures, limits.

    ``head``: what the network's outputs are. "sigmoid": a logit for each label; "softmax": a logit for each of several
    classes; "logit": one output z for two labels, the negative and the positive one, with scores 1 - sigmoid(z) and
    sigmoid(z).
    ``task``: "classification" answers the whole picture; "segmentation" puts out a map of logits for each label, and
    pixels from ``mask_threshold`` on are its outline; "detection" puts out boxes with a label and a score, shown from the
    label's operating point on, and has no ``target_layer``.
    ``published_points``: the operating points on the sigmoid that the model's authors state. Scores are then stretched so
    that each stands at 0.5, as TorchXRayVision does, and 0.5 is no probability.
    ``place_thresholds``: the evidence from which on a label's places are drawn (``core.explaining.places``).
    ``confidence``: how far an answer can be trusted; it counts for the weights it names only (``core.confidence``).
    ``reference_logits`` are its answers to the pictures of ``core.models.self_test``, a row a picture.
    """

    id: Identifier
    version: str
    title: str
    task: Task
    architecture: str
    head: Literal["sigmoid", "softmax", "logit"]
    labels: tuple[Label, ...]
    headline: str
    input: InputSpec
    scope: Scope
    target_layer: str
    evidence_limit: Annotated[float, Field(gt=0)]
    thresholds: dict[str, OperatingPoint] = Field(default_factory=dict)
    place_thresholds: dict[str, PlaceThreshold] = Field(default_factory=dict)
    mask_threshold: MaskThreshold | None = None
    published_points: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    weights_sha256: Sha256
    confidence: Confidence | None = None
    reference_logits: tuple[tuple[float, ...], ...] = ()
    training: TrainingFacts | None = None
    evaluations: tuple[Evaluation, ...] = ()
    intended_use: str
    limits: tuple[str, ...]
    licence: str
    citations: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _labels_agree(self) -> "ModelCard":
        codes = self.label_codes
        if len(set(codes)) != len(codes) or not codes:
            raise ValueError("labels must be named once each, at least one")
        if self.headline not in codes:
            raise ValueError(f"headline {self.headline!r} is not one of the labels")
        if unknown := (set(self.thresholds) | set(self.published_points) | set(self.place_thresholds)) - set(codes):
            raise ValueError(f"thresholds for labels that do not exist: {sorted(unknown)}")
        return self

    @model_validator(mode="after")
    def _head_agrees(self) -> "ModelCard":
        if self.head == "logit" and len(self.labels) != 2:
            raise ValueError(
                f"a head of one logit needs exactly two labels, the negative and the positive one, not {len(self.labels)}"
            )
        if self.published_points and (self.head != "sigmoid" or self.thresholds):
            raise ValueError("published_points are for sigmoid heads, and in place of thresholds measured here")
        return self

    @model_validator(mode="after")
    def _task_agrees(self) -> "ModelCard":
        if self.task != "segmentation" and self.mask_threshold is not None:
            raise ValueError("mask_threshold is for models whose task is segmentation")
        if self.task == "detection" and (self.head != "sigmoid" or self.published_points or self.place_thresholds):
            raise ValueError("a detector needs the head sigmoid, and no published_points or place_thresholds")
        if self.task != "segmentation":
            return self
        if self.mask_threshold is None or self.head != "sigmoid" or self.published_points:
            raise ValueError(
                "a segmentation model needs a mask_threshold and the head sigmoid, and no published_points"
            )
        return self

    @model_validator(mode="after")
    def _figures_are_of_these_weights(self) -> "ModelCard":
        measured: list[OperatingPoint | Evaluation | MaskThreshold | PlaceThreshold] = [
            *self.thresholds.values(),
            *self.place_thresholds.values(),
            *self.evaluations,
            *([self.mask_threshold] if self.mask_threshold else []),
        ]
        if any(figure.weights_sha256 != self.weights_sha256 for figure in measured):
            raise ValueError("its thresholds or figures were measured with other weights; measure these again")
        return self

    @property
    def label_codes(self) -> tuple[str, ...]:
        """The label codes in the order of the logits."""
        return tuple(label.code for label in self.labels)

    @property
    def outputs(self) -> int:
        """How many numbers the network puts out."""
        return 1 if self.head == "logit" else len(self.labels)

    @property
    def is_exclusive(self) -> bool:
        """Whether exactly one of the labels is the answer; else each is an answer of its own."""
        return self.head != "sigmoid"

    def threshold(self, code: str) -> float | None:
        """The label's threshold on the score, or None."""
        if code in self.published_points:
            return 0.5
        point = self.thresholds.get(code)
        return None if point is None else point.threshold

    @property
    def evidence_unit(self) -> str:
        """The unit of a signed evidence map whose cells sum to the logit: log-odds where the head is a sigmoid.

        Of an outline it is what Seg-Grad-CAM gives.
        """
        if self.task == "segmentation":
            return "first-order change of the outline's mean logit"
        return "logit above the labels' mean" if self.head == "softmax" else "log-odds"
