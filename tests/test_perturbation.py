"""Heatmaps by asking again, against loops that do one thing at a time, and against the grad-cam package."""

from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam as package
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch.nn import functional

from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.errors import Stopped
from core.explaining import perturbation
from core.explaining.package import package_maps
from core.explaining.perturbation import (
    BATCH,
    Watch,
    ablationcam,
    answer_of,
    approximate_answer_of,
    half_size,
    occlusion,
    random_masks,
    rise,
    scorecam,
)
from core.explaining.targets import targets_of
from tests.cam_networks import DENSE, in_place_dense, linear_steps, plain_steps
from tests.networks import seeded

SIZE = 20


def picture_of(size: int = SIZE, seed: int = 5) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(1, 1, size, size)


def asked(network: Any, layer: str = "3", labels: int = 3) -> tuple[CutNetwork, Any, Any]:
    cut, targets = CutNetwork(trace(network), layer), targets_of("sigmoid", labels)
    return cut, targets, answer_of(cut, targets)


def ablated_one_by_one(activations: torch.Tensor, rest: Any) -> torch.Tensor:
    """sum_k (z - z without channel k) A_k by setting each channel to 0 in turn."""
    whole = rest(activations)[0]
    total = torch.zeros(len(whole), *activations.shape[2:])
    for channel in range(activations.shape[1]):
        without = activations.clone()
        without[0, channel] = 0
        total += (whole - rest(without)[0])[:, None, None] * activations[0, channel]
    return total


def test_ablation_in_closed_form_is_real_ablation() -> None:
    network, picture = linear_steps(), picture_of()
    cut, targets, _ = asked(network)
    assert cut.linear_tail is not None
    expected = ablated_one_by_one(network[:4](picture), network[4:])
    assert torch.allclose(ablationcam(cut, cut.run(picture), targets), expected, atol=1e-5)


def test_ablation_in_batches_is_real_ablation_behind_a_dense_concatenation() -> None:
    network, picture = in_place_dense(), picture_of(12)
    cut, targets, _ = asked(network, DENSE)
    assert cut.linear_tail is None
    found = ablationcam(cut, cut.run(picture), targets)
    assert torch.allclose(found, ablated_one_by_one(network.dense(picture), network.rest), atol=1e-4)


def test_ablation_carries_along_what_passes_beside_the_layer() -> None:
    network, picture = in_place_dense(), picture_of(12)
    cut, targets, _ = asked(network, "second")
    one_pass = cut.run(picture)
    assert len(one_pass.crossings) == 1
    a = torch.relu(network.first(picture))
    expected = ablated_one_by_one(network.second(a), lambda b: network.rest(torch.cat([a, b], 1).clamp(min=0)))
    assert torch.allclose(ablationcam(cut, one_pass, targets), expected, atol=1e-4)


