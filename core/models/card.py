"""ModelCard: all that a reader and the code must know of a model, in one JSON file beside its weights.

The words follow the MONAI bundle's metadata and the Hugging Face model card.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Label(_Record):
    """One answer of the network: its stable lower-case code, plain words for people, and what is known to go wrong."""

    code: Identifier
    words: str
    limits: str = ""


class InputSpec(_Record):
    """The tensor that the network takes: ``size`` x ``size``, grey 0..1 after the file's own window, (x - mean) / std.

    ``fit``: the whole picture on a black square, or a picture that fills the square and loses its longer ends.
    """

    channels: Literal[1, 3]
    size: Annotated[int, Field(ge=8, le=2048)]
    fit: Literal["whole", "crop"] = "whole"
    mean: float
    std: Annotated[float, Field(gt=0)]


class Scope(_Record):
    """What the model was made for, in DICOM's words: Modality, BodyPartExamined, ViewPosition. Empty views: any.

    A model that is ``by_hand_only`` (one for teaching) is never chosen for a scan by itself.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    views: tuple[str, ...] = ()
    by_hand_only: bool = False


class Interval(_Record):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class OperatingPoint(_Record):
    """A threshold on the score, how it was chosen, and what it gave on the named split."""

    threshold: Share
    rule: str
    sensitivity: Interval
    specificity: Interval
    positives: int
    negatives: int
    split: str


class LabelFigures(_Record):
    """What ``core.training.evaluation`` measured for one label; None where the split has too few cases to say."""

    positives: int
    negatives: int
    auroc: Interval | None
    boxes: int = 0
    pointing_game: Share | None = None
    energy_in_box: Share | None = None


class ClassFigures(_Record):
    """Figures of an answer that is one class of several: rows of ``confusion`` are the true classes, in the card's order."""

    accuracy: Interval
    macro_auroc: float | None
    calibration_error: Share
    confusion: tuple[tuple[int, ...], ...]


class Evaluation(_Record):
    """Figures of one data set and split, as written by ``python -m core evaluate``."""

    data: str
    split: str
    images: int
    unreadable: int = 0
    labels: dict[str, LabelFigures]
    classes: ClassFigures | None = None
    weights_sha256: Sha256


class TrainingFacts(_Record):
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


class ModelCard(_Record):
    """A model: identity, network, scope, thresholds, figures, limits.

    ``reference_logits`` are its answers to the pictures of ``core.models.self_test``, a row a picture.
    """

    id: Identifier
    version: str
    title: str
    task: Literal["classification"]
    architecture: str
    head: Literal["sigmoid", "softmax"]
    labels: tuple[Label, ...]
    headline: str
    input: InputSpec
    scope: Scope
    target_layer: str
    evidence_limit: Annotated[float, Field(gt=0)]
    thresholds: dict[str, OperatingPoint] = Field(default_factory=dict)
    weights_sha256: Sha256
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
        if unknown := set(self.thresholds) - set(codes):
            raise ValueError(f"thresholds for labels that do not exist: {sorted(unknown)}")
        return self

    @property
    def label_codes(self) -> tuple[str, ...]:
        """The label codes in the order of the logits."""
        return tuple(label.code for label in self.labels)

    @property
    def evidence_unit(self) -> str:
        """The unit of a signed evidence map whose cells sum to the logit: log-odds where the head is a sigmoid."""
        return "log-odds" if self.head == "sigmoid" else "logit above the labels' mean"
