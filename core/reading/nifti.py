"""NIfTI-1 and -2 (.nii, .nii.gz): stored numbers, laid out as an axial stack by the file's own affine.

nibabel reads the header and the affines; the voxels are taken as they are, never as its float64.
"""

import hashlib
import itertools
import logging
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.orientations import io_orientation

from core.errors import DamagedScan, NotAnImage, RadLensError, ScanTooLarge
from core.reading.limits import check_size, max_inflated_bytes
from core.scan import Geometry, ModalityLut, Scan, Window, is_usable_window

Array = npt.NDArray[Any]
# nibabel's log repeats header fields, whose free text may be a patient's name.
logging.getLogger("nibabel").setLevel(logging.CRITICAL)

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_STEP = 1 << 20
# A header may claim a hundred million volumes of one voxel; each would become a Scan.
_MAX_VOLUMES = 4096
_RGB24 = 128
_NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", _RGB24: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COMPLEX = (32, 1792, 2048)
_OTHER_NUMBERS = {1: "single bits", 1536: "floating point of 128 bits", 2304: "colour with transparency (RGBA)"}
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
# The patient's axes x, y, z of NIfTI: where each leads forwards and where backwards.
_LETTERS = (("R", "L"), ("A", "P"), ("H", "F"))
# (patient axis, sense) of frames, rows and columns as radiologists look at them: the patient's right at the left edge
# of axial and coronal pictures, the front at the left edge of sagittal ones.
_PLANES = {
    "axial": ((2, 1), (1, -1), (0, -1)),
    "coronal": ((1, -1), (2, -1), (0, -1)),
    "sagittal": ((0, -1), (2, -1), (1, -1)),
}
# Without an orientation the array is drawn as viewers draw ANALYZE files, the first axis to the right and the second
# upwards, which is where a file stored left-anterior-superior would lie.
_UNORIENTED = np.diag([-1.0, 1.0, 1.0])
# Below this angle a slice counts as straight: heads are rarely scanned straighter.
_OBLIQUE_DEGREES = 5.0
_TWO_ORIENTATIONS = (
    "The file gives two orientations that differ (sform and qform); the sform is used, so check left and right."
)
_TWO_SPACINGS = "The file gives two spacings that differ (affine and pixdim), so lengths cannot be measured."
_NO_UNIT = "The file does not say its unit of length; millimetres are assumed."


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where frames, rows and columns come from: source axis and whether it runs backwards, for each of the three."""

    axes: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]
    letters: tuple[str, str, str] | None
    lengths: tuple[float, ...] | None = None  # what the affine says of the spacing along each source axis
    signs: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Volumes:
    """A checked header with the bytes of its voxels: ``shape`` is (x, y, z), ``count`` the number of volumes."""

    header: Nifti1Header
    shape: tuple[int, int, int]
    count: int
    dtype: np.dtype[Any]
    is_colour: bool
    data: memoryview

    @property
    def samples(self) -> int:
        return 3 if self.is_colour else 1

    def __iter__(self) -> Iterator[Array]:
        """(x, y, z) or (x, y, z, 3) of every volume, a view of the file's bytes."""
        size = math.prod(self.shape) * self.samples
        for index in range(self.count):
            flat = np.frombuffer(self.data, self.dtype, size, index * size * self.dtype.itemsize)
            if self.is_colour:
                yield np.moveaxis(flat.reshape((3, *self.shape), order="F"), 0, -1)
            else:
                yield flat.reshape(self.shape, order="F")


def read_nifti(data: bytes, digest: str) -> tuple[Scan, ...]:
    """A .nii or .nii.gz file, one Scan for every volume of a 4-D file.

    Frames run from feet to head, rows to the patient's back, columns to the patient's left; a single coronal or sagittal
    slice keeps its plane. Without an orientation in the file the array is shown in its own order, the second axis
    upwards, and says so by the sign "orientation-unknown".

    Raises NotAnImage for other contents, DamagedScan where header and bytes disagree, ScanTooLarge by arithmetic.
    """
    try:
        volumes = _volumes(_inflated(data))
        layout = _layout(volumes)
        frames, rows, columns = (volumes.shape[axis] for axis in layout.axes)
        check_size(rows, columns, volumes.samples, frames * volumes.count, volumes.dtype.itemsize)
        return tuple(_scans(volumes, layout, digest))
    except (RadLensError, MemoryError):
        raise
    except Exception as exc:  # nibabel and numpy raise a dozen types for headers that contradict themselves
        raise DamagedScan("The NIfTI header is damaged and cannot be read; export or copy the file again.") from exc


# Bytes and header -----------------------------------------------------------------------------------------------------


