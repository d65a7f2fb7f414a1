"""Studies: files in any order and under any name become stacks that lie as the patient lay, of one patient only."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from core.errors import DamagedScan, NotAnImage, ScanError, ScanTooLarge, TwoPatients
from core.reading import guard, read_study
from core.reading.study import Study, read_files
from core.scan import Scan
from core.windowing import modality_values
from tests.files import TEST_FILES, bundled, dicom_bytes, dicom_dataset, lut_item, png_bytes

Array = npt.NDArray[Any]
Files = list[tuple[str, bytes]]
Direction = tuple[float, float, float]

CT = UID("1.2.840.10008.5.1.4.1.1.2")
ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")
ROOT = "1.2.826.0.1.3680043.10.999"
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)
ROWS, COLUMNS = 5, 7


def read(files: Files, skip: frozenset[int] = frozenset()) -> Study:
    return read_files(files, skip, lambda _number, _total: None)


def only(files: Files) -> Scan:
    """The one scan that the files make up."""
    scans = read(files).scans
    assert len(scans) == 1
    return scans[0]


@dataclass(frozen=True)
class Slice:
    """One file of a series: all its pixels hold ``value``, unless ``pixels`` are given."""

    instance: int
    position: Direction = (0.0, 0.0, 0.0)
    value: int = 0
    cosines: Sequence[float] | None = AXIAL
    series: int = 1
    pixels: Array | None = None
    number: int | None = None

    def bytes(self, **tags: Any) -> bytes:
        pixels = np.full((ROWS, COLUMNS), self.value, np.uint16) if self.pixels is None else self.pixels
        place: dict[str, Any] = {}
        if self.cosines is not None:
            place = {
                "ImagePositionPatient": [f"{x:.6f}" for x in self.position],
                "ImageOrientationPatient": [f"{x:.9f}" for x in self.cosines],
            }
        usual: dict[str, Any] = {
            "SOPClassUID": CT,
            "Modality": "CT",
            "SOPInstanceUID": f"{ROOT}.{self.series}.{self.instance}",
            "SeriesInstanceUID": f"{ROOT}.2.{self.series}",
            "StudyInstanceUID": f"{ROOT}.3",
            "PatientID": "P1",
            "PatientName": "Doe^Jane",
            "PixelSpacing": [0.5, 0.5],
            "InstanceNumber": self.instance if self.number is None else self.number,
        }
        return dicom_bytes(pixels, **(usual | place | tags))


def shuffled(parts: Sequence[bytes], seed: int = 1) -> Files:
    """The parts in random order, under names that count against that order."""
    order = np.random.default_rng(seed).permutation(len(parts))
    return [(f"IM{len(parts) - place:04}.dcm", parts[int(index)]) for place, index in enumerate(order)]


def at_depths(depths: Sequence[float], **tags: Any) -> Files:
    """Axial slices that hold 1000 + their depth, in any order, numbered from head to foot."""
    parts = [
        Slice(i + 1, (-10.0, 20.0, z), 1000 + round(z), number=len(depths) - i).bytes(**tags)
        for i, z in enumerate(depths)
    ]
    return shuffled(parts)


def first_pixels(scan: Scan) -> list[int]:
    return [int(v) for v in scan.stored[:, 0, 0]]


# Order ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_slices_are_sorted_by_their_place_and_not_by_name_number_or_order(seed: int) -> None:
    depths = [-30.0, -27.5, -25.0, -22.5, -20.0, -17.5, -15.0]
    numbers = np.random.default_rng(seed + 50).permutation(len(depths))
    parts = [
        Slice(i + 1, (3.0, 4.0, z), round(1000 + 2 * z), number=int(numbers[i]) + 1).bytes()
        for i, z in enumerate(depths)
    ]
    scan = only(shuffled(parts, seed))
    assert first_pixels(scan) == [940, 945, 950, 955, 960, 965, 970]
    assert scan.geometry.slice_spacing_mm == pytest.approx(2.5)
    assert scan.geometry.slice_direction == "H"
    assert scan.geometry.spacing_mm == (0.5, 0.5)


def test_depths_are_compared_as_numbers_and_not_as_text() -> None:
    assert first_pixels(only(at_depths([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]))) == [
        1000 + 10 * i for i in range(12)
    ]


def oblique(degrees: float) -> tuple[float, ...]:
    """An axial plane tilted about the patient's left-right axis, its lower edge towards the feet."""
    angle = np.radians(degrees)
    return (1, 0, 0, 0, float(np.cos(angle)), -float(np.sin(angle)))


