"""Deletion and insertion against a slow reference that takes the picture apart cell by cell, one forward pass a picture."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import auc
from torch import nn

from core.errors import Stopped
from core.explaining.faithfulness import BLURS, RANDOM_ORDERS, SHARES, Curves, faithfulness, places_in_order
from core.explaining.perturbation import Answer, Watch
from tests.networks import seeded

Array = npt.NDArray[np.float64]
SIZE = 64


def picture_of(seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear") * 4 - 2


def content_of(top: int, bottom: int) -> torch.Tensor:
    content = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    content[top:bottom] = True
    return content


def answer_of(network: nn.Module, label: int = 0) -> Answer:
    def answer(pictures: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(pictures)[:, label : label + 1]

    return answer


def slow_curve(
    network: nn.Module, start: Array, end: Array, evidence: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]
) -> list[float]:
    """The answer while cells of ``end`` replace those of ``start``, the highest evidence first, pixel by pixel."""
    side = len(evidence)
    cells = sorted(((y, x) for y in range(side) for x in range(side) if seen[y, x]), key=lambda c: -evidence[c])
    # A pixel takes each cell by how near its centre is (bilinear).
    near = [[max(0.0, 1 - abs(near_edge(p, side) - cell)) for cell in range(side)] for p in range(SIZE)]
    values = []
    for share in SHARES:
        mixed = start.copy()
        chosen = [cell for place, cell in enumerate(cells) if (place + 0.5) / len(cells) < share]
        for y in range(SIZE):
            for x in range(SIZE):
                part = sum(near[y][row] * near[x][column] for row, column in chosen)
                mixed[y, x] = start[y, x] * (1 - part) + end[y, x] * part
        with torch.inference_mode():
            values.append(float(network(torch.from_numpy(mixed)[None, None].float())[0, 0]))
    return values


def near_edge(pixel: int, side: int) -> float:
    """Where a pixel's centre lies among the centres of the cells; those beyond the last centre belong to the last cell."""
    return min(max((pixel + 0.5) * side / SIZE - 0.5, 0.0), side - 1.0)


@pytest.mark.parametrize("bars", [0, 16])
def test_curves_equal_those_of_a_slow_reference(bars: int) -> None:
    network, picture, content = seeded("compact-resnet"), picture_of(), content_of(bars, SIZE - bars)
    picture[..., ~content] = -2.0
    evidence = np.random.default_rng(2).normal(size=(8, 8)).astype(np.float32)
    got = faithfulness(answer_of(network), picture, content, evidence)
    assert got is not None
    whole, shown = picture[0, 0].double().numpy(), content.numpy()
    seen = np.zeros((8, 8), bool)
    seen[bars // 8 : 8 - bars // 8] = True
    deletions, insertions = [], []
    for blur in BLURS:
        options = {"sigma": blur * SIZE, "mode": "constant", "truncate": 3.0}
        cover = ndimage.gaussian_filter(shown.astype(float), **options)
        empty = np.where(shown, ndimage.gaussian_filter(whole * shown, **options) / np.maximum(cover, 1e-9), whole)
        deletions.append(slow_curve(network, whole, empty, evidence, seen))
        insertions.append(slow_curve(network, empty, whole, evidence, seen))
    # What is never seen is never taken away: the last step of the function is the empty picture itself.
    assert np.allclose(got.deletion[:-1], np.mean(deletions, 0)[:-1], atol=1e-4)
    assert np.allclose(got.insertion[:-1], np.mean(insertions, 0)[:-1], atol=1e-4)
    heights = [
        (auc(SHARES, insertion) - auc(SHARES, deletion)) / 2
        for insertion, deletion in zip(
            [got.insertion, *got.random_insertion], [got.deletion, *got.random_deletion], strict=True
        )
    ]
    assert got.gain == pytest.approx(heights[0] - np.mean(heights[1:]))
    assert got.spread == pytest.approx(np.std(heights[1:], ddof=1))


def test_ends_are_the_picture_and_its_blurred_copy_in_every_order() -> None:
    network, picture = seeded("compact-resnet"), picture_of(1)
    got = faithfulness(answer_of(network), picture, content_of(0, SIZE), np.eye(8, dtype=np.float32))
    assert got is not None
    with torch.inference_mode():
        logit = float(network(picture)[0, 0])
    assert got.random_deletion.shape == (RANDOM_ORDERS, len(SHARES))
    for deletion, insertion in zip(
        [got.deletion, *got.random_deletion], [got.insertion, *got.random_insertion], strict=True
    ):
        assert deletion[0] == insertion[-1] == pytest.approx(logit, abs=1e-4)
        assert deletion[-1] == insertion[0]
    # Random orders are orders of their own.
    assert len({tuple(curve) for curve in got.random_deletion}) == RANDOM_ORDERS


def test_a_gain_without_any_difference_is_none() -> None:
    line = np.linspace(1.0, 0.0, len(SHARES))
    same = np.tile(line, (RANDOM_ORDERS, 1))
    assert Curves(np.array(SHARES), line, line[::-1], same, same[:, ::-1]).gain == pytest.approx(0, abs=1e-12)


def test_places_are_reached_highest_first_and_ties_do_not_run_from_the_top() -> None:
    seen = np.ones((4, 4), bool)
    seen[0] = False
    values = np.arange(16.0).reshape(4, 4)
    reached = places_in_order(values, seen, np.zeros((4, 4)))
    assert np.isinf(reached[0]).all()
    assert reached[3, 3] == reached[seen].min() == 0.5 / 12
    assert reached[1, 0] == reached[seen].max() == 11.5 / 12
    tie = np.random.default_rng(0).random((4, 4))
    even = places_in_order(np.zeros((4, 4)), seen, tie)
    assert (np.argsort(even[seen]) == np.argsort(tie[seen])).all()


def test_finer_maps_are_taken_together_and_too_coarse_ones_are_not_taken_apart() -> None:
    network, picture, content = seeded("compact-resnet"), picture_of(), content_of(0, SIZE)
    coarse = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    fine = coarse.repeat(2, 0).repeat(2, 1)
    first = faithfulness(answer_of(network), picture, content, coarse)
    second = faithfulness(answer_of(network), picture, content, fine)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.deletion, second.deletion)
    assert faithfulness(answer_of(network), picture, content, np.ones((3, 3), np.float32)) is None


def test_it_stops_within_one_batch() -> None:
    network, picture, asked = seeded("compact-resnet"), picture_of(), 0

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += len(pictures)
        return answer_of(network)(pictures)

    with pytest.raises(Stopped):
        faithfulness(answer, picture, content_of(0, SIZE), np.eye(8, dtype=np.float32), Watch(cancelled=lambda: True))
    # The two ends, then one batch.
    assert asked <= 2 + 8
