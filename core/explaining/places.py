"""Findings as places: boxes and contours around a classifier's evidence, from a threshold that was tuned on held-out pictures.

This is weakly supervised localisation, as in ChestX-ray8 (Wang et al. 2017, arXiv 1705.02315): the network was taught what
is in a picture, some also by a few boxes, and a box is drawn around what spoke for it. It is no detector.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from core.explaining.zones import zone_at

if TYPE_CHECKING:
    from core.analysis import Analysis, Heatmap
    from core.models.card import ModelCard
    from core.preprocessing import Letterbox
    from core.scan import Geometry

FloatArray = npt.NDArray[np.float32]

WEAKLY_SUPERVISED = (
    "Boxes are drawn around the evidence of a classifier that was taught with few boxes or none; it is not a detector."
)
# Evidence is interpolated to the model's square, but to no more than this: no feature grid is finer.
_MOST_SIDE = 256
# Where heatmaps scaled to 0..255 are cut to draw boxes, each on its own (Wang et al. 2017, arXiv 1705.02315).
_BOX_LEVELS = (60 / 255, 180 / 255)
# A contour's points on a pixel's side, and how far it may run from the region's own edge, in pixels of the square.
_FINE = 4
_CONTOUR_SLACK = 0.3


@dataclass(frozen=True, slots=True)
class ScanBox:
    """A box in pixels of the scan; edges, not centres: the whole of an r x c picture is (0, 0, r, c)."""

    top: float
    left: float
    height: float
    width: float

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """The same as (x, y, width, height)."""
        return self.left, self.top, self.width, self.height

    def size_mm(self, geometry: "Geometry") -> tuple[float, float] | None:
        """Width and height in the patient, or None where the file gives no real pixel spacing."""
        if geometry.spacing_mm is None:
            return None
        down, across = geometry.spacing_mm
        return self.width * across, self.height * down

    def zone(self, geometry: "Geometry", shape: tuple[int, int]) -> str:
        """The third of a picture of ``shape`` in which its centre lies, in words."""
        rows, columns = shape
        return zone_at(
            (self.top + self.height / 2) / rows, (self.left + self.width / 2) / columns, geometry.orientation
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A connected region of a label's evidence at or above the label's place threshold.

    ``contour`` are corners (row, column) of a closed line around it, in pixels of the scan, edges and not centres, as those
    of ``box``. ``peak`` is the strongest interpolated evidence therein, ``total`` the sum of it over the region, in cells of the
    feature grid, and ``share`` the part of the picture's positive evidence that it holds.
    """

    label: str
    box: ScanBox
    contour: tuple[tuple[float, float], ...] = field(repr=False)
    peak: float
    total: float
    share: float


def places_of(analysis: "Analysis", card: "ModelCard", label: str, *, below: bool = False) -> tuple[Place, ...]:
    """Where the evidence of a label reaches its place threshold, the strongest first.

    Nothing for labels below their operating point, unless ``below`` asks for it: the threshold was tuned on labels that are
    called, and a box says "here it is". Nothing where the card has no place threshold, and for maps of another method, layer
    or question than the one it was tuned for. Raises UnknownLabel.
    """
    heatmap = analysis.heatmap(label)
    tuned = card.place_thresholds.get(heatmap.label)
    if tuned is None or not _is_own_map(heatmap, card):
        return ()
    point = card.threshold(heatmap.label)
    if not below and point is not None and analysis.prediction.scores[heatmap.label] < point:
        return ()
    found = _places(heatmap, tuned.threshold, analysis.letterbox)
    return tuple(sorted(found, key=lambda place: -place.peak))


def all_places(analysis: "Analysis", card: "ModelCard") -> dict[str, tuple[Place, ...]]:
    """The places of every label that the card has a place threshold for."""
    return {code: places_of(analysis, card, code) for code in card.label_codes if code in card.place_thresholds}


