"""torchvision's detectors that a card may name: they put out boxes with a class and a score each, and no grid of evidence.

``num_classes`` counts the background as class 0, so label k of a card is class k + 1.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from torchvision import models as torchvision_models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from core.errors import ModelRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
)  # fmt: skip
# What each is usually fed; torchvision's others take 800, which takes ten seconds on a processor.
_SMALL, _USUAL = 320, 640


class _AsItCame(GeneralizedRCNNTransform):  # type: ignore[misc]
    """torchvision's detectors normalise and resize by themselves; here the card says how, once, before."""

    def normalize(self, image: "torch.Tensor") -> "torch.Tensor":
        """The picture as it came."""
        return image

    def resize(self, image: "torch.Tensor", target: Any = None) -> "tuple[torch.Tensor, Any]":
        """The picture as it came."""
        return image, target


def usual_size(architecture: str) -> int:
    """The side of the square that a detector is fed where nobody says."""
    return _SMALL if "320" in architecture else _USUAL


def _detector(name: str, *, channels: int, labels: int) -> "nn.Module":
    if channels != 3:
        raise ModelRejected(f"The detector {name} takes 3 channels, the card says {channels}; set input.channels to 3.")
    network: Any = torchvision_models.get_model(name, weights=None, weights_backbone=None, num_classes=labels + 1)
    divisible = network.transform.size_divisible
    network.transform = _AsItCame(1, 1, [0.0] * 3, [1.0] * 3, size_divisible=divisible)
    built: nn.Module = network
    return built


DETECTOR_NETWORKS: "dict[str, Callable[..., nn.Module]]" = {name: partial(_detector, name) for name in DETECTORS}
