"""Stability: copies that a reader would not tell apart, the same for the same seed, with progress and a way to stop."""

import numpy as np
import pytest
import torch

from core.analysis import analyse
from core.confidence.stability import NOISE, changed, stability
from core.errors import AnalysisError, Stopped
from core.explaining.perturbation import Watch
from core.models.card import OperatingPoint
from core.models.card_fields import Interval
from core.models.loading import Model, prepare
from core.samples import simulated_scan
from core.scan import Scan
from tests.networks import card, seeded

BLANK = Interval(value=0.5, low=0.4, high=0.6)


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulated_scan(5, "mass", rows=96, columns=96)[0]


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


def test_copies_differ_by_less_than_a_reader_would_notice() -> None:
    y, x = np.mgrid[0:64, 0:64] / 64
    picture = ((np.sin(4 * x) + np.cos(3 * y)) / 4)[None, None].astype(np.float32)
    copies = changed(picture, 16, 0, grey_step=1.0)
    assert copies.shape == (16, 1, 64, 64)
    gaps = np.abs(copies - picture).mean((1, 2, 3))
    assert (gaps > 0.3 * NOISE).all()
    assert (gaps < 0.06).all()
    assert len({round(float(gap), 9) for gap in gaps}) == 16


def test_a_flat_picture_stays_flat_but_for_brightness_and_noise() -> None:
    copies = changed(np.full((1, 1, 40, 40), 0.3, np.float32), 8, 1, grey_step=1.0)
    assert (copies.std((1, 2, 3)) < 1.2 * NOISE).all()
    assert np.abs(copies.mean((1, 2, 3)) - 0.3).max() <= 0.021


def test_the_same_seed_gives_the_same_spread(model: Model, scan: Scan) -> None:
    first, again, other = (stability(model, scan, copies=8, seed=seed) for seed in (3, 3, 4))
    assert (first.every == again.every).all()
    assert (first.every[1:] != other.every[1:]).any()


def test_the_scan_itself_comes_first_and_lies_in_the_interval(model: Model, scan: Scan) -> None:
    found = stability(model, scan, copies=12)
    scores = analyse(model, scan).prediction.scores
    for code, interval in found.scores.items():
        assert interval.value == pytest.approx(scores[code], abs=1e-5)
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high
    assert found.copies == 12
    assert not found.calibrated


def test_copies_that_cross_the_threshold_are_counted(model: Model, scan: Scan) -> None:
    own = stability(model, scan, copies=12)
    column = model.card.label_codes.index("mass")
    middle = float(np.median(own.every[1:, column]))
    point = OperatingPoint(
        threshold=middle, rule="made", sensitivity=BLANK, specificity=BLANK, positives=1, negatives=1, split="val",
        weights_sha256=model.card.weights_sha256,
    )  # fmt: skip
    torn = prepare(model.card.model_copy(update={"thresholds": {"mass": point}}), model.network)
    assert stability(torn, scan, copies=12).turned["mass"] == pytest.approx(0.5, abs=0.1)


def test_progress_is_told_and_the_work_can_be_stopped(model: Model, scan: Scan) -> None:
    seen: list[tuple[int, int]] = []
    stability(model, scan, watch=Watch(report=lambda done, total: seen.append((done, total))), copies=20)
    assert seen == [(0, 21), (8, 21), (16, 21), (21, 21)]
    with pytest.raises(Stopped, match="stability was not measured"):
        stability(model, scan, watch=Watch(cancelled=lambda: True), copies=20)


def test_an_answer_that_is_no_number_gives_no_result(scan: Scan) -> None:
    network = seeded("compact-resnet")
    broken = prepare(card(), network)
    with torch.no_grad():
        for parameter in broken.fast._traced.module.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(AnalysisError, match="no result"):
        stability(broken, scan, copies=4)
    with pytest.raises(AnalysisError, match="no result"):
        analyse(broken, scan)