def marked_stack(cosines: Sequence[float], spacing: float, *, backwards: bool) -> list[bytes]:
    """Six slices of a patient whose most left, posterior and cranial voxel holds 4000; places by PS3.3 C.7.6.2.1-1."""
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    across = np.cross(row, column) * (-1 if backwards else 1)
    i, j = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    corners = [np.array([-20.0, 15.0, 100.0]) + k * spacing * across for k in range(6)]
    places = [corner + 0.5 * (j[..., None] * row + i[..., None] * column) for corner in corners]
    sums = np.stack([place.sum(axis=-1) for place in places])
    volume = np.full(sums.shape, 100, np.uint16)
    volume[np.unravel_index(int(sums.argmax()), sums.shape)] = 4000
    return [
        Slice(k + 1, tuple(corner.tolist()), cosines=cosines, pixels=volume[k]).bytes()
        for k, corner in enumerate(corners)
    ]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("cosines", "orientation", "direction"),
    [
        (AXIAL, ("L", "P"), "H"),
        (CORONAL, ("L", "F"), "P"),
        (SAGITTAL, ("P", "F"), "L"),
        (oblique(15), ("L", "P"), "H"),
        (oblique(30), ("L", "PF"), "H"),
        (oblique(60), ("L", "FP"), "P"),
        ((-1, 0, 0, 0, -1, 0), ("R", "A"), "H"),
    ],
)
def test_marked_voxel_lies_where_the_letters_of_the_stack_say(
    cosines: Sequence[float], orientation: tuple[str, str], direction: str, *, backwards: bool
) -> None:
    scan = only(shuffled(marked_stack(cosines, 1.25, backwards=backwards)))
    assert scan.geometry.orientation == orientation
    assert scan.geometry.slice_direction == direction
    assert scan.geometry.slice_spacing_mm == pytest.approx(1.25, abs=1e-5)
    # The voxel is the patient's most left, posterior and cranial: last along L, P and H, first along R, A and F.
    ends = (scan.frame_count - 1, ROWS - 1, COLUMNS - 1)
    letters = (direction, orientation[1][0], orientation[0][0])
    # Where the picture is tilted by more than 45 degrees its column leads more down than back.
    expected = tuple(end if letter in "LPH" else 0 for end, letter in zip(ends, letters, strict=True))
    assert [tuple(int(v) for v in place) for place in np.argwhere(scan.stored == 4000)] == [expected]


def test_distance_of_tilted_slices_is_measured_across_them_and_not_along_the_table() -> None:
    # A gantry tilted by 20 degrees: the table moves 5 mm a slice, the planes lie 5 cos(20) apart.
    parts = [Slice(k + 1, (0.0, 0.0, 5.0 * k), k, cosines=oblique(20)).bytes() for k in range(5)]
    scan = only(shuffled(parts))
    assert first_pixels(scan) == [0, 1, 2, 3, 4]
    assert scan.geometry.slice_spacing_mm == pytest.approx(5 * np.cos(np.radians(20)), abs=1e-4)


def test_order_of_the_files_changes_neither_pixels_nor_digest() -> None:
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), k).bytes() for k in range(6)]
    first, second = only(shuffled(parts, 1)), only(shuffled(parts, 2))
    assert np.array_equal(first.stored, second.stored)
    assert first.digest == second.digest
    assert first.digest != only(shuffled(parts[:5])).digest


def test_slices_whose_places_are_unknown_stand_in_the_order_of_their_numbers() -> None:
    parts = [Slice(k + 1, value=k, cosines=None, number=k + 8).bytes() for k in range(5)]
    scan = only(shuffled(parts))
    assert first_pixels(scan) == [0, 1, 2, 3, 4]
    assert "no-geometry" in scan.signs
    assert scan.geometry.slice_spacing_mm is None
    assert scan.geometry.slice_direction is None


# What the distances say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("missing", "count"), [((4,), "1"), ((4, 5), "2"), ((2, 6), "2"), ((3, 4, 5), "3")])
def test_missing_slices_are_counted_and_the_distance_is_not_told(missing: tuple[int, ...], count: str) -> None:
    scan = only(at_depths([3.0 * k for k in range(10) if k not in missing]))
    assert scan.signs["gap"] == count
    assert scan.geometry.slice_spacing_mm is None
    assert scan.geometry.slice_direction == "H"
    assert first_pixels(scan) == [1000 + 3 * k for k in range(10) if k not in missing]


def test_whole_stack_has_none_of_the_signs_of_a_broken_one() -> None:
    signs = only(at_depths([3.0 * k for k in range(10)])).signs
    broken = {"gap", "uneven-spacing", "incomplete", "duplicate", "mixed-scale", "mixed-orientation", "no-geometry"}
    assert not broken & set(signs)
    assert not {"two-studies", "left-out"} & set(signs)


def test_uneven_distances_are_told_with_their_ends() -> None:
    scan = only(at_depths([0.0, 3.0, 6.0, 9.6, 12.6, 15.2]))
    assert scan.signs["uneven-spacing"] == "2.6 to 3.6 mm"
    assert "gap" not in scan.signs
    assert scan.geometry.slice_spacing_mm is None


def test_rounded_places_are_not_called_uneven() -> None:
    scan = only(at_depths([0.0, 0.625, 1.25, 1.875, 2.5, 3.12, 3.75]))
    assert "uneven-spacing" not in scan.signs
    assert scan.geometry.slice_spacing_mm == pytest.approx(0.625, abs=0.006)


