"""Two heatmaps side by side: zero for the same, known differences, other grids, crops and signs."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from core.analysis import Heatmap
from core.explaining.comparing import GRID, Side, compare, same_label
from core.models.card import Label
from core.preprocessing import Letterbox
from tests.networks import card

Map = npt.NDArray[np.float32]
SQUARE = Letterbox.fit(128, 128, 64)


def side(
    evidence: npt.NDArray[np.floating], limit: float = 1.0, method: str = "evidence", box: Letterbox = SQUARE
) -> Side:
    heatmap = Heatmap("mass", evidence.astype(np.float32), "log-odds", None, limit, method, "layer")
    return Side(heatmap, box)


def random_map(seed: int, cells: int = 8) -> Map:
    return np.random.default_rng(seed).normal(0, 0.4, (cells, cells)).astype(np.float32)


def test_the_same_map_differs_nowhere() -> None:
    found = compare(side(random_map(0)), side(random_map(0)))
    assert not found.difference.any()
    assert found.correlation == pytest.approx(1)
    assert found.distance == 0
    assert found.sentence() == "The two maps are the same everywhere."


def test_the_difference_is_that_of_what_is_drawn_on_each_maps_own_scale() -> None:
    first, second = np.zeros((8, 8)), np.zeros((8, 8))
    first[6, 1], second[6, 1] = 0.9, 0.4
    found = compare(side(first), side(second, limit=0.8), ("L", "F"))
    middle = found.difference[round((6.5 / 8) * GRID) - 1, round((1.5 / 8) * GRID) - 1]
    assert middle == pytest.approx(0.9 - 0.5, abs=0.05)
    assert found.difference.max() == pytest.approx(0.4, abs=0.05)
    assert "right lower zone, where the first is stronger" in found.sentence()
    mirrored = compare(side(second, limit=0.8), side(first), ("L", "F"))
    assert np.array_equal(mirrored.difference, -found.difference)
    assert "where the second is stronger" in mirrored.sentence()


def test_what_lies_beyond_the_scale_is_drawn_at_its_end_and_compared_so() -> None:
    found = compare(side(np.full((4, 4), 7.0)), side(np.full((4, 4), 1.0)))
    assert not found.difference.any()
    assert found.correlation is None


def test_the_rank_correlation_is_spearmans() -> None:
    first, second = random_map(1), random_map(2)
    limit = float(max(np.abs(first).max(), np.abs(second).max()))
    found = compare(side(first, limit), side(second, limit))
    # Averaged from 128 cells to 8, interpolated maps keep about the order of the cells.
    expected = stats.spearmanr(first.ravel(), second.ravel()).statistic
    assert found.correlation == pytest.approx(expected, abs=0.08)
    turned = compare(side(first, limit), side(-first, limit))
    assert turned.correlation == pytest.approx(-1)
    assert "do not agree" in turned.sentence()


def test_where_one_shows_positive_places_only_the_other_is_compared_by_these() -> None:
    signed = random_map(3)
    found = compare(side(signed), side(np.maximum(signed, 0), method="gradcam"))
    assert not found.is_signed
    assert not found.difference.any()
    assert compare(side(signed), side(np.maximum(signed, 0), method="hirescam")).difference.any()


def test_maps_on_other_grids_are_compared_place_by_place() -> None:
    coarse = random_map(4, 4)
    fine = np.kron(coarse, np.ones((4, 4)))
    found = compare(side(coarse), side(fine))
    assert found.correlation == pytest.approx(1, abs=0.05)
    moved = compare(side(coarse), side(np.roll(fine, 8, 1)))
    assert moved.distance > 2 * found.distance


def test_what_one_model_does_not_see_counts_for_nothing() -> None:
    whole, cut = Letterbox.fit(64, 128, 64), Letterbox.fit(64, 128, 64, crop=True)
    everywhere = np.full((8, 8), 0.5)
    uneven = everywhere.copy()
    # Rows 2 to 5 of the whole's square are the picture; the cut one sees its middle half.
    found = compare(side(uneven, box=whole), side(np.zeros((8, 8)), box=cut))
    columns = np.abs(found.difference).max(0) > 0
    assert columns[GRID // 4 : 3 * GRID // 4].all()
    assert not columns[: GRID // 4].any()
    assert not columns[3 * GRID // 4 :].any()
    assert found.distance == pytest.approx(0.5)


def test_a_label_of_another_model_goes_by_its_code() -> None:
    other = card(labels=(Label(code="mass", words="A lump"),), headline="mass")
    assert same_label(card(), other, "mass") == "mass"
    assert same_label(card(), other, "abnormal") is None


def test_a_place_too_faint_to_see_is_said_to_be_so() -> None:
    first = random_map(5)
    second = first + np.float32(0.01)
    found = compare(side(first), side(second))
    assert "No place differs by more than 5%" in found.sentence()
    assert replace(found, correlation=0.6).sentence().startswith("The two agree on which half")
