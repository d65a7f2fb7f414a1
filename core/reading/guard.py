"""Decoding where it can do no harm: every file is read in a process of its own, with limits on memory and time.

One byte changed in a JPEG of 1 KB can cost a decoder 9 GB and a minute, and some decoders abort their process or raise
past ``except Exception``. So the dashboard's process never decodes an upload: a small fork server does, one worker a job,
and a worker that dies, hangs or raises anything is one clear error here.
"""

import atexit
import contextlib
import json
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from core import errors
from core.errors import DecodingStopped, RadLensError
from core.reading.channel import ERROR, ORDER, RESULT, TICK, Hangup, nameless_file, receive, seal, send
from core.reading.limits import PREFIX, max_seconds, max_workers

Job = Literal["scan", "preview", "study", "sort", "identity"]
_ROOT = Path(__file__).resolve().parents[2]
# Beyond the worker's own clock: a machine under load may wake it late.
_GRACE_SECONDS = 2.0
_START_SECONDS = 60.0
_WAIT_SECONDS = 0.5
_END_SECONDS = 5.0
# What a worker may send back; a pickle that names anything else is refused.
_ALLOWED = {
    "builtins": {"dict"},
    "core.scan": {"Scan", "Window", "LookupTable", "ModalityLut", "Geometry", "Overlay"},
    "core.reading.study": {"Study", "LeftOut"},
}


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life: ``waiting`` for a free worker, or ``done`` of ``total`` files read."""

    waiting: bool
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


class WorkerDied(DecodingStopped):
    """The worker ended without an answer while it read file number ``at``."""

    def __init__(self, sentence: str, at: int) -> None:
        super().__init__(sentence)
        self.at = at


class ArrayUnpickler(pickle.Unpickler):
    """Reads what ``fork_server.ArrayPickler`` wrote: RadLens' own types and nothing else, arrays straight from the file."""

    def __init__(self, body: bytes, content: memoryview) -> None:
        super().__init__(BytesIO(body))
        self._content = content

    def find_class(self, module: str, name: str) -> Any:
        """One of the types that a worker may send."""
        if name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not among the types that a worker may send")

    def persistent_load(self, pid: tuple[str, int, tuple[int, ...]]) -> npt.NDArray[Any]:
        """The array at this place, read-only, without a copy."""
        kind, offset, shape = pid
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._content, np.dtype(kind), count, offset if count else 0).reshape(shape)


class Guard:
    """The fork server of this process and the places for its workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._places = threading.BoundedSemaphore(max_workers())

    def warm_up(self) -> None:
        """Start the fork server, so that the first upload does not wait for it."""
        with self._lock:
            self._connected()

    def run(
        self,
        job: Job,
        files: Sequence[tuple[str, bytes]],
        *,
        skip: frozenset[int] = frozenset(),
        report: Report | None = None,
    ) -> Any:
        """The job's result.

        Raises the worker's own RadLensError, or WorkerDied when it ended without an answer.
        """
        tell = report or _silent
        with self._place(tell):
            worker, kill = self._worker()
            with contextlib.closing(worker):
                try:
                    order, content = _order(job, files, skip)
                    with _closing(content):
                        return _converse(worker, order, content, tell)
                finally:
                    kill()

    @contextlib.contextmanager
    def _place(self, tell: Report) -> Iterator[None]:
        while not self._places.acquire(timeout=_WAIT_SECONDS):
            tell(Progress(waiting=True))
        try:
            yield
        finally:
            self._places.release()

    def _worker(self) -> tuple[socket.socket, Callable[[], None]]:
        """A worker that has introduced itself, and what ends it. A server that was killed from outside is replaced once."""
        for _ in range(2):
            ours, theirs = socket.socketpair()
            with self._lock, theirs:
                control = self._connected()
                with contextlib.suppress(OSError):
                    send_job(control, theirs)
            ours.settimeout(_START_SECONDS)
            try:
                _, name, handle = receive(ours)
            except (Hangup, OSError) as exc:
                ours.close()
                self._replace(control, hangs=isinstance(exc, TimeoutError))
            else:
                return ours, _killer(int(name), handle)
        raise DecodingStopped("No process can be started that decodes the file; upload it again in a minute.")

    def _connected(self) -> socket.socket:
        if self._control is None:
            self._server, self._control = _start_server()
        return self._control

    def _replace(self, control: socket.socket, *, hangs: bool) -> None:
        """End the server behind this socket if it is dead or hangs, unless another thread has replaced it already."""
        with self._lock:
            if self._control is control and self._server is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if not hangs:
                        self._server.wait(_WAIT_SECONDS)
                    self._end()

    def close(self) -> None:
        """End the fork server; the next job starts another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._control is not None and self._server is not None:
            self._control.close()
            try:
                self._server.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._control = self._server = None


