"""index.csv -> pictures, truths and boxes, through the same reading and preprocessing as an upload."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.errors import ConfigurationError, ScanError
from core.metrics import Box
from core.models.card import InputSpec
from core.preprocessing import Letterbox, to_model_input
from core.reading.decoding import decode_scan
from core.samples import simulated_scan
from core.simulation import FINDINGS

Row = Mapping[str, str]
Progress = Callable[[int, int], None]

# Columns that list findings separated by "|", as in the NIH ChestX-ray14 table.
FINDINGS_COLUMN = "nih_labels"
BOXES_COLUMN = "nih_boxes"
# One box of the row's own class: [x, y, width, height].
OWN_BOX_COLUMN = "bbox_xywh"
# A picture of the same size, not black where the finding is.
MASK_COLUMN = "mask"
# How the groups of simulated films begin.
SIMULATED = "simulated-"
Mask = npt.NDArray[np.bool_]
GROUP_COLUMNS = ("patient_id", "patient", "neardup_group")


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """A split in memory.

    ``pictures`` (n, channels, size, size) uint8 grey 0..255 before normalisation; ``truths`` (n, labels) float32 with NaN
    where the label is not known; ``boxes`` one dict an example, label code -> boxes in the model's square.
    """

    pictures: torch.Tensor = field(repr=False)
    truths: npt.NDArray[np.float32] = field(repr=False)
    boxes: tuple[Mapping[str, list[Box]], ...] = field(repr=False)
    groups: tuple[str, ...] = field(repr=False)
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.truths)


def read_index(folder: Path, label_column: str = "label") -> list[dict[str, str]]:
    """The rows of a folder's index.csv; without one, a row for each file of its class folders.

    Raises ConfigurationError when a needed column is missing.
    """
    if not (folder / "index.csv").is_file():
        return _class_folders(folder, label_column)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for column in ("file", label_column, "split"):
        if not rows or column not in rows[0]:
            raise ConfigurationError(
                f"index.csv has no rows or no column {column!r}; expected file, {label_column} and split."
            )
    return rows


def _class_folders(folder: Path, label_column: str) -> list[dict[str, str]]:
    """``split/class/file``, or ``class/file`` with every fifth file held out, told by the hash of its name."""
    rows = []
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and not file.name.startswith(".") and len(parts) in (2, 3):
            held_out = hashlib.sha256(file.name.encode()).digest()[0] % 5 == 0
            split = parts[0] if len(parts) == 3 else ("val" if held_out else "train")
            rows.append({"file": "/".join(parts), label_column: parts[-2], "split": split})
    if not rows:
        raise ConfigurationError(
            "The folder holds neither an index.csv nor class folders (class/file or split/class/file)."
        )
    return rows


def check_groups(rows: Sequence[Row], splits: Sequence[str]) -> None:
    """Raise ConfigurationError when a patient (or near-duplicate group) stands in more than one of the splits."""
    seen: dict[str, str] = {}
    for row in rows:
        group = group_of(row)
        if row["split"] in splits and seen.setdefault(group, row["split"]) != row["split"]:
            raise ConfigurationError(
                f"The split leaks: group {group} is in {seen[group]} and in {row['split']}; split by patient."
            )


def group_of(row: Row) -> str:
    """What must not be torn apart by a split: the patient, else the near-duplicate group, else the file itself."""
    return next((row[column] for column in GROUP_COLUMNS if row.get(column)), row["file"])


def truths_of(row: Row, labels: Sequence[str], classes: Iterable[str], column: str = "label") -> list[float]:
    """1, 0 or NaN for every label: known where it is one of the index's classes or the row lists its findings.

    A row without a class is known in nothing.
    """
    said = {row[column].lower()}
    findings = row.get(FINDINGS_COLUMN, "")
    said |= {finding.strip().lower() for finding in findings.split("|")} - {""}
    known = ({c.lower() for c in classes} if row[column] else set()) | (set(labels) if findings else set())
    return [float(label in said) if label in known else np.nan for label in labels]


def boxes_of(row: Row, labels: Sequence[str], column: str = "label") -> dict[str, list[Box]]:
    """The row's boxes by label code, in pixels of the stored picture.

    Raises ConfigurationError naming the row whose boxes cannot be read.
    """
    found: dict[str, list[Box]] = {}
    try:
        if row.get(OWN_BOX_COLUMN) and row[column].lower() in labels:
            found[row[column].lower()] = [_box(json.loads(row[OWN_BOX_COLUMN]))]
        for box in json.loads(row.get(BOXES_COLUMN) or "[]"):
            if (code := box["label"].lower()) in labels:
                found.setdefault(code, []).append(_box([box[side] for side in ("x", "y", "w", "h")]))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ConfigurationError(
            f"The boxes of {row['file']} in index.csv cannot be read; expected [x, y, width, height] in {OWN_BOX_COLUMN} "
            f'or [{{"label", "x", "y", "w", "h"}}, ...] in {BOXES_COLUMN}.'
        ) from exc
    return found


def _box(sides: Sequence[float]) -> Box:
    """Four finite numbers with a width and a height above 0; else ValueError or TypeError."""
    x, y, width, height = (float(side) for side in sides)
    if not (np.isfinite((x, y, width, height)).all() and width > 0 and height > 0):
        raise ValueError(sides)
    return x, y, width, height


def read_mask(folder: Path, row: Row) -> Mask:
    """The outline of the row's finding on the grid of its picture, (rows, columns) bool."""
    return decode_scan((folder / row[MASK_COLUMN]).read_bytes()).stored[0] > 0