def _inflated(data: bytes) -> bytes | bytearray:
    """The file's bytes, unpacked and counted while they are: 0.5 MB of gzip can hold 512."""
    if not data.startswith(_GZIP):
        return data
    try:
        return _gunzipped(data)
    except zlib.error as exc:
        raise DamagedScan("The compressed NIfTI file (gzip) is damaged; export or copy it again.") from exc


def _gunzipped(data: bytes) -> bytearray:
    """All members of a gzip file (RFC 1952 2.2), zlib checking length and CRC of each."""
    limit, inflated, member = max_inflated_bytes(), bytearray(), zlib.decompressobj(_GZIP_WINDOW)
    for start in range(0, len(data), _STEP):
        rest = data[start : start + _STEP]
        while rest:
            if member.eof:
                if not rest.startswith(_GZIP[:1]):  # padding
                    return inflated
                member = zlib.decompressobj(_GZIP_WINDOW)
            inflated += member.decompress(rest, _STEP)
            if len(inflated) > limit:
                raise ScanTooLarge(f"The file inflates to more than {limit >> 20} MiB; export fewer volumes in a file.")
            rest = member.unconsumed_tail or member.unused_data
    inflated += member.flush()
    if not member.eof:
        raise DamagedScan("The compressed NIfTI file (gzip) is cut short; export or copy it again.")
    return inflated


def _volumes(data: bytes | bytearray) -> _Volumes:
    header = _header(data)
    shape, count = _dimensions([int(n) for n in header["dim"]])
    code = int(header["datatype"])
    dtype = _dtype(code).newbyteorder(header.endianness)
    offset = _offset(header)
    volumes = _Volumes(header, shape, count, dtype, code == _RGB24, memoryview(data)[offset:])
    check_size(1, 1, volumes.samples, math.prod(shape) * count, dtype.itemsize)
    needed = math.prod(shape) * count * volumes.samples * dtype.itemsize
    if needed > len(volumes.data):
        there = len(volumes.data)
        raise DamagedScan(f"The NIfTI file is cut short: it holds {there} of {needed} bytes of voxels. Copy it again.")
    return volumes


def _header(data: bytes | bytearray) -> Nifti1Header:
    kinds: tuple[tuple[int, type[Nifti1Header], int], ...] = ((348, Nifti1Header, 344), (540, Nifti2Header, 4))
    for (size, kind, place), order in itertools.product(kinds, "<>"):
        magic = data[place : place + 3]
        if data[:4] == struct.pack(f"{order}i", size) and magic in (b"ni1", b"ni2"):
            raise NotAnImage("This is one half of a NIfTI pair (.hdr and .img); convert the pair to one .nii file.")
        if data[:4] == struct.pack(f"{order}i", size) and magic in (b"n+1", b"n+2"):
            if len(data) < size:
                raise DamagedScan("The NIfTI file ends within its header; export or copy it again.")
            header = kind(bytes(data[:size]), order, check=False)
            if header["pixdim"][0] not in (-1, 1):
                header["pixdim"][0] = 1  # the handedness of the qform; anything else counts as 1
            return header
    raise DamagedScan("This is no NIfTI file, or its header is damaged; export or copy the scan again.")


def _dimensions(dim: list[int]) -> tuple[tuple[int, int, int], int]:
    """((x, y, z), volumes) of the header's ``dim``, whose first number says how many of the others count."""
    used = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if not used or min(used) < 1:
        raise DamagedScan(f"The NIfTI header describes no possible picture (dim {_shown(dim)}); export the scan again.")
    x, y, z, volumes, *further = used + [1] * (7 - len(used))
    if max(further) > 1:
        raise NotAnImage(
            f"A NIfTI file of {_shown(used)} holds vectors, not pictures; export one volume or time series."
        )
    if volumes > _MAX_VOLUMES:
        raise ScanTooLarge(f"The NIfTI file holds {volumes} volumes; RadLens opens up to {_MAX_VOLUMES}. Export fewer.")
    return (x, y, z), volumes


def _shown(numbers: list[int]) -> str:
    return " x ".join(str(n) for n in numbers)


def _dtype(code: int) -> np.dtype[Any]:
    if code in _NUMBERS:
        return np.dtype(_NUMBERS[code])
    if code in _COMPLEX:
        raise NotAnImage("The NIfTI file holds complex numbers, which are no picture; export their magnitude.")
    kind = _OTHER_NUMBERS.get(code, f"numbers of an unknown kind ({code})")
    raise DamagedScan(f"The NIfTI file holds {kind}, which RadLens cannot decode; export it as 16 or 32 bits.")


