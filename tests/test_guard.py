"""Files made to harm, and decoders that die, hang or run out of memory: one sentence each, and the next file is read."""

import io
import os
import pickle
import re
import resource
import signal
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from core.errors import DamagedScan, DecodingStopped, ScanError
from core.reading import guard, read_preview, read_scan, read_study
from core.reading.decoding import decode_scan
from core.reading.guard import GUARD, ArrayUnpickler, Guard, Progress, WorkerDied
from tests.files import bundled, dicom_bytes, image_bytes, png_bytes
from tests.hostile import (
    BOMBS,
    MIB,
    NAME,
    Array,
    encapsulated,
    lossless_jpeg,
    many_elements,
    picture,
    png_claiming,
    zlib_zeros,
)

if TYPE_CHECKING:
    from core.scan import Scan

SHARED_MEMORY = Path("/dev") / "shm"
# The clock of these tests; nothing here needs longer, and what is killed by it is killed sooner.
SECONDS = 2
GROWTH_MIB = 64
_NOBODYS_BUSINESS = re.compile(r"(?:/[\w.-]+){2,}|\.py\b|Traceback|\n|zwirbelmeier|quirina", re.IGNORECASE)


@pytest.fixture(autouse=True)
def short_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MAX_SECONDS", str(SECONDS))


@pytest.fixture(scope="module")
def endless() -> bytes:
    """A file that keeps any parser busy for longer than the clock allows."""
    return many_elements(1_500_000)


def server_pid() -> int:
    GUARD.warm_up()
    assert GUARD._server is not None
    return GUARD._server.pid


def workers() -> list[int]:
    """The processes that the fork server has forked and that still run."""
    pid = server_pid()
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / MIB


def open_files(pid: int | str = "self") -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def check_sentence(sentence: str) -> None:
    assert 20 < len(sentence) <= 220
    assert sentence.endswith(".")
    assert not _NOBODYS_BUSINESS.search(sentence), sentence


def picture_file(columns: int) -> bytes:
    return png_bytes(picture(16, columns))


