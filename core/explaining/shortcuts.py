"""Does the answer lean on where no finding is? Measured by erasing them.

Networks learn whatever tells their pictures apart: side markers, tokens of one hospital, borders (Zech et al. 2018, PLOS
Med. 15:e1002683; DeGrave et al. 2021, Nat. Mach. Intell. 3:610; Geirhos et al. 2020, arXiv 2004.07780). So corners, the border,
markers and writing are erased one after the other, and filled with their neighbours, as if they had never been there. Erasing
anything moves an answer a little; the alarm is raised where it moves far, and much further than erasing as large a place
elsewhere does. Silence is no proof: a shortcut may lie on the body, or be told by several places of which each is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.explaining.altered import Alterable, Answers, alterable
from core.explaining.asking import Change, changes_of
from core.explaining.elsewhere import moved
from core.explaining.erase import Fill
from core.explaining.marks import marks_on
from core.explaining.perturbation import NOBODY, Watch
from core.models.card import ModelCard
from core.models.loading import Model
from core.scan import Scan

Region = npt.NDArray[np.bool_]

FILL: Fill = "neighbour"
# Sides of a corner and width of the border, in shares of the picture's sides.
CORNER, BORDER = 1 / 8, 1 / 24
ELSEWHERE = 4
# In logits. Half a unit moves a score of 0.50 to 0.38 or 0.62: a reader would read it otherwise.
LEAST_CHANGE = 0.5
# A sure answer must lose a quarter of its way to undecided (a logit of 0): one of 12 that falls by 1 leans on something else.
SHARE_OF_ANSWER = 0.25
# How many times as far as the median of other places. One of four may hit the finding itself, so that the largest is no
# yardstick.
TIMES_ELSEWHERE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """One thing that was erased: its ``name`` for people, its ``region`` (size, size) on the square, the changes by label."""

    name: str
    region: Region = field(repr=False)
    share: float
    changes: Mapping[str, Change] = field(repr=False)

    def leans(self, label: str) -> bool:
        """Whether the label's answer leans on it."""
        change = self.changes[label]
        usual = float(np.median(np.abs(change.elsewhere))) if change.elsewhere else 0.0
        least = max(LEAST_CHANGE, SHARE_OF_ANSWER * abs(change.logit_before), TIMES_ELSEWHERE * usual)
        return abs(change.change) >= least


@dataclass(frozen=True, slots=True, eq=False)
class ShortcutScan:
    """All spots, and what is needed to repeat the scan; ``leaning`` are those that raise the alarm, the worst first."""

    scan_digest: str
    frame: int
    model_id: str
    weights_sha256: str
    unit: str
    spots: tuple[Spot, ...] = field(repr=False)

    @property
    def leaning(self) -> tuple[tuple[Spot, Change], ...]:
        """(spot, change of the label that leans on it), furthest moved first."""
        found = [(spot, change) for spot in self.spots for change in spot.changes.values() if spot.leans(change.label)]
        return tuple(sorted(found, key=lambda one: -abs(one[1].change)))

    def sentence(self, words: Mapping[str, str]) -> str:
        """What a clinician should make of it; ``words`` are the labels' names by code."""
        if not self.leaning:
            return (
                "No sign of a shortcut here: neither corners nor border nor marks move an answer much. "
                "That does not exclude one on the body."
            )
        spot, change = self.leaning[0]
        more = len({other.name for other, _ in self.leaning}) - 1
        others = f"; the same is true of {more} more of the places tried" if more else ""
        return (
            f"Do not rely on the answer for {words[change.label]}: it leans on {spot.name}, where no finding is expected. "
            f"{said_of(change, words[change.label], self.unit)}{others}."
        )


def said_of(change: Change, words: str, unit: str) -> str:
    """What erasing did to one label, without a full stop."""
    verb = "lowers" if change.change < 0 else "raises"
    usual = f"{change.usual:.2f}" if change.usual is not None else "an unknown amount"
    return (
        f"Erasing it {verb} {words} by {abs(change.change):.2f} ({unit}), its score from {change.score_before:.2f} to "
        f"{change.score_after:.2f}, while as large a place elsewhere moves it by {usual}"
    )


