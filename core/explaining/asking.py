"""ask(model, scan, frame, region, fill) -> Asked: what happens to every score when a place is not there to be seen.

The reader's own question to a heatmap: if the finding really hangs on this place, erasing it must move the answer, and more
than erasing as large a place elsewhere on the body does (``core.explaining.elsewhere``). One batch of pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from core.errors import ConfigurationError
from core.explaining.altered import Alterable, Answers, alterable
from core.explaining.elsewhere import moved
from core.explaining.erase import Fill
from core.models.loading import Model
from core.scan import Scan

Region = npt.NDArray[np.bool_]

ELSEWHERE = 3
# In logits: less moves a score of 0.50 to 0.52 at most, which nobody would notice.
LEAST_CHANGE = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """How one label's answer moved. ``elsewhere``: changes of the logit where as large a place elsewhere was erased."""

    label: str
    logit_before: float
    logit_after: float
    score_before: float
    score_after: float
    elsewhere: tuple[float, ...]

    @property
    def change(self) -> float:
        """Of the logit; negative where erasing lowers the answer."""
        return self.logit_after - self.logit_before

    @property
    def usual(self) -> float | None:
        """How far erasing as much elsewhere moves the logit, up or down, on average; None where nothing finds room."""
        return float(np.abs(self.elsewhere).mean()) if self.elsewhere else None

    @property
    def stands_out(self) -> bool:
        """Whether the place moves the answer visibly, and further than every other place that was tried."""
        return abs(self.change) >= max([LEAST_CHANGE, *(abs(other) for other in self.elsewhere)])


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The changes by label code, in the card's order, with what is needed to repeat them.

    ``share`` of the picture that the network sees was erased; ``unit`` is that of the logits.
    """

    scan_digest: str
    frame: int
    model_id: str
    weights_sha256: str
    fill: Fill
    share: float
    unit: str
    changes: Mapping[str, Change] = field(repr=False)

    @property
    def foremost(self) -> Change:
        """The label whose logit moved furthest."""
        return max(self.changes.values(), key=lambda change: abs(change.change))

    def sentence(self, label: str, words: str) -> str:
        """What happened to a label, called by its ``words``."""
        change = self.changes[label]
        size = abs(change.change)
        if size < LEAST_CHANGE:
            return f"{words} does not hang on this place: it moves by {size:.2f} ({self.unit})."
        verb = "lowers" if change.change < 0 else "raises"
        said = (
            f"Erasing this place {verb} {words} by {size:.2f} ({self.unit}), "
            f"its score from {change.score_before:.2f} to {change.score_after:.2f}"
        )
        if change.usual is None:
            return (
                f"{said}; the picture has no room for as large a place elsewhere, so nothing is there to compare with."
            )
        return f"{said}; as large a place elsewhere moves it by about {change.usual:.2f}."


def ask(model: Model, scan: Scan, frame: int, region: Region, fill: Fill = "blur") -> Asked:
    """``region`` (h, w) bool over the whole scan, on its grid or any coarser one, is filled, and every label asked again.

    Raises ConfigurationError for a region that the network does not see or a fill that does not exist, AnalysisError when
    an answer is not a finite number.
    """
    asked = alterable(model, scan, frame)
    place = asked.on_square(region) & asked.shown
    others = moved(place, asked.shown if (body := asked.body) is None else body, ELSEWHERE)
    answers = asked.answers([asked.picture, *asked.without([place, *others], fill)])
    return Asked(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        weights_sha256=model.card.weights_sha256,
        fill=fill,
        share=float(place.sum() / asked.shown.sum()),
        unit=asked.unit,
        changes=changes_of(asked, answers),
    )


def changes_of(asked: Alterable, answers: Answers) -> Mapping[str, Change]:
    """From the answers to the picture, to it without the place, and without other places, to changes by label."""
    logits, scores = answers.logits, answers.scores
    return MappingProxyType(
        {
            code: Change(
                label=code,
                logit_before=float(logits[0, index]),
                logit_after=float(logits[1, index]),
                score_before=float(scores[0, index]),
                score_after=float(scores[1, index]),
                elsewhere=tuple((logits[2:, index] - logits[0, index]).tolist()),
            )
            for index, code in enumerate(asked.model.card.label_codes)
        }
    )


def box_region(shape: tuple[int, int], top: float, left: float, height: float, width: float) -> Region:
    """A box as a region (rows, columns) of a scan of that ``shape``: in its pixels, edges, not centres.

    A pixel belongs to the box where its centre does.

    Raises ConfigurationError where it has no size or lies outside of the scan.
    """
    rows, columns = shape
    middles = np.arange(rows)[:, None] + 0.5, np.arange(columns)[None] + 0.5
    inside = (middles[0] >= top) & (middles[0] < top + height) & (middles[1] >= left) & (middles[1] < left + width)
    region = np.asarray(inside)
    if not region.any():
        raise ConfigurationError(
            f"A box is top,left,height,width in pixels of a scan of {rows} rows and {columns} columns; "
            f"{top:g},{left:g},{height:g},{width:g} covers none of them."
        )
    return region
