"""A network that cannot be traced gives what it would give traced: hooks see the same values, readers never each other's."""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from core.analysis import analyse
from core.engines.candidates import candidate_layers
from core.engines.choosing import EngineChoice, Later
from core.engines.cutting import CutNetwork
from core.engines.engine import MOST_AT_ONCE
from core.engines.hooked import NOT_EXPORTED, HookedNetwork, WatchedNetwork, cut_network
from core.engines.torch_engine import TorchEngine
from core.engines.tracing import trace
from core.errors import NotFollowed, Stopped, UnknownLayer
from core.explaining.explanation import explain, explainable_layers
from core.explaining.methods import BY_GRADIENT, maps_of
from core.explaining.perturbation import Watch, ablationcam
from core.explaining.targets import targets_of
from core.explaining.trust import trust
from core.inside.altering import Change, altered
from core.inside.arithmetic import Place, arithmetic
from core.inside.contributions import contributions_of
from core.inside.feature_maps import layers_with_maps, recorded_maps
from core.inside.glance import at_a_glance
from core.inside.looks_for import picture_for_channel
from core.inside.receptive_field import receptive_field
from core.inside.recording import record
from core.inside.walk import walk_from_answer
from core.models.checking import Wishes, check_weights
from core.models.exports import speed_up
from core.models.loading import Model, prepare
from core.models.weights import save_weights
from core.preprocessing import to_model_input
from core.samples import simulated_scan
from core.scan import Scan
from tests.networks import card, seeded

TARGET = "blocks.5.relu_1"
LAYERS = ("stem.0", "blocks.2.conv1", "blocks.5.relu", TARGET)
EARLY = "blocks.3.conv1"


class Turning(nn.Module):
    """A course that depends on the picture: bright ones pass one convolution, dark ones another; the rest works in place."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.bright, self.dark = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8, 2)
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2)."""
        is_bright = x.mean() > self.threshold
        x = self.act(self.stem(x))
        x = self.bright(x) if is_bright else self.dark(x)
        x = self.last(functional.relu(x, inplace=True))
        # What the last convolution put out is overwritten here.
        x.mul_(2.0).relu_()
        pooled: torch.Tensor = self.fc(x.mean((2, 3)))
        return pooled