def test_numbers_that_leave_one_out_say_that_the_series_is_incomplete() -> None:
    # The last slice of all is missing in the middle of the numbers, so that no gap shows it.
    numbers = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), number=number).bytes() for k, number in enumerate(numbers)]
    scan = only(shuffled(parts))
    assert scan.signs["incomplete"] == "10 of 11"
    assert scan.geometry.slice_spacing_mm == pytest.approx(1)


@pytest.mark.parametrize("step", [2, 10])
def test_numbers_in_larger_steps_say_nothing_of_missing_files(step: int) -> None:
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), number=step * k + 1).bytes() for k in range(8)]
    assert "incomplete" not in only(shuffled(parts)).signs


# The same picture twice, the same place twice -------------------------------------------------------------------------


def test_file_that_came_twice_is_shown_once_and_counted() -> None:
    files = at_depths([0.0, 2.0, 4.0, 6.0])
    scan = only([*files, ("copy of it.dcm", files[1][1]), ("another.dcm", files[2][1])])
    assert first_pixels(scan) == [1000, 1002, 1004, 1006]
    assert scan.signs["duplicate"] == "2"
    assert scan.geometry.slice_spacing_mm == pytest.approx(2)


def test_same_instance_exported_again_with_another_header_is_the_same_picture() -> None:
    one = Slice(1, (0.0, 0.0, 0.0), 10)
    parts = [one.bytes(), one.bytes(StudyDescription="again"), Slice(2, (0.0, 0.0, 2.0), 12).bytes()]
    scan = only(shuffled(parts))
    assert first_pixels(scan) == [10, 12]
    assert scan.signs["duplicate"] == "1"


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "EchoNumbers", "AcquisitionNumber"])
def test_two_pictures_at_each_place_become_a_scan_for_each_time_or_echo(keyword: str) -> None:
    parts = [
        Slice(100 * t + k, (0.0, 0.0, 2.0 * k), 100 * t + k).bytes(**{keyword: t}) for t in (1, 2, 3) for k in range(4)
    ]
    scans = read(shuffled(parts)).scans
    assert [first_pixels(scan) for scan in scans] == [[100 * t + k for k in range(4)] for t in (1, 2, 3)]
    assert all(scan.geometry.slice_spacing_mm == pytest.approx(2) for scan in scans)


def test_time_points_follow_each_other_as_numbers() -> None:
    parts = [
        Slice(100 * t + k, (0.0, 0.0, 2.0 * k), t).bytes(TemporalPositionIdentifier=t)
        for t in range(1, 13)
        for k in range(2)
    ]
    assert [first_pixels(scan)[0] for scan in read(shuffled(parts)).scans] == list(range(1, 13))


def test_acquisition_numbers_that_count_slices_do_not_break_a_time_point_apart() -> None:
    parts = [
        Slice(100 * t + k, (0.0, 0.0, 2.0 * k), 100 * t + k).bytes(EchoNumbers=t, AcquisitionNumber=k + 1)
        for t in (1, 2)
        for k in range(4)
    ]
    scans = read(shuffled(parts)).scans
    assert [first_pixels(scan) for scan in scans] == [[100, 101, 102, 103], [200, 201, 202, 203]]


