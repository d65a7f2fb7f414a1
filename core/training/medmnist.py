"""MedMNIST's .npz files -> the folder of pictures and index.csv that training reads (Yang et al. 2023, Scientific Data 10:41)."""

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from core.errors import ConfigurationError

SPLITS = ("train", "val", "test")


def unpack(archive: Path, out: Path, names: Sequence[str]) -> int:
    """Write every picture as PNG and one index.csv with the official splits; ``names`` are the classes in their order.

    Returns the number of pictures. Raises ConfigurationError where the file is not of that kind.
    """
    try:
        with archive.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
            arrays = {key: stored[key] for split in SPLITS for key in (f"{split}_images", f"{split}_labels")}
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as exc:
        raise ConfigurationError(
            "This is no MedMNIST file; expected an .npz with images and labels of three splits."
        ) from exc
    for split in SPLITS:
        _check(arrays[f"{split}_images"], arrays[f"{split}_labels"], len(names))
    rows = [row for split in SPLITS for row in _written(arrays, split, out, names)]
    with (out / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "label", "split"))
        table.writerows(rows)
    return len(rows)


def _check(images: np.ndarray, labels: np.ndarray, names: int) -> None:
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[3:] not in {(), (3,)}:
        raise ConfigurationError("The file does not hold flat pictures of 8 bits, grey or RGB.")
    if labels.size != len(images) or labels.dtype.kind not in "iu":
        raise ConfigurationError("The file does not give every picture one class.")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < names:
        raise ConfigurationError(
            f"The file has classes {labels.min()} to {labels.max()}, but {names} names were given."
        )


def _written(arrays: dict[str, np.ndarray], split: str, out: Path, names: Sequence[str]) -> list[tuple[str, str, str]]:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1)
    (out / split).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = f"{split}/{number:05d}.png"
        Image.fromarray(image).save(out / name)
        rows.append((name, names[int(label)], split))
    return rows
