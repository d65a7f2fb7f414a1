"""NIfTI: the mark lies where the file's own affine says, every number as stored, every wrong file one clear sentence."""

import gzip
import hashlib
import logging
import struct
import time
from collections.abc import Callable
from itertools import permutations, product
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from core.errors import DamagedScan, NotAnImage, ScanError, ScanTooLarge
from core.reading.nifti import read_nifti
from core.scan import Scan
from core.windowing import modality_values

Array = npt.NDArray[Any]

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
# A head of 5 x 6 x 7 voxels in the patient's own frame, x to the right, y to the front, z up.
SIZE = (5, 6, 7)
MARK = 1000
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
ALL_ORDERS = ["".join(p) for axes in permutations(["RL", "AP", "SI"]) for p in product(*axes)]


def nifti_bytes(
    voxels: Array,
    *,
    affine: Array | None = None,
    order: Literal["<", ">"] = "<",
    zooms: tuple[float, ...] = (1.0, 1.0, 1.0),
    slope: float = 1.0,
    inter: float = 0.0,
    cal: tuple[float, float] = (0.0, 0.0),
    units: int = 2,
    code: int | None = None,
    dim: tuple[int, ...] | None = None,
    quaternion: tuple[float, ...] | None = None,
    qfac: float = 1.0,
    offset: float = 352.0,
    magic: bytes = b"n+1\0",
) -> bytes:
    """NIfTI-1 written by hand from the standard's table of offsets (nifti1.h), voxels first axis fastest."""
    header = bytearray(348)

    def put(at: int, layout: str, *values: Any) -> None:
        struct.pack_into(order + layout, header, at, *values)

    put(0, "i", 348)
    sizes = dim or (voxels.ndim, *voxels.shape)
    put(40, "8h", *sizes, *[1] * (8 - len(sizes)))
    put(70, "hh", CODES.get(voxels.dtype.str[1:], 0) if code is None else code, voxels.dtype.itemsize * 8)
    put(76, "8f", qfac, *zooms, *[1.0] * (7 - len(zooms)))
    put(108, "fff", offset, slope, inter)
    put(123, "bff", units, cal[1], cal[0])
    put(148, "80s", b"DOE^JANE 1950")
    put(328, "16s", b"Mrs Doe")
    if quaternion:
        put(252, "h", 1)
        put(256, "6f", *quaternion, 0, 0, 0)
    if affine is not None:
        put(254, "h", 1)
        put(280, "12f", *np.asarray(affine, float)[:3, :4].ravel())
    put(344, "4s", magic)
    body = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")
    return bytes(header) + bytes(4) + body


def affine_of(codes: str, zooms: tuple[float, float, float] = (1, 1, 1)) -> Array:
    """The affine of an array whose axes run to these sides of the patient, such as "RAS" or "PIR"."""
    affine = np.zeros((4, 4))
    for axis, (letter, zoom) in enumerate(zip(codes, zooms, strict=True)):
        affine[AXIS[letter], axis] = zoom if letter in "RAS" else -zoom
    affine[3, 3] = 1
    return affine


def stored_as(head: Array, codes: str) -> Array:
    """The head, an array from left, back and feet to right, front and top, stored along other axes."""
    turned = head.transpose(*(AXIS[letter] for letter in codes))
    return np.flip(turned, tuple(axis for axis, letter in enumerate(codes) if letter in "LPI"))


def head(mark: str = "RAS") -> Array:
    """A head with one bright voxel in the corner that lies furthest to these three sides, beside a faint gradient."""
    voxels = np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE)
    voxels[tuple(SIZE[AXIS[letter]] - 1 if letter in "RAS" else 0 for letter in mark)] = MARK
    return voxels


def one(data: bytes) -> Scan:
    (scan,) = read_nifti(data, "digest")
    return scan


def opened(data: bytes) -> tuple[Scan, ...]:
    """The scans, or none where the file is refused; anything but our own errors escapes."""
    try:
        return read_nifti(data, "digest")
    except ScanError:
        return ()


