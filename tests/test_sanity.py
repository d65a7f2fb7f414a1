"""Rank correlation, random weights and small shifts, on networks whose maps are known beforehand."""

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from core.engines.cutting import CutNetwork, Pass
from core.engines.tracing import trace
from core.explaining.gradcam import evidence_of_all_labels
from core.explaining.sanity import COPIES, likeness_of, randomised, rank_correlation, shift_of, shifted
from tests.networks import seeded

Map = npt.NDArray[np.float32]
TARGET = "blocks.5.relu_1"


def first_label(cut: CutNetwork, one_pass: Pass) -> Map:
    return evidence_of_all_labels(cut, one_pass).maps[0]


def own_map(network: nn.Module, target: str, picture: torch.Tensor) -> Map:
    cut = CutNetwork(trace(network), target)
    return first_label(cut, cut.run(picture))


def explainer(network: nn.Module, target: str) -> Callable[[torch.Tensor], Map]:
    return lambda picture: own_map(network, target, picture)


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_equals_scipys(*, ties: bool) -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        first, second = random.normal(size=(2, 9, 7))
        if ties:
            first, second = np.round(first), np.maximum(second, 0)
        expected = spearmanr(first.ravel(), second.ravel()).statistic
        assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.zeros((9, 7))) is None


def test_another_top_gives_another_map_and_the_network_stays_as_it_was() -> None:
    network, picture = seeded("compact-resnet"), torch.randn(1, 1, 128, 128)
    before = copy.deepcopy(network.state_dict())
    own = own_map(network, TARGET, picture)
    found = randomised(network, TARGET, picture, first_label, own)
    assert len(found.maps) == COPIES
    expected = [abs(spearmanr(own.ravel(), one.ravel()).statistic) for one in found.maps]
    assert found.likeness == pytest.approx(np.mean(expected))
    assert found.strength == pytest.approx(np.mean([one.std() for one in found.maps]) / own.std(), rel=1e-5)
    assert found.likeness is not None
    assert found.likeness < 0.75
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert np.array_equal(own_map(network, TARGET, picture), own)
    again = randomised(network, TARGET, picture, first_label, own)
    assert all(np.array_equal(one, other) for one, other in zip(found.maps, again.maps, strict=True))


def test_an_edge_detector_under_a_top_without_a_say_gives_the_same_map_whatever_its_weights() -> None:
    # Two 1 x 1 convolutions of one channel, and one weight: drawing them anew can only scale the map or turn its sign.
    edges = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    edges.weight.data = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    points = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(2)]
    network = nn.Sequential(edges, *points, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)).eval()
    picture = torch.randn(1, 1, 16, 16)
    own = own_map(network, "2", picture)
    found = randomised(network, "2", picture, first_label, own)
    assert found.likeness == pytest.approx(1)


def test_the_top_is_redrawn_and_nothing_below_it() -> None:
    network, picture = seeded("compact-resnet"), torch.randn(1, 1, 64, 64)
    seen: list[dict[str, torch.Tensor]] = []

    def keep(cut: CutNetwork, one_pass: Pass) -> Map:
        seen.append({name: value.clone() for name, value in cut.whole().state_dict().items()})
        return first_label(cut, one_pass)

    randomised(network, TARGET, picture, keep, own_map(network, TARGET, picture))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(seen[0][name], value)}
    stages = {name.rsplit(".", 1)[0] for name in changed}
    assert "fc" in stages
    assert stages <= {"fc", "blocks.5.conv2", "blocks.5.norm2", "blocks.5.second", "blocks.5.second_norm"} | {
        name for name in stages if name.startswith("blocks.5")
    }
    assert len(stages) == 3
    assert not torch.equal(seen[0]["fc.weight"], seen[1]["fc.weight"])


def test_a_map_that_moves_with_the_picture_is_repeatable() -> None:
    # A convolution of stride 1 moves with its picture, pixel by pixel; this one is warmest on the brightest spot.
    mean = nn.Conv2d(1, 1, 5, padding=2)
    mean.weight.data.fill_(0.04)
    head = nn.Linear(1, 1)
    head.weight.data.fill_(1.0)
    network = nn.Sequential(mean, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()
    coarse = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    coarse[0, 0, 3, 4] = 3.0
    picture = nn.functional.interpolate(coarse, (64, 64), mode="bicubic")
    explain = explainer(network, "1")
    found = shifted(picture, explain, explain(picture))
    assert found.likeness is not None
    assert found.likeness > 0.97
    assert found.peak_moved <= 2 / 64


def test_a_map_that_hangs_on_single_pixels_is_not() -> None:
    # One pixel of every 8 x 8 is looked at: on noise, the next pixel says something else.
    point = nn.Conv2d(1, 1, 1, stride=8)
    point.weight.data.fill_(1.0)
    head = nn.Linear(1, 1)
    head.weight.data.fill_(1.0)
    network = nn.Sequential(point, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    picture = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    explain = explainer(network.eval(), "1")
    found = shifted(picture, explain, explain(picture))
    assert found.likeness is not None
    assert found.likeness < 0.3
    assert found.peak_moved > 0.1


@pytest.mark.parametrize(("size", "far"), [(28, 1), (64, 1), (224, 4), (256, 4)])
def test_the_shift_grows_with_the_picture(size: int, far: int) -> None:
    assert shift_of(size) == far


def test_maps_of_other_grids_and_without_a_sign_are_compared_fairly() -> None:
    random = np.random.default_rng(0)
    own = random.normal(size=(8, 8)).astype(np.float32)
    fine = own.repeat(4, 0).repeat(4, 1)
    assert likeness_of(own, fine) == pytest.approx(1)
    assert likeness_of(fine, own) == pytest.approx(1)
    assert likeness_of(own, np.maximum(own, 0)) == pytest.approx(1)
    expected = spearmanr(np.maximum(own, 0).ravel(), np.abs(own).ravel()).statistic
    assert likeness_of(own, np.abs(own)) == pytest.approx(expected)
