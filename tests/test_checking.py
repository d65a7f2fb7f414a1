"""Somebody's own weights: recognised, tested, described, put into the catalogue, or refused in one sentence."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torchvision import models as torchvision_models
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.engines.candidates import candidate_layers
from core.engines.cutting import CutNetwork
from core.engines.tracing import trace
from core.errors import ModelRejected
from core.models.architectures import build_outline
from core.models.catalogue import own_folder, read_catalogue
from core.models.checking import Wishes, check_weights
from core.models.loading import load_model
from core.models.published_networks import TORCHVISION
from core.models.recognising import fitting
from core.models.registering import Description, add_model, draft_card
from tests.networks import seeded
from tests.test_legacy_weights import saved

# The last map before global pooling at an input of 96, by the names that each network's own code gives its layers.
DEEPEST = {
    "resnet18": ("layer4.1.relu_1", 512, 3),
    "densenet121": ("relu", 1024, 3),
    "mobilenet_v3_small": ("features.12.2", 576, 3),
    "efficientnet_b0": ("features.8.2", 1280, 3),
    "shufflenet_v2_x1_0": ("conv5.2", 1024, 3),
    "vgg11_bn": ("features.27", 512, 6),
    "convnext_tiny": ("features.7.2.add", 768, 3),
}
SIZE = 64


def bytes_of(network: nn.Module) -> bytes:
    return save({name: value.contiguous() for name, value in network.state_dict().items()})


def trained(architecture: str = "compact-resnet", **sizes: int) -> Any:
    """A network whose last layer no longer looks as it was drawn."""
    network = seeded(architecture, **sizes)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.mul_(3).pow_(3)
    last.bias.add_(0.1)
    return network


@pytest.mark.parametrize("name", DEEPEST)
def test_the_deepest_candidate_is_the_map_before_global_pooling(name: str) -> None:
    network = build_outline(name, channels=3, labels=2).to_empty(device="cpu")
    layers = candidate_layers(network, channels=3, size=96)
    first = layers[0]
    assert (first.name, first.channels, first.rows) == DEEPEST[name]
    assert first.alone
    assert [layer.rows for layer in layers] == sorted({layer.rows for layer in layers})


def test_the_network_can_be_cut_at_every_candidate() -> None:
    network = seeded("mobilenet_v3_small", channels=3)
    picture = torch.randn(1, 3, SIZE, SIZE)
    layers = candidate_layers(network, channels=3, size=SIZE)
    assert len(layers) == 4
    for layer in layers:
        one_pass = CutNetwork(trace(network), layer.name).run(picture)
        assert torch.allclose(one_pass.logits, network(picture)[0], atol=1e-5)
        assert tuple(one_pass.target.shape) == (layer.channels, layer.rows, layer.columns)


def test_a_candidate_beside_a_shortcut_says_so() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = self.first(x)
            return self.fc(
                torch.flatten(nn.functional.adaptive_avg_pool2d(a, 1) + self.second(a).mean((2, 3), True), 1)
            )

    (found,) = candidate_layers(Beside(), channels=1, size=32)
    assert found.name == "first"
    assert found.alone
    assert not found.exact


@pytest.mark.parametrize("name", sorted({*TORCHVISION, "compact-resnet", "article-cnn-28", "article-cnn-224"}))
def test_weights_are_recognised_by_names_and_shapes(name: str) -> None:
    first = fitting(build_outline(name, channels=3, labels=5).state_dict())[0]
    assert (first.architecture, first.channels, first.outputs) == (name, 3, 5)


def test_an_own_network_is_recognised_tested_and_said_to_be_trained() -> None:
    report = check_weights(bytes_of(trained(labels=3)), Wishes(size=SIZE))
    assert (report.architecture, report.input.channels, report.outputs, report.head) == (
        "compact-resnet",
        1,
        3,
        "softmax",
    )
    assert (report.problem, report.untrained) == (None, False)
    assert report.layer == "blocks.5.relu_1"
    assert report.layers[0].exact
    assert report.parameters == sum(p.numel() for p in seeded("compact-resnet", labels=3).parameters())
    assert hashlib.sha256(report.weights).hexdigest() == report.sha256


def test_the_scale_ends_at_the_strongest_evidence_on_the_reference_pictures() -> None:
    network = trained(labels=2)
    report = check_weights(bytes_of(network), Wishes(size=SIZE, head="sigmoid"))
    with torch.no_grad():
        from core.models.self_test import reference_pictures

        features = network.features(torch.cat(reference_pictures(report.input)))
    maps = torch.einsum("lk,nkhw->nlhw", network.fc.weight, features) / features.shape[-1] ** 2
    assert report.evidence_limit == pytest.approx(float(maps.max()), rel=1e-3)


def test_torchvisions_own_state_dict_through_a_wrapper_and_a_prefix_is_recognised() -> None:
    torch.manual_seed(0)
    own = torchvision_models.shufflenet_v2_x1_0(weights=None, num_classes=1)
    state = {f"module.{name}": value for name, value in own.state_dict().items()}
    report = check_weights(saved({"model": state}), Wishes(size=SIZE))
    assert (report.architecture, report.input.channels, report.outputs) == ("shufflenet_v2_x1_0", 3, 1)
    assert report.head == "logit"
    assert report.untrained
    assert len(report.notes) == 2


def test_a_film_network_of_eighteen_outputs_is_taken_for_torchxrayvisions_and_the_twin_is_named() -> None:
    state = build_outline("densenet121", channels=1, labels=18).state_dict()
    found = [fit.architecture for fit in fitting(state)]
    assert found == ["densenet121", "xrv-densenet121"]


def without_counters(network: nn.Module) -> bytes:
    return save({n: v.contiguous() for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")})


def test_weights_of_before_batch_norms_counted_are_mended() -> None:
    assert check_weights(without_counters(trained()), Wishes(size=SIZE)).problem is None


def broken(change: str) -> bytes:
    state = dict(trained().state_dict())
    weight = state["fc.weight"].clone()
    if change == "missing":
        del state["blocks.0.conv1.weight"]
    elif change == "extra":
        state["head.weight"] = torch.ones(2, 2)
    elif change == "channels":
        state["stem.0.weight"] = torch.ones(24, 4, 5, 5)
    elif change == "shape":
        state["blocks.0.conv1.weight"] = torch.ones(40, 24, 5, 5)
    elif change == "zero":
        state["fc.weight"] = torch.zeros_like(weight)
    else:
        weight[0, 0] = math.inf if change == "inf" else math.nan
        state["fc.weight"] = weight
    return save({name: value.contiguous() for name, value in state.items()})


REASONS = {
    "missing": r"lacks blocks\.0\.conv1\.weight",
    "extra": r"no head\.weight",
    "channels": "4 channels",
    "shape": r"blocks\.0\.conv1\.weight has the shape \(40, 24, 5, 5\)",
    "zero": r"fc\.weight holds nothing but zeros",
    "nan": r"fc\.weight holds values that are not finite",
    "inf": r"fc\.weight holds values that are not finite",
}


@pytest.mark.parametrize("change", REASONS)
def test_what_does_not_fit_is_named_in_one_sentence(change: str) -> None:
    with pytest.raises(ModelRejected, match=REASONS[change]) as refusal:
        check_weights(broken(change), Wishes(architecture="compact-resnet"))
    assert "\n" not in str(refusal.value)


def test_weights_of_no_known_network_are_refused() -> None:
    with pytest.raises(ModelRejected, match="fit none of the architectures"):
        check_weights(save({"weird.weight": torch.ones(3, 3)}))


@pytest.mark.parametrize(("outputs", "head"), [(1, "softmax"), (2, "logit")])
def test_a_head_that_the_outputs_contradict_is_refused(outputs: int, head: Any) -> None:
    with pytest.raises(ModelRejected, match="output"):
        check_weights(bytes_of(trained(labels=outputs)), Wishes(head=head))


OWN = Description("Knee or not", ("No knee", "Knee (any)"), ("DX",), ("KNEE",))


def test_a_described_model_is_in_the_catalogue_and_read_by_hand_only(model_folder: Path) -> None:
    report = check_weights(bytes_of(trained(labels=2)), Wishes(size=SIZE))
    card = add_model(report, OWN)
    assert (card.id, card.label_codes, card.scope.by_hand_only) == ("knee-or-not", ("no-knee", "knee"), True)
    assert not card.evaluations
    assert load_model("knee-or-not").card == card
    assert [path.name for path in model_folder.iterdir()] == ["knee-or-not"]


def test_the_same_title_twice_is_refused(model_folder: Path) -> None:
    report = check_weights(bytes_of(trained(labels=2)), Wishes(size=SIZE))
    add_model(report, OWN)
    with pytest.raises(ModelRejected, match="already"):
        add_model(report, OWN)


@pytest.mark.parametrize(
    ("labels", "title", "reason"),
    [(("one",), "A", "2 labels"), (("same", "Same"), "A", "once"), (("a", "b"), "!!", "title")],
)
def test_a_description_that_contradicts_the_network_is_refused(
    model_folder: Path, labels: tuple[str, ...], title: str, reason: str
) -> None:
    report = check_weights(bytes_of(trained(labels=2)), Wishes(size=SIZE))
    with pytest.raises(ModelRejected, match=reason):
        add_model(report, Description(title, labels, ("DX",), ("KNEE",)))
    assert not list(model_folder.iterdir())


def test_a_model_that_fails_its_self_test_never_enters_the_catalogue(model_folder: Path) -> None:
    network = trained(labels=2)
    network.blocks[0].bn1.running_var.fill_(-1.0)
    report = check_weights(bytes_of(network), Wishes(size=SIZE))
    assert "finite" in (report.problem or "")
    with pytest.raises(ModelRejected, match="finite"):
        add_model(report, OWN)
    assert not list(model_folder.iterdir())


def test_without_a_named_folder_models_lie_in_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RADLENS_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "radlens" / "models"
    add_model(check_weights(bytes_of(trained(labels=2)), Wishes(size=SIZE)), OWN)
    assert "knee-or-not" in read_catalogue().cards


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_prints_what_it_found_and_writes_a_card_to_fill_in(tmp_path: Path, model_folder: Path) -> None:
    weights, out = tmp_path / "own.safetensors", model_folder / "mine"
    weights.write_bytes(bytes_of(trained(labels=2)))
    result = run("check-model", weights, "--size", SIZE, "--head", "sigmoid", "--out", out)
    assert result.exit_code == 0
    for words in (
        "compact-resnet fits",
        "1 channel of 64 x 64",
        "labels that go together",
        "blocks.5.relu_1",
        "passed",
    ):
        assert words in result.stdout
    assert "not filled in yet: title, labels, scope, intended_use, licence" in read_catalogue().problems["mine"]
    path = out / "card.json"
    stated = json.loads(path.read_text())
    stated |= {"id": "mine", "title": "Mine", "headline": "a", "intended_use": "Tests.", "licence": "MIT"}
    stated["labels"] = [{"code": "a", "words": "A"}, {"code": "b", "words": "B"}]
    stated["scope"] = {"modalities": ["DX"], "body_parts": ["KNEE"]}
    path.write_text(json.dumps(stated))
    assert load_model("mine").card.head == "sigmoid"


def test_the_command_refuses_with_the_documented_exit_statuses(tmp_path: Path) -> None:
    weights = tmp_path / "bad.safetensors"
    weights.write_bytes(b"Dear colleague")
    assert run("check-model", weights).exit_code == 1
    assert run("check-model", tmp_path / "nothing.pt").exit_code == 2
    assert run("check-model", weights, "--architecture", "os.system").exit_code == 2


def test_a_drafted_card_names_every_output_of_one_logit_as_two_labels() -> None:
    report = check_weights(bytes_of(trained(labels=1)), Wishes(size=SIZE))
    drafted = draft_card(report)
    assert drafted["head"] == "logit"
    assert len(drafted["labels"]) == 2
    assert drafted["headline"] == drafted["labels"][1]["code"]