def test_two_pictures_at_one_place_that_nothing_tells_apart_stay_in_the_order_of_their_numbers() -> None:
    parts = [Slice(k + 1, (0.0, 0.0, float(k // 2)), k).bytes() for k in range(6)]
    scan = only(shuffled(parts))
    assert first_pixels(scan) == [0, 1, 2, 3, 4, 5]
    assert "no-geometry" in scan.signs
    assert scan.geometry.slice_spacing_mm is None


# What belongs together and what does not ------------------------------------------------------------------------------


def test_localizer_across_the_slices_of_its_series_is_a_scan_of_its_own() -> None:
    slices = [Slice(k + 1, (0.0, 0.0, 3.0 * k), 10 + k).bytes() for k in range(5)]
    across = Slice(50, (0.0, -100.0, 40.0), 99, cosines=CORONAL).bytes()
    scans = read(shuffled([*slices, across])).scans
    assert sorted(first_pixels(scan) for scan in scans) == [[10, 11, 12, 13, 14], [99]]
    assert all("mixed-orientation" in scan.signs for scan in scans)
    stack = next(scan for scan in scans if scan.frame_count == 5)
    assert stack.geometry.slice_spacing_mm == pytest.approx(3)
    assert stack.geometry.slice_direction == "H"
    assert next(scan for scan in scans if scan.frame_count == 1).geometry.orientation == ("L", "F")


def test_two_series_with_interleaved_files_are_two_scans() -> None:
    parts = [
        Slice(k + 1, (0.0, 0.0, float(k)), 100 * series + k, series=series).bytes()
        for k in range(4)
        for series in (1, 2)
    ]
    scans = read(shuffled(parts)).scans
    assert sorted(first_pixels(scan) for scan in scans) == [[100, 101, 102, 103], [200, 201, 202, 203]]
    assert not any({"two-studies", "mixed-orientation", "duplicate"} & set(scan.signs) for scan in scans)


def test_slices_of_another_size_in_the_series_are_a_scan_of_their_own() -> None:
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), k).bytes() for k in range(3)]
    large = [Slice(k + 10, (0.0, 0.0, float(k)), pixels=np.full((9, 9), k, np.uint16)).bytes() for k in range(3)]
    assert sorted(scan.shape for scan in read(shuffled(parts + large)).scans) == [(5, 7), (9, 9)]


def test_two_studies_of_one_patient_are_shown_with_a_sign() -> None:
    parts = [
        Slice(k + 1, (0.0, 0.0, float(k)), series=series).bytes(StudyInstanceUID=f"{ROOT}.9.{series}")
        for k in range(3)
        for series in (1, 2)
    ]
    scans = read(shuffled(parts)).scans
    assert [scan.signs["two-studies"] for scan in scans] == ["2", "2"]


def test_films_of_one_series_stay_apart() -> None:
    views = {"PA": np.full((6, 6), 7, np.uint16), "LL": np.full((6, 6), 9, np.uint16)}
    files = [
        (
            f"{view}.dcm",
            dicom_bytes(
                pixels,
                Modality="CR",
                ViewPosition=view,
                SeriesInstanceUID=f"{ROOT}.5",
                SOPInstanceUID=f"{ROOT}.5.{number}",
                InstanceNumber=number,
            ),
        )
        for number, (view, pixels) in enumerate(views.items())
    ]
    scans = read(files).scans
    assert [(scan.view, scan.frame_count, int(scan.stored.max())) for scan in scans] == [("PA", 1, 7), ("LL", 1, 9)]


def test_pictures_that_are_no_dicom_are_scans_in_the_order_in_which_they_came() -> None:
    greys = [np.full((4, 4), value, np.uint8) for value in (30, 10, 20)]
    scans = read([(f"{i}.png", png_bytes(grey)) for i, grey in enumerate(greys)]).scans
    assert [int(scan.stored[0, 0, 0]) for scan in scans] == [30, 10, 20]
    assert [scan.source_format for scan in scans] == ["PNG"] * 3


def test_film_beside_a_stack_has_its_own_scan() -> None:
    film = dicom_bytes(
        np.full((5, 7), 3, np.uint16), PatientID="P1", PatientName="Doe^Jane", StudyInstanceUID=f"{ROOT}.3"
    )
    scans = read([("film", film), *at_depths([0.0, 1.0, 2.0])]).scans
    assert [scan.frame_count for scan in scans] == [1, 3]


# One scale for all slices ---------------------------------------------------------------------------------------------

SLOPES = [0.5, 1.0, 2.5, 4.0]


def test_slices_with_scales_of_their_own_keep_their_values_and_say_so() -> None:
    picture = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS)
    parts = [
        Slice(k + 1, (0.0, 0.0, 2.0 * k), pixels=picture).bytes(RescaleSlope=slope, RescaleIntercept=-10 * k)
        for k, slope in enumerate(SLOPES)
    ]
    scan = only(shuffled(parts))
    assert "mixed-scale" in scan.signs
    for k, slope in enumerate(SLOPES):
        assert np.allclose(modality_values(scan, k), picture * slope - 10 * k, rtol=1e-6)


def test_slices_of_one_scale_stay_as_stored() -> None:
    parts = [Slice(k + 1, (0.0, 0.0, 2.0 * k), k).bytes(RescaleSlope=2, RescaleIntercept=-1024) for k in range(4)]
    scan = only(shuffled(parts))
    assert "mixed-scale" not in scan.signs
    assert scan.stored.dtype == np.uint16
    assert [float(modality_values(scan, k)[0, 0]) for k in range(4)] == [-1024, -1022, -1020, -1018]


def test_slices_with_the_same_lookup_table_share_one_scale() -> None:
    tables = [lut_item(0, [5, 50, 500]) for _ in range(3)]
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), k).bytes(ModalityLUTSequence=table) for k, table in enumerate(tables)]
    scan = only(shuffled(parts))
    assert [float(modality_values(scan, k)[0, 0]) for k in range(3)] == [5, 50, 500]
    assert "mixed-scale" not in scan.signs


def test_slices_with_different_lookup_tables_keep_their_values() -> None:
    tables = [lut_item(0, [5, 50, 500]), lut_item(0, [6, 60, 600])]
    parts = [Slice(k + 1, (0.0, 0.0, float(k)), 1).bytes(ModalityLUTSequence=table) for k, table in enumerate(tables)]
    scan = only(shuffled(parts))
    assert [float(modality_values(scan, k)[0, 0]) for k in range(2)] == [50, 60]
    assert "mixed-scale" in scan.signs


