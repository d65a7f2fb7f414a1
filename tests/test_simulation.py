"""The simulated films: repeatable, honest about where the lesion is, and the same patient with and without it."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from core.errors import ConfigurationError
from core.simulation import FINDINGS, SimulatedFilm, simulate_film

SIZE = 192
SEEDS = (1, 2, 3)


@cache
def film(seed: int, finding: str | None = None, side: str | None = None) -> SimulatedFilm:
    return simulate_film(seed, finding, rows=SIZE, columns=SIZE, side=side)


@pytest.mark.parametrize("finding", [None, *FINDINGS])
def test_same_arguments_give_the_same_film(finding: str | None) -> None:
    first, again = film(5, finding), simulate_film(5, finding, rows=SIZE, columns=SIZE)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert first.box_xywh == again.box_xywh


def test_another_seed_gives_another_patient() -> None:
    assert not np.array_equal(film(1).pixels, film(2).pixels)


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.parametrize("seed", SEEDS)
def test_pair_of_films_differs_only_where_the_lesion_is(seed: int, finding: str) -> None:
    healthy, ill = film(seed), film(seed, finding)
    around = ndimage.binary_dilation(ill.mask, iterations=2)
    assert np.array_equal(healthy.pixels[~around], ill.pixels[~around])
    assert ill.mask.any()


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.parametrize("seed", SEEDS)
def test_pneumothorax_darkens_the_film_and_other_findings_brighten_it(seed: int, finding: str) -> None:
    healthy, ill = film(seed), film(seed, finding)
    change = float((ill.pixels.astype(float) - healthy.pixels)[ill.mask].mean())
    assert change < -60 if finding == "pneumothorax" else change > 60


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.parametrize("seed", SEEDS)
def test_box_encloses_the_lesion(seed: int, finding: str) -> None:
    ill = film(seed, finding)
    assert ill.box_xywh is not None
    x, y, width, height = ill.box_xywh
    rows, columns = np.nonzero(ill.mask)
    inside = (columns >= x) & (columns < x + width) & (rows >= y) & (rows < y + height)
    assert inside.mean() > 0.97
    if finding != "cardiomegaly":
        assert inside.all()
        assert [x, y, width, height] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_box_of_cardiomegaly_holds_the_whole_heart(seed: int) -> None:
    box = film(seed, "cardiomegaly").box_xywh
    assert box is not None
    x, y, width, height = box
    assert x < SIZE / 2 < x + width
    assert 0.3 * SIZE < width < 0.8 * SIZE
    assert y > 0.25 * SIZE
    assert 0.15 * SIZE < height < 0.6 * SIZE


@pytest.mark.parametrize("finding", [name for name in FINDINGS if name != "cardiomegaly"])
@pytest.mark.parametrize("seed", SEEDS)
def test_lesion_on_the_patients_right_lies_in_the_images_left_half(seed: int, finding: str) -> None:
    # The midline may lie a few per cent beside the film's centre.
    assert np.nonzero(film(seed, finding, "right").mask)[1].mean() < 0.5 * SIZE
    assert np.nonzero(film(seed, finding, "left").mask)[1].mean() > 0.5 * SIZE


def test_without_a_side_both_sides_occur() -> None:
    centres = [np.nonzero(film(seed, "nodule").mask)[1].mean() for seed in range(12)]
    assert min(centres) < SIZE / 2 < max(centres)


def test_side_does_not_change_cardiomegaly() -> None:
    assert np.array_equal(film(4, "cardiomegaly", "right").pixels, film(4, "cardiomegaly", "left").pixels)


def test_apex_of_the_heart_points_to_the_images_right() -> None:
    # Just above the diaphragm the heart brightens more of the image's right half than of the left.
    films = np.mean([film(seed).pixels.astype(float) for seed in range(12)], axis=0)
    heart = films[int(0.58 * SIZE) : int(0.66 * SIZE)]
    left, right = heart[:, int(0.3 * SIZE) : int(0.42 * SIZE)], heart[:, int(0.58 * SIZE) : int(0.7 * SIZE)]
    assert right.mean() > left.mean() + 300


@pytest.mark.parametrize("seed", range(8))
def test_lungs_are_darker_than_the_mediastinum(seed: int) -> None:
    rows = film(seed).pixels[int(0.3 * SIZE) : int(0.5 * SIZE)].astype(float)
    mediastinum = rows[:, int(0.47 * SIZE) : int(0.53 * SIZE)].mean()
    for first, last in ((0.24, 0.36), (0.66, 0.76)):
        assert rows[:, int(first * SIZE) : int(last * SIZE)].mean() < 0.75 * mediastinum


@pytest.mark.parametrize("finding", [None, *FINDINGS])
def test_values_are_twelve_bits_and_use_much_of_the_range(finding: str | None) -> None:
    pixels = film(3, finding).pixels
    assert pixels.dtype == np.uint16
    assert pixels.max() <= 4095
    assert np.percentile(pixels, 99) - np.percentile(pixels, 1) > 1500


def test_film_without_finding_has_an_empty_mask_and_no_box() -> None:
    healthy = film(2)
    assert healthy.finding is None
    assert healthy.box_xywh is None
    assert healthy.mask.dtype == np.bool_
    assert not healthy.mask.any()


@pytest.mark.parametrize(("rows", "columns"), [(256, 192), (160, 288), (201, 173)])
def test_rectangular_films_have_the_size_asked_for(rows: int, columns: int) -> None:
    ill = simulate_film(6, "mass", rows=rows, columns=columns)
    assert ill.pixels.shape == ill.mask.shape == (rows, columns)
    assert ill.box_xywh is not None
    assert 0.6 < ill.box_xywh[2] / ill.box_xywh[3] < 1.6


def test_arrays_cannot_be_written_to() -> None:
    ill = film(1, "nodule")
    assert not ill.pixels.flags.writeable
    assert not ill.mask.flags.writeable


@pytest.mark.parametrize(
    "arguments",
    [
        {"finding": "fracture"},
        {"finding": ""},
        {"finding": "nodule", "side": "middle"},
        {"seed": -1},
        {"rows": 10},
    ],
)
def test_impossible_arguments_raise_a_configuration_error(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        simulate_film(**{"seed": 1, **arguments})  # type: ignore[arg-type]
