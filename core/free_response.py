"""Free-response ROC: the sensitivity for findings against the mean number of false places a picture.

Bunch et al. 1978 (J. Appl. Photogr. Eng. 4:166); read at 1/8 to 4 false places a picture as in LUNA16 (Setio et al. 2017,
Med. Image Anal. 42:1). What is swept is the threshold on the evidence: places grow, join and vanish with it, so the
sensitivity may fall as places are added, and a rate is given the best threshold that keeps to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.explaining.places import ScanBox, boxes_at, evidence_on_square
from core.metrics import groups_drawn
from core.models.card_fields import Interval
from core.models.place_card import FrocPoint

if TYPE_CHECKING:
    from core.metrics import Box
    from core.preprocessing import Letterbox

Counts = npt.NDArray[np.float64]

# False places a picture at which sensitivities are compared: those of LUNA16 up to 4 (a chest film has two lungs).
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
# A place hits a finding when so much of the place's box lies in the finding's: ChestX-ray8's middle T(IoBB). The centre in
# the box would call a box over the whole picture a hit; intersection over union would ask for the finding's whole extent,
# which no classifier was taught.
HIT = 0.25
# Thresholds that are tried: powers of 2 to a quarter, the same for every model and set, down to 1/32 of a map's own peak.
_STEPS_PER_DOUBLING = 4
_STEPS = 5 * _STEPS_PER_DOUBLING
_REPEATS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a map finds in a picture at each threshold that is tried, from step ``first`` on (``threshold_of``).

    ``iobb`` and ``iou`` (steps, findings) are the best of any place for each known finding, ``false`` (steps,) counts places
    that hit none. Above the last step nothing is found, below the first it is as at the first.
    """

    first: int
    iobb: Counts = field(repr=False)
    iou: Counts = field(repr=False)
    false: Counts = field(repr=False)

    @property
    def findings(self) -> int:
        """How many places are known."""
        return self.iobb.shape[1]

    def at(self, step: int) -> tuple[Counts, Counts, float]:
        """Best IoBB and IoU of each finding, and how many places are false, at a step."""
        index = max(step - self.first, 0)
        if index >= len(self.false):
            return np.zeros(self.findings), np.zeros(self.findings), 0.0
        return self.iobb[index], self.iou[index], float(self.false[index])


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A label's pictures over all steps: ``hits`` and ``false`` (pictures, steps), ``findings`` (pictures,)."""

    steps: tuple[int, ...]
    hits: Counts = field(repr=False)
    false: Counts = field(repr=False)
    findings: Counts = field(repr=False)

    def curve(self) -> tuple[FrocPoint, ...]:
        """The points that no other one betters, by rising false places."""
        sensitivity, false = self._rates(np.ones((1, len(self.findings))))
        points = sorted(zip(false[0], -sensitivity[0], self.steps, strict=True), key=lambda p: (p[0], p[1], -p[2]))
        kept: list[FrocPoint] = []
        for rate, negative, step in points:
            if -negative > (kept[-1].sensitivity if kept else 0):
                kept.append(_point(threshold_of(step), rate, -negative))
        return tuple(kept)

    def best_step(self, most_false: float) -> int | None:
        """The step of the highest sensitivity with no more false places a picture, the highest of equals; None without a hit."""
        sensitivity, false = (values[0] for values in self._rates(np.ones((1, len(self.findings)))))
        allowed = np.where(false <= most_false, sensitivity, 0)
        best = np.flatnonzero(allowed == allowed.max())
        return self.steps[int(best[-1])] if allowed.max() > 0 else None

    def at_rates(self, weights: Counts) -> Counts:
        """The highest sensitivity at each of RATES for each row of weights (rows, pictures); NaN where no finding is drawn."""
        sensitivity, false = self._rates(weights)
        return np.stack([np.where(false <= rate, sensitivity, 0).max(1) for rate in RATES], axis=1)

    def at_step(self, step: int, weights: Counts) -> tuple[Counts, Counts]:
        """Sensitivity and mean false places a picture at a step, (rows,) each."""
        sensitivity, false = self._rates(weights)
        index = self.steps.index(min(max(step, self.steps[0]), self.steps[-1]))
        return sensitivity[:, index], false[:, index]

    def _rates(self, weights: Counts) -> tuple[Counts, Counts]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (
                weights @ self.hits / (weights @ self.findings)[:, None],
                weights @ self.false / weights.sum(1)[:, None],
            )


