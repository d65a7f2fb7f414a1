"""Shortcut probes: whether a label can be told without looking where it should lie.

A network that reads the hospital's markers, the edge of the film or the file's making instead of the body scores well on
its own set and fails elsewhere (Zech et al. 2018, PLoS Med. 15:e1002683; DeGrave et al. 2021, Nat. Mach. Intell. 3:610).
Maguolo and Nanni 2021 (Inf. Fusion 76:1, arXiv 2004.12823) blanked the lungs and found that sets can be told apart without
them. Asked here, of the model itself: its score on the border alone, and with the region of interest blanked; and of the
set: how far the file's size, the mean brightness or a logistic regression on the border go alone. That regression sees a
coarse border and few pictures: a network trained on borders may find more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from core.analysis import Analysis, FloatArray, prediction_of
from core.metrics import Box, Region
from core.models.card import ModelCard
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

# The ring that is the border, in shares of the picture's sides, and the cells a side that it is learnt from.
BORDER = 0.1
_CELLS = 20
# Ellipses in shares of the picture (centre x and y, half axes), set on the mean of frontal films of adults and children:
# they cover most of both lungs of a well-framed film and are no outline of anybody's.
_LUNGS = ((0.29, 0.47, 0.19, 0.34), (0.71, 0.47, 0.19, 0.34))
_CENTRE = ((0.5, 0.5, 0.35, 0.35),)


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """One picture's probes: the scores of what is left of it by label code, and where the positive evidence lies.

    ``ring`` is the border's grey as coarse cells, to learn from.
    ``inside`` and ``in_region`` are shares of the label's positive evidence (absent where there is none); the areas are
    shares of the picture.
    """

    file_size: int
    brightness: float
    border_only: Mapping[str, float] = field(repr=False)
    region_blanked: Mapping[str, float] = field(repr=False)
    ring: FloatArray = field(repr=False)
    inside: Mapping[str, float] = field(repr=False)
    in_region: Mapping[str, float] = field(repr=False)
    inside_area: float
    region_area: float


class Prober:
    """Probes one picture after another; a picture without a marked finding is blanked where another one had its own.

    So the hole does not say that there was a finding; its size may still say a little of which.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._is_chest = model, is_chest(model.card)
        self._seen: list[Box] = []
        self._borrowed = 0

    def __call__(self, scan: Scan, analysis: Analysis, finding: Region | None, file_size: int) -> Probed:
        """``finding`` (rows, columns) is where a finding is marked, if one is; ``file_size`` in bytes.

        Both changed pictures go through the network as one batch. What is blanked takes the picture's mean.
        """
        entry = to_model_input(scan, 0, self._model.card.input)
        content = _content(entry.letterbox)
        inside, region = _inside(entry.letterbox), content & self._region(entry.letterbox, finding)
        mean = entry.tensor[..., content].mean(-1)[..., None, None]
        border_only, region_blanked = _scores(
            self._model, torch.cat([torch.where(blank, mean, entry.tensor) for blank in (inside, region)])
        )
        spec = self._model.card.input
        return Probed(
            file_size=file_size,
            brightness=float(entry.tensor[..., content].mean()) * spec.std + spec.mean,
            border_only=border_only,
            region_blanked=region_blanked,
            ring=_ring(entry.tensor, entry.letterbox),
            inside=_shares(analysis, inside),
            in_region=_shares(analysis, region),
            inside_area=float(inside.sum() / content.sum()),
            region_area=float(region.sum() / content.sum()),
        )

    @property
    def region_words(self) -> str:
        """What was blanked, in words."""
        if self._is_chest:
            return "two ellipses about where the lungs lie"
        return "the box of the marked finding" if self._seen else "an ellipse over the centre of the picture"

    def _region(self, letterbox: Letterbox, finding: Region | None) -> torch.Tensor:
        """The lungs of a chest film, else the box of a finding, else the centre, (size, size) bool."""
        if self._is_chest:
            return _ellipses(letterbox, _LUNGS)
        box = self._box(finding)
        return _ellipses(letterbox, _CENTRE) if box is None else _rectangle(letterbox, box)

    def _box(self, finding: Region | None) -> Box | None:
        """The box around a finding in shares of the picture, or the next one of those seen before."""
        if finding is not None and bool(finding.any()):
            self._seen.append(_box_around(finding))
            return self._seen[-1]
        self._borrowed += 1
        return self._seen[self._borrowed % len(self._seen)] if self._seen else None


def is_chest(card: ModelCard) -> bool:
    """Whether the model reads chests."""
    return any("CHEST" in part.upper() for part in card.scope.body_parts)


def _scores(model: Model, pictures: torch.Tensor) -> list[Mapping[str, float]]:
    """Scores by label code of each picture (n, channels, size, size)."""
    with torch.inference_mode():
        outputs = model.network(pictures.contiguous(memory_format=torch.channels_last))
    return [prediction_of(model, one).scores for one in outputs]


def _places(box: Letterbox) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the square's pixels lie on the picture, in shares of its sides: y (size, 1) and x (1, size)."""
    steps = torch.arange(box.size) + 0.5
    return ((steps - box.top) / box.height)[:, None], ((steps - box.left) / box.width)[None, :]


def _content(box: Letterbox) -> torch.Tensor:
    """The square's pixels that show the picture and no bar, (size, size) bool."""
    y, x = _places(box)
    return (y >= 0) & (y < 1) & (x >= 0) & (x < 1)


def _inside(box: Letterbox) -> torch.Tensor:
    """All but the ring of the border."""
    y, x = _places(box)
    return (torch.abs(y - 0.5) < 0.5 - BORDER) & (torch.abs(x - 0.5) < 0.5 - BORDER)


def _ellipses(box: Letterbox, ellipses: Sequence[Box]) -> torch.Tensor:
    y, x = _places(box)
    return torch.stack([((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1 for cx, cy, rx, ry in ellipses]).any(0)


def _rectangle(letterbox: Letterbox, box: Box) -> torch.Tensor:
    y, x = _places(letterbox)
    left, top, width, height = box
    return (y >= top) & (y < top + height) & (x >= left) & (x < left + width)


def _box_around(finding: Region) -> Box:
    """The box around a region, in shares of its sides."""
    rows, columns = np.flatnonzero(finding.any(1)), np.flatnonzero(finding.any(0))
    high, wide = finding.shape
    top, left = rows[0] / high, columns[0] / wide
    return float(left), float(top), float((columns[-1] + 1) / wide - left), float((rows[-1] + 1) / high - top)


def _ring(tensor: torch.Tensor, box: Letterbox) -> FloatArray:
    """The border of a picture (1, channels, size, size) as means over cells of 1/20 of its sides: two rings, 144 cells."""
    top, left = max(0, box.top), max(0, box.left)
    content = tensor.mean(1, keepdim=True)[..., top : box.top + box.height, left : box.left + box.width]
    cells = functional.adaptive_avg_pool2d(content, _CELLS)[0, 0]
    width = round(_CELLS * BORDER)
    cells[width:-width, width:-width] = torch.nan
    return cells[~torch.isnan(cells)].numpy()


def _shares(analysis: Analysis, part: torch.Tensor) -> dict[str, float]:
    """The share of each label's positive evidence in a part of the square, by the cover of the grid's cells."""
    shares = {}
    for code, heatmap in analysis.heatmaps.items():
        positive = np.maximum(heatmap.evidence, 0)
        cover = functional.adaptive_avg_pool2d(part.float()[None], positive.shape)[0].numpy()
        if (total := float(positive.sum())) > 0:
            shares[code] = float((positive * cover).sum()) / total
    return shares
