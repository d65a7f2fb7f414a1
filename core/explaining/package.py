"""The rest of the CAM family, through the grad-cam package (Gildenblat et al., 2021).

The package keeps hooks, gradients and activations on the network that it is given, and is not made for two readers at once.
So it gets a copy of its own for every map, put together of body, a place to hook on and tail; one reader at a time, since a
copy is as large as the network. The shared network is never touched.
"""

import threading
from typing import Any

import torch
from torch import nn

from core.engines.cutting import CutNetwork
from core.explaining.perturbation import NOBODY, Watch
from core.explaining.targets import Targets

_ONE_AT_A_TIME = threading.Lock()
_CLASSES = {
    "eigengradcam": "EigenGradCAM",
    "gradcam-elementwise": "GradCAMElementWise",
    "shapleycam": "ShapleyCAM",
    "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
}


class HookableNetwork(nn.Module):
    """A copy of a cut network; ``place`` passes the target layer's output on, so that a hook there sees just that."""

    def __init__(self, body: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.body, self.place, self.tail = body, nn.Identity(), tail
        self.requires_grad_(requires_grad=True)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs) or (n, outputs, s, s)."""
        target, *crossings = self.body(pictures)
        return self.tail(self.place(target), *crossings)[0]


def package_maps(
    name: str, network: CutNetwork, picture: torch.Tensor, targets: Targets, watch: Watch = NOBODY
) -> torch.Tensor:
    """The maps (targets, h, w) of one of the package's methods, on the feature grid, their positive part.

    Raises Stopped when the watch says so, between two labels.
    """
    import pytorch_grad_cam

    maps = []
    with _ONE_AT_A_TIME:
        own = HookableNetwork(*network.halves())
        method = getattr(pytorch_grad_cam, _CLASSES[name])(own, [own.place])
        try:
            for index in range(len(targets)):
                watch.step(index, len(targets))
                maps.append(_one_map(method, picture, targets, index))
        finally:
            method.activations_and_grads.release()
    watch.step(len(targets), len(targets))
    return torch.stack(maps).clamp(min=0)


def _one_map(method: Any, picture: torch.Tensor, targets: Targets, index: int) -> torch.Tensor:
    """The package's map before it is stretched to the picture: its own get_cam_image, asked as its forward asks it."""
    kept: list[torch.Tensor] = []
    original = type(method).get_cam_image

    def keep(*arguments: object) -> object:
        image = original(method, *arguments)
        kept.append(torch.as_tensor(image)[0].detach().float())
        return image

    method.get_cam_image = keep
    try:
        method(picture.clone(), [lambda output: targets.of(output[None])[0, index]])
    finally:
        del method.get_cam_image
    return kept[0]
