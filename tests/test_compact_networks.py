"""RadLens' own networks: how far a cell looks, how fine the grid is, and that cells and bias sum to the logit."""

import pytest
import torch
from torch import nn

from core.models.architectures import build_network
from core.models.compact_networks import CompactLocal, CompactPyramid, CompactResNet


def alive(network: nn.Module) -> nn.Module:
    """Weights all positive and no batch statistics, so that whatever a cell sees changes it."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.1)
    return network.eval().double()


@pytest.mark.parametrize(
    # Sum over layers of (kernel - 1) times the stride before it, plus one, by hand:
    # stem 4, then per stage of stride j -> 2j: 2j + 4j + 4j + 4j (whole) or 2j (local).
    ("network", "reach"),
    [(CompactResNet, 1 + 4 + 14 * (2 + 4 + 8)), (CompactLocal, 1 + 4 + 14 * (2 + 4) + 2 * 8)],
)
def test_a_cell_sees_exactly_its_receptive_field(network: type[CompactResNet], reach: int) -> None:
    net, size = alive(network(1, 2)), 256
    picture = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    features = net.features(picture)  # type: ignore[operator]
    (seen,) = torch.autograd.grad(features[0, :, 8, 8].sum(), picture)
    columns = torch.nonzero(seen[0, 0].abs().sum(0)).flatten()
    assert int(columns.max() - columns.min()) + 1 == reach


@pytest.mark.parametrize(("network", "grid"), [(CompactResNet, 14), (CompactLocal, 14), (CompactPyramid, 28)])
def test_the_grid_is_as_fine_as_the_stride_says(network: type[CompactResNet], grid: int) -> None:
    net = network(1, 3).eval()
    with torch.inference_mode():
        features = net.features(torch.rand(1, 1, 224, 224))
    assert features.shape[-2:] == (grid, grid) == (224 // net.stride,) * 2
    assert float(features.min()) >= 0


@pytest.mark.parametrize("name", ["compact-resnet", "compact-local", "compact-pyramid"])
def test_the_cells_and_the_bias_sum_to_the_logit(name: str) -> None:
    torch.manual_seed(1)
    net = build_network(name, channels=1, labels=4)
    assert isinstance(net, CompactResNet)
    picture = torch.rand(2, 1, 96, 96)
    with torch.inference_mode():
        features = net.features(picture)
        cells = torch.einsum("nchw,lc->nlhw", features, net.fc.weight) / features[0, 0].numel()
        assert torch.allclose(cells.sum((2, 3)) + net.fc.bias, net(picture), atol=1e-5)


def test_the_pyramid_joins_coarse_and_fine() -> None:
    net = CompactPyramid(1, 2).eval()
    picture = torch.rand(1, 1, 64, 64)
    before = net.features(picture)
    nn.init.zeros_(net.top.weight)
    without_coarse = net.features(picture)
    nn.init.zeros_(net.lateral.weight)
    without_both = net.features(picture)
    assert not torch.allclose(before, without_coarse)
    assert not torch.allclose(without_coarse, without_both)
    # With neither, nothing of the picture is left.
    assert torch.allclose(without_both, net.features(torch.rand(1, 1, 64, 64)))
