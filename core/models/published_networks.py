"""Networks of other libraries that a card may name: torchvision's, timm's (``timm/``), TorchXRayVision's (``xrv-``).

Each is built without weights. Where a network was written for colour, one channel means a first convolution of one channel.
"""

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision import models as torchvision_models

from core.errors import ModelRejected

TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2",
    "densenet121", "densenet161", "densenet169", "densenet201",
    "vgg11_bn", "vgg16", "vgg16_bn", "vgg19",
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
    "shufflenet_v2_x1_0", "squeezenet1_1", "convnext_tiny", "regnet_y_400mf",
)  # fmt: skip
TIMM = (
    "resnet18", "resnet34", "resnet50", "resnet26d", "seresnet50", "resnext50_32x4d", "densenet121",
    "efficientnet_b0", "mobilenetv2_100", "mobilenetv3_large_100", "convnext_tiny", "regnety_004",
    # Padded by what they are given, as TensorFlow does: torch.fx cannot trace these.
    "tf_efficientnet_b0", "tf_efficientnetv2_b0",
)  # fmt: skip
# TorchXRayVision's networks are torchvision's with one channel (its DenseNet and ResNet classes, version 1.3).
XRV_BASES = {"xrv-densenet121": "densenet121", "xrv-resnet50": "resnet50"}


def _torchvision(name: str, *, channels: int, labels: int) -> nn.Module:
    network: nn.Module = torchvision_models.get_model(name, weights=None, num_classes=labels)
    if channels != 3:
        _take_channels(network, channels)
    return network


def _take_channels(network: nn.Module, channels: int) -> None:
    """Put a first convolution for ``channels`` in place of the one for colour."""
    name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    fitting = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, fitting)


def _xrv(name: str, *, channels: int, labels: int) -> nn.Module:
    if channels != 1:
        raise ModelRejected(
            f"The architecture {name} takes 1 channel, the card says {channels}; set input.channels to 1."
        )
    return _torchvision(XRV_BASES[name], channels=1, labels=labels)


def _timm(name: str, *, channels: int, labels: int) -> nn.Module:
    import timm  # seconds to import, and only these networks need it

    network: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=labels)
    return network


PUBLISHED_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(_torchvision, name) for name in TORCHVISION},
    **{name: partial(_xrv, name) for name in XRV_BASES},
    **{f"timm/{name}": partial(_timm, name) for name in TIMM},
}