def _offset(header: Nifti1Header) -> int:
    """Where the voxels begin: after the header and its four flag bytes at the earliest, which is what 0 stands for."""
    earliest = int(header["sizeof_hdr"]) + 4
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < 0 or 0 < offset < earliest:
        raise DamagedScan(f"The NIfTI header puts its voxels at byte {offset:g}, which is no place; export it again.")
    return int(offset) or earliest


# Orientation ----------------------------------------------------------------------------------------------------------


def _layout(volumes: _Volumes) -> _Layout:
    said = _orientations(volumes.header)
    matrix = said[0] if said else _UNORIENTED
    nearest = _nearest_axes(matrix)
    source = {axis: (index, sense) for index, (axis, sense) in enumerate(nearest)}
    plane = _plane([volumes.shape[source[axis][0]] for axis in range(3)]) if said else _PLANES["axial"]
    first, second, third = ((source[axis][0], source[axis][1] != sense) for axis, sense in plane)
    frames, rows, columns = (_LETTERS[axis][0 if sense > 0 else 1] for axis, sense in plane)
    return _Layout(
        axes=(first[0], second[0], third[0]),
        backwards=(first[1], second[1], third[1]),
        letters=(frames, rows, columns) if said else None,
        lengths=tuple(np.linalg.norm(matrix, axis=0).tolist()) if said else None,
        signs=_oblique(matrix, nearest) if said else {"orientation-unknown": ""},
        notes=() if len({tuple(_nearest_axes(one)) for one in said}) < 2 else (_TWO_ORIENTATIONS,),
    )


def _orientations(header: Nifti1Header) -> list[Array]:
    """Source axes -> patient axes as the file says it, the sform before the qform; empty where neither can be used."""
    said = (_affine(header, "sform_code", header.get_sform), _affine(header, "qform_code", header.get_qform))
    return [affine[:3, :3] for affine in said if affine is not None and _is_regular(affine[:3, :3])]


def _affine(header: Nifti1Header, code: str, read: Callable[[], Any]) -> Array | None:
    try:
        return np.asarray(read(), np.float64) if int(header[code]) > 0 else None
    except Exception:  # noqa: BLE001  an impossible quaternion or spacing, of several types: the orientation is unknown
        return None


def _nearest_axes(matrix: Array) -> list[tuple[int, int]]:
    """For each source axis the patient axis that it runs along, and the sense."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    nearest = io_orientation(affine)  # type: ignore[no-untyped-call]
    return [(int(axis), int(sense)) for axis, sense in nearest]


def _is_regular(matrix: Array) -> bool:
    """Finite, and its axes point in three clearly different directions."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(matrix, axis=0)
        return bool(np.isfinite(lengths).all() and lengths.min() > 0 and abs(np.linalg.det(matrix / lengths)) > 0.01)


def _plane(size: list[int]) -> tuple[tuple[int, int], ...]:
    """Axial, unless the file holds one single sagittal or coronal slice. ``size`` is along the patient's x, y, z."""
    if size[2] > 1 and size[1] == 1 < size[0]:
        return _PLANES["coronal"]
    if size[2] > 1 and size[0] == 1 < size[1]:
        return _PLANES["sagittal"]
    return _PLANES["axial"]


def _oblique(matrix: Array, nearest: list[tuple[int, int]]) -> dict[str, str]:
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = [abs(matrix[axis, index]) / lengths[index] for index, (axis, _sense) in enumerate(nearest)]
    degrees = math.degrees(math.acos(min(1.0, *cosines)))
    return {"oblique": f"{degrees:.0f}"} if degrees > _OBLIQUE_DEGREES else {}


def _geometry(volumes: _Volumes, layout: _Layout) -> tuple[Geometry, tuple[str, ...]]:
    spacing, notes = _spacing(volumes.header, layout)
    between, row, column = (spacing[axis] for axis in layout.axes)
    is_stack = volumes.shape[layout.axes[0]] > 1
    frames, rows, columns = layout.letters or ("", "", "")
    geometry = Geometry(
        spacing_mm=None if row is None or column is None else (row, column),
        orientation=(columns, rows) if layout.letters else None,
        slice_spacing_mm=between if is_stack else None,
        slice_direction=frames if is_stack and layout.letters else None,
    )
    return geometry, notes