def test_signed_and_unsigned_slices_keep_their_numbers() -> None:
    parts = [
        Slice(1, (0.0, 0.0, 0.0), pixels=np.full((ROWS, COLUMNS), -5, np.int16)).bytes(),
        Slice(2, (0.0, 0.0, 1.0), pixels=np.full((ROWS, COLUMNS), 60000, np.uint16)).bytes(),
    ]
    assert first_pixels(only(shuffled(parts))) == [-5, 60000]


# Enhanced multi-frame objects -----------------------------------------------------------------------------------------


def group(keyword: str, **values: Any) -> Items:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    holder = Dataset()
    setattr(holder, keyword, Items([item]))
    return Items([holder])


def enhanced(depths: Sequence[float], slopes: Sequence[float] | None = None, **tags: Any) -> bytes:
    """One object whose frames hold 1000 + their depth and lie at these depths, in this order (PS3.3 C.7.6.16)."""
    frames = np.stack([np.full((ROWS, COLUMNS), 1000 + round(z), np.uint16) for z in depths])
    shared = group("PixelMeasuresSequence", PixelSpacing=[0.7, 0.8], SliceThickness=3)
    orientation = group("PlaneOrientationSequence", ImageOrientationPatient=list(AXIAL))
    shared[0].PlaneOrientationSequence = orientation[0].PlaneOrientationSequence
    per_frame = []
    for index, z in enumerate(depths):
        frame = group("PlanePositionSequence", ImagePositionPatient=[0, 0, z])[0]
        if slopes is not None:
            scale = group("PixelValueTransformationSequence", RescaleSlope=slopes[index], RescaleIntercept=-7)
            frame.PixelValueTransformationSequence = scale[0].PixelValueTransformationSequence
        per_frame.append(frame)
    return dicom_bytes(
        frames,
        SOPClassUID=ENHANCED_CT,
        Modality="CT",
        SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=Items(per_frame),
        **tags,
    )


def test_frames_of_an_enhanced_object_are_sorted_by_their_places() -> None:
    scan = only([("enhanced", enhanced([9.0, 0.0, 6.0, 3.0, 12.0]))])
    assert first_pixels(scan) == [1000, 1003, 1006, 1009, 1012]
    assert scan.geometry.slice_spacing_mm == pytest.approx(3)
    assert scan.geometry.slice_direction == "H"
    assert scan.geometry.spacing_mm == (0.7, 0.8)
    assert scan.geometry.orientation == ("L", "P")


def test_missing_frames_of_an_enhanced_object_are_counted() -> None:
    scan = only([("enhanced", enhanced([9.0, 0.0, 3.0, 15.0, 6.0]))])
    assert scan.signs["gap"] == "1"
    assert scan.geometry.slice_spacing_mm is None


def test_frames_of_an_enhanced_object_with_scales_of_their_own_keep_their_values() -> None:
    scan = only([("enhanced", enhanced([9.0, 0.0, 3.0], slopes=[1.0, 2.0, 0.5]))])
    assert "mixed-scale" in scan.signs
    # By depth: 0 with slope 2, 3 with slope 0.5, 9 with slope 1.
    expected = [1000 * 2 - 7, 1003 * 0.5 - 7, 1009 - 7]
    assert [float(modality_values(scan, k)[2, 3]) for k in range(3)] == pytest.approx(expected)


def test_frames_at_one_place_stay_in_the_file_s_order() -> None:
    scan = only([("enhanced", enhanced([4.0, 4.0, 1.0]))])
    assert first_pixels(scan) == [1004, 1004, 1001]
    assert scan.geometry.slice_spacing_mm is None


# One patient ----------------------------------------------------------------------------------------------------------

SAID_OF_TWO = "The upload holds files of two patients, so none of them is shown; upload one patient's study at a time."


def of_patients(*patients: dict[str, Any]) -> Files:
    usual: dict[str, Any] = {"PatientID": None, "PatientName": None}
    return [
        (f"{k}.dcm", Slice(k + 1, (0.0, 0.0, float(k)), k).bytes(**(usual | patient)))
        for k, patient in enumerate(patients)
    ]


JANE: dict[str, Any] = {"PatientID": "P1", "PatientName": "Doe^Jane", "PatientBirthDate": "19500203"}
JOHN: dict[str, Any] = {"PatientID": "P2", "PatientName": "Roe^John", "PatientBirthDate": "19610708"}