def threshold_of(step: int) -> float:
    """The threshold of a step: ``2 ** (step / 4)``."""
    return float(2 ** (step / _STEPS_PER_DOUBLING))


def step_of(threshold: float) -> int:
    """The step nearest to a threshold."""
    return round(_STEPS_PER_DOUBLING * math.log2(threshold))


def find(evidence: npt.NDArray[np.float32], letterbox: "Letterbox", findings: "Sequence[Box]") -> Found:
    """The places of a map (h, w) at every threshold, against known findings (x, y, width, height) in pixels of the scan."""
    square = evidence_on_square(evidence, letterbox)
    peak = float(square.max())
    if peak <= 0:
        nothing = np.zeros((0, len(findings)))
        return Found(0, nothing, nothing, np.zeros(0))
    last = math.floor(_STEPS_PER_DOUBLING * math.log2(peak))
    steps = range(last - _STEPS + 1, last + 1)
    rows = [_against(boxes_at(square, threshold_of(step), letterbox), findings) for step in steps]
    iobb, iou, false = (np.array(column) for column in zip(*rows, strict=True))
    return Found(steps[0], iobb, iou, false)


def sweep(pictures: Sequence[tuple[Found, bool]]) -> Sweep:
    """Pictures of a label as one; each with whether its places are shown, which a score below the operating point hides."""
    shown = [found for found, is_shown in pictures if is_shown and len(found.false)]
    first = min((found.first for found in shown), default=0)
    last = max((found.first + len(found.false) for found in shown), default=1)
    steps = tuple(range(first, last + 1))
    rows = [_over(steps, found) if is_shown else (np.zeros(len(steps)),) * 2 for found, is_shown in pictures]
    return Sweep(
        steps,
        hits=np.stack([hits for hits, _ in rows]),
        false=np.stack([false for _, false in rows]),
        findings=np.array([found.findings for found, _ in pictures], np.float64),
    )


def patients_drawn(groups: Sequence[str], *, repeats: int = _REPEATS, seed: int = 0) -> Counts:
    """How often each picture counts in each bootstrap sample, (repeats, pictures), whole groups drawn."""
    owners = np.unique(np.asarray(groups), return_inverse=True)[1]
    return groups_drawn(owners, np.random.default_rng(seed))(repeats).astype(np.float64)


def interval(value: float, drawn: Counts) -> Interval:
    """A figure with the middle 95 % of what bootstrap samples give; samples without a finding are left out."""
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (0.0, 1.0)
    return Interval(value=value, low=float(low), high=float(high))


def rates_with_intervals(values: Counts, drawn: Counts) -> tuple[Mapping[str, Interval], Interval]:
    """Sensitivities at RATES (rates,) and in samples (samples, rates) -> each with its interval, and their mean's."""
    at = {f"{rate:g}": interval(float(values[i]), drawn[:, i]) for i, rate in enumerate(RATES)}
    return at, interval(float(values.mean()), drawn.mean(1))


def overlaps(box: ScanBox, finding: "Box") -> tuple[float, float]:
    """Intersection over the place's box, and over the union of both."""
    x, y, width, height = finding
    across = min(box.left + box.width, x + width) - max(box.left, x)
    down = min(box.top + box.height, y + height) - max(box.top, y)
    common, own = max(across, 0.0) * max(down, 0.0), box.width * box.height
    if common == 0:
        return 0.0, 0.0
    return common / own, common / (own + width * height - common)


def _against(boxes: Sequence[ScanBox], findings: "Sequence[Box]") -> tuple[Counts, Counts, float]:
    """Best IoBB and IoU of each finding by any box, and how many boxes hit none."""
    pairs = np.array([[overlaps(box, finding) for finding in findings] for box in boxes])
    pairs = pairs.reshape(len(boxes), len(findings), 2)
    best = pairs.max(0, initial=0.0)
    hitting = (pairs[..., 0] >= HIT).any(1)
    return best[:, 0], best[:, 1], float((~hitting).sum())


def _over(steps: Sequence[int], found: Found) -> tuple[Counts, Counts]:
    each = [found.at(step) for step in steps]
    return np.array([(iobb >= HIT).sum() for iobb, _, _ in each], float), np.array([false for _, _, false in each])


def _point(threshold: float, false: float, sensitivity: float) -> FrocPoint:
    return FrocPoint(
        threshold=float(f"{threshold:.4g}"),
        false_places=round(float(false), 4),
        sensitivity=round(float(sensitivity), 4),
    )
