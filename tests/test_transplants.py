"""Transplants: a finding lies where its new box says, all else is as it was, and healthy grafts change no truth."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from core.metrics import Box
from core.training.data import SIMULATED, Examples
from core.training.transplants import Transplants, graft

CODES = ("abnormal", "mass", "nodule")
BOX: Box = (20.0, 24.0, 16.0, 12.0)


def ramp(level: int) -> npt.NDArray[np.uint8]:
    """A picture (1, 64, 64) that grows brighter to the right."""
    return np.broadcast_to(np.arange(64) + level, (1, 64, 64)).astype(np.uint8).copy()


def with_spot(level: int) -> npt.NDArray[np.uint8]:
    """The ramp with a finding of 60 grey levels in the middle of the box."""
    picture = ramp(level)
    picture[0, 27:33, 24:32] += 60
    return picture


def test_the_graft_lies_in_its_new_box_and_nowhere_else() -> None:
    host = ramp(40)
    grafted = graft(host, with_spot(100), BOX, np.random.default_rng(0))
    assert grafted is not None
    picture, (x, y, width, height) = grafted
    assert (width, height) == BOX[2:]
    assert abs(x - BOX[0]) <= 3
    assert abs(y - BOX[1]) <= 3
    change = picture[0].astype(int) - host[0]
    rows, columns = np.nonzero(np.abs(change) > 30)
    # The spot lay 4 from the box's left edge and 3 from its top, 8 x 6 large.
    assert (columns.min(), columns.max()) == (int(x) + 4, int(x) + 11)
    assert (rows.min(), rows.max()) == (int(y) + 3, int(y) + 8)
    outside = np.ones((64, 64), bool)
    outside[int(y) - 4 : int(y + height) + 4, int(x) - 5 : int(x + width) + 5] = False
    assert not change[outside].any()


def test_the_seam_meets_another_exposure() -> None:
    host = ramp(40)
    grafted = graft(host, ramp(120), BOX, np.random.default_rng(1))
    assert grafted is not None
    # 80 grey levels apart, and the same ramp: nothing of it shall be seen.
    assert np.abs(grafted[0].astype(int) - host).max() <= 1


def test_the_host_itself_is_not_changed() -> None:
    host, kept = ramp(40), ramp(40)
    graft(host, with_spot(100), BOX, np.random.default_rng(0))
    assert (host == kept).all()


def test_a_graft_stays_within_the_picture() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        grafted = graft(ramp(40), with_spot(100), (50.0, 52.0, 13.0, 11.0), random)
        assert grafted is not None
        x, y, width, height = grafted[1]
        assert 0 <= x <= 64 - width
        assert 0 <= y <= 64 - height


def test_what_is_too_small_to_see_is_not_transplanted() -> None:
    assert graft(ramp(40), with_spot(100), (20.0, 20.0, 3.0, 3.0), np.random.default_rng(0)) is None


@pytest.fixture
def examples() -> Examples:
    """Two healthy pictures, one with a mass, one of which nothing is known, a drawn one with a nodule."""
    pictures = torch.from_numpy(np.stack([ramp(40), ramp(60), with_spot(100), ramp(80), with_spot(20)]))
    unknown = np.nan
    truths = np.array([[0, 0, 0], [0, 0, 0], [1, 1, 0], [unknown] * 3, [1, 0, 1]], np.float32)
    boxes: tuple[dict[str, list[Box]], ...] = ({}, {}, {"mass": [BOX]}, {}, {"nodule": [BOX]})
    return Examples(pictures, truths, boxes, ("a", "b", "c", "d", f"{SIMULATED}1"))


def test_half_of_the_grafts_are_findings_and_half_change_no_truth(examples: Examples) -> None:
    transplants, random = Transplants(examples, CODES, ("mass", "nodule"), 1.0), np.random.default_rng(0)
    drawn = [transplants(0, random) for _ in range(400)]
    findings = [(picture, boxes) for picture, truths, boxes in drawn if truths.tolist() == [1, 1, 0]]
    healthy = [(picture, boxes) for picture, truths, boxes in drawn if truths.tolist() == [0, 0, 0]]
    assert len(findings) + len(healthy) == 400
    # 400 tosses of a coin: five standard deviations are 50.
    assert 150 < len(findings) < 250
    assert all(list(boxes) == ["mass"] for _, boxes in findings)
    assert all(not boxes for _, boxes in healthy)
    spots = [int((picture.int() - examples.pictures[0].int()).abs().max()) for picture, _ in findings]
    assert min(spots) > 30
    seams = [int((picture.int() - examples.pictures[0].int()).abs().max()) for picture, _ in healthy]
    assert max(seams) <= 1


def test_only_healthy_real_pictures_are_hosts(examples: Examples) -> None:
    transplants, random = Transplants(examples, CODES, ("mass", "nodule"), 1.0), np.random.default_rng(0)
    for number in (2, 3, 4):
        for _ in range(20):
            picture, truths, boxes = transplants(number, random)
            assert torch.equal(picture, examples.pictures[number])
            np.testing.assert_array_equal(truths, examples.truths[number])
            assert boxes == examples.boxes[number]


def test_without_a_share_or_a_donor_nothing_happens(examples: Examples) -> None:
    random = np.random.default_rng(0)
    for transplants in (Transplants(examples, CODES, ("mass",), 0.0), Transplants(examples, CODES, (), 1.0)):
        for _ in range(20):
            assert torch.equal(transplants(0, random)[0], examples.pictures[0])
