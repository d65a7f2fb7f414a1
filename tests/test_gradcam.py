"""Signed evidence against independent formulas, the grad-cam package, and readers side by side."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional

from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.explaining.evidence import Evidence
from core.explaining.gradcam import evidence_of_all_labels
from tests.networks import seeded

Map = npt.NDArray[np.float32]
LABELS = 4
PACKAGE_LAYERS: dict[str, tuple[str, Callable[[Any], nn.Module]]] = {
    "resnet18": ("layer4.1.relu_1", lambda n: n.layer4[-1]),
    "resnet50": ("layer4.2.relu_2", lambda n: n.layer4[-1]),
    "mobilenet_v3_large": ("features.16.2", lambda n: n.features[-1]),
    "efficientnet_b0": ("features.8.2", lambda n: n.features[-1]),
}


def scaled(raw: Map) -> Map:
    """ReLU, then 0..1: what the package calls a CAM."""
    positive = np.maximum(raw, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-12), np.float32)


def package_map(network: nn.Module, layer: nn.Module, picture: torch.Tensor, label: int) -> Map:
    """The package's Grad-CAM on the feature grid, before it is stretched to the picture's size."""
    trainable = network.requires_grad_(True)
    with GradCAM(model=trainable, target_layers=[layer]) as cam:
        target = ClassifierOutputTarget(label)
        outputs = cam.activations_and_grads(picture)
        network.zero_grad()
        target(outputs[0]).backward()
        activations = cam.activations_and_grads.activations[0].numpy()
        gradients = cam.activations_and_grads.gradients[0].numpy()
        raw = cam.get_cam_image(picture, layer, [target], activations, gradients, False)
    network.requires_grad_(False)
    return np.asarray(raw[0], np.float32)


def evidence(traced_network: CutNetwork, picture: torch.Tensor) -> Evidence:
    return evidence_of_all_labels(traced_network, traced_network.run(picture))


@pytest.mark.parametrize("architecture", PACKAGE_LAYERS)
def test_maps_equal_the_packages_on_the_feature_grid(architecture: str) -> None:
    network = seeded(architecture, channels=3, labels=LABELS)
    picture = torch.randn(1, 3, 96, 96)
    target, layer_of = PACKAGE_LAYERS[architecture]
    plain = trace(network)
    unfused = evidence(CutNetwork(plain, target), picture)
    fused = evidence(CutNetwork(fuse(plain), target), picture)
    shown = 0
    for label in range(LABELS):
        expected = scaled(package_map(network, layer_of(network), picture, label))
        shown += expected.max() > 0.99
        assert np.abs(scaled(unfused.maps[label]) - expected).max() <= 1e-4
        assert np.abs(scaled(fused.maps[label]) - expected).max() <= 1e-3
    # A map may be empty after the ReLU, but not all of them.
    assert shown >= 2


def test_densenet_maps_equal_the_formula_on_the_output_after_the_activation() -> None:
    network = seeded("densenet121", channels=3, labels=LABELS)
    picture = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        activations = functional.relu(network.features(picture))[0]
        weights = network.classifier.weight
        # W_k A_k(i, j) / cells, summed over k one channel at a time.
        cells = activations.shape[1] * activations.shape[2]
        expected = torch.zeros(LABELS, *activations.shape[1:])
        for channel in range(len(activations)):
            expected += weights[:, channel, None, None] * activations[channel] / cells
    got = evidence(CutNetwork(trace(network), "relu"), picture)
    assert np.allclose(got.maps, expected.numpy(), atol=1e-5)
    assert np.allclose(scaled(got.maps[0]), scaled(expected[0].numpy()), atol=1e-4)


@pytest.mark.parametrize("architecture", ["compact-resnet", "resnet18", "efficientnet_b0", "densenet121"])
def test_all_cells_plus_the_bias_sum_to_the_logit(architecture: str) -> None:
    channels = 1 if architecture == "compact-resnet" else 3
    target = {"compact-resnet": "blocks.5.relu_1", "densenet121": "relu"}.get(architecture, "")
    network = seeded(architecture, channels=channels, labels=LABELS)
    picture = torch.randn(1, channels, 64, 64)
    cut = CutNetwork(fuse(trace(network)), target or PACKAGE_LAYERS[architecture][0])
    one_pass = cut.run(picture)
    got = evidence_of_all_labels(cut, one_pass)
    assert got.bias is not None
    assert np.allclose(got.maps.sum((1, 2)) + got.bias, network(picture)[0].numpy(), atol=1e-4)


def test_a_tail_that_is_not_linear_gives_the_gradient_average_of_autograd() -> None:
    network = seeded("article-cnn-28", labels=LABELS, size=28)
    picture = torch.randn(1, 1, 28, 28)
    got = evidence(CutNetwork(trace(network), "4"), picture)
    assert got.bias is None
    steps = list(network.children())
    body, tail = nn.Sequential(*steps[:5]), nn.Sequential(*steps[5:])
    leaf = body(picture).detach().requires_grad_(True)
    for label in range(LABELS):
        (gradient,) = torch.autograd.grad(tail(leaf)[0, label], leaf)
        expected = (gradient.mean((2, 3), keepdim=True) * leaf).sum(1)[0]
        assert np.allclose(got.maps[label], expected.detach().numpy(), atol=1e-5)


def test_a_constant_added_to_every_class_changes_neither_softmax_evidence_nor_a_pair() -> None:
    network = seeded("compact-resnet", labels=LABELS)
    picture = torch.randn(1, 1, 64, 64)
    target = "blocks.5.relu_1"
    before = evidence(CutNetwork(trace(network), target), picture)
    with torch.no_grad():
        network.fc.weight += torch.randn(1, network.fc.weight.shape[1])
        network.fc.bias += 3.0
    after = evidence(CutNetwork(trace(network), target), picture)
    assert not np.allclose(before.maps, after.maps, atol=1e-3)
    assert np.allclose(before.above_mean().maps, after.above_mean().maps, atol=1e-5)
    assert np.allclose(before.between(0, 2), after.between(0, 2), atol=1e-5)
    centred = before.above_mean()
    logits = network(picture)[0].numpy()
    assert centred.bias is not None
    assert np.allclose(centred.maps.sum((1, 2)) + centred.bias, logits - logits.mean(), atol=1e-4)


def test_two_readers_on_one_network_never_get_each_others_map() -> None:
    network = seeded("article-cnn-28", labels=LABELS, size=28)
    cut = CutNetwork(trace(network), "4")
    pictures = [torch.rand(1, 1, 28, 28) for _ in range(2)]
    pictures[0][..., :14, :], pictures[1][..., 14:, :] = 0, 0
    expected = [evidence(cut, picture).maps for picture in pictures]
    assert not np.allclose(expected[0], expected[1])
    wrong: list[int] = []

    def read(reader: int) -> None:
        maps = [evidence(cut, pictures[reader]).maps for _ in range(40)]
        wrong.extend(reader for got in maps if not np.array_equal(got, expected[reader]))

    threads = [threading.Thread(target=read, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_is_left_on_the_network() -> None:
    network = seeded("article-cnn-28", labels=LABELS, size=28)
    cut = CutNetwork(trace(network), "4")
    evidence(cut, torch.rand(1, 1, 28, 28))
    modules = [*network.modules(), *cut.tail.modules()]
    assert not any(module._forward_hooks or module._backward_hooks or module.training for module in modules)
    assert all(parameter.grad is None for parameter in [*network.parameters(), *cut.tail.parameters()])
