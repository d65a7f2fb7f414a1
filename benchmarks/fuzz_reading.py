"""Thousands of damaged files through the doors that uploads come in by; prints what became of them.

    python -m benchmarks.fuzz_reading
    python -m benchmarks.fuzz_reading --mutants 10000 --seed 7

A mutant is a good file of one of the encodings below with some damage: flipped bits, runs of other bytes, a cut, a piece
of another place or file, a number that looks like a length, or a changed number near the headers that say how large a
picture is. Where a checksum or a compression would stop every mutant at the door, a second line mends it, so that the
damage reaches what lies behind. Two threads read at once, through ``read_scan`` or ``read_study``; what opens is also
made grey as the page would.

Bounds, exit status 1 when one is broken: nothing outside our tree of errors, no answer later than 10 s, no sentence that
is longer than 220 characters or holds a path or a traceback, and this process's memory grows by less than 200 MiB.
"""

import argparse
import gc
import gzip
import os
import random
import re
import resource
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.uid import HTJ2KLossless, JPEGBaseline8Bit

from benchmarks.interleaved import machine, table
from core.errors import RadLensError, ScanError
from core.reading import read_scan, read_study
from core.reading.guard import GUARD, WorkerDied
from core.scan import Scan
from core.windowing import display_grey
from tests.files import bundled, dicom_bytes, image_bytes, jpeg_bytes, png_bytes, png_chunk, tiff_bytes
from tests.hostile import encapsulated, nifti_header, picture

LATEST_SECONDS = 10.0
LONGEST_SENTENCE = 220
GROWTH_MIB = 200
THREADS = 2

Wrap = Callable[[bytes], bytes]

# Behind these bytes stand the numbers that say how much there is to decode.
_HEADERS = (
    b"\x28\x00\x02\x00", b"\x28\x00\x08\x00", b"\x28\x00\x10\x00", b"\x28\x00\x11\x00", b"\x28\x00\x00\x01",
    b"\x28\x00\x01\x01", b"\xe0\x7f\x10\x00", b"\xfe\xff\x00\xe0", b"\x00\x28\x00\x10", b"\x00\x28\x00\x11",
    b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7", b"\xff\xc4", b"\xff\xda", b"\xff\x51", b"\xff\x52",
    b"\xff\x5c", b"\xff\x90", b"IHDR", b"\x00\x01\x03\x00", b"\x01\x01\x03\x00", b"\x11\x01\x04\x00", b"PK\x01\x02",
)  # fmt: skip
_HEADER_SPAN = 24
_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    4096,
    32767,
    32768,
    65535,
    65536,
    10**6,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
_PATH = re.compile(r"(?:/[\w.-]+){2,}|\.py\b|Traceback|\n")


