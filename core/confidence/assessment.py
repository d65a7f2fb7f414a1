"""assess(model, scan): all that can be said of how far one answer can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.analysis import Analysis, analyse
from core.confidence.calibration import Calibrated, calibrated
from core.confidence.conformal import Answers, answer_sets
from core.confidence.novelty import Novelty
from core.confidence.stability import COPIES, Stability, stability
from core.confidence.words import frequency, percent, set_words
from core.explaining.perturbation import NOBODY, Watch
from core.models.card import ModelCard
from core.models.card_fields import Interval
from core.models.loading import Model
from core.models.scope import mismatch
from core.scan import Scan

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """One scan's answer with its calibrated scores, its sets at ``level``, novelty and, where asked for, stability.

    ``novelty`` is None where the model has no gate.
    ``withheld`` says why the headline is not to be shown, by the file's tags or by the picture; None where it is.
    """

    card: ModelCard
    analysis: Analysis
    calibrated: Calibrated
    level: float
    sets: Mapping[str, Answers | None]
    novelty: Novelty | None
    stability: Stability | None
    withheld: str | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader must know beside the table."""
        said = dict.fromkeys((self.withheld, _novelty_words(self.novelty), self.calibrated.missing))
        return tuple(sentence for sentence in said if sentence)

    def row(self, code: str) -> dict[str, str]:
        """One label in words: its score, calibrated, the set it belongs to, and how far it moves."""
        moves = self.stability and (self.stability.calibrated.get(code) or self.stability.scores[code])
        one = self.calibrated.intervals.get(code)
        return {
            "label": code,
            "score": f"{self.analysis.prediction.scores[code]:.3f}",
            "calibrated": "uncalibrated" if one is None else f"{_span(one)}: {frequency(one.value)}",
            "set": set_words(self.card, self.sets, code),
            "stability": _span(moves) if moves else "",
        }

    def record(self) -> Record:
        """The same as numbers."""
        novel, steady = self.novelty, self.stability
        return {
            "frame": self.analysis.frame, "digest": self.analysis.scan_digest, "model": self.card.id,
            "weights": self.analysis.weights_sha256, "withheld": self.withheld,
            "scores": dict(self.analysis.prediction.scores),
            "calibrated": {code: _numbers(one) for code, one in self.calibrated.intervals.items()},
            "uncalibrated": self.calibrated.missing, "level": self.level,
            "sets": {name: None if one is None else list(one.answers) for name, one in self.sets.items()},
            "novelty": None if novel is None else {
                "distance": novel.distance, "gate": novel.gate, "outside": novel.outside, "nearest": novel.nearest,
                "odd": novel.odd, "reason": novel.reason,
            },
            "stability": None if steady is None else {
                "copies": steady.copies, "turned": dict(steady.turned),
                "scores": {code: _numbers(one) for code, one in steady.scores.items()},
                "calibrated": {code: _numbers(one) for code, one in steady.calibrated.items()},
            },
        }  # fmt: skip


def assess(
    model: Model, scan: Scan, frame: int = 0, *, level: float = 0.9, copies: int = COPIES, watch: Watch = NOBODY
) -> Assessment:
    """One forward pass, and with ``copies`` above 0 as many more for the stability.

    Raises AnalysisError when an answer is not a finite number, Stopped when the watch says so.
    """
    analysis, card = analyse(model, scan, frame), model.card
    scores = analysis.prediction.scores
    novel = analysis.novelty
    return Assessment(
        card=card,
        analysis=analysis,
        calibrated=calibrated(card, analysis.prediction),
        level=level,
        sets=answer_sets(card, scores, level),
        novelty=novel,
        stability=stability(model, scan, frame, watch, copies=copies) if copies else None,
        withheld=mismatch(card, scan) or (novel.reason if novel else None),
    )


def _novelty_words(novel: Novelty | None) -> str:
    if novel is None:
        return "The model has no novelty gate: nobody checked whether it was made for such a picture."
    return novel.reason or f"Like the pictures it was made from, nearest: {novel.nearest}."


def _span(interval: Interval) -> str:
    return f"{percent(interval.value)} ({percent(interval.low)} to {percent(interval.high)})"


def _numbers(interval: Interval) -> Record:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
