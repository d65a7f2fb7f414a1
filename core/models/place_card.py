"""The part of the card on findings as places: from which evidence on a place is drawn, and how well places fit those known.

``core.explaining.places`` draws them, ``core.training.place_figures`` chooses the thresholds and measures.
"""

from typing import Annotated

from pydantic import Field

from core.models.card_fields import Interval, Record, Sha256, Share


class PlaceThreshold(Record):
    """The evidence from which on a label's places are drawn, how it was chosen, and what it gave on the named split.

    ``sensitivity`` is the share of ``findings`` that a place hits, ``false_places`` the mean number of places a picture that
    hit none, over ``pictures``.
    """

    threshold: Annotated[float, Field(gt=0)]
    rule: str
    sensitivity: Interval
    false_places: Interval
    findings: int
    pictures: int
    split: str
    weights_sha256: Sha256


class FrocPoint(Record):
    """A point of the free-response ROC: what a threshold on the evidence gives."""

    threshold: float
    false_places: float
    sensitivity: Share


class PlaceFigures(Record):
    """How a label's places fit those known (free-response ROC), over pictures of which all its places are known.

    ``at``: the highest sensitivity at no more than so many false places a picture ("0.125" to "4"), ``mean`` the mean of
    these. ``curve``: by rising false places. At the card's own ``threshold``: ``sensitivity``, ``false_places``, and the share
    of findings that a place reaches with at least so much of the place's box inside the finding's (``iobb``) and with so
    much intersection over union (``iou``).
    """

    findings: int
    pictures: int
    at: dict[str, Interval]
    mean: Interval
    curve: tuple[FrocPoint, ...] = Field(default=(), repr=False)
    threshold: float | None = None
    sensitivity: Interval | None = None
    false_places: Interval | None = None
    iobb: dict[str, Share] = Field(default_factory=dict)
    iou: dict[str, Share] = Field(default_factory=dict)


class MeanPlaceFigures(Record):
    """Plain means over labels of the free-response figures; intervals draw the same patients for all of them."""

    at: dict[str, Interval]
    mean: Interval
