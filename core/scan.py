"""Scan: what was read from a file, immutable, with nothing in it that identifies a patient.

Pixels stay as stored (native integers, every bit kept); ``core.windowing`` turns them into values and grey.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Photometric = Literal["MONOCHROME1", "MONOCHROME2", "RGB"]


@dataclass(frozen=True, slots=True)
class Window:
    """Window centre and width in modality units (HU for CT) with the VOI LUT function (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    centre: float
    width: float
    function: VoiFunction = "LINEAR"
    explanation: str = ""

    def __str__(self) -> str:
        """``explanation (centre / width)`` for menus."""
        numbers = f"{self.centre:g} / {self.width:g}"
        return f"{self.explanation} ({numbers})" if self.explanation else numbers


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A LUT of a DICOM LUT sequence (PS3.3 C.11.1.1): ``values[stored - first]`` of ``bits``, clamped at both ends."""

    first: int
    values: npt.NDArray[np.float32]
    bits: int = 16

    def __call__(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Look every input up; inputs outside the table take its first or last value."""
        index = np.clip(np.rint(inputs).astype(np.int64) - self.first, 0, len(self.values) - 1)
        return self.values[index]


@dataclass(frozen=True, slots=True, eq=False)
class ModalityLut:
    """Stored value -> modality value: a table if there is one, else ``slope * stored + intercept`` (PS3.3 C.11.1)."""

    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ""
    table: LookupTable | None = None

    @property
    def is_identity(self) -> bool:
        """Whether modality values equal stored values."""
        return self.table is None and self.slope == 1.0 and self.intercept == 0.0


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the pixels lie.

    ``spacing_mm`` is the distance between rows and between columns in the patient, or None where the file does not
    give one that is real (a detector's ImagerPixelSpacing is not: PS3.3 C.8.7.7, 10.7.1.3).
    ``orientation`` holds the patient's directions towards the end of a row and of a column, such as ("L", "F") for
    a frontal film, or None where it is unknown (PS3.3 C.7.6.1.1.1). For a stack of slices ``slice_spacing_mm`` is the
    distance between the centres of neighbouring frames and ``slice_direction`` the patient's direction towards later
    frames, such as "H"; both are None where the frames are no stack.
    """

    spacing_mm: tuple[float, float] | None = None
    orientation: tuple[str, str] | None = None
    slice_spacing_mm: float | None = None
    slice_direction: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Graphics or a region of interest that the file draws over its pixels (PS3.3 C.9.2): ``mask`` is on the scan's grid.

    ``mask`` has the shape (frames, rows, columns), bool; it never reaches a model. ``region`` is true for type R.
    """

    mask: npt.NDArray[np.bool_] = field(repr=False)
    region: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One file's pictures.

    ``stored`` has the shape (frames, rows, columns), or (frames, rows, columns, 3) for RGB of 8 bits, and is read-only.
    ``digest`` is the SHA-256 of the file's bytes: the key of every cache. ``facts`` is the allow-listed, de-identified
    rest for the reader's eye. ``signs`` is what ``core.reading.doctor`` speaks about: code -> detail, such as
    {"lossy": "", "gap": "2"}. ``notes`` are sentences on what was surprising about the file.
    """

    stored: npt.NDArray[Any] = field(repr=False)
    digest: str
    source_format: str
    photometric: Photometric = "MONOCHROME2"
    bits_stored: int = 8
    modality_lut: ModalityLut = field(default_factory=ModalityLut)
    windows: tuple[Window, ...] = ()
    voi_lut: LookupTable | None = field(default=None, repr=False)
    padding: tuple[float, float] | None = None
    geometry: Geometry = field(default_factory=Geometry)
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    overlays: tuple[Overlay, ...] = field(default=(), repr=False)
    signs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make what is held read-only: cached scans are shared, never copied."""
        self.stored.setflags(write=False)
        for overlay in self.overlays:
            overlay.mask.setflags(write=False)

    @property
    def frame_count(self) -> int:
        """Number of pictures in the file."""
        return int(self.stored.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.stored.shape[1]), int(self.stored.shape[2])

    @property
    def is_colour(self) -> bool:
        """Whether the pixels are RGB."""
        return self.photometric == "RGB"


def is_usable_window(centre: float, width: float, function: str) -> bool:
    """Whether a window can be applied: finite, and wide enough for its function (PS3.3 C.11.2.1.2.1)."""
    least = 1.0 if function == "LINEAR" else 0.0
    finite = math.isfinite(centre) and math.isfinite(width) and abs(centre) < 1e12 and width < 1e12
    return finite and width >= least and width > 0
