"""Sets of answers that hold the true one as often as stated: split conformal prediction, for each answer on its own.

Vovk, Gammerman and Shafer 2005 (Algorithmic Learning in a Random World; class-conditional: Mondrian, 4.5); Angelopoulos and
Bates 2021 (arXiv 2107.07511). The scores come from networks that had not seen the pictures (cross-conformal: Vovk 2015,
doi:10.1007/s10472-013-9368-4). The promise holds for pictures drawn as these were, and for each answer, common or rare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.confidence.calibration import confidence_of
from core.errors import AnalysisError
from core.models.card import ModelCard
from core.models.confidence_card import AnswerSets

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEVELS = (0.8, 0.9, 0.95)
ABSENT, PRESENT = "absent", "present"
# The one entry of the card where labels exclude each other.
CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that cannot be ruled out at a level of coverage: label codes, or "present" and "absent" of one label."""

    level: float
    answers: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether the model cannot tell: more than one answer is left."""
        return len(self.answers) > 1


def answer_sets(card: ModelCard, scores: Mapping[str, float], level: float) -> dict[str, Answers | None]:
    """The set of each label at a level, or one set under "classes" where labels exclude each other; None: not available.

    A level is not available where the data has too few pictures with an answer: it takes 19 for 95 %. Raises AnalysisError
    when a score is not a number from 0 to 1.
    """
    if not all(0 <= scores[code] <= 1 for code in card.label_codes):
        raise AnalysisError("A score is not a number from 0 to 1, so there is no result for this scan.")
    found = confidence_of(card)
    known = {} if found is None else found.sets
    if card.is_exclusive:
        row = np.array([[scores[code] for code in card.label_codes]])
        return {CLASSES: _set_of(known.get(CLASSES), card.label_codes, row, level)}
    return {
        code: _set_of(known.get(code), (ABSENT, PRESENT), both_sides(np.array([scores[code]])), level)
        for code in card.label_codes
    }


def sets_of(scores: FloatArray, least: Sequence[float], balance: float | None) -> BoolArray:
    """Which answers are in the set of each picture, (n, answers), never none: see ``most_likely``."""
    inside = scores >= np.array(least)
    top = most_likely(scores, balance)
    wanted = np.ones(len(scores), np.bool_) if balance is None else ~inside.any(1)
    inside[np.flatnonzero(wanted), top[wanted]] = True
    return inside


def most_likely(scores: FloatArray, balance: float | None) -> IntArray:
    """The answer that no set may lack: the class with the highest score, which is in every set.

    Of a label that is present or absent, (n, 2), the side of ``balance`` on which the score lies; it is put into sets that
    would be empty, which happens to scores between most of those with the label and most of those without it.
    """
    return scores.argmax(1) if balance is None else (scores[:, 1] >= balance).astype(np.int64)


def both_sides(present: FloatArray) -> FloatArray:
    """Scores (n,) of a label as those of absent and present, (n, 2)."""
    return np.stack([1 - present, present], 1)


def _set_of(sets: AnswerSets | None, answers: Sequence[str], scores: FloatArray, level: float) -> Answers | None:
    found = None if sets is None else next((one for one in sets.levels if one.level == level), None)
    if sets is None or found is None:
        return None
    inside = sets_of(scores, [found.least[answer] for answer in answers], sets.balance)[0]
    return Answers(level, tuple(answer for answer, kept in zip(answers, inside, strict=True) if kept))
