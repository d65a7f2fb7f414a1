"""What the dashboard and its decoding workers say to each other: frames on a socket, bulk in nameless files."""

import contextlib
import fcntl
import os
import socket
import struct
import tempfile

_HEADER = struct.Struct("<cQ")
HELLO, ORDER, TICK, RESULT, ERROR = b"H", b"O", b"T", b"R", b"E"


class Hangup(Exception):
    """The other side is gone."""


def send(to: socket.socket, kind: bytes, body: bytes = b"", file: int | None = None) -> None:
    """One frame, with an open file beside it where there is one."""
    socket.send_fds(to, [_HEADER.pack(kind, len(body))], [] if file is None else [file])
    to.sendall(body)


def receive(source: socket.socket) -> tuple[bytes, bytes, int | None]:
    """The next frame: its kind, its body, and the open file that came with it.

    Raises Hangup when the other side closed, TimeoutError after the socket's time-out.
    """
    header, files, _flags, _address = socket.recv_fds(source, _HEADER.size, 1)
    if len(header) < _HEADER.size:
        header += _exactly(source, _HEADER.size - len(header)) if header else _exactly(source, 1)
    kind, size = _HEADER.unpack(header)
    return kind, _exactly(source, size), files[0] if files else None


def nameless_file() -> int:
    """An open file without a name, in memory where the system can: nothing is left of it when its holders end."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("radlens", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(file: int) -> None:
    """Nobody may shorten this file any more: its other holder could otherwise pull the memory away under a reader."""
    with contextlib.suppress(OSError, AttributeError):  # only files in memory can be sealed, and only on Linux
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def _exactly(source: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = source.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise Hangup
        parts += part
    return bytes(parts)