def place_of_mark(scan: Scan) -> tuple[int, ...]:
    ((frame, row, column),) = np.argwhere(scan.stored == MARK).tolist()
    return frame, row, column


def refused(data: bytes, kind: type[ScanError]) -> str:
    with pytest.raises(kind) as caught:
        read_nifti(data, "digest")
    text = str(caught.value)
    assert type(caught.value) is kind
    assert text.endswith(".")
    assert 20 < len(text) <= 250
    assert "Doe" not in text
    assert "DOE" not in text
    return text


# Where the mark lies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["RAS", "LAS", "RPI", "LPS"])
@pytest.mark.parametrize("codes", ALL_ORDERS)
def test_mark_is_where_the_letters_say_in_all_48_orders(codes: str, mark: str) -> None:
    scan = one(nifti_bytes(stored_as(head(mark), codes), affine=affine_of(codes)))
    assert scan.geometry.orientation == ("L", "P")
    assert scan.geometry.slice_direction == "H"
    # Radiological: the patient's right at the left edge, the front at the top, the first frame at the feet.
    expected = (
        6 if mark[2] == "S" else 0,
        0 if mark[1] == "A" else 5,
        0 if mark[0] == "R" else 4,
    )
    assert place_of_mark(scan) == expected
    assert scan.stored.shape == (7, 6, 5)
    assert scan.signs == {}


def test_every_voxel_is_where_its_position_in_the_patient_says() -> None:
    for codes in ("RAS", "LPS", "PIR", "SLA"):
        scan = one(nifti_bytes(stored_as(head(), codes), affine=affine_of(codes)))
        for x, y, z in product(*(range(n) for n in SIZE)):
            assert scan.stored[z, 5 - y, 4 - x] == head()[x, y, z]


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "PIR", "ASR", "RIP"])
def test_orientation_of_a_qform_is_read_as_nibabel_reads_it(codes: str) -> None:
    kind: Any = nib.Nifti1Image
    image = kind(stored_as(head(), codes), None)
    image.set_qform(affine_of(codes), 1)
    image.header.set_xyzt_units("mm")
    assert int(image.header["sform_code"]) == 0
    assert place_of_mark(one(image.to_bytes())) == (6, 0, 0)


def test_quaternion_written_by_hand() -> None:
    # nifti1.h METHOD 2: (b, c, d) = (0, 0, 1) is half a turn about z, so the first axis runs to the left, the second back.
    scan = one(nifti_bytes(stored_as(head(), "LPS"), quaternion=(0.0, 0.0, 1.0)))
    assert place_of_mark(scan) == (6, 0, 0)
    # qfac -1 turns the third axis round.
    scan = one(nifti_bytes(stored_as(head(), "LPI"), quaternion=(0.0, 0.0, 1.0), qfac=-1.0))
    assert place_of_mark(scan) == (6, 0, 0)


def test_qfac_of_zero_counts_as_one() -> None:
    scan = one(nifti_bytes(stored_as(head(), "LPS"), quaternion=(0.0, 0.0, 1.0), qfac=0.0))
    assert place_of_mark(scan) == (6, 0, 0)


def test_sform_comes_before_qform_and_a_contradiction_is_said() -> None:
    same = nifti_bytes(stored_as(head(), "LPS"), affine=affine_of("LPS"), quaternion=(0.0, 0.0, 1.0))
    other = nifti_bytes(stored_as(head(), "RAS"), affine=affine_of("RAS"), quaternion=(0.0, 0.0, 1.0))
    assert one(same).notes == ()
    assert place_of_mark(one(other)) == (6, 0, 0)
    assert any("left and right" in note for note in one(other).notes)


@pytest.mark.parametrize(("degrees", "sign"), [(0, None), (4, None), (12, "12"), (30, "30")])
def test_tilted_slices_take_the_nearest_axes_and_say_so(degrees: int, sign: str | None) -> None:
    angle = np.deg2rad(degrees)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    scan = one(nifti_bytes(stored_as(head(), "LAS"), affine=tilt @ affine_of("LAS")))
    assert place_of_mark(scan) == (6, 0, 0)
    assert scan.signs.get("oblique") == sign
    assert scan.geometry.orientation == ("L", "P")