@dataclass(frozen=True, slots=True)
class Encoding:
    """Good files of one kind; ``wrap`` is done to a mutant before it is read, ``as_study`` chooses the other door."""

    name: str
    seeds: tuple[bytes, ...]
    wrap: Wrap = bytes
    as_study: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant: ``end`` is "opened" or the type of the error; ``trouble`` names a broken bound."""

    encoding: str
    number: int
    end: str
    seconds: float
    died: bool = False
    trouble: str = ""


@dataclass(slots=True)
class Tally:
    """All outcomes, and by how many MiB this process grew: at its highest, and in the end."""

    outcomes: list[Outcome] = field(default_factory=list)
    growth: float = 0.0
    peak_growth: float = 0.0
    seconds: float = 0.0

    @property
    def broken(self) -> list[str]:
        """The bounds that do not hold, in words."""
        broken = [f"{o.encoding} mutant {o.number}: {o.trouble}" for o in self.outcomes if o.trouble]
        late = [o for o in self.outcomes if o.seconds > LATEST_SECONDS]
        broken += [f"{o.encoding} mutant {o.number}: answered after {o.seconds:.1f} s" for o in late]
        if self.growth > GROWTH_MIB:
            broken.append(f"this process grew by {self.growth:.0f} MiB")
        return broken

    def table(self) -> str:
        """One line for each encoding and one for all."""
        names = list(dict.fromkeys(o.encoding for o in self.outcomes))
        rows = [_row(name, [o for o in self.outcomes if o.encoding == name]) for name in names]
        return table(HEADS, [*rows, _row("all", self.outcomes)])


REFUSALS = ("NotAnImage", "DamagedScan", "ScanTooLarge", "DecodingStopped", "ScanError")
HEADS = ("encoding", "mutants", "opened", *REFUSALS, "workers died", "outside", "slowest s", "late")


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    ends = Counter(outcome.end for outcome in outcomes)
    outside = sum(count for end, count in ends.items() if end not in ("opened", *REFUSALS))
    numbers = [len(outcomes), ends["opened"], *(ends[end] for end in REFUSALS), sum(o.died for o in outcomes), outside]
    slowest = max(o.seconds for o in outcomes)
    late = sum(o.seconds > LATEST_SECONDS for o in outcomes)
    return (name, *map(str, numbers), f"{slowest:.1f}", str(late))


# Good files ---------------------------------------------------------------------------------------------------------


@cache
def encodings() -> tuple[Encoding, ...]:
    """Every encoding that RadLens reads, with a small good file or two."""
    grey, deep = picture(), picture(bits=16)
    colour = np.dstack([grey, grey.T, grey[::-1]])
    plain, deflated = dicom_bytes(deep), bundled("image_dfl.dcm")
    nifti = nifti_header((16, 16, 8)) + picture(32, 64).tobytes()
    return (
        Encoding("DICOM, little endian", (bundled("MR_small.dcm"), plain)),
        Encoding("DICOM, big endian", (bundled("MR_small_bigendian.dcm"),)),
        Encoding("DICOM, implicit", (bundled("MR_small_implicit.dcm"), bundled("rtdose.dcm"))),
        Encoding("DICOM, deflated", (deflated,)),
        Encoding("DICOM, deflated anew", (_inflated(deflated),), _deflated),
        Encoding("DICOM, RLE", (bundled("MR_small_RLE.dcm"), bundled("SC_rgb_rle_2frame.dcm"))),
        Encoding("DICOM, JPEG", (encapsulated(jpeg_bytes(grey), JPEGBaseline8Bit), bundled("SC_rgb_jpeg_dcmtk.dcm"))),
        Encoding("DICOM, JPEG of 12 bits", (bundled("JPGExtended.dcm"), bundled("JPEG-lossy.dcm"))),
        Encoding("DICOM, lossless JPEG", (bundled("SC_rgb_jpeg_gdcm.dcm"),)),
        Encoding("DICOM, JPEG-LS", (bundled("MR_small_jpeg_ls_lossless.dcm"), bundled("JPEGLSNearLossless_16.dcm"))),
        Encoding("DICOM, JPEG 2000", (bundled("MR_small_jp2klossless.dcm"), bundled("693_J2KI.dcm"))),
        Encoding("DICOM, HTJ2K", (encapsulated(bytes(imagecodecs.htj2k_encode(grey)), HTJ2KLossless),)),
        Encoding("PNG", (png_bytes(deep), png_bytes(colour))),
        Encoding("PNG, checksums mended", (png_bytes(deep), png_bytes(colour)), _mended),
        Encoding("JPEG", (jpeg_bytes(grey), jpeg_bytes(colour), jpeg_bytes(colour, mode="CMYK"))),
        Encoding("JPEG, progressive", (image_bytes(Image.fromarray(colour), "JPEG", progressive=True),)),
        Encoding("TIFF, deflated", (tiff_bytes(deep, compression="tiff_deflate"), tiff_bytes(grey, grey))),
        Encoding("TIFF, packbits", (tiff_bytes(grey, compression="packbits"),)),
        Encoding("NIfTI", (nifti,)),
        Encoding("NIfTI.gz", (gzip.compress(nifti, mtime=0),)),
        Encoding("NIfTI.gz, compressed anew", (nifti,), lambda data: gzip.compress(data, mtime=0)),
        Encoding("zip", (_zipped(bundled("MR_small_RLE.dcm")),), as_study=True),
        Encoding("zip, a damaged file inside", (bundled("MR_small_RLE.dcm"), plain), _zipped, as_study=True),
    )


def _meta_end(data: bytes) -> int:
    return 144 + int.from_bytes(data[140:144], "little")


def _inflated(data: bytes) -> bytes:
    """A deflated DICOM file with its data set unpacked."""
    return data[: _meta_end(data)] + zlib.decompress(data[_meta_end(data) :], -zlib.MAX_WBITS)


def _deflated(data: bytes) -> bytes:
    start = min(_meta_end(data), len(data))
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data[:start] + packer.compress(data[start:]) + packer.flush()


def _mended(data: bytes) -> bytes:
    """A PNG with the checksum of every chunk as it should be."""
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        out.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join([*out, data[at:]])


def _zipped(data: bytes) -> bytes:
    """An archive of this file and two good ones."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good/1.png", png_bytes(picture(16, 16)))
        archive.writestr("2.dcm", data)
        archive.writestr("3.png", png_bytes(picture(16, 24)))
    return out.getvalue()


# Damage -------------------------------------------------------------------------------------------------------------


def mutant(encoding: Encoding, seed: int, number: int) -> bytes:
    """The mutant of this number: always the same one."""
    # Damage must be the same in every run, and keeps no secret.
    rng = random.Random(f"{seed}/{encoding.name}/{number}")  # noqa: S311
    data = bytearray(rng.choice(encoding.seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if data:
            rng.choice(_DAMAGES)(data, rng)
    return encoding.wrap(bytes(data))


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite_run(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((1, 2, 4, 16, 256))
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    data[start : start + length] = run[: len(data) - start]


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _cut_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 8, 64, 1024))]


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(rng.choice(encodings()).seeds) if rng.random() < 0.3 else bytes(data)
    source, length = rng.randrange(len(other)), rng.choice((4, 16, 64, 512))
    start = rng.randrange(len(data))
    data[start : start + rng.choice((0, length))] = other[source : source + length]