def evidence_on_square(evidence: FloatArray, letterbox: "Letterbox") -> FloatArray:
    """Evidence (h, w) interpolated to the model's square, (s, s) with s at most 256; 0 on the letterbox's bars.

    Boxes around cells of the grid score the same against boxes by radiologists within the interval, but the reader sees the
    interpolated map, and a line that does not follow it would not be believed.
    """
    side = min(letterbox.size, _MOST_SIDE)
    # Linear about pixel centres, the ends held: what Letterbox.to_scan_grid does on the scan's grid.
    square = np.asarray(cv2.resize(evidence, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    square[~_content(letterbox, side)] = 0
    return square


def boxes_at(square: FloatArray, threshold: float, letterbox: "Letterbox") -> list[ScanBox]:
    """A box for each connected region of an interpolated map (s, s) at or above a threshold."""
    return [_on_scan(box, len(square), letterbox) for box in _connected(square >= threshold)[1]]


def box_on_scan(left: float, top: float, right: float, bottom: float, letterbox: "Letterbox") -> ScanBox:
    """A box of the model's square, by its edges, on the scan and cut at the scan's edges."""
    size = letterbox.size
    (first, start), (last, end) = (_edge(top, left, size, letterbox), _edge(bottom, right, size, letterbox))
    return ScanBox(first, start, last - first, end - start)


def regions_of(mask: npt.NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    """The boxes (rows, columns) of what hangs together in a mask, by four neighbours."""
    return [(slice(top, top + h), slice(left, left + w)) for left, top, w, h in _connected(mask)[1]]


def detected_boxes(evidence: FloatArray) -> list[tuple[slice, slice]]:
    """The boxes that a map draws by itself, as in ChestX-ray8 (Wang et al. 2017, arXiv 1705.02315, section 4.2).

    The positive evidence is scaled so that its maximum is 255 and cut at 60 and at 180, each on its own; a box encloses
    each connected region that is left. No positive evidence, no box.
    """
    peak = float(evidence.max())
    if peak <= 0:
        return []
    return [box for level in _BOX_LEVELS for box in regions_of(evidence >= level * peak)]


def _is_own_map(heatmap: "Heatmap", card: "ModelCard") -> bool:
    own = heatmap.method == "evidence" and heatmap.layer == card.target_layer
    return own and heatmap.against is None and heatmap.absent is None


def _places(heatmap: "Heatmap", threshold: float, letterbox: "Letterbox") -> list[Place]:
    square = evidence_on_square(heatmap.evidence, letterbox)
    regions, boxes = _connected(square >= threshold)
    whole = float(np.maximum(square, 0).sum())
    cells_a_pixel = heatmap.evidence.size / square.size
    places = []
    for number, box in enumerate(boxes, 1):
        inside = regions == number
        total = float(square[inside].sum())
        places.append(
            Place(
                heatmap.label,
                _on_scan(box, len(square), letterbox),
                _contour(square, inside, box, threshold, letterbox),
                peak=float(square[inside].max()),
                total=total * cells_a_pixel,
                share=min(1.0, total / whole),
            )
        )
    return places


def _connected(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], list[tuple[int, int, int, int]]]:
    """The number of each pixel's region, 0 outside, and the regions' boxes (x, y, width, height) by number from 1."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return np.asarray(regions), [(int(x), int(y), int(w), int(h)) for x, y, w, h, _ in stats[1:]]


def _on_scan(box: tuple[int, int, int, int], side: int, letterbox: "Letterbox") -> ScanBox:
    """A box of whole pixels of the interpolated square, on the scan and cut at its edges."""
    x, y, width, height = box
    scale = letterbox.size / side
    return box_on_scan(x * scale, y * scale, (x + width) * scale, (y + height) * scale, letterbox)


def _edge(y: float, x: float, side: int, letterbox: "Letterbox") -> tuple[float, float]:
    """A point of the interpolated square -> (row, column) of the scan, both counted from edges."""
    scale = letterbox.size / side
    row, column = letterbox.to_scan(y * scale - 0.5, x * scale - 0.5)
    return min(max(row + 0.5, 0.0), letterbox.rows), min(max(column + 0.5, 0.0), letterbox.columns)


def _contour(
    square: FloatArray,
    inside: npt.NDArray[np.bool_],
    box: tuple[int, int, int, int],
    threshold: float,
    letterbox: "Letterbox",
) -> tuple[tuple[float, float], ...]:
    """The outer line around a region, a quarter of a pixel fine: where the map between the pixels passes the threshold."""
    x, y, width, height = box
    top, left = max(y - 1, 0), max(x - 1, 0)
    part = np.s_[top : y + height + 1, left : x + width + 1]
    fine = cv2.resize(square[part], None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_LINEAR) >= threshold
    # What hangs together with it only between the pixels is another region.
    own = cv2.dilate(inside[part].astype(np.uint8).repeat(_FINE, 0).repeat(_FINE, 1), np.ones((_FINE + 1, _FINE + 1)))
    line_of = own * fine
    if not line_of.any():
        # A peak that passes the threshold in its own middle only, where no finer place lies: its pixels are its line.
        line_of = inside[part].astype(np.uint8).repeat(_FINE, 0).repeat(_FINE, 1)
    lines, _ = cv2.findContours(np.pad(line_of, 1), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(lines, key=len)
    simple = cv2.approxPolyDP(longest, _FINE * _CONTOUR_SLACK, closed=True)
    # Of a region of few pixels no corner may be left out.
    corners = (simple if len(simple) > 2 else longest)[:, 0].tolist()
    return tuple(_edge(top + (v - 0.5) / _FINE, left + (u - 0.5) / _FINE, len(square), letterbox) for u, v in corners)


def _content(letterbox: "Letterbox", side: int) -> npt.NDArray[np.bool_]:
    """Which pixels of the interpolated square show the picture, by their centres, (side, side)."""
    centres = (np.arange(side) + 0.5) * letterbox.size / side
    down = (centres >= letterbox.top) & (centres <= letterbox.top + letterbox.height)
    across = (centres >= letterbox.left) & (centres <= letterbox.left + letterbox.width)
    return down[:, None] & across[None]
