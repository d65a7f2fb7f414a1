"""Finding the map from scores to calibrated ones: every method held out in turn, the one with the least log loss taken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from core.confidence.calibration import expit, log_odds, log_scores, of_classes, of_label, softmax
from core.confidence.calibration_error import bins_of, calibration_error, class_log_loss, log_loss
from core.confidence.held_out import FloatArray, HeldOut, IntArray
from core.models.card_fields import Interval
from core.models.confidence_card import AsCalibrated, Calibration, CalibrationMap, CalibrationMethod, Tolerance

# Fewer pictures with a label, or without it, cannot tell how often a score is right.
LEAST_CASES = 20
REFITS = 200
_STEEPEST = 3.0

# Truths (n,) and scores (n, columns) -> a map for each column.
Maps = tuple[CalibrationMap, ...]
Fit = Callable[[FloatArray, FloatArray], Maps]
# Maps and scores (n, columns) -> calibrated scores (n, columns).
Apply = Callable[[Sequence[CalibrationMap], FloatArray], FloatArray]
Loss = Callable[[FloatArray, FloatArray], float]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of head is calibrated: its methods, the simplest first, how maps are applied and judged."""

    methods: Mapping[CalibrationMethod, Fit]
    apply: Apply
    loss: Loss


def calibrations(
    held_out: HeldOut, *, exclusive: bool, own: HeldOut | None = None, refits: int = REFITS, seed: int = 0
) -> dict[str, Calibration]:
    """A calibration for every label with cases enough: made from ``held_out``, looked at on ``own`` as well.

    The maps for the card are made from all pictures; their figures are held out part by part. ``own`` are scores of the
    card's own weights, where ``held_out`` comes from networks made in the same way. Labels that exclude each other are
    calibrated together (``exclusive``), or not at all. ``refits``: how many draws of patients tell what a score may be off by.
    """
    if exclusive:
        return _of_all(held_out, own, refits, seed)
    found = {code: _of_one(held_out, own, code, refits, seed) for code in held_out.codes}
    return {code: calibration for code, calibration in found.items() if calibration is not None}


def _of_one(held_out: HeldOut, own: HeldOut | None, code: str, refits: int, seed: int) -> Calibration | None:
    part = _known(held_out, code)
    column = part.codes.index(code)
    if _rarest(part.truths[:, column]) < LEAST_CASES:
        return None
    truths, scores = part.truths[:, column], part.scores[:, [column]]
    found = _found(_LABEL, part, truths, scores, refits, seed)
    if found is None:
        return None
    looked = _looked_at(_LABEL, found.maps, None if own is None else _known(own, code), [column], seed)
    return found.of_column(0, truths, looked[0], seed)