UNKNOWN: dict[str, dict[str, Any]] = {
    "no form": {},
    "NaN": {"affine": np.full((4, 4), np.nan)},
    "infinite": {"affine": np.diag([np.inf, 1, 1, 1])},
    "zeros": {"affine": np.zeros((4, 4))},
    "flat": {"affine": [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]},
    "impossible quaternion": {"quaternion": (2.0, 2.0, 2.0)},
    "quaternion that is none": {"quaternion": (np.nan, 0.0, 0.0)},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_orientation_that_is_unknown_is_said_and_never_guessed(name: str) -> None:
    scan = one(nifti_bytes(head(), **UNKNOWN[name]))
    assert scan.geometry.orientation is None
    assert scan.geometry.slice_direction is None
    assert scan.signs == {"orientation-unknown": ""}
    # First axis to the right, second upwards, third from the first frame to the last.
    assert np.array_equal(scan.stored, head().transpose(2, 1, 0)[:, ::-1])


def test_single_coronal_slice_keeps_its_plane() -> None:
    voxels = np.zeros((5, 1, 7), np.int16)
    voxels[4, 0, 6] = MARK  # right, top
    scan = one(nifti_bytes(voxels, affine=affine_of("RAS"), zooms=(1.0, 1.0, 1.0)))
    assert scan.shape == (7, 5)
    assert scan.geometry.orientation == ("L", "F")
    assert place_of_mark(scan) == (0, 0, 0)


def test_single_sagittal_slice_keeps_its_plane() -> None:
    voxels = np.zeros((1, 6, 7), np.int16)
    voxels[0, 5, 6] = MARK  # front, top
    scan = one(nifti_bytes(voxels, affine=affine_of("RAS")))
    assert scan.shape == (7, 6)
    assert scan.geometry.orientation == ("P", "F")
    assert place_of_mark(scan) == (0, 0, 0)


def test_picture_of_two_dimensions_is_one_frame() -> None:
    scan = one(nifti_bytes(head()[:, :, 0], affine=affine_of("RAS")))
    assert scan.stored.shape == (1, 6, 5)
    assert scan.geometry.slice_direction is None
    assert scan.geometry.slice_spacing_mm is None


# Spacing --------------------------------------------------------------------------------------------------------------


def test_spacing_follows_the_axes() -> None:
    # Stored to the back, down and to the right: 0.5 mm front to back, 2 mm up and down, 3 mm left to right.
    zooms = (0.5, 2.0, 3.0)
    scan = one(nifti_bytes(stored_as(head(), "PIR"), affine=affine_of("PIR", zooms), zooms=zooms))
    assert scan.geometry.spacing_mm == (0.5, 3.0)
    assert scan.geometry.slice_spacing_mm == 2.0
    assert scan.notes == ()


@pytest.mark.parametrize(("units", "factor", "notes"), [(1, 1000, 0), (2, 1, 0), (3, 0.001, 0), (0, 1, 1), (10, 1, 0)])
def test_units_become_millimetres(units: int, factor: float, notes: int) -> None:
    zooms = (0.5, 0.25, 0.125)
    scan = one(nifti_bytes(head(), affine=affine_of("RAS", zooms), zooms=zooms, units=units))
    assert scan.geometry.spacing_mm == pytest.approx((0.25 * factor, 0.5 * factor))
    assert scan.geometry.slice_spacing_mm == pytest.approx(0.125 * factor)
    assert len(scan.notes) == notes


@pytest.mark.parametrize("zoom", [0.0, -1.0, np.nan, np.inf])
def test_spacing_that_is_none_is_unknown(zoom: float) -> None:
    scan = one(nifti_bytes(head(), affine=affine_of("RAS"), zooms=(zoom, 1.0, 1.0)))
    assert scan.geometry.spacing_mm is None


def test_spacing_that_contradicts_the_affine_is_not_trusted() -> None:
    scan = one(nifti_bytes(head(), affine=affine_of("RAS", (0.5, 0.5, 0.5)), zooms=(1.0, 1.0, 1.0)))
    assert scan.geometry.spacing_mm is None
    assert scan.geometry.slice_spacing_mm is None
    assert any("spacings" in note for note in scan.notes)


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_stored_numbers_stay_as_they_are(kind: str, order: Literal["<", ">"]) -> None:
    limits = np.iinfo(kind) if kind[0] != "f" else np.finfo("f4")
    numbers = np.array([0, 1, 2, 100, limits.min / 8 if kind[0] == "f" else limits.min, limits.max // 8], kind)
    scan = one(nifti_bytes(numbers.reshape(2, 3, 1), affine=affine_of("LPS"), order=order))
    assert scan.stored.dtype == ("f4" if kind[0] == "f" else kind)
    assert scan.stored.dtype.isnative
    assert scan.stored[0].T.ravel().tolist() == numbers.astype(scan.stored.dtype).tolist()
    assert scan.bits_stored == scan.stored.dtype.itemsize * 8
    assert scan.facts == {"Format": "NIfTI", "Size": "2 x 3", "Bits": str(np.dtype(kind).itemsize * 8)}
    assert scan.source_format == "NIfTI"
    assert scan.modality is None


@pytest.mark.parametrize("kind", ["i8", "u8"])
def test_whole_numbers_of_64_bits_take_32_where_they_fit(kind: str) -> None:
    small = np.array([[[0], [2**31 - 1]]], kind)
    large = np.array([[[0], [2**31]]], kind)
    assert one(nifti_bytes(small)).stored.dtype == np.int32
    assert sorted(one(nifti_bytes(small)).stored.ravel().tolist()) == [0, 2**31 - 1]
    scan = one(nifti_bytes(large))
    assert scan.stored.dtype == np.float32
    assert scan.stored.max() == 2**31
    assert any("rounded" in note for note in scan.notes)


@pytest.mark.parametrize(
    ("slope", "inter", "factor", "offset"), [(2, -1024, 2, -1024), (0, 5, 1, 0), (np.nan, 7, 1, 0)]
)
def test_scale_and_offset_give_the_values(slope: float, inter: float, factor: float, offset: float) -> None:
    scan = one(nifti_bytes(head(), affine=affine_of("RAS"), slope=slope, inter=inter))
    assert scan.stored.dtype == np.int16
    assert np.array_equal(modality_values(scan, 6), scan.stored[6] * factor + offset)


@pytest.mark.parametrize(
    ("slope", "inter"), [(np.inf, 0), (-np.inf, 0), (1, np.inf), (1, np.nan), (1e30, 0), (1e-30, 0)]
)
def test_scale_that_gives_no_values_is_refused(slope: float, inter: float) -> None:
    refused(nifti_bytes(head(), slope=slope, inter=inter), DamagedScan)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_voxels_without_a_number_take_the_smallest_and_are_counted(kind: str, value: float) -> None:
    voxels = head().astype(kind) - 10
    voxels[0, 0, :3] = value
    scan = one(nifti_bytes(voxels, affine=affine_of("RAS")))
    assert np.isfinite(scan.stored).all()
    assert scan.stored[:3, 5, 4].tolist() == [-7.0] * 3
    assert scan.notes == ("3 of 210 voxels hold no number and are shown as the smallest value.",)


def test_volume_without_any_number_is_refused() -> None:
    assert "NaN" in refused(nifti_bytes(np.full((4, 4, 4), np.nan, "f4")), DamagedScan)


def test_values_beyond_single_precision_are_refused_or_counted() -> None:
    assert "210" in one(nifti_bytes(np.where(head() == MARK, 1e300, head()))).notes[0]
    refused(nifti_bytes(np.full((4, 4, 4), 3e38, "f4"), slope=1000), DamagedScan)


def test_colour_stays_colour() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    data = nifti_bytes(rgb, code=128, dim=(3, *SIZE), affine=affine_of("LPS"), slope=2.0, cal=(0, 9))
    scan = one(data)
    assert scan.photometric == "RGB"
    assert scan.stored.shape == (7, 6, 5, 3)
    assert np.array_equal(scan.stored, rgb.transpose(3, 2, 1, 0))
    assert scan.modality_lut.is_identity
    assert scan.windows == ()


def test_window_of_the_file_opens_it() -> None:
    (window,) = one(nifti_bytes(head(), cal=(-100.0, 300.0))).windows
    assert (window.centre, window.width, window.function) == (100, 400, "LINEAR_EXACT")
    assert window.explanation == "from the file"


@pytest.mark.parametrize("cal", [(0.0, 0.0), (5.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_window_that_is_none_is_left_out(cal: tuple[float, float]) -> None:
    assert one(nifti_bytes(head(), cal=cal)).windows == ()


# Versions, compression, time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_both_versions_orders_and_packings_open(kind: Any, order: str, pack: Callable[[bytes], bytes]) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    header["descrip"] = "Jane Doe"
    image = kind(stored_as(head(), "LPS"), affine_of("LPS", (2, 3, 4)), header)
    image.header.set_xyzt_units("mm")
    scan = one(pack(image.to_bytes()))
    assert place_of_mark(scan) == (6, 0, 0)
    assert scan.geometry.spacing_mm == (3.0, 2.0)
    assert "Doe" not in f"{scan!r}{dict(scan.facts)}{scan.notes}"


def test_volumes_of_a_series_become_scans_in_order() -> None:
    series = np.stack([head() + 2000 * n for n in range(3)], axis=-1)
    scans = read_nifti(nifti_bytes(series, affine=affine_of("RAS"), quaternion=(0.0, 0.0, 0.0)), "digest")
    assert [scan.signs["time-point"] for scan in scans] == ["1 of 3", "2 of 3", "3 of 3"]
    assert [int(scan.stored[6, 0, 0]) for scan in scans] == [1000, 3000, 5000]
    second = hashlib.sha256(b"digest:1").hexdigest()
    assert [scan.digest for scan in scans][:2] == ["digest", second]
    assert len({scan.digest for scan in scans}) == 3


@pytest.mark.parametrize("dim", [(4, *SIZE, 1), (5, *SIZE, 1, 1), (7, *SIZE, 1, 1, 1, 1)])
def test_axes_of_one_at_the_end_do_not_count(dim: tuple[int, ...]) -> None:
    scan = one(nifti_bytes(head(), dim=dim))
    assert "time-point" not in scan.signs


def test_stored_pixels_are_read_only_and_need_no_file_behind_them() -> None:
    scan = one(nifti_bytes(head(), affine=affine_of("RAS")))
    assert scan.stored.flags.c_contiguous
    assert scan.stored.base is None
    assert not scan.stored.flags.writeable


def test_members_of_a_gzip_and_padding_behind_it() -> None:
    data = nifti_bytes(head(), affine=affine_of("RAS"))
    packed = gzip.compress(data[:400]) + gzip.compress(data[400:]) + bytes(100)
    assert place_of_mark(one(packed)) == (6, 0, 0)


def test_large_gzip_is_inflated_in_linear_time() -> None:
    noise = np.random.default_rng(0).integers(0, 2**15, (128, 128, 600), dtype=np.int16)
    packed = gzip.compress(nifti_bytes(noise), 1)
    started = time.perf_counter()
    assert np.array_equal(one(packed).stored, noise.transpose(2, 1, 0)[:, ::-1])
    assert time.perf_counter() - started < 3


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_file_that_is_cut_short_is_damaged(pack: Callable[[bytes], bytes], part: float) -> None:
    data = pack(nifti_bytes(np.random.default_rng(0).integers(0, 99, (20, 20, 20), dtype=np.int16)))
    refused(data[: int(len(data) * part)], DamagedScan)


def test_gzip_whose_checksum_does_not_fit_is_damaged() -> None:
    packed = bytearray(gzip.compress(nifti_bytes(head())))
    packed[-6] ^= 1
    refused(bytes(packed), DamagedScan)


def test_bomb_is_stopped_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_INFLATED_MIB", "4")
    bomb = gzip.compress(nifti_bytes(np.zeros((256, 256, 64), np.int16)))
    started = time.perf_counter()
    assert "4 MiB" in refused(bomb, ScanTooLarge)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "dim",
    [(3, 0, 6, 7), (3, 5, -6, 7), (0, 5, 6, 7), (8, 5, 6, 7), (-1, 5, 6, 7), (4, 5, 6, 7, 0), (3, 5, 6, 8)],
)
def test_dimensions_that_cannot_be_are_damaged(dim: tuple[int, ...]) -> None:
    refused(nifti_bytes(head(), dim=dim), DamagedScan)


@pytest.mark.parametrize("dim", [(3, 32767, 32767, 32767), (4, 5, 6, 1, 32767), (3, 32767, 32767, 1)])
def test_absurd_dimensions_are_refused_by_arithmetic(dim: tuple[int, ...]) -> None:
    refused(nifti_bytes(head(), dim=dim), ScanTooLarge)


def test_memory_limit_counts_all_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    series = np.zeros((64, 64, 64, 3), np.int16)
    monkeypatch.setenv("RADLENS_MAX_DECODED_MIB", "1")
    refused(nifti_bytes(series), ScanTooLarge)
    assert one(nifti_bytes(series[..., 0])).frame_count == 64


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (32, NotAnImage, "complex"), (1792, NotAnImage, "complex"), (2048, NotAnImage, "complex"),
        (1536, DamagedScan, "128"), (2304, DamagedScan, "RGBA"), (1, DamagedScan, "bits"), (0, DamagedScan, "unknown"),
        (9999, DamagedScan, "unknown"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_picture_are_named(code: int, kind: type[ScanError], words: str) -> None:
    assert words in refused(nifti_bytes(head(), code=code), kind)


def test_vectors_are_no_picture() -> None:
    assert "vectors" in refused(nifti_bytes(np.zeros((3, 3, 3, 1, 3), "f4")), NotAnImage)


@pytest.mark.parametrize("magic", [b"ni1\0", b"ni2\0"])
def test_half_of_a_pair_is_refused_with_what_to_do(magic: bytes) -> None:
    assert "pair" in refused(nifti_bytes(head(), magic=magic), NotAnImage)


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", bytes(400), gzip.compress(b"hello" * 100, mtime=0), nifti_bytes(head(), magic=b"")]
)
def test_what_is_no_nifti_is_refused(data: bytes) -> None:
    refused(data, DamagedScan)


@pytest.mark.parametrize("offset", [-1.0, 1.0, 351.0, np.nan, np.inf, 1e30])
def test_voxels_at_an_impossible_place_are_refused(offset: float) -> None:
    refused(nifti_bytes(head(), offset=offset), DamagedScan)


def test_voxels_without_a_place_follow_the_header() -> None:
    assert place_of_mark(one(nifti_bytes(head(), offset=0, affine=affine_of("RAS")))) == (6, 0, 0)


def test_flipped_bits_give_a_scan_or_a_sentence() -> None:
    data = nifti_bytes(head(), affine=affine_of("LAS"), quaternion=(0.0, 0.0, 1.0))
    for position in range(348):
        for bit in range(0, 8, 3):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            for scan in opened(bytes(changed)):
                assert np.isfinite(modality_values(scan)).all()


def test_nothing_of_the_header_s_text_is_kept_or_said(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        scan = one(nifti_bytes(head(), quaternion=(2.0, 2.0, 2.0)))
    shown = f"{scan!r} {dict(scan.facts)} {scan.notes} {scan.windows} {caplog.text} {''.join(capfd.readouterr())}"
    assert "doe" not in shown.lower()