def zipped(*files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.bin", data)
    return out.getvalue()


def assert_still_works() -> None:
    pixels = picture()
    assert (read_scan(png_bytes(pixels)).stored[0] == pixels).all()


class TestBombs:
    @pytest.mark.parametrize("name", BOMBS)
    def test_bomb_costs_one_sentence_or_opens(self, name: str) -> None:
        bomb = BOMBS[name]
        data, pid, before, begin = bomb.make(), server_pid(), resident_mib(), time.monotonic()
        try:
            scan = read_scan(data)
        except ScanError as exc:
            check_sentence(str(exc))
        else:
            assert bomb.opens
            assert scan.stored.nbytes <= 1024 * MIB
        assert time.monotonic() - begin < SECONDS + 2.5
        assert resident_mib() - before < GROWTH_MIB
        assert_still_works()
        assert server_pid() == pid

    @pytest.mark.parametrize(
        "name",
        [
            "JPEG, height 0", "JPEG, 65500 sq", "RLE, segment too long", "native, 2^31 - 1 frames", "PNG, 50000 sq",
            "deflated, 300 MiB", "10000 nested sequences", "NIfTI.gz, 512 MiB", "zip, 1 GiB",
            "zip, 100 MiB 1000 times over", "zip, 50000 entries",
        ],
    )  # fmt: skip
    def test_bomb_in_a_study(self, name: str) -> None:
        data, before, begin = BOMBS[name].make(), resident_mib(), time.monotonic()
        with pytest.raises(ScanError) as caught:
            read_study([(f"{NAME}.dcm", data)])
        check_sentence(str(caught.value))
        assert time.monotonic() - begin < SECONDS + 2.5
        assert resident_mib() - before < GROWTH_MIB

    @pytest.mark.parametrize("name", [name for name in BOMBS if name.startswith("JPEG 2000")])
    def test_bomb_as_a_preview(self, name: str) -> None:
        begin = time.monotonic()
        assert read_preview(BOMBS[name].make()) is None
        assert time.monotonic() - begin < SECONDS + 2.5

    def test_enormous_picture_is_right(self) -> None:
        scan = read_scan(png_claiming(9_000, 9_000, zlib_zeros(78)))
        assert scan.shape == (9_000, 9_000)
        assert not scan.stored[0, ::1000].any()


class TestLimits:
    def test_worker_past_its_time(self, endless: bytes) -> None:
        begin = time.monotonic()
        with pytest.raises(DecodingStopped, match="more than 2 seconds"):
            read_scan(endless)
        assert SECONDS - 0.2 < time.monotonic() - begin < SECONDS + 2.5
        assert_still_works()

    def test_worker_out_of_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = png_claiming(9_000, 9_000, zlib_zeros(78))
        monkeypatch.setenv("RADLENS_MAX_WORKER_MIB", "260")
        with pytest.raises(DecodingStopped, match="260 MiB"):
            read_scan(data)
        monkeypatch.delenv("RADLENS_MAX_WORKER_MIB")
        assert read_scan(data).shape == (9_000, 9_000)

    def test_worker_without_memory_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RADLENS_MAX_WORKER_MIB", "1")
        with pytest.raises(DecodingStopped):
            read_scan(dicom_bytes(np.zeros((2000, 2000), np.uint16), PatientName=NAME))
        monkeypatch.delenv("RADLENS_MAX_WORKER_MIB")
        assert_still_works()


class TestDeath:
    def test_worker_killed_from_outside(self, endless: bytes) -> None:
        pid = server_pid()
        wait_for(lambda: not workers())
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_scan, endless)
            wait_for(lambda: bool(workers()))
            time.sleep(0.3)
            begin = time.monotonic()
            os.kill(workers()[0], signal.SIGKILL)
            with pytest.raises(DecodingStopped):
                reading.result()
        assert time.monotonic() - begin < 1
        assert_still_works()
        assert server_pid() == pid

    def test_worker_killed_before_it_says_a_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is known of the file yet, so another worker reads it."""
        pid, send_job = server_pid(), guard.send_job
        lost: list[socket.socket] = []

        def lose_the_first(control: socket.socket, worker: socket.socket) -> None:
            if lost:
                send_job(control, worker)
            else:
                lost.append(worker)

        monkeypatch.setattr(guard, "send_job", lose_the_first)
        assert_still_works()
        assert lost
        assert server_pid() == pid

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_fork_server_killed(self, how: signal.Signals) -> None:
        for pause in (0.0, 0.0, 0.2):
            pid = server_pid()
            os.kill(pid, how)
            time.sleep(pause)
            assert_still_works()
            assert server_pid() != pid
            assert not Path(f"/proc/{pid}").exists(), "a zombie is left"

    def test_fork_server_stopped_is_no_hang_for_ever(self) -> None:
        """A server that is killed while a worker reads costs nobody but the next: the worker finishes."""
        wait_for(lambda: not workers())
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_scan, png_claiming(9_000, 9_000, zlib_zeros(78)))
            wait_for(lambda: bool(workers()) or reading.done())
            os.kill(server_pid(), signal.SIGKILL)
            assert reading.result().shape == (9_000, 9_000)
        assert_still_works()

    def test_closing_and_starting_again(self) -> None:
        other = Guard()
        other.warm_up()
        assert other._server is not None
        pid = other._server.pid
        other.close()
        assert not Path(f"/proc/{pid}").exists()
        scan: Scan = other.run("scan", [("", png_bytes(picture()))])
        assert scan.shape == (64, 64)
        other.close()

    def test_deadly_file_among_five(self, endless: bytes) -> None:
        files = [(f"{n}.png", picture_file(16 + n)) for n in range(5)]
        files[2] = ("deadly.dcm", endless)
        study = read_study(files)
        assert sorted(scan.shape[1] for scan in study.scans) == [16, 17, 19, 20]
        assert [left.name for left in study.left_out] == ["deadly.dcm"]
        check_sentence(study.left_out[0].reason)
        assert all("left-out" in scan.signs for scan in study.scans)

    def test_nothing_but_deadly_files(self, endless: bytes) -> None:
        with pytest.raises(DecodingStopped, match="more than 2 seconds"):
            read_study([("one.dcm", endless), ("two.dcm", endless)])

    def test_deadly_file_in_an_archive(self, endless: bytes) -> None:
        study = read_study([("a.zip", zipped(picture_file(16), endless, picture_file(17)))])
        assert sorted(scan.shape[1] for scan in study.scans) == [16, 17]
        assert [left.name for left in study.left_out] == ["file 2"]

    def test_archive_of_one_deadly_file(self, endless: bytes) -> None:
        with pytest.raises(DecodingStopped, match="more than 2 seconds"):
            read_study([("a.zip", zipped(endless))])


class TestHalfPictures:
    """A decoder that fills what is missing and says nothing must not be believed."""

    @pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
    @pytest.mark.parametrize(
        ("encode", "syntax", "bits"),
        [
            (imagecodecs.jpegls_encode, JPEGLSLossless, 8),
            (lossless_jpeg, JPEGLosslessSV1, 12),
            (imagecodecs.ljpeg_encode, JPEGLosslessSV1, 8),
            (imagecodecs.jpeg8_encode, JPEGBaseline8Bit, 8),
            (imagecodecs.htj2k_encode, HTJ2KLossless, 8),
        ],
    )  # fmt: skip
    def test_stream_that_was_cut(
        self, encode: Callable[[Array], bytes], syntax: UID, bits: int, share: float, end: bytes
    ) -> None:
        stream = bytes(encode(picture(256, 256, bits)))
        whole = decode_scan(encapsulated(stream, syntax, 256, 256, bits))
        assert whole.shape == (256, 256)
        with pytest.raises(ScanError) as caught:
            decode_scan(encapsulated(stream[: int(share * len(stream))] + end, syntax, 256, 256, bits))
        check_sentence(str(caught.value))

    @pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
    def test_stream_of_12_bits_that_was_cut(self, share: float, end: bytes) -> None:
        stream = next(generate_frames(dcmread(io.BytesIO(bundled("JPGExtended.dcm"))).PixelData, number_of_frames=1))
        assert decode_scan(encapsulated(stream, JPEGExtended12Bit, 1024, 256, 12)).shape == (1024, 256)
        with pytest.raises(DamagedScan, match="missing"):
            decode_scan(encapsulated(stream[: int(share * len(stream))] + end, JPEGExtended12Bit, 1024, 256, 12))

    def test_film_with_most_tiles_missing(self) -> None:
        with pytest.raises(DamagedScan, match="missing"):
            decode_scan(BOMBS["JPEG 2000, 2000 sq in tiles of 8, header agrees"].make())

    def test_film_with_all_tiles(self) -> None:
        pixels = picture(200, 130)
        options = {"tile_size": (64, 64), "irreversible": False, "no_jp2": True}
        stream = image_bytes(Image.fromarray(pixels), "JPEG2000", **options)
        assert (decode_scan(encapsulated(stream, JPEG2000Lossless, 200, 130)).stored[0] == pixels).all()


class TestSideBySide:
    def test_two_are_read_at_once_and_a_third_waits(self, endless: bytes) -> None:
        told: list[Progress] = []
        most, done = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.02):
                most = max(most, len(workers()))

        wait_for(lambda: not workers())
        with ThreadPoolExecutor(4) as pool:
            begin = time.monotonic()
            watching = pool.submit(watch)
            slow: list[Future[Scan]] = [pool.submit(read_scan, endless) for _ in range(2)]
            wait_for(lambda: len(workers()) == 2)
            third = pool.submit(read_scan, png_bytes(picture()), told.append)
            assert third.result().shape == (64, 64)
            assert all(isinstance(job.exception(), DecodingStopped) for job in slow)
            taken = time.monotonic() - begin
            done.set()
            watching.result()
        assert taken < 1.8 * SECONDS
        assert most == 2
        assert Progress(waiting=True) in told

    def test_progress_of_a_study(self) -> None:
        told: list[Progress] = []
        read_study([(f"{n}.png", png_bytes(picture(8, 8 + n))) for n in range(3)], told.append)
        assert told == [Progress(waiting=False, done=n, total=3) for n in range(3)]

    def test_whoever_stops_listening_stops_the_worker(self, endless: bytes) -> None:
        class Left(Exception):
            pass

        def leave(_: Progress) -> None:
            raise Left

        with pytest.raises(Left):
            read_study([("a.dcm", endless)], leave)
        wait_for(lambda: not workers(), 1)
        assert_still_works()


class TestResults:
    def test_results_are_read_only(self) -> None:
        scan = read_scan(dicom_bytes(picture(bits=16)))
        assert not scan.stored.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            scan.stored.setflags(write=True)

    @pytest.mark.parametrize("what", [os.system, eval, Path, np.zeros, Progress])
    def test_nothing_else_is_unpickled(self, what: object) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            body = pickle.dumps(what, protocol)
            with pytest.raises(pickle.UnpicklingError):
                ArrayUnpickler(body, memoryview(b"")).load()

    def test_code_is_not_run(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
                return os.system, (f"touch {tmp_path}/ran",)

        with pytest.raises(pickle.UnpicklingError):
            ArrayUnpickler(pickle.dumps(Evil()), memoryview(b"")).load()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("place", [("|O", 0, (1,)), ("<u2", 4, (9,)), ("<u2", 0, (-1, 3)), ("nonsense", 0, (1,))])
    def test_array_that_is_not_there(self, place: tuple[str, int, tuple[int, ...]]) -> None:
        class Liar(pickle.Pickler):
            def persistent_id(self, obj: object) -> object:
                return place if obj == "array" else None

        out = io.BytesIO()
        Liar(out).dump("array")
        with pytest.raises((ValueError, TypeError)):
            ArrayUnpickler(out.getvalue(), memoryview(bytes(8))).load()


class TestNothingIsLeft:
    @pytest.fixture
    def temporary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A fork server whose temporary files would lie in an empty folder."""
        GUARD.close()
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield tmp_path
        GUARD.close()

    def test_after_good_bad_and_deadly_files(self, temporary: Path, endless: bytes) -> None:
        assert_still_works()
        ours, theirs, shared = open_files(), open_files(server_pid()), set(SHARED_MEMORY.glob("*radlens*"))
        good, bad = dicom_bytes(picture(bits=16), PatientName=NAME), BOMBS["JPEG, 65500 sq"].make()
        for _ in range(25):
            read_scan(good)
            with pytest.raises(DamagedScan):
                read_scan(bad)
        with pytest.raises(WorkerDied):
            read_scan(endless)
        read_study([("a", good), ("b", bad)])
        wait_for(lambda: not workers(), 2)
        assert open_files() <= ours
        assert open_files(server_pid()) <= theirs
        assert set(SHARED_MEMORY.glob("*radlens*")) == shared
        assert not list(temporary.rglob("*"))

    def test_scan_that_is_let_go_gives_its_memory_back(self) -> None:
        data = png_claiming(9_000, 9_000, zlib_zeros(78))
        assert_still_works()
        before, files = resident_mib(), open_files()
        scan: Scan | None = read_scan(data)
        assert scan is not None
        assert int(scan.stored.sum()) == 0
        assert resident_mib() - before > 60
        scan = None
        assert resident_mib() - before < 20
        assert open_files() == files

    def test_core_files_are_not_written(self) -> None:
        from core.reading import fork_server

        assert "RLIMIT_CORE, (0, 0)" in Path(fork_server.__file__).read_text(encoding="utf-8")