def find_shortcuts(model: Model, scan: Scan, frame: int = 0, *, watch: Watch = NOBODY) -> ShortcutScan:
    """Asks the network some 30 to 60 times; the watch is told after each batch.

    Raises AnalysisError when an answer is not a finite number, Stopped.
    """
    asked = alterable(model, scan, frame)
    places = _places(asked)
    taken = np.logical_or.reduce([region for _, region in places])
    erased = [(region, *_elsewhere(region, asked.shown & ~taken)) for _, region in places]
    regions = [region for group in erased for region in group]
    pictures = [asked.picture, *asked.without(regions, FILL)]
    answers = asked.answers(pictures, watch)
    return ShortcutScan(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        weights_sha256=model.card.weights_sha256,
        unit=asked.unit,
        spots=_spots(asked, places, [len(group) for group in erased], answers),
    )


def words_of(card: ModelCard) -> dict[str, str]:
    """The labels' names for people, by code."""
    return {label.code: label.words for label in card.labels}


def _spots(
    asked: Alterable, places: Sequence[tuple[str, Region]], counts: Sequence[int], answers: Answers
) -> tuple[Spot, ...]:
    """The answers are those to the picture, and for each place to it without the place and without others as large."""
    spots, start = [], 1
    for (name, region), count in zip(places, counts, strict=True):
        rows = [0, *range(start, start + count)]
        own = Answers(answers.logits[rows], answers.scores[rows])
        share = float(region.sum() / asked.shown.sum())
        spots.append(Spot(name, region, share, changes_of(asked, own)))
        start += count
    return tuple(spots)


def _places(asked: Alterable) -> tuple[tuple[str, Region], ...]:
    """What is erased, by its name: the marks first, then corners and border."""
    shown = asked.shown
    marks = marks_on(asked.picture, asked.content, asked.body)
    named = [(f"a bright mark at the {_side(mark, shown)} of the picture", mark) for mark in marks]
    return (*named, *_corners(shown), ("the border of the picture", _border(shown)))


def _corners(shown: Region) -> tuple[tuple[str, Region], ...]:
    top, bottom, left, right = _extent(shown)
    down, across = round(CORNER * (bottom - top)), round(CORNER * (right - left))
    rows = {"upper": slice(top, top + down), "lower": slice(bottom - down, bottom)}
    columns = {"left": slice(left, left + across), "right": slice(right - across, right)}
    found = []
    for vertical, own_rows in rows.items():
        for horizontal, own_columns in columns.items():
            region = np.zeros_like(shown)
            region[own_rows, own_columns] = True
            found.append((f"the {vertical} {horizontal} corner of the picture", region))
    return tuple(found)


def _border(shown: Region) -> Region:
    top, bottom, left, right = _extent(shown)
    down, across = max(1, round(BORDER * (bottom - top))), max(1, round(BORDER * (right - left)))
    border = shown.copy()
    border[top + down : bottom - down, left + across : right - across] = False
    return border


def _extent(shown: Region) -> tuple[int, int, int, int]:
    """First and last + 1 row, first and last + 1 column."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _elsewhere(region: Region, allowed: Region) -> tuple[Region, ...]:
    """As large places elsewhere: the region moved; where it is too wide for that, squares of a quarter of its size together."""
    return moved(region, allowed, ELSEWHERE) or _scattered(region, allowed)


def _scattered(region: Region, allowed: Region) -> tuple[Region, ...]:
    """Places made of four squares each, as large together as the region; none where they find no room."""
    side = max(1, round((float(region.sum()) / 4) ** 0.5))
    first = np.argwhere(allowed)[0] if allowed.any() else (0, 0)
    square = np.zeros_like(region)
    square[first[0] : first[0] + side, first[1] : first[1] + side] = True
    squares = moved(square, allowed, 4 * ELSEWHERE)
    groups = [squares[start : start + 4] for start in range(0, len(squares) - 3, 4)]
    return tuple(np.logical_or.reduce(group) for group in groups)


def _side(mark: Region, shown: Region) -> str:
    """In which third of the picture it lies, by rows and columns."""
    top, bottom, left, right = _extent(shown)
    rows, columns = np.nonzero(mark)
    down = (rows.mean() - top) / (bottom - top)
    across = (columns.mean() - left) / (right - left)
    vertical = "upper" if down < 1 / 3 else "lower" if down > 2 / 3 else ""
    horizontal = "left" if across < 1 / 3 else "right" if across > 2 / 3 else "middle" if not vertical else ""
    return " ".join(word for word in (vertical, horizontal) if word) + (
        " edge" if not (vertical and horizontal) else ""
    )
