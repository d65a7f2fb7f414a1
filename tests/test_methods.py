"""The CAM family against each method's definition, by autograd and loops written out here, and against the grad-cam package."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytorch_grad_cam as package
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from core.engines.cutting import CutNetwork
from core.engines.tracing import trace
from core.errors import UnknownMethod
from core.explaining.methods import BY_GRADIENT, maps_of
from core.explaining.registry import METHODS, find_method
from core.explaining.targets import Targets, targets_of
from tests.cam_networks import DENSE, LAST, in_place_dense, linear_steps, plain_steps

Array = npt.NDArray[np.float64]
FAST = [method.name for method in METHODS if method.kind == "pass"]


def evidence(a: Array, g: Array) -> Array:
    return sum((g[k].mean() * a[k] for k in range(len(a))), np.zeros(a.shape[1:]))


def hirescam(a: Array, g: Array) -> Array:
    return sum((g[k] * a[k] for k in range(len(a))), np.zeros(a.shape[1:]))


def gradcam_plus_plus(a: Array, g: Array) -> Array:
    """Chattopadhay et al. 2018, eq. 19, cell by cell."""
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        weight = 0.0
        for i, j in np.ndindex(*a.shape[1:]):
            if g[k, i, j] > 0:
                alpha = g[k, i, j] ** 2 / (2 * g[k, i, j] ** 2 + a[k].sum() * g[k, i, j] ** 3)
                weight += alpha * g[k, i, j]
        total += weight * a[k]
    return np.maximum(total, 0)


def xgradcam(a: Array, g: Array) -> Array:
    """Fu et al. 2020, eq. 8."""
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        if a[k].sum() != 0:
            total += (a[k] / a[k].sum() * g[k]).sum() * a[k]
    return total


def layercam(a: Array, g: Array) -> Array:
    return np.maximum(sum((np.maximum(g[k], 0) * a[k] for k in range(len(a))), np.zeros(a.shape[1:])), 0)


def eigencam(a: Array, g: Array) -> Array:
    """The full singular value decomposition, turned so that the map rises with the channels' sum."""
    cells = a.reshape(len(a), -1).T
    centred = cells - cells.mean(0)
    projection = centred @ np.linalg.svd(centred, full_matrices=True)[2][0]
    turn = np.sign(np.corrcoef(projection, cells.sum(1))[0, 1])
    return (turn * projection).reshape(a.shape[1:])


DEFINITIONS: dict[str, Callable[[Array, Array], Array]] = {
    "evidence": evidence,
    "gradcam": lambda a, g: np.maximum(evidence(a, g), 0),
    "hirescam": hirescam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "eigencam": eigencam,
}


def assert_as_defined(
    network: Any, targets: Targets, layer: str, run: tuple[torch.Tensor, torch.Tensor], rest: Any
) -> None:
    """Every method at ``layer`` against its definition, with gradients of plain autograd from ``activations`` on."""
    picture, before = run
    cut = CutNetwork(trace(network), layer)
    found = maps_of(FAST, cut, cut.run(picture), targets)
    leaf = before.clone().requires_grad_(True)
    outputs = rest(leaf)[0]
    strong = 0
    for index, mix in enumerate(targets.mix):
        (gradient,) = torch.autograd.grad(outputs @ mix, leaf, retain_graph=True)
        a, g = before[0].double().numpy(), gradient[0].double().numpy()
        for name, definition in DEFINITIONS.items():
            expected = definition(a, g)
            size = max(1e-6, float(np.abs(expected).max()))
            strong += size > 1e-3
            assert np.abs(found[name][index].numpy() - expected).max() <= 1e-4 * size, name
    assert strong > len(DEFINITIONS)


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "against"])
def test_each_method_is_as_defined_where_layers_overwrite_and_concatenate(head: str) -> None:
    network = in_place_dense()
    picture = torch.randn(1, 1, 12, 12)
    targets = targets_of("softmax" if head == "softmax" else "sigmoid", 3)
    targets = targets.against(1) if head == "against" else targets
    assert_as_defined(network, targets, DENSE, (picture, network.dense(picture)), network.rest)


def test_each_method_is_as_defined_in_closed_form() -> None:
    network = linear_steps()
    picture = torch.randn(1, 1, 20, 20)
    assert CutNetwork(trace(network), "3").linear_tail is not None
    assert_as_defined(network, targets_of("softmax", 3), "3", (picture, network[:4](picture)), network[4:])


def test_each_method_is_as_defined_for_one_logit_of_two_labels() -> None:
    network = plain_steps(labels=1)
    picture = torch.randn(1, 1, 20, 20)
    assert_as_defined(network, targets_of("logit", 1), "3", (picture, network[:4](picture)), network[4:])


def test_an_early_layer_beside_a_shortcut_has_its_gradient_from_all_paths_below() -> None:
    network = in_place_dense()
    picture = torch.randn(1, 1, 12, 12)
    cut = CutNetwork(trace(network), "act")
    found = maps_of(["hirescam"], cut, cut.run(picture), targets_of("sigmoid", 3))["hirescam"]
    a = torch.relu(network.first(picture)).requires_grad_(True)
    dense = torch.cat([a, network.second(a)], 1).clamp(min=0)
    (gradient,) = torch.autograd.grad(network.rest(dense)[0, 2], a)
    assert torch.allclose(found[2], (gradient * a)[0].sum(0), atol=1e-5)


