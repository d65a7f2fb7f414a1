"""The part of the card that says how far an answer can be trusted: calibration, thresholds, sets of answers, novelty.

All of it was measured with the weights whose hash it names, or with networks made in the same way, and counts for those
weights only. ``core.confidence`` writes and reads it.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.models.card_fields import Interval, Record, Sha256, Share

CalibrationMethod = Literal["temperature", "platt", "isotonic", "temperature-and-bias"]
Level = Annotated[float, Field(gt=0, lt=1)]


class Tolerance(Record):
    """How much a calibrated score would have moved, had other patients been measured: ``at`` it, from ``low`` to ``high``.

    Both are differences of log-odds: 95 % of bootstrap refits lie between them.
    """

    at: Share
    low: float
    high: float


class AsCalibrated(Record):
    """Log loss and debiased calibration error of scores, before and after the calibration, on named pictures."""

    pictures: int
    log_loss_before: float
    log_loss_after: float
    error_before: Interval
    error_after: Interval


class CalibrationMap(Record):
    """From one label's score to a calibrated one.

    ``slope`` and ``offset`` act on the log-odds of the score, for labels that exclude each other on the logarithm of every
    score before they are made to sum to one; an isotonic map goes through the points (``knots``, ``values``) instead.
    ``floor`` is the smallest score that so few pictures can support: it keeps every score off 0 and 1.
    """

    method: CalibrationMethod
    slope: Annotated[float, Field(gt=0)] = 1.0
    offset: float = 0.0
    knots: tuple[float, ...] = ()
    values: tuple[Share, ...] = ()
    floor: Annotated[float, Field(gt=0, lt=0.5)]

    @model_validator(mode="after")
    def _points_agree(self) -> "CalibrationMap":
        if len(self.knots) != len(self.values) or (self.method == "isotonic") != bool(self.knots):
            raise ValueError("an isotonic calibration needs as many values as knots, other calibrations have none")
        return self


class Calibration(CalibrationMap):
    """One label's map and how it was found.

    ``tried`` is the held-out log loss of each method, the least of which was taken; ``figures`` are held out as well: each
    part of the pictures was calibrated by the others. ``own`` are those of the card's own weights on pictures they were not
    trained on. ``cases`` pictures were there, ``positives`` of them with the label.
    """

    cases: int
    positives: int
    tried: dict[str, float]
    figures: AsCalibrated
    own: AsCalibrated | None = None
    tolerance: tuple[Tolerance, ...] = ()

    @property
    def prevalence(self) -> float:
        """The share of pictures with the label in the data that it was made from; calibrated scores hold there."""
        return self.positives / self.cases


class RocTable(Record):
    """What thresholds give on a split that was not trained on: score >= threshold counts as positive.

    ``thresholds`` fall; ``hits`` and ``false_alarms`` count pictures with and without the label that reach them.
    """

    thresholds: tuple[Share, ...]
    hits: tuple[int, ...]
    false_alarms: tuple[int, ...]
    positives: int
    negatives: int
    split: str

    @model_validator(mode="after")
    def _columns_agree(self) -> "RocTable":
        if not len(self.thresholds) == len(self.hits) == len(self.false_alarms) > 0:
            raise ValueError("thresholds, hits and false_alarms must be as many, at least one")
        return self


class SetLevel(Record):
    """Sets of answers at one level of coverage.

    ``least``: an answer belongs to the set when its score is at least this. ``coverage`` is the share of pictures whose
    true answer was in the set, held out, by true answer and for ``all``; ``bare_coverage`` the same before the most likely
    answer is put into every set. ``alone`` is the share of sets of one answer, ``mean_size`` their mean number of answers.
    ``subgroups``: coverage by what is split (age, sex, view), then by group. ``own_coverage``: that of the card's own weights
    on pictures they were not trained on, where the limits come from networks made in the same way.
    """

    level: Level
    least: dict[str, Share]
    coverage: dict[str, Interval]
    bare_coverage: dict[str, Interval]
    mean_size: float
    alone: Share
    subgroups: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    own_coverage: Interval | None = None


class AnswerSets(Record):
    """The levels that there are pictures enough for; ``counts`` is how many pictures have each answer.

    ``balance``, for a label that is present or absent: the score that is as unusual with the label as without it.
    """

    counts: dict[str, int]
    balance: Share | None = None
    levels: tuple[SetLevel, ...] = ()


class NoveltyFigures(Record):
    """Pictures of one kind: how many, the share that the gate holds back, and the AUROC of in-domain against them."""

    pictures: int
    held_back: Interval
    auroc: Share | None = None


class NoveltyGate(Record):
    """Where a picture is too unlike those that the model was made for.

    ``file_sha256`` is the hash of the statistics beside the card, ``gate`` the largest distance that passes, ``method`` how
    it is measured, ``tried`` the AUROC of each way that was tried, each with a kind of picture left out in turn.
    ``own`` are pictures of the model's own domain that neither it nor the statistics were made from; ``others`` by kind.
    """

    file_sha256: Sha256
    method: str
    gate: Annotated[float, Field(gt=0)]
    rule: str
    data: str
    looks: tuple[str, ...]
    tried: dict[str, Share]
    own: NoveltyFigures
    others: dict[str, NoveltyFigures]
    all_others: NoveltyFigures


class Confidence(Record):
    """How far the model's answers can be trusted, for the weights of that hash and no others.

    ``networks`` is how many networks made in the same way gave the scores of ``data`` (1: these weights themselves, on
    pictures they were not trained on), ``pictures`` how many there are.
    """

    weights_sha256: Sha256
    data: str
    networks: int
    pictures: int
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    curves: dict[str, RocTable] = Field(default_factory=dict)
    sets: dict[str, AnswerSets] = Field(default_factory=dict)
    novelty: NoveltyGate | None = None
