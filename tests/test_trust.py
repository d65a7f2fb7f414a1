"""The trust card: green where the evidence is known to lie, red for a shuffled map, an untrained network, a wrong sum."""

import copy
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from core.analysis import analyse
from core.engines.choosing import Later
from core.errors import Stopped
from core.explaining.erase import content_of
from core.explaining.faithfulness import faithfulness
from core.explaining.perturbation import answer_of
from core.explaining.targets import targets_of
from core.explaining.trust import PARTS, trust
from core.explaining.trust_verdicts import judge_faithfulness
from core.models.card import InputSpec
from core.models.loading import Model, load_model, prepare
from core.preprocessing import to_model_input
from core.reading.decoding import decode_scan
from core.samples import simulated_scan
from core.scan import Scan
from tests.files import png_bytes
from tests.networks import card, seeded
from tests.outline_networks import outline_card, outline_network

if TYPE_CHECKING:
    from core.explaining.trust_verdicts import Part

Map = npt.NDArray[np.float32]
SIZE, CELL = 64, 4
# Rows and columns of the bright patch, in cells of 4 pixels.
PATCH = (slice(4, 7), slice(9, 12))


def patch_network(outputs: int = 2) -> nn.Sequential:
    """Mean grey of each 4 x 4 cell, what of it is above 0.7, pooling, one linear layer: a "mass" is a bright cell."""
    mean, head = nn.Conv2d(1, 2, CELL, CELL), nn.Linear(2, outputs)
    # Normalised (x - 0.5) / 0.25: grey 0.7 is 0.8. The second channel is the brightness itself.
    with torch.no_grad():
        mean.weight.fill_(1 / CELL**2)
        mean.bias = nn.Parameter(torch.tensor([-0.8, 2.0]))
        head.weight.copy_(torch.tensor([[0.0, 1.0], [400.0, 0.0]])[-outputs:])
        head.bias.copy_(torch.tensor([0.5, -3.0])[-outputs:])
    return nn.Sequential(mean, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def patch_model() -> Model:
    return prepare(card(target_layer="1"), patch_network())


def patch_scan(turns: int = 0) -> Scan:
    """A dark, noisy ground with a bright patch, turned by so many quarters."""
    grey = np.random.default_rng(3).uniform(0.2, 0.4, (SIZE, SIZE))
    grey[PATCH[0].start * CELL : PATCH[0].stop * CELL, PATCH[1].start * CELL : PATCH[1].stop * CELL] += 0.5
    # Both ends of the scale, so that a window stretched to the picture changes nothing.
    grey[0, 0], grey[0, 1] = 0, 1
    return decode_scan(png_bytes(np.rot90(np.rint(255 * grey).astype(np.uint8), turns).copy()))


def true_map() -> Map:
    return analyse(patch_model(), patch_scan()).heatmap("mass").evidence


def test_the_true_map_of_a_known_patch_holds_in_every_part() -> None:
    evidence = true_map()
    assert set(zip(*np.nonzero(evidence), strict=True)) == {(y, x) for y in range(4, 7) for x in range(9, 12)}
    found = trust(patch_model(), patch_scan(), 0, "mass")
    assert [part.name for part in found.parts] == list(PARTS)
    assert found.verdict == "green"
    for name in ("sum", "faithfulness", "repeatability"):
        assert next(part for part in found.parts if part.name == name).verdict == "green"


@pytest.mark.parametrize("kind", ["inverted", "shuffled", "elsewhere"])
def test_a_map_that_points_elsewhere_is_red(kind: str) -> None:
    evidence = true_map()
    wrong = {
        "inverted": evidence.max() - evidence,
        "shuffled": np.random.default_rng(0).permutation(evidence.ravel()).reshape(evidence.shape),
        "elsewhere": np.roll(evidence, 8, axis=(0, 1)),
    }[kind]
    found = trust(patch_model(), patch_scan(), 0, "mass", evidence=wrong)
    assert found.part("faithfulness").verdict == "red"
    assert found.verdict == "red"
    assert "do not" in found.sentence.lower()


def test_the_answer_must_be_the_sum_of_the_maps_cells() -> None:
    model = patch_model()
    assert trust(model, patch_scan(), 0, "MASS").part("sum").value == pytest.approx(0, abs=1e-6)
    other = copy.deepcopy(model.network)
    other.get_parameter("4.bias").data += 0.01
    built = replace(model.networks.get(), network=other)
    broken = trust(replace(model, networks=Later(lambda: built)), patch_scan(), 0, "mass")
    assert broken.part("sum").verdict == "red"
    assert broken.verdict == "red"


def test_where_nothing_speaks_for_the_label_there_is_one_sentence_and_no_verdict() -> None:
    dark = decode_scan(png_bytes(np.random.default_rng(1).integers(0, 60, (SIZE, SIZE), dtype=np.uint8)))
    evidence = np.full((16, 16), -1, np.float32)
    found = trust(patch_model(), dark, 0, "mass", evidence=evidence)
    assert {part.verdict for part in found.parts} == {"not available"}
    assert {part.found for part in found.parts} == {
        "No positive evidence: nothing in the picture speaks for this label."
    }
    assert found.verdict == "not available"
    even = trust(patch_model(), dark, 0, "mass", evidence=-evidence)
    assert even.verdict == "not available"


def test_an_untrained_network_is_red() -> None:
    for seed in range(2):
        model = prepare(card(), seeded("compact-resnet", seed=seed))
        scan, _ = simulated_scan(950_001, "mass", rows=128, columns=128)
        label = max(("abnormal", "mass"), key=lambda code: analyse(model, scan).heatmap(code).evidence.max())
        found = trust(model, scan, 0, label)
        assert found.part("learnt").verdict == "red"
        assert found.verdict == "red"


@pytest.mark.parametrize(("seed", "finding"), [(950_001, "mass"), (950_004, "pneumothorax")])
def test_the_default_model_holds_on_a_planted_lesion_and_a_shuffled_map_does_not(seed: int, finding: str) -> None:
    model = load_model("chest-xray-adult")
    scan, _ = simulated_scan(seed, finding, rows=320, columns=320)
    found = trust(model, scan, 0, finding)
    assert found.verdict in ("green", "amber"), [(part.name, part.found) for part in found.parts]
    evidence = analyse(model, scan).heatmap(finding).evidence
    shuffled = np.random.default_rng(0).permutation(evidence.ravel()).reshape(evidence.shape)
    target = targets_of("sigmoid", model.card.outputs).only([model.card.label_codes.index(finding)])
    entry = to_model_input(scan, 0, model.card.input)
    curves = faithfulness(answer_of(model.fast, target), entry.tensor, content_of(entry.letterbox), shuffled)
    assert judge_faithfulness(curves, "log-odds").verdict == "red"


def test_parts_come_one_by_one_and_the_same_every_time() -> None:
    came: list[Part] = []
    found = trust(patch_model(), patch_scan(), 0, "mass", progress=came.append)
    assert tuple(came) == found.parts
    again = trust(patch_model(), patch_scan(), 0, "mass")
    assert [(p.value, p.verdict, p.found) for p in again.parts] == [(p.value, p.verdict, p.found) for p in found.parts]


@pytest.mark.parametrize("patience", [1, 3, 12])
def test_it_stops_when_the_reader_leaves(patience: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked >= patience

    with pytest.raises(Stopped):
        trust(patch_model(), patch_scan(), 0, "mass", cancelled=cancelled)
    assert asked == patience


def test_the_shared_network_is_left_as_it_was_and_readers_do_not_mix() -> None:
    model = patch_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    scans = [patch_scan(), patch_scan(turns=1)]
    expected = [[part.value for part in trust(model, scan, 0, "mass").parts] for scan in scans]
    assert expected[0] != expected[1]
    wrong: list[int] = []

    def read(reader: int) -> None:
        if [part.value for part in trust(model, scans[reader], 0, "mass").parts] != expected[reader]:
            wrong.append(reader)

    threads = [threading.Thread(target=read, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    modules = [*model.network.modules(), *model.fast.tail.modules()]
    assert not any(module._forward_hooks or module._backward_hooks or module.training for module in modules)


@pytest.mark.parametrize("head", ["softmax", "logit"])
def test_other_heads_are_asked_for_what_their_map_explains(head: str) -> None:
    network = patch_network(1 if head == "logit" else 2)
    found = trust(prepare(card(target_layer="1", head=head), network), patch_scan(), 0, "mass")
    assert found.part("sum").verdict == "green"
    assert found.part("faithfulness").verdict == "green"


def test_a_network_that_outlines_is_asked_about_its_outline() -> None:
    model = prepare(outline_card(), outline_network())
    scan, _ = simulated_scan(3, "mass", rows=96, columns=96)
    found = trust(model, scan, 0, "lesion")
    assert found.part("sum").verdict == "not available"
    known = [part for part in found.parts if part.verdict != "not available"]
    assert len(known) >= 4 or found.verdict == "not available"
    nothing = prepare(outline_card(threshold=0.999), outline_network())
    assert trust(nothing, scan, 0, "lesion").part("faithfulness").found.startswith("Nothing is outlined")


def test_ultrasound_fills_its_picture() -> None:
    scope = card().scope.model_copy(update={"modalities": ("US",)})
    model = prepare(card(target_layer="1", scope=scope), patch_network())
    assert "inside the picture's rim" in trust(model, patch_scan(), 0, "mass").part("body").found
    assert InputSpec(channels=1, size=SIZE, mean=0.5, std=0.25) == model.card.input
