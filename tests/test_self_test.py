"""What a network must show before it is used, on networks that were made to fail in one way each."""

from typing import Any

import pytest
import torch
from torch import nn

from core.errors import ModelRejected
from core.models.architectures import build_network
from core.models.card import InputSpec
from core.models.loading import load_model, prepare
from core.models.self_test import has_untrained_head, reference_logits, reference_pictures
from tests.networks import card, seeded

SPEC = InputSpec(channels=1, size=224, mean=0.5, std=0.25)


class Mirrored(nn.Module):
    """A network that looks at its picture in a mirror."""

    def __init__(self, inner: nn.Module, axis: int) -> None:
        super().__init__()
        self.inner, self.axis = inner, axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mirrored: torch.Tensor = self.inner(torch.flip(x, [self.axis]))
        return mirrored


def test_a_network_that_sees_the_right_way_round_passes() -> None:
    assert prepare(card(input=SPEC), seeded("compact-resnet", size=224)).card.id == "tiny"


@pytest.mark.parametrize("axis", [2, 3])
def test_a_network_that_mirrors_its_picture_is_rejected(axis: int) -> None:
    mirrored = Mirrored(seeded("compact-resnet", size=224), axis)
    with pytest.raises(ModelRejected, match="wrong place"):
        prepare(card(input=SPEC, target_layer="inner.blocks.5.relu_1"), mirrored)


def test_answers_other_than_those_of_the_card_are_rejected() -> None:
    network = seeded("compact-resnet", size=224)
    logits = reference_logits(network, SPEC)
    assert len(logits) == 5
    prepare(card(input=SPEC, reference_logits=logits), network)
    with torch.no_grad():
        network.fc.bias += 0.1
    with pytest.raises(ModelRejected, match="not those on its card"):
        prepare(card(input=SPEC, reference_logits=logits), network)


def test_references_of_another_number_of_labels_are_rejected() -> None:
    with pytest.raises(ModelRejected, match="not those on its card"):
        prepare(card(input=SPEC, reference_logits=((1.0,),)), seeded("compact-resnet", size=224))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_large", "efficientnet_b0"])
def test_a_head_as_it_was_drawn_is_found(name: str) -> None:
    assert has_untrained_head(build_network(name, channels=3, labels=5))


def test_a_head_that_learnt_is_not_called_untrained() -> None:
    network: Any = build_network("compact-resnet", channels=1, labels=4)
    assert has_untrained_head(network)
    optimiser = torch.optim.AdamW(network.fc.parameters(), lr=0.01)
    features, classes = torch.rand(64, 192), torch.arange(64) % 4
    for _ in range(30):
        loss = nn.functional.cross_entropy(network.fc(features + classes[:, None]), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert not has_untrained_head(network)


def test_the_shipped_model_is_trained_and_answers_as_on_its_card() -> None:
    model = load_model("chest-xray-adult")
    assert not model.untrained
    assert len(model.card.reference_logits) == 5


def test_the_blobs_lie_in_the_quarters_that_they_are_named_for() -> None:
    plain, *corners = (picture[0, 0] for picture in reference_pictures(SPEC))
    for index, picture in enumerate(corners):
        row, column = divmod(int((picture - plain).argmax()), SPEC.size)
        assert (row >= 112, column >= 112) == (bool(index // 2), bool(index % 2))
