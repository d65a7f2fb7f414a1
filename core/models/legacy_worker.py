"""The process that reads weights that are no safetensors: limited, killable, gone after one file.

    python -m core.models.legacy_worker INPUT OUTPUT state|module

INPUT and OUTPUT are numbers of open files. Tensors go to OUTPUT as safetensors, one JSON object about them to stdout:
``notes`` on what was mended and ``words`` (lists of words that a module carries), or ``refused``, a sentence.
``core.models.legacy`` starts it; nothing here runs in the dashboard's process.
"""

import contextlib
import io
import json
import os
import pickle
import resource
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from core.errors import ModelRejected
from core.models.inert_pickle import (
    LEGACY_MAGIC,
    ZIP_MAGIC,
    Storage,
    TensorRecord,
    check_archive,
    read_object,
    state_of,
    too_large,
    words_of,
)

_SECONDS = 60
_SPARE_BYTES = 1 << 30
_MAX_TENSORS = 20_000
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_KINDS = {
    "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64, "ByteStorage": torch.uint8, "CharStorage": torch.int8, "ShortStorage": torch.int16,
    "IntStorage": torch.int32, "LongStorage": torch.int64, "BoolStorage": torch.bool,
}  # fmt: skip
_DAMAGED = "The weights file is damaged or was not written by torch.save; copy or export it again."
_OBJECTS = (
    "The file holds Python objects or code and not only tensors, so it was not opened and nothing of it was run; "
    "export the weights alone with torch.save(model.state_dict(), FILE)."
)
Tensors = dict[str, torch.Tensor]
Answer = dict[str, Any]


def convert(data: bytes, form: str) -> tuple[Tensors, Answer]:
    """Tensors in full, floating ones as float32, with what there is to say about them.

    Raises ModelRejected.
    """
    if not data.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        raise ModelRejected("The file is neither safetensors nor written by torch.save; export the weights again.")
    if form == "module":
        return _of_module(data)
    notes: list[str] = []
    state = _unwrapped(_tensors_only(data), notes)
    names = _mended({str(name): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}, notes)
    if not names or len(names) > _MAX_TENSORS:
        raise ModelRejected(f"The file holds {len(names)} tensors; expected the state_dict of one network.")
    return {name: _in_full(name, tensor) for name, tensor in names.items()}, {"notes": notes, "words": {}}


def _tensors_only(data: bytes) -> object:
    if data.startswith(ZIP_MAGIC):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_archive(archive, len(data))
    try:
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as exc:
        raise ModelRejected(_OBJECTS) from exc


def _unwrapped(found: object, notes: list[str]) -> Mapping[str, object]:
    """The mapping of names to tensors, also where a training wrapped it once or twice."""
    for _ in range(2):
        inner = next((w for w in _WRAPPERS if isinstance(found, Mapping) and isinstance(found.get(w), Mapping)), None)
        if inner is None or not isinstance(found, Mapping):
            break
        found = found[inner]
        notes.append(f"The weights were taken from the part {inner!r} of the file.")
    if not isinstance(found, Mapping):
        raise ModelRejected("The file holds no state_dict; export one with torch.save(model.state_dict(), FILE).")
    return found


def _mended(tensors: Tensors, notes: list[str]) -> Tensors:
    """Names without the prefix that a wrapper put before all of them."""
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            notes.append(f"The prefix {prefix!r} was taken off every name.")
    return tensors


def _in_full(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in memory of its own.

    Raises ModelRejected where it is sparse, quantised or complex, or says to hold more than its storage does.
    """
    if tensor.layout != torch.strided or tensor.dtype not in _KINDS.values():
        raise ModelRejected(f"The tensor {name[:80]} is sparse, quantised or complex; export the weights as float32.")
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > stored:
        raise too_large(tensor.numel(), stored)
    full = tensor.detach().to(torch.float32) if tensor.is_floating_point() else tensor.detach()
    return full.contiguous().clone()


def _of_module(data: bytes) -> tuple[Tensors, Answer]:
    module, stored = read_object(data)
    tensors = {
        name: _in_full(name, _built(record, stored(record.storage))) for name, record in state_of(module).items()
    }
    words = {name: found for name in ("pathologies", "targets") if (found := words_of(module, name)) is not None}
    return _mended(tensors, []), {"notes": [], "words": words}


def _built(record: TensorRecord, content: memoryview) -> torch.Tensor:
    storage: Storage = record.storage
    if not storage.count:
        return torch.empty(record.size, dtype=_KINDS[storage.kind])
    flat = torch.frombuffer(bytearray(content), dtype=_KINDS[storage.kind])
    return flat.as_strided(record.size, record.stride, record.offset)


def _lower_limits(size: int) -> None:
    """Processor time, and memory beyond what torch itself has mapped: several copies of the file and some to work with."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    with contextlib.suppress(OSError, ValueError):  # only Linux says what is mapped
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = mapped + 6 * size + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(source: int, target: int, form: str) -> Answer:
    """Convert the open file ``source`` into ``target``; what there is to say about it."""
    torch.set_num_threads(1)
    try:
        with os.fdopen(source, "rb") as file:
            file.seek(0)
            _lower_limits(os.fstat(source).st_size)
            data = file.read()
        tensors, about = convert(data, form)
        with os.fdopen(target, "wb") as output:
            output.write(save(tensors))
    except ModelRejected as exc:
        return {"refused": str(exc)}
    except MemoryError:
        return {
            "refused": "Reading the weights needs far more memory than the file's size explains; it is made to harm."
        }
    except Exception:  # noqa: BLE001 - whatever the file did, this process ends with one sentence
        return {"refused": _DAMAGED}
    return about


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