PACKAGED = {
    "gradcam": package.GradCAM,
    "hirescam": package.HiResCAM,
    "xgradcam": package.XGradCAM,
    "layercam": package.LayerCAM,
    "gradcam++": package.GradCAMPlusPlus,
}


@pytest.mark.parametrize("name", PACKAGED)
def test_maps_equal_the_packages_where_it_follows_the_definition(name: str) -> None:
    network = plain_steps(seed=3)
    # The package adds 1e-6 to Grad-CAM++'s denominator, more than the gradients' squares are; large ones drown it.
    network[-1].weight.mul_(1e4)
    picture = torch.randn(1, 1, 20, 20)
    cut = CutNetwork(trace(network), "3")
    found = maps_of([name], cut, cut.run(picture), targets_of("sigmoid", 3))[name].clamp(min=0).numpy()
    shown = 0
    for label in range(3):
        expected = _package_map(PACKAGED[name], network, label, picture)
        shown += expected.max() > 0
        assert np.abs(found[label] - expected).max() <= 1e-4 * max(1e-6, found[label].max())
    assert shown >= 2


def _package_map(method: Any, network: nn.Sequential, label: int, picture: torch.Tensor) -> npt.NDArray[np.float32]:
    with method(network.requires_grad_(True), [network[3]]) as cam:
        outputs = cam.activations_and_grads(picture)
        targets = [ClassifierOutputTarget(label)]
        targets[0](outputs[0]).backward()
        kept = cam.activations_and_grads
        raw = cam.get_cam_image(
            picture, network[3], targets, kept.activations[0].numpy(), kept.gradients[0].numpy(), False
        )
    network.requires_grad_(False)
    return np.maximum(raw[0], 0)


def test_eigencam_equals_the_packages_but_for_its_sign_on_both_sides_of_the_small_gram_matrix() -> None:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    from core.explaining.methods import eigencam as ours

    torch.manual_seed(0)
    for shape in ((40, 5, 5), (6, 9, 9)):
        activations = torch.randn(shape).clamp(min=0)
        got, theirs = ours(activations).numpy(), get_2d_projection(activations.numpy()[None])[0]
        assert min(np.abs(got - theirs).max(), np.abs(got + theirs).max()) <= 1e-4 * np.abs(theirs).max()
        assert np.corrcoef(got.ravel(), activations.sum(0).numpy().ravel())[0, 1] > 0


def test_eigencam_of_a_flat_layer_is_zero() -> None:
    from core.explaining.methods import eigencam as ours

    assert float(ours(torch.ones(4, 3, 3)).abs().max()) == 0


def test_in_closed_form_three_methods_are_one_and_cells_sum_to_the_logit() -> None:
    network = linear_steps()
    picture = torch.randn(1, 1, 20, 20)
    cut = CutNetwork(trace(network), "3")
    found = maps_of(["evidence", "hirescam", "xgradcam"], cut, cut.run(picture), targets_of("sigmoid", 3))
    assert torch.allclose(found["hirescam"], found["evidence"], atol=1e-6)
    assert torch.allclose(found["xgradcam"], found["evidence"], atol=1e-6)
    assert torch.allclose(found["evidence"].sum((1, 2)) + network[-1].bias, network(picture)[0], atol=1e-5)


def test_a_softmax_target_does_not_see_a_constant_added_to_every_class() -> None:
    network = linear_steps()
    picture = torch.randn(1, 1, 20, 20)
    cut = CutNetwork(trace(network), "3")
    before = maps_of(BY_GRADIENT, cut, cut.run(picture), targets_of("softmax", 3))
    network[-1].weight += torch.randn(10)
    after = CutNetwork(trace(network), "3")
    again = maps_of(BY_GRADIENT, after, after.run(picture), targets_of("softmax", 3))
    assert all(torch.allclose(before[name], again[name], atol=1e-5) for name in before)


def test_the_mean_logit_of_an_outline_can_be_the_target() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 4, 4)
    outlined = torch.zeros(2, 4, 4, dtype=torch.bool)
    outlined[0, :2], outlined[1, 0, 0] = True, True
    got = targets_of("sigmoid", 2, outlined).of(logits)
    for number in range(2):
        expected = [logits[number, 0, :2].mean(), logits[number, 1, 0, 0]]
        assert got[number].tolist() == pytest.approx([float(value) for value in expected], abs=1e-6)


def test_every_method_is_named_once_with_title_and_source_and_an_unknown_name_is_refused() -> None:
    assert len({method.name for method in METHODS}) == len({method.title for method in METHODS}) == len(METHODS)
    assert METHODS[0].name == "evidence"
    assert all(method.source and method.about.endswith(".") for method in METHODS)
    assert find_method("ScoreCAM").title == "Score-CAM"
    with pytest.raises(UnknownMethod, match=r"no method 'magic'.*scorecam"):
        find_method("magic")


def test_the_place_before_a_mean_has_the_closed_form_too() -> None:
    network = in_place_dense()
    assert CutNetwork(trace(network), LAST).linear_tail is not None
    assert CutNetwork(trace(network), DENSE).linear_tail is None
