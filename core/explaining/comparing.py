"""compare(first, second) -> Comparison: where two heatmaps of one scan agree and where not.

The two may come from other methods, labels, layers or models, so that neither units nor grids nor crops need be the same. Each
map is taken as a share of its own colour limit, as it is drawn: the disagreement is the difference of what the reader sees.
The limit of a model is the same for every scan, so that a map which is weak on this scan counts as weak; a limit that belongs
to the scan alone makes the strongest place 1. Beside it stands the rank correlation, which asks for the order of the places
only. Krishna et al. 2022 (arXiv 2202.01602): methods often disagree, and disagreement does not say which of them is wrong.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from core.analysis import Heatmap
from core.errors import UnknownMethod
from core.explaining.registry import find_method
from core.explaining.sanity import rank_correlation
from core.explaining.zones import zone_at
from core.models.card import ModelCard
from core.preprocessing import Letterbox

Map = npt.NDArray[np.float32]

# Cells of the disagreement along the scan's longer side.
GRID = 128
# In shares of the colour scale: less is not to be seen.
LEAST_DIFFERENCE = 0.05
ALIKE, HALF_ALIKE, LITTLE_ALIKE = 0.8, 0.5, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two heatmaps, and how its model's square lies on the scan."""

    heatmap: Heatmap
    letterbox: Letterbox

    @property
    def is_signed(self) -> bool:
        """Whether the map tells evidence against the label from none."""
        try:
            return find_method(self.heatmap.method).signed
        except UnknownMethod:  # an outline's own, which is no choice of the reader's
            return True

    def strength(self, grid: tuple[int, int], *, is_signed: bool) -> Map:
        """The map over the whole scan in shares of its colour limit, -1..1 or 0..1, on a ``grid`` (h, w); 0 where unseen."""
        shares = np.clip(self.heatmap.evidence / np.float32(self.heatmap.limit), -1 if is_signed else 0, 1)
        return self.letterbox.to_scan_grid(shares.astype(np.float32), *grid)

    def seen(self, grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """The cells of a ``grid`` over the scan that the model sees."""
        return self.letterbox.to_scan_grid(np.ones((1, 1), np.float32), *grid) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """``difference`` (h, w) float32 over the whole scan, first less second, in shares of their colour scales.

    0 where one of them does not see. ``is_signed``: whether evidence against counts too, or only what speaks for the labels,
    since one of the maps shows no more. ``correlation`` of ranks, None where a map is flat. ``distance`` is the mean absolute
    difference over the cells that both see.
    """

    difference: Map = field(repr=False)
    is_signed: bool
    correlation: float | None
    distance: float
    zone: str

    def sentence(self) -> str:
        """What a clinician should make of it."""
        furthest = float(self.difference.flat[int(np.abs(self.difference).argmax())])
        if furthest == 0:
            return "The two maps are the same everywhere."
        if self.correlation is None:
            likeness = "One of the maps is flat, so that the order of places cannot be compared."
        else:
            rank = f"{self.correlation:.2f}".replace("-", "−")
            likeness = f"{_likeness(self.correlation)} (rank correlation {rank})."
        if abs(furthest) < LEAST_DIFFERENCE:
            return f"{likeness} No place differs by more than {LEAST_DIFFERENCE:.0%} of the colour scale."
        stronger = "first" if furthest > 0 else "second"
        return (
            f"{likeness} They differ most in the {self.zone}, where the {stronger} is stronger by "
            f"{abs(furthest):.0%} of the colour scale."
        )


def compare(first: Side, second: Side, orientation: tuple[str, str] | None = None) -> Comparison:
    """Two heatmaps of one frame; ``orientation`` is the scan's, to name the place where they differ most."""
    is_signed = first.is_signed and second.is_signed
    box = first.letterbox
    grid = _grid(box.rows, box.columns, GRID)
    own, other = (side.strength(grid, is_signed=is_signed) for side in (first, second))
    both = first.seen(grid) & second.seen(grid)
    difference = np.where(both, own - other, 0).astype(np.float32)
    row, column = np.unravel_index(int(np.abs(difference).argmax()), grid)
    cells = min(*first.heatmap.evidence.shape, *second.heatmap.evidence.shape)
    coarse = _grid(box.rows, box.columns, cells)
    ranked = [_averaged(values, coarse)[_averaged(both.astype(np.float32), coarse) > 0.5] for values in (own, other)]
    return Comparison(
        difference=difference,
        is_signed=is_signed,
        correlation=rank_correlation(*ranked) if ranked[0].size else None,
        distance=float(np.abs(difference[both]).mean()) if both.any() else 0.0,
        zone=zone_at((row + 0.5) / grid[0], (column + 0.5) / grid[1], orientation),
    )


def same_label(card: ModelCard, other: ModelCard, code: str) -> str | None:
    """The label of another model that goes by the same code, None where there is none."""
    return code if code in card.label_codes and code in other.label_codes else None


def _grid(rows: int, columns: int, side: int) -> tuple[int, int]:
    scale = side / max(rows, columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _averaged(values: Map, grid: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(values, grid[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _likeness(correlation: float) -> str:
    if correlation >= ALIKE:
        return "The two rank the places almost alike"
    if correlation >= HALF_ALIKE:
        return "The two agree on which half of the picture matters"
    if correlation >= LITTLE_ALIKE:
        return "The two agree little on which places matter"
    return "The two do not agree on which places matter"