def _spacing(header: Nifti1Header, layout: _Layout) -> tuple[list[float | None], tuple[str, ...]]:
    """Millimetres along each source axis, None where the file gives none or contradicts itself."""
    zooms = [float(zoom) for zoom in header["pixdim"][1:4]]
    if layout.lengths and not np.allclose(zooms, layout.lengths, rtol=0.01) and min(zooms) > 0:
        return [None] * 3, (_TWO_SPACINGS,)
    unit = int(header["xyzt_units"]) & 7
    millimetres = [zoom * _MILLIMETRES.get(unit, 1.0) for zoom in zooms]
    notes = () if unit in _MILLIMETRES else (_NO_UNIT,)
    return [length if 0 < length < 1e3 else None for length in millimetres], notes


# Voxels ---------------------------------------------------------------------------------------------------------------


def _scans(volumes: _Volumes, layout: _Layout, digest: str) -> Iterator[Scan]:
    geometry, geometry_notes = _geometry(volumes, layout)
    lut = ModalityLut() if volumes.is_colour else _modality_lut(volumes.header)
    windows = () if volumes.is_colour else _windows(volumes.header)
    for index, voxels in enumerate(volumes):
        stored, notes = _native(_laid_out(voxels, layout))
        _check_values(stored, lut)
        yield Scan(
            stored=stored,
            digest=hashlib.sha256(f"{digest}:{index}".encode()).hexdigest() if index else digest,
            source_format="NIfTI",
            photometric="RGB" if volumes.is_colour else "MONOCHROME2",
            bits_stored=stored.dtype.itemsize * 8,
            modality_lut=lut,
            windows=windows,
            geometry=geometry,
            facts=_facts(stored, volumes.dtype),
            signs=layout.signs | ({"time-point": f"{index + 1} of {volumes.count}"} if volumes.count > 1 else {}),
            notes=layout.notes + geometry_notes + notes,
        )


def _laid_out(voxels: Array, layout: _Layout) -> Array:
    """(frames, rows, columns[, 3]) as ``layout`` says, still a view."""
    turned = voxels.transpose(*layout.axes, *range(3, voxels.ndim))
    return np.flip(turned, tuple(axis for axis, backwards in enumerate(layout.backwards) if backwards))


def _native(voxels: Array) -> tuple[Array, tuple[str, ...]]:
    """A copy in this machine's byte order, at most 32 bits, every pixel a number."""
    if voxels.dtype.kind == "f":
        return _finite(_single(voxels))
    if voxels.dtype.itemsize < 8:
        return np.array(voxels, voxels.dtype.newbyteorder("="), order="C"), ()
    limits = np.iinfo(np.int32)
    if voxels.min() >= limits.min and voxels.max() <= limits.max:
        return np.array(voxels, np.int32, order="C"), ()
    return _single(voxels), ("Whole numbers of 64 bits were rounded to floating point of 32 bits.",)


def _single(voxels: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite and is dealt with as such
        return np.array(voxels, np.float32, order="C")


def _finite(stored: Array) -> tuple[Array, tuple[str, ...]]:
    """Voxels without a number, common outside a masked brain, as the smallest number there is."""
    good = np.isfinite(stored)
    missing = stored.size - int(np.count_nonzero(good))
    if not missing:
        return stored, ()
    if missing == stored.size:
        raise DamagedScan("No voxel of a volume holds a number (all are NaN or infinite); export the scan again.")
    stored[~good] = stored[good].min()
    return stored, (f"{missing} of {stored.size} voxels hold no number and are shown as the smallest value.",)


def _modality_lut(header: Nifti1Header) -> ModalityLut:
    """``scl_slope`` and ``scl_inter``; a slope of 0 or none at all means that nothing is scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return ModalityLut()
    if not math.isfinite(intercept) or not 1e-12 < abs(slope) < 1e12 or abs(intercept) > 1e12:
        raise DamagedScan(f"The NIfTI file's scale ({slope:g}, {intercept:g}) gives no usable values; export it again.")
    return ModalityLut(slope, intercept)


def _check_values(stored: Array, lut: ModalityLut) -> None:
    largest = max(abs(float(stored.min())), abs(float(stored.max())))
    if largest * abs(lut.slope) + abs(lut.intercept) > np.finfo(np.float32).max / 4:
        raise DamagedScan("The NIfTI file's values are too large to be shown; export the scan again.")


def _windows(header: Nifti1Header) -> tuple[Window, ...]:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    centre, width = (low + high) / 2, high - low
    usable = is_usable_window(centre, width, "LINEAR_EXACT")
    return (Window(centre, width, "LINEAR_EXACT", "from the file"),) if usable else ()


def _facts(stored: Array, dtype: np.dtype[Any]) -> dict[str, str]:
    frames, rows, columns = stored.shape[:3]
    size = f"{columns} x {rows}" + (f", {frames} frames" if frames > 1 else "")
    return {"Format": "NIfTI", "Size": size, "Bits": str(dtype.itemsize * 8)}
