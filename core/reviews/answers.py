"""What the network says of a case, as the store keeps it: scores and thresholds, or the sentence that stands in their place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.analysis import Analysis, analyse
from core.confidence.calibration import calibrated, calibrated_threshold
from core.engines.engine import Run
from core.errors import NoFittingModel, RadLensError
from core.foremost import foremost_label
from core.models.card import ModelCard
from core.models.scope import choose_model
from core.reading.doctor import blocking, examine
from core.reviews.record import NetworkAnswer
from core.reviews.worklist import AnswerState
from core.scan import Scan

if TYPE_CHECKING:
    from core.models.loading import Model


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: as ``Worklist.keep_answer`` takes it. ``foremost``: a score; ``novelty``: distance in gates."""

    state: AnswerState
    sentence: str = ""
    frame: int = 0
    answer: NetworkAnswer | None = field(default=None, repr=False)
    foremost: float | None = None
    novelty: float | None = None


def answer_case(scan: Scan, cards: Iterable[ModelCard], load: "Callable[[str], Model]", run: Run) -> Outcome:
    """Let the model that was made for the scan speak about it, unless something speaks against that. Nothing is raised.

    Of a stack the middle frame is analysed, which is the one that it opens with.
    """
    frame = scan.frame_count // 2
    try:
        card = choose_model(cards, scan)
        if verdict := blocking(examine(scan, card)):
            return Outcome("withheld", f"{verdict.sentence} {verdict.advice}", frame)
        return _outcome(card, analyse(load(card.id), scan, frame, run=run))
    except NoFittingModel as exc:
        return Outcome("withheld", str(exc), frame)
    except RadLensError as exc:
        return Outcome("failed", str(exc), frame)


def network_answer(card: ModelCard, analysis: Analysis) -> NetworkAnswer:
    """What is kept of an analysis. Outside the novelty gate no calibration is claimed."""
    within = analysis.novelty is None or analysis.novelty.reason is None
    shares = dict(calibrated(card, analysis.prediction).scores) if within else {}
    points = {code: calibrated_threshold(card, analysis.prediction, code) for code in shares}
    return NetworkAnswer(
        model_id=analysis.model_id,
        model_version=analysis.model_version,
        weights_sha256=analysis.weights_sha256,
        frame=analysis.frame,
        scores=dict(analysis.prediction.scores),
        thresholds={code: point for code in card.label_codes if (point := card.threshold(code)) is not None},
        calibrated=shares,
        calibrated_thresholds={code: point for code, point in points.items() if point is not None},
        versions=dict(analysis.versions),
    )


def _outcome(card: ModelCard, analysis: Analysis) -> Outcome:
    novel = analysis.novelty
    times = None if novel is None else novel.times
    if novel is not None and novel.reason:
        return Outcome("withheld", novel.reason, analysis.frame, novelty=times)
    scores = analysis.prediction.scores
    answer = network_answer(card, analysis)
    return Outcome("answered", "", analysis.frame, answer, scores[foremost_label(card, scores)], times)