def load_split(
    folder: Path,
    split: str,
    labels: Sequence[str],
    spec: InputSpec,
    *,
    column: str = "label",
    progress: Progress | None = None,
) -> Examples:
    """Read every picture of a split; unreadable ones are left out and counted.

    Raises ConfigurationError when the split is empty.
    """
    rows = read_index(folder, column)
    classes = {row[column] for row in rows}
    wanted = [row for row in rows if row["split"] == split]
    pictures, kept, boxes, unreadable = [], [], [], []
    for position, row in enumerate(wanted):
        try:
            scan = decode_scan((folder / row["file"]).read_bytes())
        except (ScanError, OSError):
            unreadable.append(row["file"])
            continue
        entry = to_model_input(scan, 0, spec)
        pictures.append(eight_bits(entry.tensor, spec))
        boxes.append(_boxes_to_model(boxes_of(row, labels, column), entry.letterbox))
        kept.append(row)
        if progress:
            progress(position + 1, len(wanted))
    if not kept:
        raise ConfigurationError(
            f"The split {split!r} holds no readable picture; index.csv has: {sorted({r['split'] for r in rows})}."
        )
    truths = np.array([truths_of(row, labels, classes, column) for row in kept], np.float32)
    return Examples(torch.cat(pictures), truths, tuple(boxes), tuple(group_of(r) for r in kept), tuple(unreadable))


def simulated_findings(labels: Sequence[str]) -> list[str]:
    """The labels that our generator can draw.

    Raises ConfigurationError when there are none.
    """
    findings = [finding for finding in FINDINGS if finding in labels]
    if not findings:
        raise ConfigurationError(
            "Simulated films show none of the model's labels; set data.simulated_films and data.evaluation_films to 0."
        )
    return findings


def check_labels(examples: Examples, labels: Sequence[str]) -> None:
    """Raise ConfigurationError for a label that no example says anything of (misspelt, or not in the data) or that none has."""
    for label, column in zip(labels, examples.truths.T, strict=True):
        if bool(np.isnan(column).all()):
            raise ConfigurationError(
                f"The training data knows nothing of the label {label!r}; check its name in index.csv."
            )
        if not bool((column == 1).any()):
            raise ConfigurationError(
                f"No training picture has the label {label!r}: an empty class cannot be learnt. Add pictures of it, or take "
                "the label out of the configuration."
            )


def simulated_examples(
    count: int, seed: int, labels: Sequence[str], spec: InputSpec, *, progress: Progress | None = None
) -> Examples:
    """Films of our own generator: half without a finding, half with one of the model's labels, its place known."""
    findings = simulated_findings(labels) if count else []
    pictures, truths, boxes = [], [], []
    for index in range(count):
        finding = findings[index // 2 % len(findings)] if index % 2 else None
        scan, film = simulated_scan(seed + index, finding, rows=spec.size, columns=spec.size)
        entry = to_model_input(scan, 0, spec)
        pictures.append(eight_bits(entry.tensor, spec))
        said = {finding, "abnormal"} if finding else {"normal", "no_finding"}
        truths.append([float(label in said) for label in labels])
        known = {finding: [film.box_xywh]} if finding and film.box_xywh else {}
        boxes.append(_boxes_to_model(known, entry.letterbox))
        if progress:
            progress(index + 1, count)
    stack = torch.cat(pictures) if pictures else torch.empty(0, spec.channels, spec.size, spec.size, dtype=torch.uint8)
    groups = tuple(f"{SIMULATED}{seed + i}" for i in range(count))
    return Examples(stack, np.array(truths, np.float32).reshape(-1, len(labels)), tuple(boxes), groups)


def joined(first: Examples, second: Examples) -> Examples:
    """Both sets of examples as one."""
    return Examples(
        torch.cat([first.pictures, second.pictures]),
        np.concatenate([first.truths, second.truths]),
        first.boxes + second.boxes,
        first.groups + second.groups,
        first.unreadable + second.unreadable,
    )


def eight_bits(tensor: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Eight bits are enough to learn from and a quarter of the memory."""
    return ((tensor * spec.std + spec.mean) * 255).round().clamp(0, 255).to(torch.uint8)


def _boxes_to_model(boxes: Mapping[str, list[Box]], letterbox: Letterbox) -> dict[str, list[Box]]:
    return {code: [letterbox.box_to_model(*box) for box in found] for code, found in boxes.items()}