def _of_all(held_out: HeldOut, own: HeldOut | None, refits: int, seed: int) -> dict[str, Calibration]:
    part = _complete(held_out)
    truths = part.truths.argmax(1).astype(np.float64)
    columns = range(len(part.codes))
    if min((int((truths == column).sum()) for column in columns), default=0) < LEAST_CASES:
        return {}
    found = _found(_CLASSES, part, truths, part.scores, refits, seed)
    if found is None:
        return {}
    looked = _looked_at(_CLASSES, found.maps, None if own is None else _complete(own), list(columns), seed)
    return {
        code: found.of_column(column, (truths == column).astype(np.float64), looked[column], seed)
        for column, code in enumerate(part.codes)
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The maps of all columns, the log loss of each method, and scores (n, columns) before, held out, and as mapped."""

    kind: _Kind
    part: HeldOut
    maps: Maps
    tried: dict[str, float]
    before: FloatArray
    after: FloatArray
    mapped: FloatArray
    refits: FloatArray

    def of_column(self, column: int, truths: FloatArray, own: AsCalibrated | None, seed: int) -> Calibration:
        """One label's calibration."""
        return Calibration(
            **self.maps[column].model_dump(),
            cases=len(truths),
            positives=int(truths.sum()),
            tried=self.tried,
            figures=_as_calibrated(truths, self.before[:, column], self.after[:, column], self.part.groups, seed),
            own=own,
            tolerance=tolerance_of(self.mapped[:, column], self.refits[:, :, column]),
        )


def _found(kind: _Kind, part: HeldOut, truths: FloatArray, scores: FloatArray, refits: int, seed: int) -> _Found | None:
    """The best method, or None where no part of the pictures can be held out."""
    turns = list(part.in_turn())
    if len(turns) < 2:
        return None
    held: dict[CalibrationMethod, FloatArray] = {}
    for method, fit in kind.methods.items():
        held[method] = np.empty_like(scores)
        for others, this in turns:
            held[method][this] = kind.apply(fit(truths[others], scores[others]), scores[this])
    losses = {method: kind.loss(truths, after) for method, after in held.items()}
    best = min(losses, key=lambda method: losses[method])
    tried = {str(method): loss for method, loss in losses.items()}
    maps = kind.methods[best](truths, scores)
    again = _refits(kind.methods[best], kind.apply, truths, scores, part.groups, refits, seed)
    return _Found(kind, part, maps, tried, scores, held[best], kind.apply(maps, scores), again)


def _refits(
    fit: Fit, apply: Apply, truths: FloatArray, scores: FloatArray, groups: IntArray, refits: int, seed: int
) -> FloatArray:
    """The scores as maps made from other draws of patients would calibrate them, (refits, n, columns)."""
    random = np.random.default_rng(seed)
    names, index = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
    found = []
    for _ in range(refits):
        drawn = np.concatenate([members[one] for one in random.integers(0, len(names), len(names))])
        found.append(apply(fit(truths[drawn], scores[drawn]), scores))
    return np.stack(found)


def tolerance_of(mapped: FloatArray, refits: FloatArray) -> tuple[Tolerance, ...]:
    """By bins of the calibrated score (n,): within what differences of log-odds 95 % of the refits (refits, n) stay."""
    bins, moves = bins_of(mapped), log_odds(refits) - log_odds(mapped)
    found = []
    for number in range(int(bins.max()) + 1):
        low, high = np.percentile(moves[:, bins == number], (2.5, 97.5))
        at = float(mapped[bins == number].mean())
        found.append(Tolerance(at=at, low=min(0.0, float(low)), high=max(0.0, float(high))))
    return tuple(found)


def _looked_at(
    kind: _Kind, maps: Maps, own: HeldOut | None, columns: Sequence[int], seed: int
) -> list[AsCalibrated | None]:
    """How scores of the card's own weights come out of the maps, by column."""
    if own is None or not len(own):
        return [None] * len(columns)
    before = own.scores[:, list(columns)]
    after = kind.apply(maps, before)
    return [
        _as_calibrated(own.truths[:, column], before[:, place], after[:, place], own.groups, seed)
        for place, column in enumerate(columns)
    ]


def _as_calibrated(
    truths: FloatArray, before: FloatArray, after: FloatArray, groups: IntArray, seed: int
) -> AsCalibrated:
    def error(scores: FloatArray) -> Interval:
        return calibration_error(truths, scores, groups, seed=seed)

    return AsCalibrated(
        pictures=len(truths),
        log_loss_before=log_loss(truths, before),
        log_loss_after=log_loss(truths, after),
        error_before=error(before),
        error_after=error(after),
    )


def _known(held_out: HeldOut, code: str) -> HeldOut:
    """The pictures of which the label is known."""
    return held_out.taken(~np.isnan(held_out.truths[:, held_out.codes.index(code)]))


def _complete(held_out: HeldOut) -> HeldOut:
    """The pictures with exactly one answer."""
    return held_out.taken(~np.isnan(held_out.truths).any(1) & (np.nansum(held_out.truths, 1) == 1))


def _rarest(truths: FloatArray) -> int:
    return int(min((truths == 1).sum(), (truths == 0).sum()))


def _floor(cases: int, answers: int) -> float:
    return 1 / (cases + answers)


def temperature(truths: FloatArray, scores: FloatArray) -> Maps:
    """One number that divides the log-odds (Guo et al. 2017, arXiv 1706.04599)."""
    logits = log_odds(scores[:, 0])
    slope = _best_slope(lambda by: log_loss(truths, expit(by * logits)))
    return (CalibrationMap(method="temperature", slope=slope, floor=_floor(len(truths), 2)),)


def platt(truths: FloatArray, scores: FloatArray) -> Maps:
    """A line through the log-odds (Platt 1999), rising; truths drawn in as there, (n+ + 1) / (n+ + 2) and 1 / (n- + 2)."""
    logits, positives = log_odds(scores[:, 0]), float(truths.sum())
    drawn_in = np.where(truths == 1, (positives + 1) / (positives + 2), 1 / (len(truths) - positives + 2))

    def loss(values: FloatArray) -> float:
        z = np.exp(values[0]) * logits + values[1]
        return float((np.logaddexp(0, z) - drawn_in * z).mean())

    steepness, offset = minimize(loss, np.zeros(2), bounds=[(-2 * _STEEPEST, _STEEPEST), (-20, 20)]).x
    floor = _floor(len(truths), 2)
    return (CalibrationMap(method="platt", slope=float(np.exp(steepness)), offset=float(offset), floor=floor),)


def isotonic(truths: FloatArray, scores: FloatArray) -> Maps:
    """The rising steps that fit best (Zadrozny and Elkan 2002, doi:10.1145/775047.775151), straight lines between."""
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores[:, 0], truths)
    knots, values = fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()
    return (CalibrationMap(method="isotonic", knots=knots, values=values, floor=_floor(len(truths), 2)),)


