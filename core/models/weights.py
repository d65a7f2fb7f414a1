"""Weights: safetensors in, SHA-256 checked, network filled and tested. Nothing is ever unpickled."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from core.errors import ModelRejected

if TYPE_CHECKING:
    import torch
    from torch import nn

MAX_WEIGHT_BYTES = 2 << 30

T = TypeVar("T")


def read_bytes_checked(path: Path, expected_sha256: str) -> bytes:
    """The bytes of a weights file whose SHA-256 is the expected one.

    Raises ModelRejected when the file is missing, too large or has another hash.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_WEIGHT_BYTES else b""
    except OSError as exc:
        raise ModelRejected(
            "The model's weights file is missing; restore weights.safetensors beside its card."
        ) from exc
    if not data:
        raise ModelRejected(f"The model's weights file holds {size} bytes; expected 1 byte to 2 GiB.")
    found = hashlib.sha256(data).hexdigest()
    if found != expected_sha256:
        raise ModelRejected(
            f"The model's weights are not those its card speaks of (hash {found[:12]}, expected {expected_sha256[:12]}); "
            "restore the original file or register the new weights with a card of their own."
        )
    return data


def read_checked(path: Path, expected_sha256: str) -> "dict[str, torch.Tensor]":
    """The tensors of a safetensors file whose SHA-256 is the expected one.

    Raises ModelRejected when the file is missing, too large, has another hash or is no safetensors file.
    """
    from safetensors.torch import load

    return _loaded(load, read_bytes_checked(path, expected_sha256))


def arrays_of(data: bytes) -> dict[str, Any]:
    """The arrays in the bytes of a safetensors file, without torch.

    Raises ModelRejected when it is none, or holds numbers that numpy does not know.
    """
    from safetensors.numpy import load

    return _loaded(load, data)


def _loaded(load: Callable[[bytes], dict[str, T]], data: bytes) -> dict[str, T]:
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError) as exc:
        raise ModelRejected("The model's weights are not a safetensors file; convert them first.") from exc


def fill(network: "nn.Module", tensors: "dict[str, torch.Tensor]") -> None:
    """Put the tensors into the network, every one finite and every one used.

    Raises ModelRejected naming the first weight that is missing, left over, of another shape, not finite or all zero.
    """
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelRejected(
                f"The weight {name} holds values that are not finite numbers; train or restore the model."
            )
        if name.endswith("weight") and tensor.ndim > 1 and not bool(tensor.any()):
            raise ModelRejected(f"The weight {name} holds nothing but zeros; train or restore the model.")
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as exc:
        first = str(exc).splitlines()[1].strip() if "\n" in str(exc) else str(exc)
        raise ModelRejected(f"The weights do not fit the architecture that the card names: {first[:200]}") from exc


def save_weights(network: "nn.Module", path: Path) -> str:
    """Write the network's tensors as safetensors and return the file's SHA-256."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
