"""Weights of any form -> tensors: safetensors as they are, files of ``torch.save`` through a process that can do no harm."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from core.errors import ModelRejected
from core.reading.channel import nameless_file

Form = Literal["state", "module"]
MAX_LEGACY_BYTES = 1 << 30
_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 90
_STARTS = (b"PK\x03\x04", b"\x80\x02")


@dataclass(frozen=True, slots=True, eq=False)
class ReadWeights:
    """``tensors`` by name, ``notes`` on what was mended, ``words``: lists of words that a whole module carried."""

    tensors: dict[str, torch.Tensor] = field(repr=False)
    notes: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_weights(data: bytes) -> ReadWeights:
    """The tensors of a safetensors file or of a state dict that ``torch.save`` wrote, the latter in a process of its own.

    Raises ModelRejected for anything else: whole modules, code, tensors that are not stored in full, damage.
    """
    if not data or len(data) > MAX_LEGACY_BYTES:
        raise ModelRejected(
            f"The weights file holds {len(data)} bytes; expected 1 byte to {MAX_LEGACY_BYTES >> 20} MiB."
        )
    if data.startswith(_STARTS):
        return read_in_worker(data, "state")
    try:
        return ReadWeights(load_safetensors(data))
    except SafetensorError as exc:
        raise ModelRejected(
            "The file is neither safetensors nor a state_dict of torch.save, or it is cut short; export the weights again."
        ) from exc


def read_in_worker(data: bytes, form: Form) -> ReadWeights:
    """The tensors of a file of ``torch.save``: a state dict, or a whole module of which only the tensors are taken.

    Raises ModelRejected with the worker's sentence, or when it ended without one.
    """
    with _open_file(data) as source, _open_file(b"") as target:
        about = _asked(source, target, form)
        size = os.fstat(target).st_size
        converted = os.pread(target, size, 0) if 0 < size <= 2 * MAX_LEGACY_BYTES else b""
    try:
        tensors = load_safetensors(converted)
    except SafetensorError as exc:
        raise _broken_down() from exc
    words = {name: tuple(map(str, found)) for name, found in about.get("words", {}).items()}
    return ReadWeights(tensors, tuple(map(str, about.get("notes", ()))), words)


def _asked(source: int, target: int, form: Form) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "core.models.legacy_worker", str(source), str(target), form]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no part of it comes from outside
            command,
            cwd=_ROOT,
            env=environment,
            pass_fds=(source, target),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
        about = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as exc:
        raise _broken_down() from exc
    if not isinstance(about, dict) or "refused" in about:
        raise ModelRejected(str(about["refused"]) if isinstance(about, dict) else str(_broken_down()))
    return about


def _broken_down() -> ModelRejected:
    return ModelRejected(
        f"Reading the weights took more than {_SECONDS} seconds or broke down; the file is damaged or made to harm. "
        "Export it again with torch.save(model.state_dict(), FILE)."
    )


@contextlib.contextmanager
def _open_file(data: bytes) -> Iterator[int]:
    file = nameless_file()
    try:
        left, end = memoryview(data), 0
        while left:
            written = os.pwrite(file, left, end)
            left, end = left[written:], end + written
        yield file
    finally:
        os.close(file)