@pytest.mark.parametrize(
    "patients",
    [
        (JANE, JOHN),
        ({}, JANE, JOHN),
        (JANE, {}, {}, JOHN),
        (JANE, JANE | {"PatientBirthDate": "19510203"}),
        ({"PatientName": "Doe^Jane"}, {}, {"PatientName": "Roe^Jane"}),
        (JANE, JANE | {"PatientID": "P7"}),
    ],
)
def test_files_of_two_patients_are_not_shown_at_all(patients: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(TwoPatients) as caught:
        read(of_patients(*patients))
    assert str(caught.value) == SAID_OF_TWO


def test_studies_of_one_patient_are_told_by_the_number_alone() -> None:
    def patient_of(**tags: Any) -> str:
        return read_study([("film", dicom_bytes(np.zeros((5, 7), np.uint16), **tags))]).patient

    jane = patient_of(**JANE)
    assert len(jane) == 64
    assert jane == patient_of(**JANE | {"PatientName": "Smith^Jane", "StudyInstanceUID": f"{ROOT}.9"})
    assert jane != patient_of(**JOHN)
    assert patient_of(**JANE | {"PatientID": None}) == ""
    assert "P1" not in repr(read_study([("film", dicom_bytes(np.zeros((5, 7), np.uint16), **JANE))]))


def test_second_patient_in_an_archive_beside_the_first_is_found() -> None:
    (_, first), (name, second) = of_patients(JANE, JOHN)
    with pytest.raises(TwoPatients):
        read([("a", first), ("b.zip", zipped({name: second}))])


@pytest.mark.parametrize(
    "patients",
    [
        (JANE, JANE | {"PatientName": "Smith^Jane"}),
        (JANE, {}),
        ({}, JANE, {}),
        (JANE, {"PatientName": "DOE^JANE"}),
        ({}, {}),
    ],
)
def test_files_of_one_patient_are_one_stack_also_after_marriage(patients: tuple[dict[str, Any], ...]) -> None:
    assert first_pixels(only(of_patients(*patients))) == list(range(len(patients)))


# Overlays -------------------------------------------------------------------------------------------------------------


def with_overlay(
    dataset: Dataset, drawn: Array, origin: tuple[int, int], *, kind: str = "G", element: int = 0x6000
) -> bytes:
    """The data set with one overlay plane: bits from the first on, least significant first (PS3.3 C.9.2)."""
    frames = drawn.shape[0] if drawn.ndim == 3 else None
    dataset.add_new((element, 0x0010), "US", drawn.shape[-2])
    dataset.add_new((element, 0x0011), "US", drawn.shape[-1])
    if frames is not None:
        dataset.add_new((element, 0x0015), "IS", frames)
    dataset.add_new((element, 0x0040), "CS", kind)
    dataset.add_new((element, 0x0050), "SS", list(origin))
    dataset.add_new((element, 0x0100), "US", 1)
    dataset.add_new((element, 0x0102), "US", 0)
    bits = np.packbits(drawn.astype(np.uint8).reshape(-1), bitorder="little").tobytes()
    dataset.add_new((element, 0x3000), "OW", bits + bytes(len(bits) % 2))
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


@pytest.mark.parametrize(
    ("origin", "rows", "columns", "part"),
    [
        ((1, 1), slice(0, 3), slice(0, 3), CROSS),
        ((4, 6), slice(3, 6), slice(5, 8), CROSS),
        ((0, -1), slice(0, 2), slice(0, 1), CROSS[1:, 2:]),
        ((9, 10), slice(8, 10), slice(9, 12), CROSS[:2]),
    ],
)
def test_overlay_lies_where_its_origin_says(origin: tuple[int, int], rows: slice, columns: slice, part: Array) -> None:
    expected = np.zeros((1, 10, 12), bool)
    expected[0, rows, columns] = part
    scan = only([("film", with_overlay(dicom_dataset(np.zeros((10, 12), np.uint16)), CROSS, origin))])
    assert len(scan.overlays) == 1
    assert np.array_equal(scan.overlays[0].mask, expected)
    assert not scan.overlays[0].region
    assert not scan.stored.any()


def test_one_overlay_plane_belongs_to_all_frames() -> None:
    dataset = dicom_dataset(np.zeros((3, 6, 7), np.uint16))
    scan = only([("cine", with_overlay(dataset, CROSS, (2, 3), kind="R"))])
    assert scan.overlays[0].region
    expected = np.zeros((6, 7), bool)
    expected[1:4, 2:5] = CROSS
    assert all(np.array_equal(mask, expected) for mask in scan.overlays[0].mask)
    assert len(scan.overlays[0].mask) == 3


def test_every_frame_of_an_overlay_lies_over_its_own_picture() -> None:
    dataset = dicom_dataset(np.zeros((3, 3, 5), np.uint16))
    drawn = np.pad(np.stack([CROSS, ~CROSS, CROSS]), ((0, 0), (0, 0), (2, 0)))
    assert np.array_equal(only([("cine", with_overlay(dataset, drawn, (1, 1)))]).overlays[0].mask, drawn)


def test_overlay_of_one_slice_stays_on_that_slice() -> None:
    plain = [Slice(k + 1, (0.0, 0.0, float(k)), k).bytes() for k in (0, 2)]
    marked = with_overlay(dcmread(BytesIO(Slice(2, (0.0, 0.0, 1.0), 1).bytes())), CROSS, (2, 2))
    scan = only(shuffled([*plain, marked]))
    assert [int(frame.sum()) for frame in scan.overlays[0].mask] == [0, 5, 0]


def test_overlay_whose_data_is_cut_short_does_not_cost_the_picture() -> None:
    dataset = dcmread(BytesIO(with_overlay(dicom_dataset(np.full((9, 9), 5, np.uint16)), np.ones((9, 9)), (1, 1))))
    dataset[0x6000, 0x3000].value = b"\xff\xff"
    out = BytesIO()
    dataset.save_as(out)
    scan = only([("film", out.getvalue())])
    assert int(scan.stored.min()) == 5
    assert scan.overlays == ()


# What lies beside the scans -------------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def damaged(data: bytes) -> bytes:
    """The file with the last third of its pixels missing."""
    return data[: len(data) - ROWS * COLUMNS * 2 // 3]


def test_what_is_no_scan_is_named_and_the_scans_are_shown() -> None:
    files = [("readme.txt", b"Thank you for using our viewer.\r\n"), *at_depths([0.0, 1.0, 2.0])]
    study = read([*files, ("DICOMDIR", bundled("dicomdirtests/DICOMDIR")), ("empty.dcm", b"")])
    assert [scan.frame_count for scan in study.scans] == [3]
    assert [left.name for left in study.left_out] == ["readme.txt", "DICOMDIR", "empty.dcm"]
    assert "text file" in study.left_out[0].reason
    assert "DICOMDIR" in study.left_out[1].reason
    assert "0 bytes" in study.left_out[2].reason


def test_what_systems_leave_in_archives_is_not_even_named() -> None:
    files = dict(at_depths([0.0, 1.0, 2.0]))
    litter = {"__MACOSX/._IM0001.dcm": b"\0\5\x16\7", "a/.DS_Store": b"Bud1", "a/b/Thumbs.db": b"\xd0\xcf\x11\xe0"}
    study = read([("disc.zip", zipped(litter | files))])
    assert first_pixels(study.scans[0]) == [1000, 1001, 1002]
    assert study.left_out == ()


def test_one_damaged_file_of_five_leaves_the_other_four_and_its_name() -> None:
    files = sorted(at_depths([0.0, 2.0, 4.0, 6.0, 8.0]))
    place = next(i for i, (_, data) in enumerate(files) if read([("", data)]).scans[0].stored[0, 0, 0] == 1008)
    name = files[place][0]
    files[place] = (name, damaged(files[place][1]))
    study = read(files)
    assert first_pixels(study.scans[0]) == [1000, 1002, 1004, 1006]
    assert [left.name for left in study.left_out] == [name]
    assert study.left_out[0].reason.endswith(".")
    assert study.scans[0].signs["left-out"] == "1"


def test_files_that_are_no_scans_do_not_count_as_missing_slices() -> None:
    study = read([*at_depths([0.0, 1.0]), ("notes.txt", b"nothing to see")])
    assert "left-out" not in study.scans[0].signs


def test_archive_that_is_cut_short_beside_a_scan_is_named_and_the_scan_is_shown() -> None:
    film = ("film.dcm", dicom_bytes(np.full((4, 4), 9, np.uint16)))
    archive = zipped({"a.dcm": film[1]})
    study = read([("cut.zip", archive[: len(archive) // 2]), film])
    assert [int(scan.stored.max()) for scan in study.scans] == [9]
    assert [left.name for left in study.left_out] == ["cut.zip"]


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ([], NotAnImage, "holds no files"),
        ([("a.txt", b"hello")], NotAnImage, "text file"),
        ([("a.txt", b"hello"), ("b.pdf", b"%PDF-1.7")], NotAnImage, "None of the 2 files"),
        ([("a.dcm", damaged(dicom_bytes(np.ones((5, 5), np.uint16))))], DamagedScan, "cannot be decoded"),
        ([("a.dcm", dicom_bytes(np.ones((5, 5), np.uint16), Rows=65535, Columns=65535))], ScanTooLarge, "megapixels"),
        ([("a.zip", zipped({}))], NotAnImage, "holds no files"),
        ([("a.zip", zipped({"x.txt": b"hello", "y.txt": b"you"}))], NotAnImage, "None of the 2 files"),
    ],
)
def test_nothing_that_can_be_shown_is_one_error_with_its_reason(
    files: Files, kind: type[ScanError], words: str
) -> None:
    with pytest.raises(ScanError) as caught:
        read(files)
    assert words in str(caught.value)
    assert type(caught.value) is kind
    assert str(caught.value).endswith(".")


def test_study_larger_than_the_limit_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_DECODED_MIB", "1")
    parts = [Slice(k, (0.0, 0.0, float(k)), pixels=np.zeros((256, 512), np.uint16)).bytes() for k in range(5)]
    assert only(shuffled(parts[:4])).frame_count == 4
    with pytest.raises(ScanError, match="1 MiB"):
        read(shuffled(parts))


def greys(study: Study) -> list[int]:
    return [int(scan.stored[0, 0, 0]) for scan in study.scans]


@pytest.mark.parametrize(
    ("skip", "left"),
    [(set(), [1, 2, 3, 4]), ({0}, [2, 3, 4]), ({1}, [1, 3, 4]), ({2}, [1, 2, 4]), ({3}, [1, 2, 3]), ({1, 2}, [1, 4])],
)
def test_files_to_skip_are_counted_through_archives(skip: set[int], left: list[int]) -> None:
    one, two, three, four = (png_bytes(np.full((2, 2), value, np.uint8)) for value in (1, 2, 3, 4))
    files = [("1", one), ("a.zip", zipped({"2": two})), ("b.zip", zipped({"3": three})), ("4", four)]
    assert greys(read(files, frozenset(skip))) == left
    packed = [("a.zip", zipped({"1": one, "2": two, "3": three})), ("4", four)]
    assert greys(read(packed, frozenset(skip))) == left


# Real files -----------------------------------------------------------------------------------------------------------


@cache
def disc(folder: str) -> Files:
    paths = sorted((TEST_FILES / "dicomdirtests" / folder).rglob("*"))
    return [(path.name, path.read_bytes()) for path in paths if path.is_file()]


@pytest.mark.parametrize("folder", ["98892001/CT2N", "98892003/MR1", "77654033/CT2", "98892003/MR700"])
def test_real_series_become_stacks_sorted_along_their_normal(folder: str) -> None:
    headers = [dcmread(BytesIO(data)) for _, data in disc(folder)]
    scans = read(disc(folder)).scans
    assert sum(scan.frame_count for scan in scans) == len(headers)
    by_pixels = {header.pixel_array.tobytes(): header for header in headers}
    for scan in scans:
        found = [by_pixels[np.ascontiguousarray(frame).tobytes()] for frame in scan.stored]
        normal = np.cross(*np.array(found[0].ImageOrientationPatient, float).reshape(2, 3))
        depths = [float(np.array(header.ImagePositionPatient, float) @ normal) for header in found]
        steps = np.diff(depths)
        assert (steps > 0).all() or (steps < 0).all()
        if scan.geometry.slice_spacing_mm is not None:
            assert np.abs(steps) == pytest.approx(scan.geometry.slice_spacing_mm, rel=0.06)


def test_disc_of_one_patient_holds_a_scan_for_every_film_and_series() -> None:
    scans = read(disc("77654033")).scans
    assert [scan.modality for scan in scans].count("CR") == 3
    assert sum(scan.modality == "CT" for scan in scans) >= 1


def test_discs_of_two_patients_are_refused() -> None:
    with pytest.raises(TwoPatients):
        read(disc("77654033/CR1") + disc("98892001/CT2N"))


# Through the guard ----------------------------------------------------------------------------------------------------


def test_guarded_study_is_the_same_study() -> None:
    files = [*at_depths([0.0, 3.0, 6.0, 9.0]), ("readme.txt", b"hello")]
    here, there = read(files), read_study(files)
    assert np.array_equal(here.scans[0].stored, there.scans[0].stored)
    assert here.scans[0].digest == there.scans[0].digest
    assert here.scans[0].geometry == there.scans[0].geometry
    assert dict(here.scans[0].signs) == dict(there.scans[0].signs)
    assert here.left_out == there.left_out
    assert not there.scans[0].stored.flags.writeable


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: of_patients({}, JANE, JOHN), TwoPatients),
        (lambda: [("a.txt", b"hello")], NotAnImage),
        (list, NotAnImage),
    ],
)
def test_refusal_of_a_study_comes_through_the_guard_as_it_is(make: Callable[[], Files], kind: type[ScanError]) -> None:
    with pytest.raises(kind) as guarded:
        read_study(make())
    with pytest.raises(kind) as plain:
        read(make())
    assert str(guarded.value) == str(plain.value)


def test_progress_counts_every_file_of_an_archive() -> None:
    seen: list[guard.Progress] = []
    read_study([("disc.zip", zipped(dict(at_depths([0.0, 1.0, 2.0]))))], report=seen.append)
    assert [(step.done, step.total) for step in seen if not step.waiting] == [(0, 3), (1, 3), (2, 3)]


def test_volumes_of_a_four_dimensional_nifti_file_are_scans_in_their_order() -> None:
    import nibabel

    voxels = np.zeros((4, 5, 6, 3), np.int16) + np.array([10, 20, 30], np.int16)
    data = nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0])).to_bytes()  # type: ignore[no-untyped-call]
    scans = read([("fmri.nii", data)]).scans
    assert [int(scan.stored.mean()) for scan in scans] == [10, 20, 30]
    assert [scan.frame_count for scan in scans] == [6, 6, 6]
    assert len({scan.digest for scan in scans}) == 3
    assert not any("duplicate" in scan.signs for scan in scans)


def test_picture_files_that_are_the_same_are_shown_once() -> None:
    grey = png_bytes(np.full((4, 4), 30, np.uint8))
    scans = read([("a.png", grey), ("b.png", png_bytes(np.full((4, 4), 31, np.uint8))), ("c.png", grey)]).scans
    assert [int(scan.stored[0, 0, 0]) for scan in scans] == [30, 31]
    assert [scan.signs.get("duplicate") for scan in scans] == ["1", None]
