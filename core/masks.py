"""Mask: what a segmentation network outlines, on the model's square and on the scan's grid, with its area."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.models.card import ModelCard
from core.models.segmentation_networks import TOTAL_STRIDE
from core.preprocessing import Letterbox

# Scores closer to 0 or 1 are taken as this close when they are put in log-odds.
PRESENCE_EPS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One label's outline.

    ``probability`` (size, size) float32 on the model's square, 0 on the letterbox's bars; a pixel from ``threshold`` on is
    outlined, in a picture whose ``score`` reaches ``least_score``. The score is the highest probability that any window of
    16 x 16 pixels of the square has on average: one bright pixel is no lesion, and a lesion need not fill the picture.
    ``share`` is the outlined part of the scan's pixels, ``area_mm2`` its area in the patient, None where the
    file gives no real pixel spacing.
    """

    label: str
    probability: npt.NDArray[np.float32] = field(repr=False)
    threshold: float
    score: float
    least_score: float
    letterbox: Letterbox
    share: float
    area_mm2: float | None

    @property
    def outlined(self) -> npt.NDArray[np.bool_]:
        """The outline on the model's square, (size, size)."""
        return self._cut(self.probability)

    @property
    def outcome(self) -> str | None:
        """A sentence where nothing is outlined, else None."""
        if self.share > 0:
            return None
        why = f"no place reaches the probability of {self.threshold:g}"
        if self.score < self.least_score:
            why = f"the score is below {self.least_score:g}, from which on an outline is drawn"
        return f"Nothing is outlined: {why}. That does not mean that nothing is there."

    def on_scan_grid(self, rows: int | None = None, columns: int | None = None) -> npt.NDArray[np.bool_]:
        """The outline at every pixel of the scan, or of a copy of it in another size, (rows, columns).

        The probability is interpolated and then compared, so that the edge is as smooth as the network's answer.
        """
        return self._cut(self.letterbox.to_scan_grid(self.probability, rows, columns))

    def _cut(self, probability: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        return (probability >= np.float32(self.threshold)) & (self.score >= self.least_score)


def masks_of(
    card: ModelCard, logits: torch.Tensor, letterbox: Letterbox, spacing_mm: tuple[float, float] | None
) -> Mapping[str, Mask]:
    """Logits (labels, size, size) -> every label's mask. ``spacing_mm`` is the scan's, between rows and between columns."""
    probabilities = torch.sigmoid(logits) * _content(letterbox)
    scores = scores_of(probabilities[None])[0].tolist()
    return MappingProxyType(
        {
            code: _mask(card, code, _frozen(probability), score, letterbox, spacing_mm)
            for code, probability, score in zip(card.label_codes, probabilities, scores, strict=True)
        }
    )


def scores_of(probabilities: torch.Tensor) -> torch.Tensor:
    """Probability maps (n, labels, size, size) -> each label's score for the whole picture, (n, labels)."""
    return functional.avg_pool2d(probabilities, TOTAL_STRIDE, 1).amax((2, 3))


def presence_logits(masks: Mapping[str, Mask]) -> torch.Tensor:
    """Each label's score for the whole picture, (labels,), in log-odds."""
    return torch.logit(torch.tensor([mask.score for mask in masks.values()]), eps=PRESENCE_EPS)


def _mask(
    card: ModelCard,
    code: str,
    probability: npt.NDArray[np.float32],
    score: float,
    letterbox: Letterbox,
    spacing_mm: tuple[float, float] | None,
) -> Mask:
    rule = card.mask_threshold
    threshold, least = (0.5, 0.0) if rule is None else (rule.value, rule.least_score)
    mask = Mask(code, probability, threshold, score, least, letterbox, 0.0, None)
    outlined = int(mask.on_scan_grid().sum())
    area = None if spacing_mm is None else outlined * spacing_mm[0] * spacing_mm[1]
    return replace(mask, share=outlined / (letterbox.rows * letterbox.columns), area_mm2=area)


def _content(letterbox: Letterbox) -> torch.Tensor:
    """1 where the square shows the picture, 0 on its bars, (size, size)."""
    content = torch.zeros(letterbox.size, letterbox.size)
    top, left = max(0, letterbox.top), max(0, letterbox.left)
    content[top : letterbox.top + letterbox.height, left : letterbox.left + letterbox.width] = 1
    return content


def _frozen(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    array = np.ascontiguousarray(tensor.numpy(), np.float32)
    array.setflags(write=False)
    return array
