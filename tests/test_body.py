"""The body on pictures drawn here, whose outline is known, and thresholds against a search written out."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from core.explaining.body import body_of, darkest_below, share_on
from core.explaining.erase import content_of
from core.preprocessing import Letterbox

SIZE = 96


def drawing(*, lung: float = 0.1) -> npt.NDArray[np.float32]:
    """Air, a bright ellipse with a dark lung in it, and a marker beside it."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    grey = np.full((SIZE, SIZE), 0.05)
    grey[ellipse(y, x, 0.38, 0.28)] = 0.7
    grey[ellipse(y, x, 0.15, 0.12)] = lung
    grey[10:16, 8:14] = 1.0
    return (grey + np.random.default_rng(0).normal(0, 0.01, grey.shape)).astype(np.float32)


def ellipse(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], high: float, wide: float) -> npt.NDArray[np.bool_]:
    return ((y - 0.5) / high) ** 2 + ((x - 0.5) / wide) ** 2 <= 1


def tensor(grey: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(grey)[None, None] * 4 - 2


WHOLE = torch.ones(SIZE, SIZE, dtype=torch.bool)


@pytest.mark.parametrize("lung", [0.05, 0.35])
def test_the_body_is_the_ellipse_with_its_lung_and_without_the_marker(lung: float) -> None:
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    body = body_of(tensor(drawing(lung=lung)), WHOLE)
    assert body is not None
    truth = ellipse(y, x, 0.38, 0.28)
    assert (body & truth).sum() >= 0.99 * truth.sum()
    assert (body & ~truth).sum() <= 0.03 * truth.sum()
    assert not body[10:16, 8:14].any()


def test_bars_and_the_rim_are_no_body() -> None:
    box = Letterbox.fit(300, 150, SIZE)
    grey = np.full((SIZE, SIZE), -2.0, np.float32)
    content = content_of(box)
    grey[content.numpy()] = np.random.default_rng(0).uniform(0.4, 0.6, int(content.sum()))
    assert int(content.sum()) == box.height * box.width
    filled = body_of(torch.from_numpy(grey)[None, None], content, fills=True)
    assert filled is not None
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    # 4 % of 96 rows are 4, of 48 columns 2.
    assert (rows[0], rows[-1]) == (4, 91)
    assert (columns[0], columns[-1]) == (box.left + 2, box.left + box.width - 3)
    assert filled[4:92, box.left + 2 : box.left + box.width - 2].all()


def test_an_even_picture_has_no_body() -> None:
    assert body_of(torch.zeros(1, 1, SIZE, SIZE), WHOLE) is None


def test_the_thresholds_are_those_of_the_least_spread_within_three_classes() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(m, s, n) for m, s, n in ((30, 8, 300), (110, 15, 200), (210, 10, 250))])
    grey = np.clip(np.rint(values), 0, 255).astype(int)

    def within(first: int, second: int) -> float:
        classes = (grey[grey < first], grey[(grey >= first) & (grey < second)], grey[grey >= second])
        return sum(float(((one - one.mean()) ** 2).sum()) for one in classes if one.size)

    least, first = min((within(a, b), a) for a in range(2, 200, 2) for b in range(a + 2, 256, 2))
    found = darkest_below(np.bincount(grey, minlength=256))
    assert min(within(found, b) for b in range(found + 1, 256)) <= least
    assert abs(found - first) <= 2


def test_the_share_counts_positive_evidence_by_the_cover_of_its_cells() -> None:
    evidence = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    region = np.random.default_rng(1).random((24, 24)) < 0.4
    expected, total = 0.0, 0.0
    for row in range(6):
        for column in range(4):
            value = max(0.0, float(evidence[row, column]))
            cover = region[4 * row : 4 * row + 4, 6 * column : 6 * column + 6].mean()
            expected, total = expected + value * cover, total + value
    assert share_on(evidence, region) == pytest.approx(expected / total)
    assert share_on(-np.abs(evidence), region) is None
