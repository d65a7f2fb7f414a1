"""The networks that RadLens builds by name. A model card may name one of these and nothing else.

Weights never bring code with them: the architecture is code in this folder, in torchvision or in timm, the weights are numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from core.errors import ModelRejected
from core.models.compact_networks import CompactLocal, CompactPyramid, CompactResNet
from core.models.detectors import DETECTOR_NETWORKS
from core.models.published_networks import PUBLISHED_NETWORKS
from core.models.segmentation_networks import CompactUNet


class ArticleCnn28(nn.Sequential):
    """The first article's network for 28 x 28 x 1: conv32-pool-conv64-pool-dense. Softmax is the card's head."""

    def __init__(self, channels: int = 1, labels: int = 10) -> None:
        super().__init__(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 5 * 5, labels),
        )  # fmt: skip


class ArticleCnn224(nn.Sequential):
    """The second article's network for 224 x 224 x 3: conv32-pool-conv64-pool-conv128-dense512-dense.

    ``size`` other than 224 makes the same network for smaller pictures: at 224 the first dense layer has 177 million weights.
    """

    def __init__(self, channels: int = 3, labels: int = 2, size: int = 224) -> None:
        side = ((size - 2) // 2 - 2) // 2 - 2
        super().__init__(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * side * side, 512), nn.ReLU(), nn.Linear(512, labels),
        )  # fmt: skip


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "compact-resnet": CompactResNet,
    "compact-local": CompactLocal,
    "compact-pyramid": CompactPyramid,
    "compact-unet": CompactUNet,
    "article-cnn-28": ArticleCnn28,
    "article-cnn-224": ArticleCnn224,
    **PUBLISHED_NETWORKS,
    **DETECTOR_NETWORKS,
}


def build_network(architecture: str, *, channels: int, labels: int) -> nn.Module:
    """A fresh network of that name with random weights, in evaluation mode; ``labels`` is the number of its outputs.

    Raises ModelRejected when the name is not on the list.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelRejected(f"The card asks for the architecture {architecture!r}; RadLens builds only: {known}.")
    return ARCHITECTURES[architecture](channels=channels, labels=labels).eval()


class _WithoutDrawing(TorchFunctionMode):
    """Leaves tensors as they are where random numbers would be drawn into them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function's result; of a drawing one, its tensor."""
        return args[0] if func in (torch.Tensor.normal_, torch.Tensor.uniform_) else func(*args, **(kwargs or {}))


def build_outline(architecture: str, *, channels: int, labels: int) -> nn.Module:
    """The same network as names and shapes only, where it can be built so: drawing weights at random takes seconds.

    Raises ModelRejected when the name is not on the list.
    """
    try:
        with torch.device("meta"), _WithoutDrawing():
            return build_network(architecture, channels=channels, labels=labels)
    except (NotImplementedError, RuntimeError):  # a few draw numbers of their own while they are built
        return build_network(architecture, channels=channels, labels=labels)


def build_unfilled(architecture: str, *, channels: int, labels: int) -> nn.Module:
    """The same network with whatever lay in memory as weights: for ``core.models.weights.fill`` and nothing else.

    Raises ModelRejected when the name is not on the list.
    """
    if architecture in DETECTOR_NETWORKS:
        # Their anchors are tensors that are no buffers: an outline would leave these without numbers.
        with _WithoutDrawing():
            return build_network(architecture, channels=channels, labels=labels)
    outline = build_outline(architecture, channels=channels, labels=labels)
    if set(dict(outline.named_buffers())) - set(outline.state_dict()):
        return build_network(architecture, channels=channels, labels=labels)
    return outline.to_empty(device="cpu")
