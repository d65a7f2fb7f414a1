"""Frames and slices in the order of their places in the patient, in one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.reading.dicom_geometry import SAME_PLACE_MM, Plane, letters, slice_spacing
from core.scan import Geometry, ModalityLut, Scan
from core.windowing import modality_values


@dataclass(frozen=True, slots=True)
class Stack:
    """The order of pictures that lie behind each other, and what their distances say."""

    order: list[int]
    slice_spacing_mm: float | None
    direction: str
    signs: Mapping[str, str] = field(default_factory=dict)

    def applied_to(self, geometry: Geometry) -> Geometry:
        """The geometry of one picture, made that of the stack."""
        return replace(geometry, slice_spacing_mm=self.slice_spacing_mm, slice_direction=self.direction)


def arranged(planes: Sequence[Plane | None]) -> Stack | None:
    """Parallel pictures sorted by their depth; None where places are unknown, tilted to each other or the same."""
    known = [plane for plane in planes if plane is not None]
    if len(known) < max(2, len(planes)) or not all(plane.is_parallel_to(known[0]) for plane in known):
        return None
    normal = known[0].normal
    depths = [float(plane.position @ normal) for plane in known]
    order = sorted(range(len(known)), key=lambda index: depths[index])
    steps = np.diff([depths[index] for index in order])
    if float(steps.min()) < SAME_PLACE_MM:
        return None
    spacing = slice_spacing([depths[index] for index in order])
    signs = {}
    if spacing.missing:
        signs["gap"] = str(spacing.missing)
    if spacing.uneven:
        signs["uneven-spacing"] = spacing.uneven
    return Stack(order, spacing.slice_mm, letters(normal)[:1], signs)


def in_one_scale(scan: Scan, luts: Sequence[ModalityLut]) -> Scan:
    """The scan as it is where all frames share a modality LUT; else with modality values in place of stored ones."""
    if all(_are_equal(lut, luts[0]) for lut in luts):
        return scan
    frames = [
        modality_values(replace(scan, stored=scan.stored[index : index + 1], modality_lut=lut, overlays=()))
        for index, lut in enumerate(luts)
    ]
    return replace(
        scan,
        stored=np.stack(frames),
        modality_lut=ModalityLut(unit=luts[0].unit),
        padding=None,
        signs={**scan.signs, "mixed-scale": ""},
    )


def _are_equal(one: ModalityLut, other: ModalityLut) -> bool:
    """Whether both give the same values; every file of a series brings a table of its own."""
    if one.table is None or other.table is None:
        return one.table is other.table and (one.slope, one.intercept) == (other.slope, other.intercept)
    return one.table.first == other.table.first and np.array_equal(one.table.values, other.table.values)
