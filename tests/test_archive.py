"""Archives: counted while they unpack, never written to a disk, whatever their directory says."""

import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from core.errors import DamagedScan, NotAnImage, ScanError, ScanTooLarge
from core.reading import read_study
from core.reading.study import Study, read_files
from tests.files import flip_bit, png_bytes

MIB = 1 << 20


def grey(value: int = 7) -> bytes:
    """A picture of few bytes that does not pack any smaller, so that no ratio is large."""
    return png_bytes(np.full((2, 2), value, np.uint8))


def read(archive: bytes, name: str = "upload.zip") -> Study:
    return read_files([(name, archive)], frozenset(), lambda _number, _total: None)


def greys(study: Study) -> list[int]:
    return [int(scan.stored[0, 0, 0]) for scan in study.scans]


def reasons(study: Study) -> dict[str, str]:
    return {left.name: left.reason for left in study.left_out}


def refused(archive: bytes, kind: type[ScanError]) -> str:
    with pytest.raises(ScanError) as caught:
        read(archive)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert re.fullmatch(r"[A-Z][^\n]{10,300}\.", text), text
    return text


def zipped(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files:
            archive.writestr(name, content, compress_type=method)
    return out.getvalue()


def central(archive: bytes, entry: int = 0) -> int:
    """Where the central directory's header of an entry begins (APPNOTE 4.3.12)."""
    at = struct.unpack("<I", archive[archive.rindex(b"PK\x05\x06") + 16 :][:4])[0]
    for _ in range(entry):
        name, extra, comment = struct.unpack("<3H", archive[at + 28 : at + 34])
        at += 46 + name + extra + comment
    assert archive[at : at + 4] == b"PK\x01\x02"
    return int(at)


def local(archive: bytes, entry: int = 0) -> int:
    """Where the local header of an entry begins (APPNOTE 4.3.7)."""
    return int(struct.unpack("<I", archive[central(archive, entry) + 42 :][:4])[0])


def patched(archive: bytes, entry: int, offset: int, layout: str, value: int, *, offset_in_local: int) -> bytes:
    """One field of an entry changed in the central directory and in its local header."""
    changed = bytearray(archive)
    struct.pack_into(layout, changed, central(archive, entry) + offset, value)
    struct.pack_into(layout, changed, local(archive, entry) + offset_in_local, value)
    return bytes(changed)


def with_flags(archive: bytes, entry: int, flags: int) -> bytes:
    return patched(archive, entry, 8, "<H", flags, offset_in_local=6)


def with_method(archive: bytes, entry: int, method: int) -> bytes:
    return patched(archive, entry, 10, "<H", method, offset_in_local=8)


def with_size(archive: bytes, entry: int, size: int) -> bytes:
    """The archive lying about the size that a file unpacks to."""
    return patched(archive, entry, 24, "<I", size, offset_in_local=22)


TWO = zipped(("1.png", grey(1)), ("2.png", grey(2)))


# What is opened -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_of_an_archive_come_in_its_order(method: int) -> None:
    study = read(zipped(("b.png", grey(2)), ("sub/folder/a.png", grey(1)), ("c.png", grey(3)), method=method))
    assert greys(study) == [2, 1, 3]
    assert study.left_out == ()


def test_archive_is_told_by_its_content_and_not_by_its_name() -> None:
    assert greys(read(TWO, "picture.dcm")) == [1, 2]


def test_archive_with_a_comment_and_folders_opens() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("a")
        archive.writestr("a/1.png", grey(5))
        archive.comment = b"made by a viewer PK\x01\x02"
    assert greys(read(out.getvalue())) == [5]


def test_empty_archive_holds_no_files() -> None:
    assert "holds no files" in refused(zipped(), NotAnImage)


def test_archive_of_nothing_but_litter_holds_no_files() -> None:
    assert "holds no files" in refused(zipped(("__MACOSX/._a", b"x"), ("b/.DS_Store", b"y")), NotAnImage)


# Limits ---------------------------------------------------------------------------------------------------------------


def test_more_files_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_ARCHIVE_ENTRIES", "3")
    assert greys(read(zipped(*((f"{i}.png", grey(i)) for i in range(3))))) == [0, 1, 2]
    text = refused(zipped(*((f"{i}.png", grey(i)) for i in range(4))), ScanTooLarge)
    assert "holds 4 files" in text
    assert "up to 3" in text


def test_archive_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_ARCHIVE_MIB", "1")
    half = np.random.default_rng(0).integers(0, 256, MIB * 2 // 5, np.uint8).tobytes()
    assert greys(read(zipped(("1.png", grey(1)), ("a", half), ("b", half)))) == [1]
    text = refused(zipped(("1.png", grey(1)), ("a", half), ("b", half), ("c", half)), ScanTooLarge)
    assert "1 MiB in all" in text


def test_one_file_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_INFLATED_MIB", "1")
    noise = np.random.default_rng(0).integers(0, 256, MIB + 1, np.uint8).tobytes()
    assert greys(read(zipped(("1.png", grey(1)), ("a", noise[:MIB]), ("b", noise[:MIB])))) == [1]
    assert "1 MiB a file" in refused(zipped(("1.png", grey(1)), ("a", noise)), ScanTooLarge)


def test_archive_that_unpacks_to_many_times_its_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(("1.png", grey(1)), ("zeros", bytes(40_000)))
    share = 40_000 / len(archive)
    monkeypatch.setenv("RADLENS_MAX_ARCHIVE_RATIO", str(int(share) + 2))
    assert greys(read(archive)) == [1]
    monkeypatch.setenv("RADLENS_MAX_ARCHIVE_RATIO", str(int(share) - 1))
    assert f"{int(share) - 1} times its size" in refused(archive, ScanTooLarge)


@pytest.mark.parametrize("claimed", [None, 1000, 0xFFFFFFF0])
def test_bomb_is_refused_or_left_out_whatever_size_it_claims(claimed: int | None) -> None:
    bomb = zipped(("1.png", grey(1)), ("bomb.dcm", bytes(32 * MIB)))
    assert len(bomb) < MIB // 16
    if claimed == 1000:
        # Only what is claimed is unpacked, and its checksum does not hold.
        study = read(with_size(bomb, 1, claimed))
        assert greys(study) == [1]
        assert "damaged inside the archive" in reasons(study)["bomb.dcm"]
    else:
        refused(bomb if claimed is None else with_size(bomb, 1, claimed), ScanTooLarge)


def test_files_that_share_their_bytes_are_counted_each_time() -> None:
    # Every entry of the directory points at the same 4 MiB of zeros.
    one = zipped(("a", bytes(4 * MIB)))
    start, end = central(one), one.rindex(b"PK\x05\x06")
    header = one[start:end]
    directory = b"".join(header[:46] + bytes([97 + i]) + header[47:] for i in range(20))
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 20, 20, len(directory), start, 0)
    archive = one[:start] + directory + last
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        assert len(opened.infolist()) == 20
    with pytest.raises(ScanError):
        read(archive)


@pytest.mark.parametrize(
    "name", ["RADLENS_MAX_ARCHIVE_ENTRIES", "RADLENS_MAX_ARCHIVE_MIB", "RADLENS_MAX_ARCHIVE_RATIO"]
)
def test_limits_reach_the_worker(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(("1.png", grey(1)), ("zeros", bytes(MIB)))
    assert greys(read_study([("a.zip", zipped(("1.png", grey(1))))])) == [1]
    monkeypatch.setenv(name, "1")
    with pytest.raises(ScanTooLarge):
        read_study([("a.zip", archive)])


# What is left out -----------------------------------------------------------------------------------------------------


def symbolic_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("archive", "name", "words"),
    [
        (zipped(("1.png", grey(1)), ("inner.zip", TWO)), "inner.zip", "archive inside an archive"),
        (zipped(("1.png", grey(1)), ("picture.dcm", TWO)), "picture.dcm", "archive inside an archive"),
        (zipped(("1.png", grey(1)), ("void", zipped())), "void", "archive inside an archive"),
        (zipped(("1.png", grey(1)), (symbolic_link("link"), b"/etc/passwd")), "link", "a link"),
        (with_flags(TWO, 1, 0x1), "2.png", "encrypted"),
        (with_method(TWO, 1, 9), "2.png", "as an ordinary zip"),  # Deflate64
        (with_method(TWO, 1, 12), "2.png", "as an ordinary zip"),  # bzip2
        (with_method(TWO, 1, 14), "2.png", "as an ordinary zip"),  # LZMA
        (with_method(TWO, 1, 93), "2.png", "as an ordinary zip"),  # Zstandard
        (with_method(TWO, 1, 65535), "2.png", "as an ordinary zip"),
        (with_flags(TWO, 1, 0x20), "2.png", "damaged inside"),  # patched data
    ],
)
def test_file_that_is_not_unpacked_is_named_and_the_others_are_shown(archive: bytes, name: str, words: str) -> None:
    study = read(archive)
    assert greys(study) == [1]
    assert list(reasons(study)) == [name]
    assert words in reasons(study)[name]
    assert reasons(study)[name].endswith(".")


def test_archive_packed_with_bzip2_is_left_out_before_it_unpacks() -> None:
    bomb = zipped(("zeros", bytes(64 * MIB)), method=zipfile.ZIP_BZIP2)
    assert len(bomb) < 1000
    assert "as an ordinary zip" in refused(bomb, DamagedScan)


@pytest.mark.parametrize("bit", range(8))
def test_file_whose_checksum_does_not_hold_is_left_out(bit: int) -> None:
    archive = zipped(("1.png", grey(1)), ("2.png", grey(2)), method=zipfile.ZIP_STORED)
    inside = local(archive, 1) + 30 + len("2.png") + 40
    study = read(flip_bit(archive, inside, bit))
    assert greys(study) == [1]
    assert "damaged inside the archive" in reasons(study)["2.png"]


def test_checksum_that_lies_costs_only_its_file() -> None:
    study = read(patched(TWO, 0, 16, "<I", zlib.crc32(b"something else"), offset_in_local=14))
    assert greys(study) == [2]
    assert list(reasons(study)) == ["1.png"]


def test_nothing_but_an_encrypted_file_is_said_in_one_sentence() -> None:
    assert "without a password" in refused(with_flags(zipped(("1.png", grey())), 0, 0x1), DamagedScan)


# Names ----------------------------------------------------------------------------------------------------------------

TRAVERSAL = [
    "../../x.png", "/etc/x.png", "C:\\x.png", "..\\..\\x.png", "a/../../../x.png", "//server/share/x.png", "~/x.png",
    "/var/x.png", "x.png\0.dcm", "con", "a" * 5000, "./x.png",
]  # fmt: skip


def listing(*folders: Path) -> set[Path]:
    return {path for folder in folders if folder.is_dir() for path in folder.glob("*")}


@pytest.mark.parametrize("name", TRAVERSAL)
@pytest.mark.parametrize("content", [grey(), b"no picture"])
def test_name_that_leads_elsewhere_writes_nothing_anywhere(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cwd = tmp_path / "a" / "b"
    cwd.mkdir(parents=True)
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    watched = (tmp_path, tmp_path / "a", cwd, Path("/etc"), Path("/"), Path.home())
    before = listing(*watched)
    study = read(zipped((name, content), ("good.png", grey(9))))
    assert greys(study)[-1] == 9
    assert listing(*watched) == before


@pytest.mark.parametrize(
    "name", [":red[x].dcm", "**bold**.dcm", "<script>alert(1)</script>.dcm", "$x$ `y` [z](u).dcm", "Ärzte 医.dcm"]
)
def test_names_stay_as_they_are(name: str) -> None:
    study = read(zipped((name, b"no picture"), ("good.png", grey(9))))
    assert list(reasons(study)) == [name]
    assert not any(name[:-4] in reason for reason in reasons(study).values())


# Damaged directories --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [1, 10, 50, 80, 95, 99])
def test_archive_that_is_cut_short_is_damaged(percent: int) -> None:
    assert "cut short" in refused(TWO[: max(4, len(TWO) * percent // 100)], DamagedScan)


def test_directory_that_lies_outside_the_archive_is_damaged() -> None:
    end = TWO.rindex(b"PK\x05\x06")
    changed = bytearray(TWO)
    struct.pack_into("<I", changed, end + 12, 0x7FFFFFFF)
    refused(bytes(changed), DamagedScan)


@pytest.mark.parametrize("offset", [1, 1000, 0x7FFFFFFF, 0xFFFFFFFE])
def test_file_that_lies_elsewhere_than_the_directory_says_is_left_out(offset: int) -> None:
    changed = bytearray(TWO)
    struct.pack_into("<I", changed, central(TWO, 1) + 42, offset)
    study = read(bytes(changed))
    assert greys(study) == [1]
    assert list(reasons(study)) == ["2.png"]


def test_two_names_for_one_file_do_not_break_the_other_files() -> None:
    changed = bytearray(TWO)
    struct.pack_into("<I", changed, central(TWO, 1) + 42, 0)
    study = read(bytes(changed))
    assert greys(study) == [1]
    assert list(reasons(study)) == ["2.png"]


def zip64_extra(archive: bytes, entry: int, *values: int) -> bytes:
    """The archive whose directory gives an entry's sizes and place in 64 bits (APPNOTE 4.5.3)."""
    at = central(archive, entry)
    name = struct.unpack("<H", archive[at + 28 : at + 30])[0]
    extra = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)
    header = bytearray(archive[at : at + 46])
    struct.pack_into("<2I", header, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", header, 42, 0xFFFFFFFF)
    struct.pack_into("<H", header, 30, len(extra))
    end = archive.rindex(b"PK\x05\x06")
    last = bytearray(archive[end:])
    struct.pack_into("<I", last, 12, struct.unpack("<I", last[12:16])[0] + len(extra))
    return (
        archive[:at] + bytes(header) + archive[at + 46 : at + 46 + name] + extra + archive[at + 46 + name : end] + last
    )


@pytest.mark.parametrize("place", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("size", [5, 2**40, 2**63, 2**64 - 1])
def test_sizes_and_places_of_64_bits_that_lie_cost_the_file_or_the_archive(size: int, place: int) -> None:
    with pytest.raises(ScanError) as caught:
        read(zip64_extra(zipped(("1.png", grey(1))), 0, size, size, place))
    assert "Traceback" not in str(caught.value)


def test_size_of_64_bits_that_lies_does_not_make_room_for_it() -> None:
    study = read(zip64_extra(zipped(("1.png", grey(1)), ("2.png", grey(2))), 1, 2**50, 2**50, local(TWO, 1)))
    assert 1 in greys(study)


def zip64_end(archive: bytes, entries: int, size: int, offset: int) -> bytes:
    """The archive ending in a 64-bit record that says how large its directory is and where (APPNOTE 4.3.14)."""
    end = archive.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:end] + record + locator + last


def test_directory_of_64_bits_that_tells_the_truth_opens() -> None:
    start = central(TWO)
    assert greys(read(zip64_end(TWO, 2, TWO.rindex(b"PK\x05\x06") - start, start))) == [1, 2]


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize("offset", [0, 2**31, 2**63, 2**64 - 1])
def test_directory_of_64_bits_that_lies_is_damaged(size: int, offset: int) -> None:
    refused(zip64_end(TWO, 2**60, size, offset), DamagedScan)


def damaged_in_one_byte(make: Callable[[], bytes]) -> int:
    """Read the archive with each of its bytes changed in turn; anything but a study or a ScanError escapes."""
    archive = make()
    errors = 0
    for position in range(len(archive)):
        changed = bytearray(archive)
        changed[position] ^= 0xFF
        try:
            read(bytes(changed))
        except ScanError:
            errors += 1
    return errors


@pytest.mark.parametrize(
    "make",
    [
        lambda: zipped(("1.png", grey(1))),
        lambda: zip64_extra(zipped(("1.png", grey(1))), 0, len(grey(1)), len(grey(1)), 0),
        lambda: zip64_end(TWO, 2, TWO.rindex(b"PK\x05\x06") - central(TWO), central(TWO)),
    ],
)
def test_any_changed_byte_gives_a_study_or_a_sentence(make: Callable[[], bytes]) -> None:
    assert damaged_in_one_byte(make) > 20
