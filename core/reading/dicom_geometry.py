"""Where a DICOM picture lies in the patient: spacing, orientation, position, frames of a stack."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.sequence import Sequence

from core.scan import Geometry

Vector = npt.NDArray[np.float64]
_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))
# Positions that differ by less are the same place: scanners round to 1e-3 mm or so.
SAME_PLACE_MM = 0.01
# Gaps between slices may differ by this share of their median before they count as uneven.
_EVEN = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A picture's place in the patient: upper left pixel centre, unit vectors along rows and columns (PS3.3 C.7.6.2.1.1)."""

    position: Vector
    along_row: Vector
    along_column: Vector

    @property
    def normal(self) -> Vector:
        """The unit vector across the picture, turned towards left, posterior or head."""
        across = np.cross(self.along_row, self.along_column)
        return across * np.sign(across[np.abs(across).argmax()])

    @property
    def depth(self) -> float:
        """Where the picture lies along ``normal``, in mm."""
        return float(self.position @ self.normal)

    def is_parallel_to(self, other: "Plane") -> bool:
        """Whether both pictures have the same directions (to half a degree)."""
        along = float(self.along_row @ other.along_row), float(self.along_column @ other.along_column)
        return min(along) > math.cos(math.radians(0.5))


@dataclass(frozen=True, slots=True)
class Spacing:
    """How a stack's slices follow each other: their distance (None with gaps), slices missing, unevenness in words."""

    slice_mm: float | None
    missing: int = 0
    uneven: str = ""


def geometry(dataset: Dataset) -> Geometry:
    """Spacing and orientation of a single picture or of all frames alike."""
    return Geometry(_spacing(dataset), _orientation(dataset))


def plane(dataset: Dataset, frame: int | None = None) -> Plane | None:
    """The place of the picture, or of one frame of an enhanced multi-frame object; None where the file does not say."""
    where = functional_group(dataset, "PlanePositionSequence", frame)
    how = functional_group(dataset, "PlaneOrientationSequence", frame)
    position, cosines = numbers(where, "ImagePositionPatient", 3), numbers(how, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return None
    row, column = cosines[:3], cosines[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(float(row @ column)) > 0.02:
        return None
    return Plane(position, row / lengths[0], column / lengths[1])


def slice_spacing(depths: list[float]) -> Spacing:
    """How sorted depths in mm follow each other."""
    steps = np.diff(np.asarray(depths))
    if not len(steps) or float(steps.min()) < SAME_PLACE_MM:
        return Spacing(None)
    step = float(np.median(steps))
    missing = int(sum(round(float(s) / step) - 1 for s in steps if s > 1.5 * step))
    if missing:
        return Spacing(None, missing)
    if float(np.abs(steps - step).max()) > _EVEN * step + SAME_PLACE_MM:
        return Spacing(None, uneven=f"{steps.min():.3g} to {steps.max():.3g} mm")
    return Spacing(step)


def letters(direction: Vector) -> str:
    """The axes that a direction leans to by more than about 20 degrees, the strongest first."""
    parts = sorted(
        zip(np.abs(direction).tolist(), direction.tolist(), _DIRECTIONS, strict=True), key=lambda p: -float(p[0])
    )
    return "".join(names[0] if value > 0 else names[1] for size, value, names in parts if size > 0.35)


def functional_group(dataset: Dataset, macro: str, frame: int | None = None) -> Dataset:
    """The macro of an enhanced multi-frame object (shared, else of the frame), else the dataset itself (PS3.3 C.7.6.16)."""
    shared, per_frame = dataset.get("SharedFunctionalGroupsSequence"), dataset.get("PerFrameFunctionalGroupsSequence")
    if shared and shared[0].get(macro):
        return shared[0][macro].value[0]
    if per_frame and (frame or 0) < len(per_frame) and per_frame[frame or 0].get(macro):
        return per_frame[frame or 0][macro].value[0]
    return dataset


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """The values of an element, however many there are."""
    value = dataset.get(keyword)
    if value is None or value == "" or isinstance(value, Sequence):
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def numbers(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """So many finite numbers of an element, or None."""
    with contextlib.suppress(TypeError, ValueError):
        found = np.array([float(v) for v in values(dataset, keyword)], np.float64)
        if len(found) == count and bool(np.isfinite(found).all()):
            return found
    return None


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    found = numbers(functional_group(dataset, "PixelMeasuresSequence"), "PixelSpacing", 2)
    if found is not None and found.min() > 0 and found.max() < 1e3:
        return float(found[0]), float(found[1])
    return None


def _orientation(dataset: Dataset) -> tuple[str, str] | None:
    """PatientOrientation as said, else the letters of ImageOrientationPatient's direction cosines (PS3.3 C.7.6.2.1.1)."""
    said = [str(v) for v in values(dataset, "PatientOrientation")]
    if len(said) == 2 and all(set(v) <= set("LRAPHF") and v for v in said):
        return said[0], said[1]
    cosines = numbers(functional_group(dataset, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    if cosines is None:
        return None
    row, column = letters(cosines[:3]), letters(cosines[3:])
    return (row, column) if row and column else None
