"""Which architectures weights belong to, told from the names and shapes of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch

from core.errors import ModelRejected
from core.models.architectures import ARCHITECTURES, build_outline
from core.models.detectors import DETECTOR_NETWORKS
from core.models.published_networks import XRV_BASES

Shapes = Mapping[str, tuple[int, ...]]
# A counter of batch norms that takes no part in any answer; weights of before 2018 lack it.
COUNTER = ".num_batches_tracked"
_SEGMENTATION = ("compact-unet",)
# How the tensors of torchvision's detectors begin, and of no network for whole pictures.
_DETECTOR_PREFIX = "backbone."
_MOST_OUTPUTS = 10_000


@dataclass(frozen=True, slots=True)
class Fit:
    """An architecture whose names and shapes are those of the weights, with ``channels`` in and ``outputs`` out."""

    architecture: str
    channels: int
    outputs: int


def fitting(tensors: Mapping[str, torch.Tensor]) -> tuple[Fit, ...]:
    """All architectures that these weights fit, ours and torchvision's first; timm's only where no other does.

    timm takes a second to import, and its residual networks are torchvision's by other means.
    """
    if any(name.startswith(_DETECTOR_PREFIX) for name in tensors):
        return _fits(list(DETECTOR_NETWORKS), tensors)
    names = [name for name in ARCHITECTURES if name not in _SEGMENTATION and name not in DETECTOR_NETWORKS]
    first = _fits([name for name in names if not name.startswith("timm/")], tensors)
    return first or _fits([name for name in names if name.startswith("timm/")], tensors)


def fit_of(architecture: str, tensors: Mapping[str, torch.Tensor]) -> Fit:
    """How the weights fit an architecture.

    Raises ModelRejected naming the first tensor that is missing, left over or of another shape, or the unknown name.
    """
    shapes = _shapes(tensors)
    fit = _fit(architecture, shapes)
    if fit is None:
        raise ModelRejected(f"The weights do not fit {architecture}: {_first_difference(architecture, shapes)}.")
    return fit


def _fits(names: list[str], tensors: Mapping[str, torch.Tensor]) -> tuple[Fit, ...]:
    shapes = _shapes(tensors)
    return tuple(fit for name in names if (fit := _fit(name, shapes)) is not None)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def _fit(architecture: str, shapes: Shapes) -> Fit | None:
    outline = _outline(architecture, _least_channels(architecture), 2)
    if outline.keys() != shapes.keys():
        return None
    channels, outputs = _sizes(architecture, shapes)
    possible = channels in (1, 3) and 0 < outputs <= _MOST_OUTPUTS
    fits = possible and _outline(architecture, channels, outputs) == shapes
    return Fit(architecture, channels, outputs) if fits else None


def _sizes(architecture: str, shapes: Shapes) -> tuple[int, int]:
    """Channels and outputs, read where the network's shapes follow them; 0 where these differ among themselves."""
    if architecture in DETECTOR_NETWORKS:
        return 3, _classes(architecture, shapes)
    small, large = _outline(architecture, 1, 2), _outline(architecture, _other_channels(architecture), 3)
    channels, outputs = {1} if architecture in XRV_BASES else set(), set()
    for name, shape in small.items():
        if len(shapes[name]) != len(shape):
            return 0, 0
        for axis, (one, other) in enumerate(zip(shape, large[name], strict=True)):
            if (one, other) == (1, 3):
                channels.add(shapes[name][axis])
            elif (one, other) == (2, 3):
                outputs.add(shapes[name][axis])
    return channels.pop() if len(channels) == 1 else 0, outputs.pop() if len(outputs) == 1 else 0


def _classes(architecture: str, shapes: Shapes) -> int:
    """How many labels a detector tells apart: one more makes each place's answers longer by one or four for each anchor."""
    small, large = _outline(architecture, 3, 2), _outline(architecture, 3, 3)
    found = set()
    for name, shape in small.items():
        if len(shapes[name]) != len(shape):
            return 0
        for own, one, other in zip(shapes[name], shape, large[name], strict=True):
            if one != other:
                found.add(2 + (own - one) / (other - one))
    labels = found.pop() if len(found) == 1 else 0
    return int(labels) if labels == int(labels) else 0


def _least_channels(architecture: str) -> int:
    return 3 if architecture in DETECTOR_NETWORKS else 1


def _other_channels(architecture: str) -> int:
    return 1 if architecture in XRV_BASES else 3


def _first_difference(architecture: str, shapes: Shapes) -> str:
    known = _outline(architecture, _least_channels(architecture), 2).keys()
    if missing := known - shapes.keys():
        return f"the file lacks {min(missing)[:120]}"
    if extra := shapes.keys() - known:
        return f"that network has no {min(extra)[:120]}"
    channels, outputs = _sizes(architecture, shapes)
    if channels not in (1, 3) or not 0 < outputs <= _MOST_OUTPUTS:
        return f"they take {channels or 'unclear'} channels and give {outputs or 'unclear'} outputs; expected 1 or 3 channels"
    wanted = _outline(architecture, channels, outputs)
    name = next(name for name in wanted if wanted[name] != shapes[name])
    return f"{name[:120]} has the shape {shapes[name]}, expected {wanted[name]}"


@lru_cache(maxsize=256)
def _outline(architecture: str, channels: int, outputs: int) -> dict[str, tuple[int, ...]]:
    state = build_outline(architecture, channels=channels, labels=outputs).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTER)}
