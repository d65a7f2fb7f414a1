"""Erase a place and ask again: every head's answers against formulas written out here, on networks known by heart."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from core.analysis import analyse
from core.errors import AnalysisError, ConfigurationError
from core.explaining.altered import alterable
from core.explaining.asking import Asked, ask, box_region
from core.explaining.elsewhere import FITS, moved
from core.explaining.erase import filled
from core.models.card import InputSpec
from core.models.loading import Model, prepare
from core.preprocessing import to_model_input
from core.reading.decoding import decode_scan
from core.scan import Scan
from core.windowing import display_grey
from tests.cam_networks import linear_steps
from tests.files import png_bytes
from tests.networks import card
from tests.outline_networks import outline_card, outline_network

Grey = npt.NDArray[np.float64]
SIZE, CELL = 64, 4
PATCH = (slice(44, 56), slice(8, 20))


def bright_cells(outputs: int = 2) -> nn.Sequential:
    """Logits: how bright the picture is, and how much brighter than 0.7 its 4 x 4 cells are, summed."""
    mean, head = nn.Conv2d(1, 2, CELL, CELL), nn.Linear(2, outputs)
    with torch.no_grad():
        # Normalised (x - 0.5) / 0.25: grey 0.7 is 0.8, and grey 0 is -2.
        mean.weight.fill_(1 / CELL**2)
        mean.bias = nn.Parameter(torch.tensor([-0.8, 2.0]))
        head.weight.copy_(torch.tensor([[0.0, 1.0], [400.0, 0.0]])[-outputs:])
        head.bias.copy_(torch.tensor([0.5, -3.0])[-outputs:])
    return nn.Sequential(mean, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def logits_by_hand(grey: Grey) -> tuple[float, float]:
    cells = grey.reshape(SIZE // CELL, CELL, SIZE // CELL, CELL).mean((1, 3))
    return 4 * grey.mean() + 0.5, 400 * np.maximum(4 * (cells - 0.7), 0).mean() - 3


def bright_scan() -> Scan:
    """A dark, noisy ground with a bright patch at the lower left; both ends of the scale are there."""
    grey = np.random.default_rng(3).uniform(0.2, 0.4, (SIZE, SIZE))
    grey[PATCH] += 0.5
    grey[0, 0], grey[0, 1] = 0, 1
    return decode_scan(png_bytes(np.rint(255 * grey).astype(np.uint8)))


def at_patch() -> npt.NDArray[np.bool_]:
    region = np.zeros((SIZE, SIZE), np.bool_)
    region[PATCH] = True
    return region


def bright_model(**changes: Any) -> Model:
    return prepare(card(target_layer="1", **changes), bright_cells(1 if changes.get("head") == "logit" else 2))


def test_the_answers_with_and_without_a_place_are_those_of_the_formula() -> None:
    scan = bright_scan()
    grey = display_grey(scan, 0).astype(np.float64)
    without = np.where(at_patch(), grey.mean(), grey)
    found = ask(bright_model(), scan, 0, at_patch(), "mean")
    for index, code in enumerate(("abnormal", "mass")):
        change = found.changes[code]
        assert change.logit_before == pytest.approx(logits_by_hand(grey)[index], abs=1e-3)
        assert change.logit_after == pytest.approx(logits_by_hand(without)[index], abs=1e-3)
        assert change.score_after == pytest.approx(1 / (1 + np.exp(-logits_by_hand(without)[index])), abs=1e-4)
    assert found.changes["mass"].logit_after == pytest.approx(-3, abs=1e-4)
    assert found.foremost.label == "mass"
    assert found.changes["mass"].stands_out
    assert found.share == pytest.approx(144 / SIZE**2)
    assert "lowers Mass by" in found.sentence("mass", "Mass")


def test_as_large_a_place_elsewhere_moves_little_where_the_finding_is_not_and_so_does_a_question_about_it() -> None:
    scan = bright_scan()
    change = ask(bright_model(), scan, 0, at_patch(), "neighbour").changes["mass"]
    assert len(change.elsewhere) >= 2
    assert change.usual == pytest.approx(0, abs=0.05)
    beside = np.roll(at_patch(), 30, axis=1)
    asked = ask(bright_model(), scan, 0, beside, "neighbour")
    assert abs(asked.changes["mass"].change) < 0.05
    assert not asked.changes["mass"].stands_out
    assert "does not hang on this place" in asked.sentence("mass", "Mass")


def test_any_grid_over_the_scan_asks_the_same() -> None:
    fine = ask(bright_model(), bright_scan(), 0, at_patch(), "mean").changes["mass"]
    coarse = ask(bright_model(), bright_scan(), 0, at_patch()[::4, ::4], "mean").changes["mass"]
    assert coarse.change == pytest.approx(fine.change, rel=0.2)
    box = ask(bright_model(), bright_scan(), 0, box_region((SIZE, SIZE), 44, 8, 12, 12), "mean").changes["mass"]
    assert box == fine


def after(asked: Asked) -> list[float]:
    return [change.logit_after for change in asked.changes.values()]


def test_a_softmax_head_answers_above_the_mean_of_its_classes() -> None:
    labels = tuple({"code": code, "words": code} for code in ("none", "benign", "malignant"))
    model = prepare(
        card(head="softmax", labels=labels, headline="none", target_layer="3"),
        linear_steps(),
    )
    scan = bright_scan()
    found = ask(model, scan, 0, at_patch(), "blur")
    entry = to_model_input(scan, 0, model.card.input)
    content = torch.ones(SIZE, SIZE, dtype=torch.bool)
    with torch.no_grad():
        raw = linear_steps()(filled(entry.tensor, content, torch.from_numpy(at_patch()), "blur"))[0].double()
    assert after(found) == pytest.approx((raw - raw.mean()).tolist(), abs=1e-4)
    scores = [change.score_after for change in found.changes.values()]
    assert scores == pytest.approx(torch.softmax(raw, 0).tolist(), abs=1e-5)
    assert found.unit == "logit above the labels' mean"


def test_what_speaks_for_one_of_two_labels_of_one_logit_speaks_against_the_other() -> None:
    found = ask(bright_model(head="logit"), bright_scan(), 0, at_patch(), "mean")
    negative, positive = found.changes.values()
    assert negative.change == pytest.approx(-positive.change)
    assert positive.logit_after == pytest.approx(-3, abs=1e-4)
    assert negative.score_after + positive.score_after == pytest.approx(1)


def test_a_network_that_outlines_answers_with_its_score_for_the_picture() -> None:
    network = outline_network()
    model, scan = prepare(outline_card(), network), bright_scan()
    found = ask(model, scan, 0, at_patch(), "neighbour").changes["lesion"]
    assert found.score_before == pytest.approx(analyse(model, scan).prediction.scores["lesion"], abs=1e-5)
    entry = to_model_input(scan, 0, model.card.input)
    content = torch.ones(SIZE, SIZE, dtype=torch.bool)
    with torch.no_grad():
        logits = network(filled(entry.tensor, content, torch.from_numpy(at_patch()), "neighbour"))[0, 0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(1 / (1 + np.exp(-logits.astype(np.float64))), (16, 16))
    assert found.score_after == pytest.approx(windows.mean((2, 3)).max(), abs=1e-4)
    assert found.logit_after == pytest.approx(np.log(found.score_after / (1 - found.score_after)), abs=1e-3)


def test_a_region_of_the_scan_lies_where_the_letterbox_puts_it() -> None:
    scan = decode_scan(png_bytes(np.random.default_rng(0).integers(0, 255, (40, 80), dtype=np.uint8)))
    whole = bright_model()
    cut = bright_model(input=InputSpec(channels=1, size=SIZE, fit="crop", mean=0.5, std=0.25))
    expected = np.zeros((SIZE, SIZE), np.bool_)
    # 0.8 pixels of the square for one of the scan, 16 of them above.
    expected[16 + 8 : 16 + 16, 32:48] = True
    assert np.array_equal(alterable(whole, scan, 0).on_square(box_region((40, 80), 10, 40, 10, 20)), expected)
    # 41 rows become 33, which leave 15 rows of the square above and 16 below.
    odd = decode_scan(png_bytes(np.random.default_rng(0).integers(0, 255, (41, 80), dtype=np.uint8)))
    rows = np.flatnonzero(alterable(whole, odd, 0).on_square(np.ones((41, 80), np.bool_)).any(1))
    assert (rows[0], rows[-1]) == (15, 15 + 33 - 1)
    with pytest.raises(ConfigurationError, match="mark a larger one"):
        ask(cut, scan, 0, box_region((40, 80), 0, 0, 40, 15))
    asked = alterable(cut, scan, 0).on_square(box_region((40, 80), 0, 20, 40, 40))
    assert asked.all()


@pytest.mark.parametrize("region", [np.zeros((SIZE, SIZE), np.bool_), box_region((6400, 6400), 10, 10, 8, 8)])
def test_what_the_network_cannot_see_is_refused(region: npt.NDArray[np.bool_]) -> None:
    with pytest.raises(ConfigurationError, match="Nothing of the region"):
        ask(bright_model(), bright_scan(), 0, region)


@pytest.mark.parametrize("box", [(0, 0, 0, 9), (70, 3, 5, 5), (-9, 0, 5, 5), (1, 1, 5, -2)])
def test_a_box_without_a_pixel_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigurationError, match="covers none"):
        box_region((SIZE, SIZE), *box)


def test_an_answer_that_is_no_number_is_refused_and_the_network_stays_as_it_was() -> None:
    model = bright_model()
    before = copy.deepcopy(model.network.state_dict())
    ask(model, bright_scan(), 0, at_patch())
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in model.network.modules())
    for parameter in model.fast.tail.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(AnalysisError, match="not a finite number"):
        ask(model, bright_scan(), 0, at_patch())


def test_places_elsewhere_are_as_large_within_bounds_apart_from_the_place_and_the_same_every_time() -> None:
    region, allowed = at_patch(), np.ones((SIZE, SIZE), np.bool_)
    allowed[:10] = False
    found = moved(region, allowed, 5)
    assert len(found) == 5
    for one in found:
        assert FITS * region.sum() <= one.sum() <= region.sum()
        assert (one & region).sum() <= (1 - FITS) * region.sum()
        assert not (one & ~allowed).any()
    assert all(np.array_equal(one, other) for one, other in zip(found, moved(region, allowed, 5), strict=True))
    middles = np.array([np.argwhere(one).mean(0) for one in found])
    apart = np.hypot(*(middles[:, None] - middles[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(5, 1)].min() >= 5


def test_where_nothing_as_large_finds_room_there_is_none() -> None:
    large = np.zeros((SIZE, SIZE), np.bool_)
    large[4:60, 4:60] = True
    assert moved(large, np.ones_like(large), 3) == ()
    asked = ask(bright_model(), bright_scan(), 0, large, "mean")
    assert asked.changes["mass"].elsewhere == ()
    assert asked.changes["mass"].usual is None
    assert "no room" in asked.sentence("mass", "Mass")
