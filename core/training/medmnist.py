"""MedMNIST's .npz files -> the folder of pictures and index.csv that training reads (Yang et al. 2023, Scientific Data 10:41)."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import ConfigurationError

SPLITS = ("train", "val", "test")


def unpack(archive: Path, out: Path, names: Sequence[str]) -> int:
    """Write every picture as PNG and one index.csv with the official splits; ``names`` are the classes in their order.

    Returns the number of pictures. Raises ConfigurationError where the file is not of that kind.
    """
    try:
        with np.load(archive, allow_pickle=False) as stored:
            arrays = {key: stored[key] for split in SPLITS for key in (f"{split}_images", f"{split}_labels")}
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigurationError(
            "This is no MedMNIST file; expected an .npz with images and labels of three splits."
        ) from exc
    rows = [row for split in SPLITS for row in _written(arrays, split, out, names)]
    with (out / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "label", "split"))
        table.writerows(rows)
    return len(rows)


def _written(arrays: dict[str, np.ndarray], split: str, out: Path, names: Sequence[str]) -> list[tuple[str, str, str]]:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1)
    if len(images) != len(labels) or (len(labels) and int(labels.max()) >= len(names)):
        raise ConfigurationError(f"The file has classes up to {labels.max()}, but {len(names)} names were given.")
    (out / split).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = f"{split}/{number:05d}.png"
        Image.fromarray(image).save(out / name)
        rows.append((name, names[int(label)], split))
    return rows