def _write_number(data: bytearray, rng: random.Random, start: int) -> None:
    size = rng.choice((1, 2, 4))
    number = rng.choice(_NUMBERS) + rng.choice((0, 0, 0, -1, 1))
    raw = (number % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
    data[start : start + size] = raw[: len(data) - start]


def _edit_length(data: bytearray, rng: random.Random) -> None:
    _write_number(data, rng, rng.randrange(len(data)))


def _edit_header(data: bytearray, rng: random.Random) -> None:
    places = [at for mark in _HEADERS if (at := data.find(mark)) >= 0]
    start = (rng.choice(places) if places else 0) + rng.randrange(_HEADER_SPAN)
    if start < len(data):
        _write_number(data, rng, start)


_DAMAGES = (_flip_bits, _overwrite_run, _cut, _cut_out, _splice, _edit_length, _edit_header, _edit_header, _edit_header)


# Reading ------------------------------------------------------------------------------------------------------------


def campaign(mutants: int, seed: int, tell: Callable[[Outcome], None] = lambda _: None) -> Tally:
    """Read so many mutants, as many of every encoding, from two threads."""
    kinds = encodings()
    GUARD.warm_up()
    read(kinds[0], seed, -1)
    tally, start = Tally(), resident_mib()
    begin = time.perf_counter()

    def one(number: int) -> None:
        outcome = read(kinds[number % len(kinds)], seed, number // len(kinds))
        tally.outcomes.append(outcome)
        tell(outcome)

    highest = _peak_mib()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(mutants)))
    gc.collect()
    tally.seconds, tally.growth = time.perf_counter() - begin, resident_mib() - start
    tally.peak_growth = max(0.0, _peak_mib() - max(highest, start))
    tally.outcomes.sort(key=lambda o: (kinds.index(next(k for k in kinds if k.name == o.encoding)), o.number))
    return tally


def read(encoding: Encoding, seed: int, number: int) -> Outcome:
    """One mutant through its door."""
    data = mutant(encoding, seed, number)
    begin = time.perf_counter()
    died, trouble = False, ""
    try:
        scans = read_study([("a.bin", data)]).scans if encoding.as_study else (read_scan(data),)
        seconds, end = time.perf_counter() - begin, "opened"
        trouble = _show(scans)
    except ScanError as exc:
        seconds = time.perf_counter() - begin
        died = isinstance(exc, WorkerDied) or isinstance(exc.__cause__, WorkerDied)
        end, trouble = _type(exc), _trouble(str(exc))
    except BaseException as exc:  # noqa: BLE001 - finding these is what this is for
        seconds, end = time.perf_counter() - begin, type(exc).__name__
        trouble = f"outside the tree of errors: {end}: {exc}"
    return Outcome(encoding.name, number, end, seconds, died, trouble)


def _type(exc: ScanError) -> str:
    return "DecodingStopped" if isinstance(exc, WorkerDied) else type(exc).__name__


def _trouble(sentence: str) -> str:
    if len(sentence) > LONGEST_SENTENCE:
        return f"a sentence of {len(sentence)} characters: {sentence[:300]}"
    return f"a sentence with what is nobody's business: {sentence}" if _PATH.search(sentence) else ""


def _show(scans: tuple[Scan, ...]) -> str:
    """What is wrong with the grey that the page would draw, if anything."""
    try:
        for scan in scans:
            grey = display_grey(scan, scan.frame_count // 2)
            if not (float(grey.min()) >= 0 and float(grey.max()) <= 1):
                return f"grey from {grey.min()} to {grey.max()}"
    except RadLensError as exc:
        return _trouble(str(exc))
    except Exception as exc:  # noqa: BLE001 - finding these is what this is for
        return f"opened, but cannot be shown: {type(exc).__name__}: {exc}"
    return ""


def resident_mib() -> float:
    """The memory of this process that is its own or mapped and touched."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / (1 << 20)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Print the table; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(
        f"{machine()}; {options.mutants} mutants, seed {options.seed}, {THREADS} threads, pid {os.getpid()}", flush=True
    )
    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if outcome.trouble or outcome.seconds > LATEST_SECONDS:
            print(f"{outcome.encoding} mutant {outcome.number}, {outcome.seconds:.1f} s: {outcome.trouble}", flush=True)
        if done % 1000 == 0:
            print(f"{done} done", flush=True)

    tally = campaign(options.mutants, options.seed, tell)
    print("\n" + tally.table())
    grown = f"grew by {tally.growth:.0f} MiB in the end and {tally.peak_growth:.0f} at its highest"
    print(f"\n{len(tally.outcomes)} mutants in {tally.seconds:.0f} s; this process {grown}.")
    print("\nBounds: " + ("broken\n" + "\n".join(tally.broken) if tally.broken else "all hold"))
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
