"""Tracing, fusing and cutting change how a network runs, never what it answers."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.errors import ModelRejected, UnknownLayer
from tests.networks import seeded

TARGETS = {
    "resnet18": "layer4.1.relu_1",
    "mobilenet_v3_large": "features.16.2",
    "efficientnet_b0": "features.8.2",
    "densenet121": "relu",
    "compact-resnet": "blocks.5.relu_1",
    "article-cnn-28": "4",
}


class OverwritingNet(nn.Module):
    """Every way to work in place: module, function, method, operator."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 3)."""
        a = self.first(x)
        b = self.act(a)
        c = self.second(b)
        c += b
        c.mul_(0.5)
        d = functional.relu(self.third(c), inplace=True)
        torch.relu_(d)
        return self.fc(d.mean((2, 3)))


class BranchingNet(nn.Module):
    """Its course depends on the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x or its opposite."""
        return x if x.sum() > 0 else -x


def shape_of(architecture: str) -> tuple[int, int]:
    return (1, 28) if architecture == "article-cnn-28" else (1, 64) if architecture == "compact-resnet" else (3, 64)


@pytest.mark.parametrize("architecture", TARGETS)
def test_cut_and_fused_networks_answer_as_the_network_itself(architecture: str) -> None:
    channels, size = shape_of(architecture)
    network = seeded(architecture, channels=channels, labels=3, size=size)
    picture = torch.randn(1, channels, size, size)
    plain = trace(network)
    expected = network(picture)[0]
    for traced in (plain, fuse(plain)):
        answer = CutNetwork(traced, TARGETS[architecture]).run(picture)
        assert torch.allclose(answer.logits, expected, atol=1e-4 * float(expected.abs().max() + 1))


def test_a_layer_keeps_its_own_output_where_the_network_works_in_place() -> None:
    torch.manual_seed(0)
    network = OverwritingNet().eval()
    picture = torch.randn(1, 1, 8, 8)
    first = functional.conv2d(picture, network.first.weight, network.first.bias, padding=1)
    rectified = first.clamp(min=0)
    second = functional.conv2d(rectified, network.second.weight, network.second.bias, padding=1)
    mixed = (second + rectified) * 0.5
    third = functional.conv2d(mixed, network.third.weight, network.third.bias, padding=1)
    expected = {
        "first": first,
        "act": rectified,
        "second": second,
        "mul_": mixed,
        "third": third,
        "relu": third.clamp(min=0),
    }
    got = CutNetwork(trace(network), "relu").run(picture, tuple(expected))
    for name, value in expected.items():
        assert torch.allclose(got.layers[name], value[0], atol=1e-6), name
    assert torch.allclose(got.logits, network(picture)[0], atol=1e-6)


def test_the_network_given_is_not_changed_by_tracing_and_fusing() -> None:
    network = OverwritingNet().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fuse(trace(network))
    assert network.act.inplace
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_cut_inside_a_residual_block_carries_the_shortcut_along() -> None:
    network = seeded("resnet18", channels=3, labels=3)
    picture = torch.randn(1, 3, 64, 64)
    answer = CutNetwork(trace(network), "layer3.0.relu").run(picture, ("layer4.1.conv2",))
    assert answer.target.shape == (256, 4, 4)
    assert len(answer.crossings) == 1
    assert answer.layers["layer4.1.conv2"].shape == (512, 2, 2)
    assert torch.allclose(answer.logits, network(picture)[0], atol=1e-5)


def test_pooling_and_linear_is_recognised_and_nothing_else() -> None:
    linear = {
        name: CutNetwork(trace(seeded(name, channels=c, labels=3, size=s)), TARGETS[name]).linear_tail
        for name, (c, s) in ((n, shape_of(n)) for n in TARGETS)
    }
    exact = {name for name, layer in linear.items() if layer is not None}
    assert exact == {"resnet18", "efficientnet_b0", "densenet121", "compact-resnet"}
    # After "relu" comes a second, in-place ReLU: one step too many. From that one on it is mean and linear.
    overwriting = trace(OverwritingNet())
    assert CutNetwork(overwriting, "relu").linear_tail is None
    assert CutNetwork(overwriting, "relu_").linear_tail is not None


def test_a_layer_that_does_not_exist_is_named_in_a_sentence() -> None:
    with pytest.raises(UnknownLayer, match="no layer 'layer9'"):
        CutNetwork(trace(OverwritingNet()), "layer9")
    with pytest.raises(UnknownLayer, match="nowhere"):
        CutNetwork(trace(OverwritingNet()), "relu").run(torch.zeros(1, 1, 8, 8), ("nowhere",))


def test_a_network_whose_course_depends_on_the_picture_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="depends on its input"):
        trace(BranchingNet())


class FlatteningNet(nn.Module):
    """Pooling, flattening as the test asks for, one linear layer."""

    def __init__(self, **dims: int) -> None:
        super().__init__()
        self.conv, self.fc, self._dims = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3), dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 3)."""
        pooled = functional.adaptive_avg_pool2d(self.conv(x), 1)
        return self.fc(pooled.flatten(**self._dims))


@pytest.mark.parametrize("dims", [{"start_dim": 1}, {"start_dim": 1, "end_dim": -1}])
def test_flattening_by_name_is_flattening(dims: dict[str, int]) -> None:
    assert CutNetwork(trace(FlatteningNet(**dims).eval()), "conv").linear_tail is not None


def test_a_network_answers_while_another_thread_traces_one() -> None:
    traced, other = (
        seeded("compact-resnet", channels=1, labels=3),
        seeded("article-cnn-28", channels=1, labels=2, size=28),
    )
    picture, small = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 28, 28)
    with torch.inference_mode():
        expected = traced(picture), other(small)
    tracing, failures = threading.Event(), []

    def follow() -> None:
        names.extend(sorted(trace(traced).layers) for _ in range(12))
        tracing.set()

    def ask() -> None:
        try:
            with torch.inference_mode():
                while not tracing.is_set():
                    if not (torch.equal(traced(picture), expected[0]) and torch.equal(other(small), expected[1])):
                        failures.append("another answer")
        except Exception as exc:  # noqa: BLE001 - whatever breaks in the thread must reach the test
            failures.append(repr(exc))

    names: list[list[str]] = []
    threads = [threading.Thread(target=act) for act in (follow, follow, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(found == names[0] for found in names)
    assert len(names) == 24
