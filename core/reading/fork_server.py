"""The process that decoding workers are forked from: small, single-threaded, everything imported.

``core.reading.guard`` starts it and sends it one socket a job; it forks a worker for each. A worker lowers its own limits,
does one job and ends, whatever the decoders do to it. Nothing here runs in the dashboard's process.
"""

import errno
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Callable
from io import BytesIO
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from core.errors import DamagedScan, DecodingStopped, RadLensError
from core.reading.channel import ERROR, HELLO, RESULT, TICK, nameless_file, receive, send
from core.reading.decoding import decode_scan
from core.reading.limits import PREFIX, max_seconds, max_worker_bytes
from core.reading.patients import identity_in
from core.reading.preview import decode_preview
from core.reading.sorting import sort_files
from core.reading.study import read_files

Files = list[tuple[str, memoryview]]
Tick = Callable[[int, int], None]

# Arrays travel in one nameless file in memory, aligned for every type.
_ALIGNMENT = 64


class ArrayPickler(pickle.Pickler):
    """Pickles all but arrays: they go to a file in memory, and the pickle holds (type, offset, shape)."""

    def __init__(self, stream: BytesIO, file: int) -> None:
        super().__init__(stream, protocol=5)
        self._file, self._end = file, 0

    def persistent_id(self, obj: object) -> tuple[str, int, tuple[int, ...]] | None:
        """The place of an array; None for anything else."""
        if not isinstance(obj, np.ndarray):
            return None
        offset = self._end
        left = memoryview(np.ascontiguousarray(obj).reshape(-1).view(np.uint8).data)
        while left:
            written = os.pwrite(self._file, left, self._end)
            left, self._end = left[written:], self._end + written
        self._end = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        return obj.dtype.str, offset, obj.shape

    def reducer_override(self, obj: object) -> Any:
        """Read-only mappings, which pickle does not know, travel as dictionaries."""
        return (dict, (dict(obj),)) if isinstance(obj, MappingProxyType) else NotImplemented


def serve(control: socket.socket) -> None:
    """Fork a worker for every socket that comes in; end when the dashboard does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            if os.fork() == 0:
                control.close()
                _work(socket.socket(fileno=descriptor))
            os.close(descriptor)


def _work(job: socket.socket) -> NoReturn:
    """One job in a process of its own. Whatever escapes becomes one error; the process ends in any case."""
    try:
        _introduce(job)
        _, request, file = receive(job)
        order = json.loads(request)
        os.environ.update({name: value for name, value in order["limits"].items() if name.startswith(PREFIX)})
        _lower_limits()
        _answer(job, order, file)
    except RadLensError as exc:
        _refuse(job, exc)
    except MemoryError:
        _refuse(job, _out_of_memory())
    except OSError as exc:
        _refuse(job, _out_of_memory() if exc.errno == errno.ENOMEM else _undecodable())
    except BaseException:  # noqa: BLE001 - decoders raise these too, and nobody above this process could catch it
        _refuse(job, _undecodable())
    finally:
        os._exit(0)


def _out_of_memory() -> RadLensError:
    return DecodingStopped(f"Decoding needs more than {max_worker_bytes() >> 20} MiB; export it smaller.")


def _undecodable() -> RadLensError:
    return DamagedScan("The file cannot be decoded; export the scan again from its source.")


def _introduce(job: socket.socket) -> None:
    """Hand over a handle to this very process, where the system has such handles, so that nobody else is ever killed."""
    handle = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else None
    send(job, HELLO, str(os.getpid()).encode(), handle)


def _lower_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (max_worker_bytes(), max_worker_bytes()))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _start_clock()


def _start_clock() -> None:
    """The kernel ends this process after the limit, even in the middle of a decoder's loop."""
    signal.setitimer(signal.ITIMER_REAL, max_seconds())


def _answer(job: socket.socket, order: dict[str, Any], file: int | None) -> None:
    if file is None:
        raise DamagedScan("No file came with the order; upload it again.")
    files = _files(order, file)

    def tick(done: int, total: int) -> None:
        _start_clock()
        send(job, TICK, json.dumps([done, total]).encode())

    result = _JOBS[order["job"]](files, frozenset(order["skip"]), tick)
    signal.setitimer(signal.ITIMER_REAL, 0)
    output, stream = nameless_file(), BytesIO()
    ArrayPickler(stream, output).dump(result)
    send(job, RESULT, stream.getvalue(), output)


def _files(order: dict[str, Any], file: int) -> Files:
    if not os.fstat(file).st_size:
        return [(name, memoryview(b"")) for name, _, _ in order["files"]]
    content = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    return [(name, content[start : start + size]) for name, start, size in order["files"]]


def _refuse(job: socket.socket, error: RadLensError) -> None:
    send(job, ERROR, json.dumps([type(error).__name__, str(error)]).encode())


def _scan(files: Files, _skip: frozenset[int], _tick: Tick) -> object:
    return decode_scan(bytes(files[0][1]))


def _preview(files: Files, _skip: frozenset[int], _tick: Tick) -> object:
    return decode_preview(bytes(files[0][1]))


_JOBS: dict[str, Callable[[Files, frozenset[int], Tick], object]] = {
    "scan": _scan,
    "preview": _preview,
    "study": read_files,
    "sort": sort_files,
    "identity": identity_in,
}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
