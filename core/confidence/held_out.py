"""Scores of pictures that the network which gave them had not seen: what every figure of confidence is made from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import ConfigurationError
from core.models.card import ModelCard

if TYPE_CHECKING:
    from core.training.measuring import Measurements

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Folds that the pictures of one network are shared out over, to hold some of them out of a calibration.
_PARTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """``truths`` (n, labels), NaN where unknown, ``scores`` (n, labels) 0..1, in the order of ``codes``.

    ``parts`` (n,): what is held out together when a calibration is judged, the folds of a cross-validation; ``groups`` (n,):
    numbers of patients or of like pictures. ``subgroups``: age band, sex, view of each picture, where they are known.
    ``networks``: how many networks gave the scores.
    """

    codes: tuple[str, ...]
    truths: FloatArray = field(repr=False)
    scores: FloatArray = field(repr=False)
    parts: IntArray = field(repr=False)
    groups: IntArray = field(repr=False)
    subgroups: tuple[Mapping[str, str], ...] = field(repr=False)
    networks: int

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, which: IntArray | BoolArray) -> "HeldOut":
        """Some of the pictures."""
        chosen = np.arange(len(self))[which]
        return HeldOut(
            self.codes,
            self.truths[chosen],
            self.scores[chosen],
            self.parts[chosen],
            self.groups[chosen],
            tuple(self.subgroups[index] for index in chosen),
            self.networks,
        )

    def in_turn(self) -> Iterator[tuple[BoolArray, BoolArray]]:
        """Each part held out once: (the others, the part) as masks (n,)."""
        for part in np.unique(self.parts):
            yield self.parts != part, self.parts == part


def read_held_out(path: Path, card: ModelCard) -> HeldOut:
    """The lines that ``cross-validate`` wrote.

    Raises ConfigurationError when there are none, when a line cannot be read, holds a number that is not finite, or speaks
    of other labels than the card.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return _of_lines(lines, card)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(
            f"The out-of-fold scores cannot be read or are not those of {card.id}; run cross-validate again."
        ) from exc


def held_out_of(measured: "Measurements", card: ModelCard) -> HeldOut:
    """The same of a split that one network was measured on, shared out into parts by patient or group."""
    codes, examples = card.label_codes, measured.examples
    truths = np.array([[one.truths[code] for code in codes] for one in examples], np.float64)
    scores = np.array([[one.scores[code] for code in codes] for one in examples], np.float64)
    groups = np.unique([one.group for one in examples], return_inverse=True)[1].astype(np.int64)
    headline = truths[:, codes.index(card.headline)]
    parts = _parts(np.where(np.isnan(headline), -1, headline).astype(np.int64), groups)
    return HeldOut(codes, truths, scores, parts, groups, tuple(one.subgroups for one in examples), 1)


def _of_lines(lines: Sequence[Mapping[str, Any]], card: ModelCard) -> HeldOut:
    codes = card.label_codes
    truths = np.array([[_number(line["truths"][code]) for code in codes] for line in lines], np.float64)
    scores = np.array([[float(line["scores"][code]) for code in codes] for line in lines], np.float64)
    within = np.isfinite(scores) & (scores >= 0) & (scores <= 1)
    if not lines or not bool(within.all()) or not bool(np.isin(truths[~np.isnan(truths)], (0, 1)).all()):
        raise ValueError("no line, or a score or truth that is none")
    folds = np.array([line["fold"] for line in lines], np.int64)
    groups = np.array([line["group"] for line in lines], np.int64)
    subgroups = tuple(dict(line.get("subgroups", {})) for line in lines)
    networks = len(np.unique(folds))
    return HeldOut(codes, truths, scores, folds if networks > 1 else _parts(folds, groups), groups, subgroups, networks)


def _number(truth: int | None) -> float:
    return float("nan") if truth is None else float(truth)


def _parts(classes: IntArray, groups: IntArray) -> IntArray:
    """The part of each picture: whole groups, classes shared out evenly unless one is too rare for that."""
    from sklearn.model_selection import StratifiedGroupKFold

    parts = np.zeros(len(classes), np.int64)
    count = min(_PARTS, len(np.unique(groups)))
    if count < 2:
        return parts
    alike = classes if np.unique(classes, return_counts=True)[1].min() >= count else np.zeros_like(classes)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(splitter.split(alike, alike, groups)):
        parts[held_out] = number
    return parts