def test_ablation_points_where_the_packages_does() -> None:
    network, picture = plain_steps(), picture_of()
    network[-1].bias.copy_(torch.full((3,), 2.0))
    cut, targets, _ = asked(network)
    found = ablationcam(cut, cut.run(picture), targets).clamp(min=0)
    with package.AblationCAM(network.requires_grad_(True), [network[3]]) as cam:
        theirs = cam(picture, [ClassifierOutputTarget(0)])[0]
    own = functional.interpolate(found[None, :1], (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
    assert np.corrcoef(own.ravel(), theirs.ravel())[0, 1] > 0.999


def test_score_cam_is_the_slow_loop_and_all_labels_share_its_passes() -> None:
    network, picture = plain_steps(), picture_of()
    cut, _, answer = asked(network)
    counted: list[int] = []

    def counting(pictures: torch.Tensor) -> torch.Tensor:
        counted.append(len(pictures))
        return answer(pictures)

    activations = cut.run(picture).target.clone()
    activations[2] = 0.5
    scores, uneven = [], 0
    for channel in activations:
        mask = functional.interpolate(channel[None, None], (SIZE, SIZE), mode="bilinear")[0, 0]
        spread = float(mask.max() - mask.min())
        uneven += spread > 0
        scores.append(network(picture * ((mask - mask.min()) / spread if spread else 0.0))[0])
    weights = torch.softmax(torch.stack(scores), 0)
    expected = torch.einsum("kt,khw->thw", weights, activations)
    assert torch.allclose(scorecam(activations, picture, counting), expected.clamp(min=0), atol=1e-5)
    assert 1 <= uneven < len(activations)
    assert sum(counted) == uneven + 1
    assert max(counted) <= BATCH


def test_score_cam_agrees_with_the_package() -> None:
    network, picture = plain_steps(seed=2), picture_of(40)
    network[-1].weight.mul_(20)
    cut, _, answer = asked(network)
    found = scorecam(cut.run(picture).target, picture, answer)
    with package.ScoreCAM(network, [network[3]]) as cam:
        theirs = [cam(picture, [ClassifierOutputTarget(label)])[0] for label in range(3)]
    own = functional.interpolate(found[None], (40, 40), mode="bilinear")[0].numpy()
    for label in range(3):
        assert np.corrcoef(own[label].ravel(), theirs[label].ravel())[0, 1] >= 0.998


def test_the_approximate_network_answers_much_as_the_network_at_half_size() -> None:
    network = seeded("compact-resnet", labels=3)
    cut, targets = CutNetwork(fuse(trace(network)), "blocks.5.relu_1"), targets_of("sigmoid", 3)
    pictures = torch.randn(2, 1, 64, 64)
    approximate = approximate_answer_of(cut, targets, 64)
    assert approximate is not None
    half = half_size(pictures)
    assert half.shape == (2, 1, 32, 32)
    exact = network(half)
    assert torch.allclose(approximate(half), exact, atol=0.03 * float(exact.abs().max()))
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert cut.answer(pictures).dtype == torch.float32


def test_a_network_of_one_size_is_not_asked_approximately() -> None:
    network = seeded("article-cnn-28", labels=2, size=28)
    assert approximate_answer_of(CutNetwork(trace(network), "4"), targets_of("sigmoid", 2), 28) is None


def test_occlusion_is_the_fall_of_the_answer_square_by_square() -> None:
    network, picture = plain_steps(), picture_of()
    _, _, answer = asked(network)
    found = occlusion(picture, answer, cells=5, side=3)
    whole = network(picture)[0]
    for row, column in np.ndindex(5, 5):
        covered = picture.clone()
        # Cells of 4 pixels; the square reaches one cell further on every side, as far as there is a picture.
        covered[..., max(0, 4 * row - 4) : 4 * row + 8, max(0, 4 * column - 4) : 4 * column + 8] = 0
        assert torch.allclose(found[:, row, column], whole - network(covered)[0], atol=1e-5)


def test_occlusion_finds_the_one_place_that_the_answer_depends_on() -> None:
    picture = torch.ones(1, 1, 28, 28)
    found = occlusion(picture, lambda pictures: pictures[:, 0, 21:23, 5:7].sum((1, 2))[:, None], cells=14, side=1)
    row, column = divmod(int(found[0].argmax()), 14)
    assert row in {10, 11}
    assert column in {2, 3}
    assert float(found[0].sum()) == pytest.approx(4.0)


def test_rise_is_the_weighted_mean_of_its_masks() -> None:
    network, picture = plain_steps(), picture_of(56)
    _, _, answer = asked(network)
    count = 21
    found = rise(picture, answer, masks=count, seed=3)
    random = torch.Generator().manual_seed(3)
    masks: list[torch.Tensor] = []
    for size in (8, 8, 5):
        masks.extend(random_masks(size, 56, random))
    answers = torch.stack([network(picture * mask)[0] for mask in masks])
    total = torch.zeros(3, 56, 56)
    for mask, values in zip(masks, answers, strict=True):
        total += (values - answers.mean(0))[:, None, None] * mask
    expected = (total / (count * 0.5)).reshape(3, 28, 2, 28, 2).mean((2, 4))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, rise(picture, answer, masks=count, seed=3))


def test_rise_masks_keep_half_of_the_picture_and_differ() -> None:
    masks = random_masks(200, 45, torch.Generator().manual_seed(0))
    assert masks.shape == (200, 45, 45)
    assert float(masks.min()) >= 0 and float(masks.max()) <= 1  # noqa: PT018
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.02)
    assert masks.mean(0).std() < 0.1
    assert len({round(float(mask.sum()), 3) for mask in masks}) > 150