def send_job(control: socket.socket, worker: socket.socket) -> None:
    """Ask the fork server for a worker at the other end of this socket."""
    socket.send_fds(control, [b"J"], [worker.fileno()])


def _start_server() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
        server = subprocess.Popen(  # noqa: S603 - our own module, no part of it comes from outside
            [sys.executable, "-m", "core.reading.fork_server", str(theirs.fileno())],
            cwd=_ROOT,
            env=environment,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return server, ours


def _order(job: Job, files: Sequence[tuple[str, bytes]], skip: frozenset[int]) -> tuple[bytes, int]:
    """The order as JSON, and the files' bytes one after the other in a nameless file."""
    places, content = [], nameless_file()
    end = 0
    for name, data in files:
        places.append((name, end, len(data)))
        left = memoryview(data)
        while left:
            written = os.pwrite(content, left, end)
            left, end = left[written:], end + written
    limits = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return json.dumps({"job": job, "files": places, "skip": sorted(skip), "limits": limits}).encode(), content


def _converse(worker: socket.socket, order: bytes, content: int, tell: Report) -> Any:
    at = 0
    try:
        send(worker, ORDER, order, content)
        worker.settimeout(max_seconds() + _GRACE_SECONDS)
        while True:
            kind, body, file = receive(worker)
            if kind != TICK:
                return _answer(kind, body, file)
            at, total = json.loads(body)
            tell(Progress(waiting=False, done=at, total=total))
    except (Hangup, OSError) as exc:
        raise WorkerDied(
            f"Decoding took more than {max_seconds()} seconds or broke down; the file is damaged or made to harm. "
            "Export the scan again from its source.",
            at,
        ) from exc


def _killer(process: int, handle: int | None) -> Callable[[], None]:
    """Ends the worker for good; by a handle where there is one, since a number may by then be another process's."""

    def kill() -> None:
        with contextlib.suppress(OSError):
            if handle is None:
                os.kill(process, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        if handle is not None:
            os.close(handle)

    return kill


def _answer(kind: bytes, body: bytes, file: int | None) -> Any:
    if kind == ERROR:
        name, sentence = json.loads(body)
        known = getattr(errors, name, DecodingStopped)
        raise (known if issubclass(known, RadLensError) else DecodingStopped)(sentence)
    if kind != RESULT or file is None:
        raise DecodingStopped("The decoder gave no answer that can be understood; upload the file again.")
    with _closing(file):
        seal(file)
        size = os.fstat(file).st_size
        content = mmap.mmap(file, size, access=mmap.ACCESS_READ) if size else b""
    try:
        return ArrayUnpickler(body, memoryview(content)).load()
    except (pickle.UnpicklingError, ValueError, TypeError, EOFError) as exc:
        raise DecodingStopped("The decoder gave no answer that can be understood; upload the file again.") from exc


@contextlib.contextmanager
def _closing(file: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(file)


def _silent(_progress: Progress) -> None:
    return None


GUARD = Guard()
atexit.register(GUARD.close)
