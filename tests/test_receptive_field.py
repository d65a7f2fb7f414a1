"""The receptive field is what the gradient reaches: checked against the network itself, and against published sizes."""

from typing import Any, Literal

import pytest
import torch
from torch import nn

from core.errors import UnknownLayer
from core.inside.receptive_field import ReceptiveField, receptive_field, size_of, stride_of
from core.inside.recording import Recording, record_picture
from core.models.card import InputSpec
from core.models.loading import prepare
from core.preprocessing import Letterbox
from tests.networks import card, seeded

_TARGETS = {
    "compact-resnet": "blocks.5.relu_1",
    "compact-pyramid": "merge.4",
    "article-cnn-28": "4",
    "resnet18": "layer4.1.relu_1",
    "resnet50": "layer4.2.relu_2",
    "mobilenet_v3_large": "features.16.2",
}


def recorded(architecture: str, size: int, channels: Literal[1, 3] = 1) -> tuple[Recording, Any]:
    spec = InputSpec(channels=channels, size=size, mean=0.5, std=0.25)
    made = card(architecture=architecture, input=spec, target_layer=_TARGETS[architecture])
    network = seeded(architecture, channels=channels, size=size)
    torch.manual_seed(3)
    picture = torch.randn(1, channels, size, size)
    return record_picture(prepare(made, network), picture, Letterbox.fit(size, size, size)), network


def smooth_twin(network: nn.Module) -> nn.Module:
    """The network with weights above 0 and no ReLU that could be shut: where a gradient can be, there is one."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.abs() + 0.1
            # Sums of hundreds of values above 1 would leave the range of numbers, far down.
            module.weight.data /= module.weight.data.sum((1, 2, 3), keepdim=True)
    return network


@pytest.mark.parametrize(
    ("architecture", "size", "layer", "cell"),
    [
        ("compact-resnet", 64, "stem.0", (5, 9)),
        ("compact-resnet", 64, "blocks.2.conv2", (3, 3)),
        ("compact-pyramid", 64, "lateral", (2, 5)),
        ("compact-pyramid", 256, "merge.2", (17, 16)),
        ("compact-pyramid", 256, "merge.2", (16, 17)),
    ],
)
def test_the_field_is_where_the_gradient_reaches(
    architecture: str, size: int, layer: str, cell: tuple[int, int]
) -> None:
    recording, network = recorded(architecture, size)
    found = receptive_field(recording, layer, *cell)
    values: list[torch.Tensor] = []
    smooth_twin(network).get_submodule(layer).register_forward_hook(lambda _m, _i, out: values.append(out))
    picture = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        network.double()(picture)
        (gradient,) = torch.autograd.grad(values[0][0, :, cell[0], cell[1]].sum(), picture)
    rows, columns = (gradient[0, 0].abs().sum(axis).nonzero()[:, 0] for axis in (1, 0))
    assert found.rows is not None
    assert found.columns is not None
    assert (max(0, found.rows[0]), min(size - 1, found.rows[1])) == (int(rows.min()), int(rows.max()))
    assert (max(0, found.columns[0]), min(size - 1, found.columns[1])) == (int(columns.min()), int(columns.max()))


def by_recursion(windows: list[tuple[int, int]]) -> int:
    """The field of a plain row of windows (kernel, stride): each adds (kernel - 1) times the strides before it."""
    side, jump = 1, 1
    for kernel, stride in windows:
        side, jump = side + (kernel - 1) * jump, jump * stride
    return side


_RESNET_STEM = [(7, 2), (3, 2)]


@pytest.mark.parametrize(
    ("architecture", "layer", "windows"),
    [
        ("resnet18", "layer4.1.relu_1", [*_RESNET_STEM, *[(3, 1)] * 4, *([(3, 2), *[(3, 1)] * 3] * 3)]),
        # Blocks of 3, 4, 6 and 3 with one 3 x 3 each, whose first halves the map from the second stage on.
        ("resnet50", "layer4.2.relu_2",
         [*_RESNET_STEM, *[(3, 1)] * 3, (3, 2), *[(3, 1)] * 3, (3, 2), *[(3, 1)] * 5, (3, 2), *[(3, 1)] * 2]),
        ("article-cnn-28", "3", [(3, 1), (2, 2), (3, 1)]),
        ("article-cnn-28", "5", [(3, 1), (2, 2), (3, 1), (2, 2)]),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_forward_recursion(
    architecture: str, layer: str, windows: list[tuple[int, int]]
) -> None:
    article = architecture == "article-cnn-28"
    recording, _ = recorded(architecture, 28 if article else 64, 1 if article else 3)
    side = by_recursion(windows)
    assert size_of(recording, layer).size == (side, side)


def test_behind_a_pooling_of_the_whole_map_everything_is_seen() -> None:
    recording, _ = recorded("compact-resnet", 64)
    assert receptive_field(recording, "fc", 0, 0) == ReceptiveField(None, None, sees_all=True)
    # Squeeze and excitation lets every cell hear the whole map, beside its own surroundings.
    excited, _ = recorded("mobilenet_v3_large", 64, 3)
    field = size_of(excited, "features.4.block.2.mul")
    assert field.sees_all
    assert field.size == size_of(excited, "features.4.block.1.2").size
    assert not size_of(excited, "features.1.block.0.0").sees_all


def test_strides_and_cells_that_do_not_exist() -> None:
    recording, _ = recorded("compact-resnet", 64)
    assert stride_of(recording, "stem.0") == (2, 2)
    assert stride_of(recording, "blocks.5.relu_1") == (16, 16)
    assert stride_of(recording, "fc") is None
    with pytest.raises(UnknownLayer, match="4 x 4 cells"):
        receptive_field(recording, "blocks.5.relu_1", 4, 0)
    with pytest.raises(UnknownLayer, match="no layer"):
        receptive_field(recording, "blocks.9", 0, 0)


def test_on_the_scan_the_field_is_cut_at_the_scans_edges() -> None:
    # 100 x 50 on a square of 64: 64 x 32 at column 16, so a pixel of the square is 100 / 64 of the scan's.
    box = Letterbox.fit(100, 50, 64)
    assert box.left == 16
    left, top, width, height = ReceptiveField((0, 31), (0, 31), sees_all=False).on_scan(box) or (0, 0, 0, 0)
    assert (left, top, width, height) == pytest.approx((0, 0, 25, 50))
    assert ReceptiveField((0, 31), (0, 9), sees_all=False).on_scan(box) is None