def test_rise_finds_the_place_that_the_answer_depends_on() -> None:
    picture = torch.ones(1, 1, 56, 56)
    found = rise(picture, lambda pictures: pictures[:, 0, 40:48, 8:16].mean((1, 2))[:, None], masks=200)
    row, column = np.unravel_index(int(found[0].argmax()), (28, 28))
    assert 17 <= row <= 26
    assert 1 <= column <= 10


@pytest.mark.parametrize("name", ["scorecam", "ablationcam", "occlusion", "rise"])
def test_progress_counts_to_the_end_and_a_cancelled_run_stops_after_its_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbation, "RISE_MASKS", 20)
    network, picture = plain_steps(), picture_of()
    cut, targets, answer = asked(network)
    one_pass = cut.run(picture)
    runs = {
        "scorecam": lambda watch: scorecam(one_pass.target, picture, answer, watch),
        "ablationcam": lambda watch: ablationcam(cut, one_pass, targets, watch),
        "occlusion": lambda watch: occlusion(picture, answer, watch),
        "rise": lambda watch: rise(picture, answer, watch, masks=20),
    }
    steps: list[tuple[int, int]] = []
    runs[name](Watch(lambda done, total: steps.append((done, total))))
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1] > BATCH
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    seen: list[int] = []
    with pytest.raises(Stopped, match="stopped"):
        runs[name](Watch(lambda done, _total: seen.append(done), lambda: len(seen) == 2))
    assert seen == [0, BATCH]


PACKAGE_METHODS = ("eigengradcam", "gradcam-elementwise", "shapleycam", "segeigencam", "kpcacam", "fem")


@pytest.mark.parametrize("name", PACKAGE_METHODS)
def test_the_packages_methods_work_on_a_copy_and_see_every_label(name: str) -> None:
    network, picture = in_place_dense(), picture_of(12)
    cut, targets, _ = asked(network, DENSE)
    found = package_maps(name, cut, picture, targets)
    assert found.shape == (3, 12, 12)
    assert float(found.min()) >= 0
    assert float(found.max()) > 0
    assert torch.equal(found[0], found[1]) == (name in {"kpcacam", "fem"})
    for module in [*network.modules(), *cut.tail.modules()]:
        assert not (module._forward_hooks)
        assert not (module._backward_hooks)
        assert not (module.training)
    assert not any(p.requires_grad or p.grad is not None for p in [*network.parameters(), *cut.tail.parameters()])


def test_the_packages_cell_by_cell_map_is_as_defined() -> None:
    network, picture = in_place_dense(), picture_of(12)
    cut, targets, _ = asked(network, DENSE)
    found = package_maps("gradcam-elementwise", cut, picture, targets)
    leaf = network.dense(picture).requires_grad_(True)
    for label in range(3):
        (gradient,) = torch.autograd.grad(network.rest(leaf)[0, label], leaf, retain_graph=True)
        assert torch.allclose(found[label], (gradient * leaf).clamp(min=0)[0].sum(0), atol=1e-5)


def test_the_packages_methods_stop_between_two_labels() -> None:
    network, picture = in_place_dense(), picture_of(12)
    cut, targets, _ = asked(network, DENSE)
    seen: list[int] = []
    with pytest.raises(Stopped):
        package_maps("fem", cut, picture, targets, Watch(lambda done, _: seen.append(done), lambda: len(seen) == 2))
    assert seen == [0, 1]
