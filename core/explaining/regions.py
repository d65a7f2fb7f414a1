"""Which regions matter? A large square is erased at every place of a coarse grid, and every label is asked each time.

Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901) with squares a third of the model's picture wide, large enough to have a
name: "the right lower zone". A region whose removal changes nothing may matter all the same, where another one tells the
network as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from core.errors import AnalysisError
from core.explaining.altered import alterable
from core.explaining.asking import LEAST_CHANGE
from core.explaining.erase import Fill
from core.explaining.perturbation import NOBODY, Watch, occlusion
from core.explaining.zones import zone_at
from core.models.loading import Model
from core.preprocessing import Letterbox
from core.scan import Scan

# 36 places, half of the square apart.
CELLS, SIDE = 6, 2


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """``falls`` by label code: how far its logit falls, (CELLS, CELLS) float32 over the model's square, 0 on the bars.

    Signed: negative where erasing raises it. ``zones`` (CELLS * CELLS) names each place, empty on the bars.
    """

    scan_digest: str
    frame: int
    model_id: str
    weights_sha256: str
    fill: Fill
    unit: str
    letterbox: Letterbox
    falls: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    zones: tuple[str, ...] = field(repr=False)

    def strongest(self, label: str) -> tuple[str, float]:
        """The zone whose removal moves the label's logit furthest, and how far it falls."""
        falls = self.falls[label].ravel()
        place = int(np.abs(falls).argmax())
        return self.zones[place], float(falls[place])

    def sentence(self, label: str, words: str) -> str:
        """What matters to a label, called by its ``words``."""
        zone, fall = self.strongest(label)
        if abs(fall) < LEAST_CHANGE:
            return f"{words}: no region matters by itself; the furthest that one moves it is {abs(fall):.2f} ({self.unit})."
        verb = "lowers" if fall > 0 else "raises"
        return f"Erasing the {zone} {verb} {words} by {abs(fall):.2f} ({self.unit}), more than any other region."


def regions_that_matter(
    model: Model, scan: Scan, frame: int = 0, *, fill: Fill = "blur", watch: Watch = NOBODY
) -> Regions:
    """Asks the network CELLS * CELLS times; the watch is told after each batch.

    Raises AnalysisError when an answer is not a finite number, Stopped.
    """
    asked = alterable(model, scan, frame)

    def cover(_picture: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return torch.cat(asked.without(list(places.numpy()), fill))

    falls = occlusion(asked.picture, asked.logits, watch, cells=CELLS, side=SIDE, cover=cover)
    if not bool(torch.isfinite(falls).all()):
        raise AnalysisError("The network's answer is not a finite number, so nothing can be compared.")
    zones = _zones(asked.letterbox, scan.geometry.orientation)
    on_picture = np.array([bool(zone) for zone in zones]).reshape(CELLS, CELLS)
    return Regions(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        weights_sha256=model.card.weights_sha256,
        fill=fill,
        unit=asked.unit,
        letterbox=asked.letterbox,
        falls=MappingProxyType(
            {
                code: np.where(on_picture, one, 0).astype(np.float32)
                for code, one in zip(model.card.label_codes, falls.numpy(), strict=True)
            }
        ),
        zones=zones,
    )


def _zones(box: Letterbox, orientation: tuple[str, str] | None) -> tuple[str, ...]:
    """The zone of each cell's middle, row by row."""
    middles = [(index + 0.5) * box.size / CELLS - 0.5 for index in range(CELLS)]
    return tuple(_zone(*box.to_scan(y, x), box, orientation) for y in middles for x in middles)


def _zone(row: float, column: float, box: Letterbox, orientation: tuple[str, str] | None) -> str:
    down, across = (row + 0.5) / box.rows, (column + 0.5) / box.columns
    return zone_at(down, across, orientation) if 0 <= down < 1 and 0 <= across < 1 else ""
