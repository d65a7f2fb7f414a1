"""A PyTorch file without PyTorch's pickle: tensors as records, every class as an inert stand-in, nothing imported or called.

A file that ``torch.save`` wrote holds one pickle and the raw bytes of its storages: as a zip archive (since PyTorch 1.6:
``data.pkl`` and ``data/<key>``), or one after the other (the legacy form: magic number, protocol, machine, object, keys,
then for each key an int64 count and the bytes). What the pickle may name is listed here; all else becomes a ``StandIn``,
which takes any arguments and state and does nothing with them.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ModelRejected

# torch.save of the legacy form starts with this number as a pickle of protocol 2.
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
ZIP_MAGIC = b"PK\x03\x04"
ITEM_BYTES = {
    "HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4, "DoubleStorage": 8, "ByteStorage": 1, "CharStorage": 1,
    "ShortStorage": 2, "IntStorage": 4, "LongStorage": 8, "BoolStorage": 1,
}  # fmt: skip
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of ``count`` numbers of a ``kind`` such as FloatStorage, found under ``key``."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor that is only described: where it lies in its storage, counted in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def check(self) -> "TensorRecord":
        """Itself.

        Raises ModelRejected where it reaches outside its storage or is larger than it.
        """
        whole = all(isinstance(n, int) and n >= 0 for n in (self.offset, *self.size, *self.stride))
        if not whole or len(self.size) != len(self.stride):
            raise ModelRejected("The weights hold a tensor whose shape is no shape; the file is damaged.")
        count, reach = 1, self.offset
        for size, stride in zip(self.size, self.stride, strict=True):
            count, reach = count * size, reach + (size - 1) * stride
        if count > self.storage.count or (count and reach >= self.storage.count):
            raise too_large(count, self.storage.count)
        return self


def too_large(count: int, stored: int) -> ModelRejected:
    """The refusal of a tensor that says to hold more numbers than the file does."""
    return ModelRejected(
        f"The weights hold a tensor of {count} numbers of which the file stores only {stored}; export them again "
        "with every tensor stored in full (tensor.contiguous())."
    )


class StandIn:
    """In place of any class or function that a file names: takes everything, does nothing."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        return

    def __call__(self, *_args: object, **_kwargs: object) -> Self:
        return self

    def __setitem__(self, _key: object, _value: object) -> None:
        return

    def append(self, _value: object) -> None:
        return

    def extend(self, _values: object) -> None:
        return


class InertUnpickler(pickle.Unpickler):
    """Builds containers, tensor records and stand-ins, and nothing else. ``storages``: those it met, by key."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for: never what it names."""
        if module == "torch" and name in ITEM_BYTES:
            return name
        return _KNOWN.get((module, name)) or type("StandIn", (StandIn,), {})

    def persistent_load(self, pid: Any) -> Any:
        """A storage as a record; of a module's class and source (legacy form) the stand-in."""
        kind, *facts = pid if isinstance(pid, tuple) and pid else ("",)
        if kind == "module" and facts:
            return facts[0]
        if kind == "storage" and len(facts) >= 4 and not any(facts[4:]):
            storage = Storage(_known_kind(facts[0]), str(facts[1]), int(facts[3]))
            return self.storages.setdefault(storage.key, storage)
        raise pickle.UnpicklingError("a storage of a form that RadLens does not read")


def read_object(data: bytes) -> tuple[Any, Callable[[Storage], memoryview]]:
    """What the file's pickle describes, and what gives a storage's bytes.

    Raises ModelRejected when the file is damaged or not written by ``torch.save``.
    """
    try:
        return _from_zip(data) if data.startswith(ZIP_MAGIC) else _from_run(data)
    except ModelRejected:
        raise
    except Exception as exc:
        raise ModelRejected("The weights file is damaged or was not written by torch.save; export it again.") from exc


def state_of(module: object) -> dict[str, TensorRecord]:
    """Parameters and persistent buffers of a module's stand-in, by the names of its ``state_dict``.

    Raises ModelRejected when there are none.
    """
    found = dict(_tensors(module, "", 0))
    if not found:
        raise ModelRejected("The file holds no module with weights; it is not one of TorchXRayVision's models.")
    return found


def words_of(module: object, name: str) -> tuple[str, ...] | None:
    """A list of words that the module carries, such as ``pathologies``; None where there is none."""
    value = vars(module).get(name) if isinstance(module, StandIn) else None
    is_words = isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)
    return tuple(value) if is_words and value is not None else None


def _tensors(module: object, prefix: str, depth: int) -> Iterator[tuple[str, TensorRecord]]:
    if not isinstance(module, StandIn) or depth > _MAX_DEPTH:
        return
    state = vars(module)
    unsaved = state.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        for name, value in _items(state.get(part)):
            if isinstance(value, TensorRecord) and not (part == "_buffers" and name in unsaved):
                yield f"{prefix}{name}", value
    for name, child in _items(state.get("_modules")):
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _items(mapping: object) -> list[tuple[str, object]]:
    return [(str(name), value) for name, value in mapping.items()] if isinstance(mapping, Mapping) else []


def _known_kind(kind: object) -> str:
    if not isinstance(kind, str) or kind not in ITEM_BYTES:
        raise ModelRejected("The weights hold numbers of a kind that RadLens does not read; export them as float32.")
    return kind


def _rebuild_tensor(
    storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_more: object
) -> object:
    return TensorRecord(storage, offset, tuple(size), tuple(stride)).check()


def _rebuild_parameter(data: object, *_more: object) -> object:
    return data


def _size(*numbers: Any) -> tuple[int, ...]:
    return tuple(numbers[0]) if numbers else ()


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _from_zip(data: bytes) -> tuple[Any, Callable[[Storage], memoryview]]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    check_archive(archive, len(data))
    (pickled,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    root = pickled.removesuffix("data.pkl")

    def stored(storage: Storage) -> memoryview:
        return _whole(memoryview(archive.read(f"{root}data/{storage.key}")), storage)

    return InertUnpickler(io.BytesIO(archive.read(pickled))).load(), stored


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ModelRejected unless the archive stores its parts as they are and whole."""
    parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(p.file_size for p in parts) > size:
        raise ModelRejected("The weights file is compressed inside, which torch.save never does; export it again.")
    if archive.testzip() is not None:
        raise ModelRejected("The weights file is damaged: its checksums do not hold; copy or export it again.")


def _from_run(data: bytes) -> tuple[Any, Callable[[Storage], memoryview]]:
    stream = io.BytesIO(data)
    for _ in range(3):  # magic number, protocol, machine
        InertUnpickler(stream).load()
    reader = InertUnpickler(stream)
    found, starts = reader.load(), {}
    for key in InertUnpickler(stream).load():
        (count,) = struct.unpack("<q", stream.read(8))
        starts[str(key)] = stream.tell()
        stream.seek(count * ITEM_BYTES[reader.storages[str(key)].kind], io.SEEK_CUR)

    def stored(storage: Storage) -> memoryview:
        start = starts[storage.key]
        return _whole(memoryview(data)[start : start + storage.count * ITEM_BYTES[storage.kind]], storage)

    return found, stored


def _whole(part: memoryview, storage: Storage) -> memoryview:
    if len(part) != storage.count * ITEM_BYTES[storage.kind]:
        raise ModelRejected("The weights file is cut short; copy or export it again.")
    return part
