"""Cards, hashes, weights, self-test, scope: what is refused, and why it says so."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from core.errors import ModelRejected, NoFittingModel, UnknownModel
from core.models.architectures import (
    ARCHITECTURES,
    ArticleCnn28,
    ArticleCnn224,
    build_network,
    build_outline,
    build_unfilled,
)
from core.models.catalogue import read_catalogue
from core.models.detectors import DETECTOR_NETWORKS
from core.models.loading import load_model, prepare
from core.models.scope import choose_model, mismatch
from core.models.weights import fill, read_checked
from core.scan import Scan
from core.training.configuration import read_configuration
from tests.networks import card, publish, seeded


def scan(modality: str | None, body_part: str | None, view: str | None = None) -> Scan:
    return Scan(
        stored=np.zeros((1, 8, 8), np.uint8),
        digest="d",
        source_format="DICOM",
        modality=modality,
        body_part=body_part,
        view=view,
    )


def test_a_published_model_is_found_loaded_and_answers_as_its_network(model_folder: Path) -> None:
    network = seeded("compact-resnet")
    published = publish(model_folder, network)
    assert published.id in read_catalogue().cards
    model = load_model("TINY")
    picture = torch.randn(1, 1, 64, 64)
    assert torch.allclose(model.fast.run(picture).logits, network(picture)[0], atol=1e-4)


def test_an_unknown_model_names_those_there_are(model_folder: Path) -> None:
    publish(model_folder)
    with pytest.raises(UnknownModel, match="tiny"):
        load_model("enormous")


def test_weights_that_the_card_does_not_speak_of_are_refused(model_folder: Path) -> None:
    publish(model_folder)
    path = model_folder / "tiny" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelRejected, match="not those its card speaks of"):
        load_model("tiny")


def test_missing_empty_and_cut_weights_are_refused(model_folder: Path) -> None:
    publish(model_folder)
    path = model_folder / "tiny" / "weights.safetensors"
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b""):
        path.write_bytes(data)
        with pytest.raises(ModelRejected):
            load_model("tiny")
    path.unlink()
    with pytest.raises(ModelRejected, match="missing"):
        load_model("tiny")


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.marker,))


def test_a_pickle_with_code_in_place_of_weights_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = pickle.dumps(_Payload(marker))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelRejected, match="not a safetensors file"):
        read_checked(path, hashlib.sha256(data).hexdigest())
    assert not marker.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(model_folder: Path, value: float) -> None:
    network = seeded("compact-resnet")
    network.fc.weight[0, 0] = value
    publish(model_folder, network)
    with pytest.raises(ModelRejected, match=r"fc\.weight"):
        load_model("tiny")


def test_a_network_that_gives_every_picture_the_same_answer_fails_the_self_test() -> None:
    network = seeded("compact-resnet")
    network.fc.weight.zero_()
    with pytest.raises(ModelRejected, match="same answer to every picture"):
        prepare(card(), network)


def test_a_network_that_answers_without_a_number_fails_the_self_test() -> None:
    network = seeded("compact-resnet")
    network.blocks[0].bn1.running_var.fill_(-1.0)
    with pytest.raises(ModelRejected, match="finite"):
        prepare(card(), network)


def test_weights_of_another_shape_are_refused_with_their_name(model_folder: Path) -> None:
    publish(model_folder, seeded("compact-resnet", labels=5))
    with pytest.raises(ModelRejected, match=r"do not fit.*fc\."):
        load_model("tiny")


def test_a_target_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelRejected, match=r"blocks\.99"):
        prepare(card(target_layer="blocks.99"), seeded("compact-resnet"))


def test_an_architecture_off_the_list_is_never_built() -> None:
    with pytest.raises(ModelRejected, match="builds only"):
        build_network("os.system", channels=1, labels=2)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"headline": "fracture"}, "headline"),
        ({"labels": ()}, "labels"),
        ({"weights_sha256": "abc"}, "weights_sha256"),
        ({"evidence_limit": 0}, "evidence_limit"),
        ({"colour": "red"}, "colour"),
        ({"id": "../up"}, "id"),
    ],
)
def test_a_contradictory_card_is_refused(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        card(**changes)


def test_a_broken_card_is_reported_and_hides_no_other(model_folder: Path) -> None:
    publish(model_folder)
    broken = model_folder / "broken"
    broken.mkdir()
    (broken / "card.json").write_text('{"id": "broken"}')
    catalogue = read_catalogue()
    assert "tiny" in catalogue.cards
    assert "wrong at" in catalogue.problems["broken"]


@pytest.mark.parametrize(
    ("modality", "body_part", "view", "fits"),
    [
        ("DX", "CHEST", "PA", True),
        ("CR", "CHEST", None, True),
        ("DX", "CHEST", "LL", False),
        ("DX", "HAND", "PA", False),
        ("DX", None, "PA", False),
        ("CT", "CHEST", None, False),
        (None, None, None, False),
    ],
)
def test_a_model_fits_by_modality_body_part_and_view(
    modality: str | None, body_part: str | None, view: str | None, *, fits: bool
) -> None:
    subject = scan(modality, body_part, view)
    assert (mismatch(card(), subject) is None) is fits
    if fits:
        assert choose_model([card()], subject).id == "tiny"
    else:
        with pytest.raises(NoFittingModel, match="tiny"):
            choose_model([card()], subject)


def test_without_any_model_the_sentence_says_none() -> None:
    with pytest.raises(NoFittingModel, match="none"):
        choose_model([], scan("DX", "CHEST"))


def test_the_articles_first_network_is_built_layer_by_layer() -> None:
    network = ArticleCnn28()
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"]
    # 3x3x1x32 + 32, 3x3x32x64 + 64, 5x5x64x10 + 10: the sum of the article's table.
    assert sum(p.numel() for p in network.parameters()) == 320 + 18_496 + 16_010
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_articles_second_network_is_built_layer_by_layer() -> None:
    network = ArticleCnn224(size=64, labels=3)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "Flatten", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    assert [layer.out_channels for layer in network if isinstance(layer, torch.nn.Conv2d)] == [32, 64, 128]
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    # At 224: 52 x 52 x 128 activations into 512 units, the 177 million weights that the article's network has.
    assert 52 * 52 * 128 * 512 == 177_209_344


def test_the_articles_second_network_learns_from_a_step_of_adam() -> None:
    torch.manual_seed(0)
    network, pictures, classes = ArticleCnn224(size=32, labels=2), torch.rand(8, 3, 32, 32), torch.arange(8) % 2
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(network(pictures), classes)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[1] < losses[0]


def test_its_configuration_asks_for_the_articles_training() -> None:
    path = Path(__file__).parents[1] / "docs" / "training" / "article-cnn-224.toml"
    wanted = read_configuration(path)
    assert (wanted.model.architecture, wanted.model.head, wanted.fit.epochs) == ("article-cnn-224", "softmax", 10)
    assert (wanted.model.input.size, wanted.model.input.channels) == (224, 3)
    # The target layer is the last convolution's ReLU.
    network = ArticleCnn224(size=32)
    assert isinstance(network[int(wanted.model.target_layer)], torch.nn.ReLU)
    assert isinstance(network[int(wanted.model.target_layer) - 1], torch.nn.Conv2d)


def test_every_architecture_on_the_list_gives_as_many_outputs_as_are_asked_for() -> None:
    # A detector's answers are boxes; what it tells apart is tested with tests/test_detections.py.
    for name in ARCHITECTURES.keys() - DETECTOR_NETWORKS.keys():
        shapes = [tuple(value.shape) for value in build_outline(name, channels=1, labels=7).state_dict().values()]
        assert any(shape[0] == 7 for shape in shapes if shape), name


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "timm/mobilenetv3_large_100"])
def test_a_network_for_colour_is_built_for_grey(name: str) -> None:
    first = next(m for m in build_network(name, channels=1, labels=2).modules() if isinstance(m, torch.nn.Conv2d))
    assert first.in_channels == 1
    assert first.weight.shape[1] == 1


@pytest.mark.parametrize("name", ["compact-resnet", "resnet18", "squeezenet1_1"])
def test_an_unfilled_network_becomes_the_network_once_it_is_filled(name: str) -> None:
    wanted = build_network(name, channels=1, labels=2)
    found = build_unfilled(name, channels=1, labels=2)
    fill(found, wanted.state_dict())
    picture = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(found(picture), wanted(picture))


def test_a_layer_of_zeros_is_refused_by_name(model_folder: Path) -> None:
    network = seeded("compact-resnet")
    network.blocks[3].conv2.weight.zero_()
    publish(model_folder, network)
    with pytest.raises(ModelRejected, match=r"blocks\.3\.conv2\.weight holds nothing but zeros"):
        load_model("tiny")


def test_extra_and_missing_tensors_are_refused(model_folder: Path) -> None:
    published = publish(model_folder)
    path = model_folder / "tiny" / "weights.safetensors"
    tensors = {**seeded("compact-resnet").state_dict(), "stranger": torch.zeros(1)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    stated = published.model_copy(update={"weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    (model_folder / "tiny" / "card.json").write_text(stated.model_dump_json())
    with pytest.raises(ModelRejected, match="stranger"):
        load_model("tiny")


def test_scans_are_records_that_can_be_changed_only_by_copying() -> None:
    first = scan("DX", "CHEST")
    assert replace(first, view="PA").view == "PA"
    assert first.view is None
