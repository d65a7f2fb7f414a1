"""index.csv with masks -> pictures and their outlines on the model's square, through the same reading as an upload."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.errors import ConfigurationError, ScanError
from core.models.card import InputSpec
from core.preprocessing import Letterbox, to_model_input
from core.reading.decoding import decode_scan
from core.training.data import MASK_COLUMN, Mask, Progress, Row, eight_bits, group_of, read_index, read_mask


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedExamples:
    """A split in memory.

    ``pictures`` (n, channels, size, size) uint8 grey 0..255 before normalisation; ``masks`` (n, 1, size, size) uint8 of 0
    and 1; ``known`` (n,) false where the index names no mask: nothing is known of such a picture, and nothing is learnt.
    """

    pictures: torch.Tensor = field(repr=False)
    masks: torch.Tensor = field(repr=False)
    known: npt.NDArray[np.bool_] = field(repr=False)
    groups: tuple[str, ...] = field(repr=False)
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.known)


def load_outlined(
    folder: Path, split: str, spec: InputSpec, *, column: str = "label", progress: Progress | None = None
) -> OutlinedExamples:
    """Read every picture of a split and its mask; where either cannot be read, both are left out and counted.

    Raises ConfigurationError when the split is empty, or when a mask has another size than its picture.
    """
    rows = [row for row in read_index(folder, column) if row["split"] == split]
    pictures, masks, kept, unreadable = [], [], [], []
    for position, row in enumerate(rows):
        try:
            picture, mask = _example(folder, row, spec)
        except (ScanError, OSError):
            unreadable.append(row["file"])
            continue
        pictures.append(picture)
        masks.append(mask)
        kept.append(row)
        if progress:
            progress(position + 1, len(rows))
    if not kept:
        raise ConfigurationError(f"The split {split!r} holds no readable picture; it has {len(rows)} rows.")
    known = np.array([bool(row.get(MASK_COLUMN)) for row in kept])
    groups = tuple(group_of(row) for row in kept)
    return OutlinedExamples(torch.cat(pictures), torch.cat(masks), known, groups, tuple(unreadable))


def check_outlines(examples: OutlinedExamples) -> None:
    """Raise ConfigurationError where there is nothing to learn outlines from."""
    if not bool(examples.masks[torch.from_numpy(examples.known)].any()):
        raise ConfigurationError(
            "No training picture has an outline; expected the column mask in index.csv, naming a picture of the same size "
            "that is not black where the finding is."
        )


def mask_for(folder: Path, row: Row, shape: Sequence[int]) -> Mask | None:
    """The row's outline on the grid of its picture, empty where it shows none; None where the index names no mask.

    Raises ConfigurationError when the mask has another size than the picture, ScanError when it cannot be read.
    """
    if not row.get(MASK_COLUMN):
        return None
    mask = read_mask(folder, row)
    if mask.shape != tuple(shape):
        raise ConfigurationError(
            f"The mask of {row['file']} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {shape[1]} x {shape[0]}; "
            "a mask lies on its picture's own grid."
        )
    return mask


def mask_to_model(mask: Mask, box: Letterbox) -> torch.Tensor:
    """A mask on its picture's grid (rows, columns) -> (1, 1, size, size) uint8 of 0 and 1, framed like the picture."""
    whole = torch.from_numpy(mask.astype(np.float32))[None, None]
    content = functional.interpolate(whole, (box.height, box.width), mode="nearest-exact")
    bars = (box.left, box.size - box.width - box.left, box.top, box.size - box.height - box.top)
    return functional.pad(content, bars).to(torch.uint8)


def _example(folder: Path, row: Row, spec: InputSpec) -> tuple[torch.Tensor, torch.Tensor]:
    scan = decode_scan((folder / row["file"]).read_bytes())
    entry = to_model_input(scan, 0, spec)
    mask = mask_for(folder, row, scan.shape)
    shown = np.zeros(scan.shape, np.bool_) if mask is None else mask
    return eight_bits(entry.tensor, spec), mask_to_model(shown, entry.letterbox)