def one_temperature(truths: FloatArray, scores: FloatArray) -> Maps:
    """One number that divides the logits of all classes (Guo et al. 2017)."""
    logits, answers = log_scores(scores), truths.astype(np.int64)
    slope = _best_slope(lambda by: class_log_loss(answers, softmax(by * logits)))
    floor = _floor(len(truths), scores.shape[1])
    return (CalibrationMap(method="temperature", slope=slope, floor=floor),) * scores.shape[1]


def temperature_and_bias(truths: FloatArray, scores: FloatArray) -> Maps:
    """The same with a number added to each class (Alexandari et al. 2020, arXiv 1901.06852), the first one's being 0."""
    logits, answers = log_scores(scores), truths.astype(np.int64)
    classes = scores.shape[1]

    def loss(values: FloatArray) -> float:
        offsets = np.concatenate([[0.0], values[1:]])
        return class_log_loss(answers, softmax(np.exp(values[0]) * logits + offsets))

    bounds = [(-_STEEPEST, _STEEPEST)] + [(-20.0, 20.0)] * (classes - 1)
    found = minimize(loss, np.zeros(classes), bounds=bounds).x
    slope, offsets, floor = float(np.exp(found[0])), [0.0, *found[1:].tolist()], _floor(len(truths), classes)
    return tuple(
        CalibrationMap(method="temperature-and-bias", slope=slope, offset=offset, floor=floor) for offset in offsets
    )


def _best_slope(loss: Callable[[float], float]) -> float:
    found = minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=(-_STEEPEST, _STEEPEST), method="bounded")
    return float(np.exp(found.x))


def _label_apply(maps: Sequence[CalibrationMap], scores: FloatArray) -> FloatArray:
    return of_label(maps[0], scores[:, 0])[:, None]


_LABEL = _Kind(
    {"temperature": temperature, "platt": platt, "isotonic": isotonic},
    _label_apply,
    lambda truths, scores: log_loss(truths, scores[:, 0]),
)
_CLASSES = _Kind(
    {"temperature": one_temperature, "temperature-and-bias": temperature_and_bias},
    of_classes,
    lambda truths, scores: class_log_loss(truths.astype(np.int64), scores),
)
