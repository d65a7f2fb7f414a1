"""Findings set into healthy pictures: more places and surroundings for findings that are rare.

As in Ghiasi et al. 2021 (arXiv 2012.07177), but into the same place and with a seam that fades. Half of what is
transplanted is healthy tissue: whoever learns the seam instead of the finding is wrong half of the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.metrics import Box
from core.training.data import SIMULATED, Examples

Grey = npt.NDArray[np.uint8]

# The graft is wider than its box by this share on every side, and fades out over the outer part of its ellipse.
_MARGIN, _FADE = 0.25, 0.35
# How far from its own place a graft may lie, in shares of the side: lungs are where lungs were.
_REACH = 0.05
_LEAST_SIDE = 6


@dataclass(frozen=True, slots=True)
class Donor:
    """A finding that can be transplanted: the example's number, the label, its box in the model's square."""

    example: int
    code: str
    box: Box


class Transplants:
    """Draws for a share of healthy pictures what is set into them."""

    def __init__(self, examples: Examples, codes: tuple[str, ...], wanted: tuple[str, ...], share: float) -> None:
        self._examples, self._codes, self._share = examples, codes, share
        self._donors = [
            Donor(number, code, box)
            for number, boxes in enumerate(examples.boxes)
            for code, found in boxes.items()
            if code in wanted and not _is_simulated(examples, number)
            for box in found
        ]
        healthy = np.flatnonzero((examples.truths == 0).all(1)) if self._donors else np.array([], np.int64)
        self._healthy = [int(number) for number in healthy if not _is_simulated(examples, number)]

    def __call__(
        self, number: int, random: np.random.Generator
    ) -> tuple[torch.Tensor, npt.NDArray[np.float32], Mapping[str, list[Box]]]:
        """Example ``number``, most often as it is: picture (c, s, s) uint8, truths (labels,), boxes."""
        own = self._examples.pictures[number], self._examples.truths[number], self._examples.boxes[number]
        is_host = bool((own[1] == 0).all()) and bool(self._healthy) and not _is_simulated(self._examples, number)
        if not is_host or random.random() >= self._share:
            return own
        donor = self._donors[random.integers(len(self._donors))]
        is_finding = random.random() < 0.5
        source = donor.example if is_finding else int(random.choice(self._healthy))
        grafted = graft(own[0].numpy(), self._examples.pictures[source].numpy(), donor.box, random)
        if grafted is None:
            return own
        picture, box = grafted
        if not is_finding:
            return torch.from_numpy(picture), own[1], own[2]
        return torch.from_numpy(picture), self._truths_of(donor), {donor.code: [box]}

    def _truths_of(self, donor: Donor) -> npt.NDArray[np.float32]:
        """The graft's own label, and what the donor has whenever it has this: the headline of labels that go together."""
        truths = np.zeros(len(self._codes), np.float32)
        truths[self._codes.index(donor.code)] = 1
        with_it = self._examples.truths[:, self._codes.index(donor.code)] == 1
        truths[(self._examples.truths[with_it] == 1).all(0)] = 1
        return truths


def _is_simulated(examples: Examples, number: int) -> bool:
    """Drawn findings stay in drawn films: they would teach what drawings look like."""
    return examples.groups[number].startswith(SIMULATED)


def graft(host: Grey, donor: Grey, box: Box, random: np.random.Generator) -> tuple[Grey, Box] | None:
    """Set what lies in the donor's ``box`` into the host, close to the same place: both (c, s, s) -> picture and new box.

    A plane of grey is added so that the seam meets its surroundings. None where the box is too small to be seen.
    """
    size = host.shape[-1]
    x, y, width, height = box
    left, top = int(max(0, x - _MARGIN * width)), int(max(0, y - _MARGIN * height))
    right, bottom = (
        int(min(size, x + (1 + _MARGIN) * width)),
        int(min(size, y + (1 + _MARGIN) * height)),
    )
    columns, rows = right - left, bottom - top
    if min(columns, rows) < _LEAST_SIDE:
        return None
    reach = int(_REACH * size)
    by_x, by_y = (int(step) for step in random.integers(-reach, reach + 1, 2))
    new_left, new_top = (
        int(np.clip(left + by_x, 0, size - columns)),
        int(np.clip(top + by_y, 0, size - rows)),
    )
    place = (slice(None), slice(new_top, new_top + rows), slice(new_left, new_left + columns))
    ground, tissue = host[place].astype(np.float32), donor[:, top:bottom, left:right].astype(np.float32)
    result = host.copy()
    result[place] = np.clip(_blended(ground, tissue), 0, 255).astype(np.uint8)
    return result, (x + new_left - left, y + new_top - top, width, height)


def _blended(ground: npt.NDArray[np.float32], tissue: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(c, rows, columns) each: the tissue in an ellipse that fades out, lifted by the plane that fits its rim best."""
    rows, columns = ground.shape[1:]
    down, right = np.mgrid[0:rows, 0:columns].astype(np.float32)
    radius = np.hypot((right + 0.5) / columns * 2 - 1, (down + 0.5) / rows * 2 - 1)
    weight = np.clip((1 - radius) / _FADE, 0, 1)
    rim = (radius > 1 - _FADE) & (radius < 1)
    plane = np.stack([np.ones_like(down), right, down], -1)
    lift, *_ = np.linalg.lstsq(plane[rim], (ground - tissue)[:, rim].T, rcond=None)
    lifted = tissue + np.moveaxis(plane @ lift, -1, 0)
    return ground * (1 - weight) + lifted * weight