def turning(threshold: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return Turning(threshold).eval()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def traced() -> CutNetwork:
    return CutNetwork(trace(seeded("compact-resnet")), TARGET)


@pytest.fixture(scope="module")
def hooked(picture: torch.Tensor) -> HookedNetwork:
    return HookedNetwork(WatchedNetwork(seeded("compact-resnet"), picture), TARGET)


@pytest.fixture(scope="module")
def scans() -> tuple[Scan, Scan]:
    """Two pictures of different brightness."""
    return simulated_scan(1, rows=96, columns=128)[0], simulated_scan(5, rows=128, columns=96)[0]


@pytest.fixture(scope="module")
def between(scans: tuple[Scan, Scan]) -> float:
    """A brightness that one of them lies above and the other below, as the network sees them."""
    means = [float(to_model_input(scan, 0, card().input).tensor.mean()) for scan in scans]
    assert abs(means[0] - means[1]) > 1e-3
    return sum(means) / 2


@pytest.fixture(scope="module")
def model(between: float) -> Model:
    return prepare(card(target_layer="last"), turning(between))


def test_hooks_give_what_the_graph_gives(traced: CutNetwork, hooked: HookedNetwork, picture: torch.Tensor) -> None:
    expected, found = traced.run(picture, LAYERS), hooked.run(picture, LAYERS)
    assert torch.allclose(found.logits, expected.logits, atol=1e-6)
    assert torch.allclose(found.target, expected.target, atol=1e-6)
    for layer in LAYERS:
        assert torch.allclose(found.layers[layer], expected.layers[layer], atol=1e-6), layer


@pytest.mark.parametrize("layer", [TARGET, EARLY])
def test_every_gradient_map_is_the_graphs(
    layer: str, traced: CutNetwork, hooked: HookedNetwork, picture: torch.Tensor
) -> None:
    targets = targets_of("sigmoid", 2)
    by_graph, by_hooks = traced.at(layer), hooked.at(layer)
    expected = maps_of([*BY_GRADIENT, "eigencam"], by_graph, by_graph.run(picture), targets)
    found = maps_of([*BY_GRADIENT, "eigencam"], by_hooks, by_hooks.run(picture), targets)
    for name, values in expected.items():
        scale = max(1.0, float(values.abs().max()))
        assert torch.allclose(found[name], values, atol=1e-6 * scale), name


def test_ablation_without_a_closed_form_agrees_with_the_closed_form(
    traced: CutNetwork, hooked: HookedNetwork, picture: torch.Tensor
) -> None:
    assert traced.linear_tail is not None
    assert hooked.linear_tail is None
    targets = targets_of("sigmoid", 2)
    expected = ablationcam(traced, traced.run(picture), targets)
    assert torch.allclose(ablationcam(hooked, hooked.run(picture), targets), expected, atol=1e-5)


def test_one_model_run_both_ways_shows_the_same(scans: tuple[Scan, Scan], picture: torch.Tensor) -> None:
    by_graph = prepare(card(), seeded("compact-resnet"))
    own = HookedNetwork(WatchedNetwork(by_graph.network, picture), TARGET)
    built = replace(by_graph.networks.get(), cuts=(own, own))
    by_hooks = Model(by_graph.card, Later(lambda: built), EngineChoice(Later(lambda: TorchEngine(own, own))))
    expected, found = (analyse(one, scans[0], layers=LAYERS) for one in (by_graph, by_hooks))
    for code, heatmap in expected.heatmaps.items():
        assert found.prediction.logits[code] == pytest.approx(expected.prediction.logits[code], abs=1e-6)
        assert np.allclose(found.heatmaps[code].evidence, heatmap.evidence, atol=1e-6)
    # Without a graph nobody can tell that the cells and a bias make the logit.
    assert found.heatmaps["abnormal"].bias is None
    for layer in LAYERS:
        assert np.allclose(found.activations[layer], expected.activations[layer], atol=1e-6)
    adds, adds_too = (contributions_of(one, scans[0], 0, EARLY) for one in (by_graph, by_hooks))
    assert np.allclose(adds, adds_too, atol=1e-5)
    first, second = (record(one, scans[0]) for one in (by_graph, by_hooks))
    for layer in ("stem.1", "blocks.4.conv2"):
        assert np.allclose(recorded_maps(first, layer).maps, recorded_maps(second, layer).maps, atol=1e-6)


def test_a_course_that_depends_on_the_picture_is_followed_picture_by_picture(picture: torch.Tensor) -> None:
    network = turning()
    with pytest.raises(NotFollowed, match="depends on its input"):
        trace(network)
    cut = cut_network(network, "last", picture)
    assert isinstance(cut, HookedNetwork)
    both = torch.cat([picture + 1, picture - 1])
    ran = [one.layers.keys() for one in cut.run_all(both, ("bright", "dark"))]
    assert ran == [{"bright"}, {"dark"}]
    with torch.inference_mode():
        alone = torch.cat([network(one[None]) for one in both])
        # The mean of the whole batch would have sent both the same way.
        assert not torch.allclose(network(both), alone, atol=1e-4)
    assert torch.equal(cut.answer(both), alone)
    assert torch.equal(torch.stack([one.logits for one in cut.run_all(both)]), alone)


def test_the_gradient_is_that_of_a_network_written_without_the_turn(picture: torch.Tensor) -> None:
    """By hand: behind the last convolution, twice the positive part, averaged and weighed."""
    network = turning()
    cut = HookedNetwork(WatchedNetwork(network, picture), "last")
    one = cut.run(picture + 1)
    with torch.no_grad():
        before = functional.relu(
            network.get_submodule("bright")(functional.relu(network.get_submodule("stem")(picture + 1)))
        )
        expected = network.get_submodule("last")(before)[0]
    # In-place steps behind the layer have not changed what was kept.
    assert torch.allclose(one.target, expected, atol=1e-6)
    assert float(one.target.min()) < 0
    weights = network.state_dict()["fc.weight"][:, :, None, None]
    gradients = weights * 2.0 * (expected > 0) / expected[0].numel()
    by_hand = (gradients * expected).sum(1)
    assert torch.allclose(maps_of(["hirescam"], cut, one, targets_of("sigmoid", 2))["hirescam"], by_hand, atol=1e-6)
    early = cut.at("dark")
    with pytest.raises(UnknownLayer, match="does not run for this picture"):
        early.run(picture + 1)
    with pytest.raises(UnknownLayer, match="no layer 'nowhere'"):
        cut.run(picture, ("nowhere",))


def test_an_own_model_of_that_kind_can_be_used(model: Model, scans: tuple[Scan, Scan]) -> None:
    layers = model.convolutions
    assert layers == ("stem", "bright", "dark", "last")
    seen = [analyse(model, scan, layers=layers) for scan in scans]
    assert {tuple(one.activations) for one in seen} == {("stem", "bright", "last"), ("stem", "dark", "last")}
    for scan, one in zip(scans, seen, strict=True):
        with torch.inference_mode():
            logits = model.network(to_model_input(scan, 0, model.card.input).tensor)[0]
        assert list(one.prediction.logits.values()) == pytest.approx(logits.tolist(), abs=1e-6)
        assert float(np.abs(one.heatmaps["mass"].evidence).max()) > 0
    assert model.engine.at_once == 1 < MOST_AT_ONCE
    assert "torch" in seen[0].engine


def test_what_can_be_seen_inside_and_what_says_that_it_cannot(model: Model, scans: tuple[Scan, Scan]) -> None:
    recording = record(model, scans[0])
    assert recording.layers in (("stem", "act", "bright", "last", "fc"), ("stem", "act", "dark", "last", "fc"))
    facts = {layer.name: layer for block in at_a_glance(recording, model.network) for layer in block.layers}
    assert facts["stem"].shape == (6, 32, 32)
    assert facts["stem"].parameters == 6 * 9 + 6
    assert facts["fc"].parameters == 18
    assert facts["stem"].mean is not None
    assert facts["last"].seen is None
    assert facts["last"].reads == ()
    # The activation works in place on what the convolution put out: both keep their own.
    assert recorded_maps(recording, "stem").maps.min() < 0 <= recorded_maps(recording, "act").maps.min()
    assert "last" in layers_with_maps(recording)
    for ask in (
        lambda: receptive_field(recording, "last", 0, 0),
        lambda: arithmetic(recording, Place("last", 0)),
        lambda: walk_from_answer(recording, 0, 0, 0),
        lambda: altered(model, {"last": Change(frozenset({0}))}),
    ):
        with pytest.raises(NotFollowed, match="cannot be followed"):
            ask()


def test_every_other_question_has_its_answer(model: Model, scans: tuple[Scan, Scan]) -> None:
    parts = {part.name for part in trust(model, scans[0], 0, "mass").parts}
    assert {"learnt", "faithfulness", "repeatability"} <= parts
    assert picture_for_channel(model, "last", 2, steps=12).rose
    assert explainable_layers(model)[0] == "last"


def test_the_fast_engine_gives_way_with_a_sentence(model: Model, scans: tuple[Scan, Scan], tmp_path: Path) -> None:
    sha256 = save_weights(model.network, tmp_path / "weights.safetensors")
    named = Model(model.card.model_copy(update={"weights_sha256": sha256}), model.networks, model.engines)
    speed_up(named, tmp_path)
    assert named.engine_note == NOT_EXPORTED
    assert analyse(named, scans[0]).engine.startswith("torch")


def state_of(model: Model) -> list[object]:
    """All that a careless method would leave behind."""
    found: list[object] = []
    for network in (model.network, model.plain.tail):
        found += [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in network.modules()]
        found += [(p.requires_grad, p.grad is None, float(p.double().sum())) for p in network.parameters()]
    return found


@pytest.mark.parametrize("method", ["evidence", "gradcam++", "ablationcam", "eigengradcam"])
def test_nothing_stays_on_the_network(method: str, model: Model, scans: tuple[Scan, Scan]) -> None:
    before = state_of(model)
    explain(model, scans[0], method=method, layer="stem")
    record(model, scans[0])
    assert state_of(model) == before
    if method == "ablationcam":
        with pytest.raises(Stopped):
            explain(model, scans[0], method=method, layer="stem", watch=Watch(cancelled=lambda: True))
    for wrong in (torch.zeros(1, 3, 64, 64), torch.full((1, 1, 64, 64), torch.nan)):
        with suppress(RuntimeError, UnknownLayer):
            model.plain.at("dark").run(wrong, ("stem",))
    assert state_of(model) == before


def test_readers_with_two_pictures_get_their_own_maps(model: Model, scans: tuple[Scan, Scan]) -> None:
    def maps_on(scan: Scan) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        seen = analyse(model, scan, layers=("stem",))
        explained = explain(model, scan, method="layercam", layer="stem").heatmaps
        inside = record(model, scan)
        return [
            *(heatmap.evidence for heatmap in (*seen.heatmaps.values(), *explained.values())),
            seen.activations["stem"], inside.value(inside.step("last")).numpy(),
        ]  # fmt: skip

    expected = [maps_on(scan) for scan in scans]
    assert not np.array_equal(expected[0][0], expected[1][0])
    wrong: list[int] = []
    errors: list[Exception] = []

    def read(which: int) -> None:
        try:
            for _ in range(12):
                found = maps_on(scans[which])
                if not all(np.array_equal(*pair) for pair in zip(found, expected[which], strict=True)):
                    wrong.append(which)
        except Exception as exc:  # noqa: BLE001 - a thread's error would pass unseen
            errors.append(exc)

    threads = [threading.Thread(target=read, args=(number % 2,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, errors) == ([], [])


def test_a_layer_that_runs_again_has_a_name_for_each_run(picture: torch.Tensor) -> None:
    watched = WatchedNetwork(seeded("resnet18", channels=1), picture)
    traced = trace(seeded("resnet18", channels=1))
    runs = [name for name in traced.layers if name.endswith(".relu_1")]
    assert len(runs) == 8
    assert set(runs) <= set(watched.layers)
    cut = HookedNetwork(watched, "layer4.1.relu_1")
    expected = CutNetwork(traced, "layer4.1.relu_1").run(picture)
    assert torch.allclose(cut.run(picture).target, expected.target, atol=1e-5)


def test_candidates_of_a_network_without_a_graph(picture: torch.Tensor) -> None:
    found = candidate_layers(turning(), channels=1, size=64)
    # The two ways are not always gone; all that the answer depends on passes what is left.
    assert [(layer.name, layer.channels, layer.rows) for layer in found] == [("last", 8, 16), ("act", 6, 32)]
    assert [layer.alone for layer in found] == [True, False]
    assert not any(layer.exact for layer in found)


def test_a_published_network_that_cannot_be_traced_is_recognised_and_passes_its_self_test() -> None:
    """timm's networks that pad as TensorFlow does."""
    name = "timm/tf_efficientnetv2_b0"
    network = seeded(name, channels=1, labels=2, size=64)
    with pytest.raises(NotFollowed):
        trace(network)
    report = check_weights(save(network.state_dict()), Wishes(size=64))
    assert report.architecture == name
    assert report.problem is None
    assert report.layers[0].alone
