"""Novelty: distances against the textbook, planted domains, files that were tampered with, pictures that are none."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from core.confidence.novelty import (
    NOVELTY_FILE,
    Statistics,
    features_of,
    load_statistics,
    novelty_of,
    save_statistics,
    seen_grey,
    some_colour,
)
from core.confidence.novelty_fitting import METHODS, Pictures, fit_gate, pictures_of, statistics_of
from core.confidence.other_pictures import KINDS, inverted, made_pictures, made_scan, otherwise
from core.confidence.picture_look import LOOK_LENGTH, look_of, odd_look
from core.errors import AnalysisError, ConfigurationError, ModelRejected
from core.metrics import wilson
from core.models.card import InputSpec, ModelCard
from core.models.confidence_card import Confidence, NoveltyFigures, NoveltyGate
from core.models.loading import prepare
from core.preprocessing import Letterbox
from tests.confidences import card_of
from tests.networks import card as tiny_card
from tests.networks import seeded

CHANNELS = 6


def pictures(centre: float, count: int, seed: int, odd: str | None = None) -> Pictures:
    """Features of a made domain: normal about a centre in the activations, the looks all alike."""
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (count, CHANNELS + LOOK_LENGTH))
    features[:, :CHANNELS] += centre
    return Pictures(features, (odd,) * count, tuple(str(number) for number in range(count)))


def statistics() -> Statistics:
    return statistics_of({"one": pictures(0, 300, 1), "two": pictures(6, 300, 2)}, "activations")


def gate_of(sha256: str, gate: float, looks: tuple[str, ...]) -> NoveltyGate:
    none = NoveltyFigures(pictures=1, held_back=wilson(0, 1))
    return NoveltyGate(
        file_sha256=sha256, method="activations", gate=gate, rule="made", data="made", looks=looks, tried={}, own=none,
        others={}, all_others=none,
    )  # fmt: skip


def test_the_distance_is_mahalanobis_to_the_nearest_look() -> None:
    fitted = statistics()
    asked = pictures(2, 5, 9).features
    covariance = np.linalg.inv(fitted.whitening.T @ fitted.whitening)
    unwhitened = np.linalg.solve(fitted.whitening, fitted.centres.T).T
    for row, distances in zip(asked[:, :CHANNELS], fitted.distances(asked), strict=True):
        standard = (row - fitted.middle) / fitted.scale
        for centre, distance in zip(unwhitened, distances, strict=True):
            assert distance == pytest.approx(mahalanobis(standard, centre, np.linalg.inv(covariance)))


def test_features_that_go_together_are_no_novelty_where_they_go_together() -> None:
    random = np.random.default_rng(0)
    features = np.zeros((2000, CHANNELS + LOOK_LENGTH))
    features[:, :CHANNELS] = random.normal(0, 1, (2000, CHANNELS))
    features[:, 1] = 0.95 * features[:, 0] + np.sqrt(1 - 0.95**2) * features[:, 1]
    known = Pictures(features, (None,) * 2000, ("a",) * 2000)
    fitted = statistics_of({"one": known}, "activations")
    asked = np.zeros((2, CHANNELS + LOOK_LENGTH))
    asked[0, :2], asked[1, :2] = (2, 2), (2, -2)
    along, across = fitted.distances(asked)[:, 0]
    # Of a normal distribution with correlation r: 2 / sqrt((1 + r) / 2) and 2 / sqrt((1 - r) / 2).
    assert along == pytest.approx(2 / np.sqrt(1.95 / 2), rel=0.05)
    assert across == pytest.approx(2 / np.sqrt(0.05 / 2), rel=0.1)


def test_a_planted_domain_is_held_back_and_its_own_passes() -> None:
    looks = {"one": pictures(0, 300, 1), "two": pictures(6, 300, 2)}
    own = {"as they are": pictures(0, 200, 3), "other": pictures(6, 200, 4)}
    others = {"far": pictures(14, 60, 5), "between": pictures(3, 60, 6), "odd": pictures(0, 40, 7, odd="noise")}
    found = fit_gate(looks, own, others)
    assert found.method in METHODS
    assert found.all_others.auroc is not None
    assert found.all_others.auroc > 0.99
    assert found.own.held_back.value <= 0.06
    assert {kind: figures.held_back.value for kind, figures in found.others.items()} == {
        "far": 1,
        "between": 1,
        "odd": 1,
    }
    assert found.statistics.looks[:2] == ("one", "two") or set(found.statistics.looks) == {"one", "two"}


def test_of_its_own_domain_as_many_pass_as_the_rule_says() -> None:
    held = []
    for seed in range(6):
        looks, own = {"one": pictures(0, 400, 10 + seed)}, {"as they are": pictures(0, 300, 40 + seed)}
        found = fit_gate(looks, own, {"far": pictures(9, 20, 80 + seed)})
        fresh = pictures(0, 1000, 120 + seed)
        held.append((found.statistics.distances(fresh.features).min(1) > found.statistics.gate).mean())
    assert 0.015 <= np.mean(held) <= 0.045


def test_the_verdict_names_the_nearest_look_and_the_reason() -> None:
    fitted = statistics()
    bounded = Statistics(fitted.middle, fitted.scale, fitted.whitening, fitted.centres, 0, 5.0, fitted.looks)
    inside = novelty_of(pictures(6, 1, 11).features[0], bounded)
    assert (inside.outside, inside.reason, inside.nearest) == (False, None, "two")
    outside = novelty_of(pictures(30, 1, 12).features[0], bounded)
    assert outside.outside
    assert outside.times > 1
    assert outside.reason is not None
    assert "two" in outside.reason
    odd = novelty_of(pictures(6, 1, 11).features[0], bounded, "constant")
    assert odd.outside
    assert odd.reason == "The picture is one grey all over."


def test_too_few_training_pictures_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 20"):
        statistics_of({"one": pictures(0, 19, 1)}, "activations")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_feature_that_is_no_number_gives_no_result(value: float) -> None:
    features = pictures(0, 1, 1).features[0]
    features[3] = value
    with pytest.raises(AnalysisError, match="no result"):
        novelty_of(features, statistics())


def published(tmp_path: Path) -> ModelCard:
    fitted = statistics()
    sha256 = save_statistics(fitted, tmp_path / NOVELTY_FILE)
    card = card_of("softmax", 2)
    gate = gate_of(sha256, 4.0, fitted.looks)
    confidence = Confidence(weights_sha256=card.weights_sha256, data="", networks=0, pictures=0, novelty=gate)
    return card.model_copy(update={"confidence": confidence})


def test_statistics_come_back_from_the_file(tmp_path: Path) -> None:
    found = load_statistics(published(tmp_path), tmp_path)
    assert found is not None
    asked = pictures(1, 20, 3).features
    assert np.allclose(found.distances(asked), statistics().distances(asked), rtol=1e-4)
    assert found.gate == 4.0


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    card = published(tmp_path)
    data = bytearray((tmp_path / NOVELTY_FILE).read_bytes())
    data[-3] ^= 1
    (tmp_path / NOVELTY_FILE).write_bytes(data)
    with pytest.raises(ModelRejected, match="not the one"):
        load_statistics(card, tmp_path)
    (tmp_path / NOVELTY_FILE).unlink()
    with pytest.raises(ModelRejected, match="missing"):
        load_statistics(card, tmp_path)


def test_other_weights_have_no_gate(tmp_path: Path) -> None:
    card = published(tmp_path).model_copy(update={"weights_sha256": "d" * 64})
    assert load_statistics(card, tmp_path) is None
    assert load_statistics(card_of("softmax", 2), tmp_path) is None


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        (np.zeros((64, 64)), "constant"),
        (np.ones((64, 64)), "constant"),
        (np.random.default_rng(0).random((64, 64)), "noise"),
        (np.kron(np.random.default_rng(0).integers(0, 2, (8, 8)), np.ones((16, 16))), "two-valued"),
        (np.linspace(0, 1, 64)[:, None] * np.linspace(0.2, 1, 64), None),
    ],
)
def test_what_is_no_picture_is_told_from_the_picture_alone(picture: np.ndarray, code: str | None) -> None:
    assert odd_look(picture.astype(np.float32)) == code


def test_colour_is_told_from_grey_stored_in_three_channels() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64)[:, None], 64, 1).astype(np.uint8)
    grey = np.stack([ramp] * 3, 2)
    tinted = grey.copy()
    tinted[..., 0] //= 2
    shown = ramp.astype(np.float32) / 255
    assert odd_look(shown, some_colour(made_scan(grey))) is None
    assert odd_look(shown, some_colour(made_scan(tinted))) == "colour"
    assert some_colour(made_scan(ramp)) is None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_made_pictures_are_the_same_for_the_same_seed_and_none_alike(kind: str) -> None:
    first, again = list(made_pictures(kind, 3, 5)), list(made_pictures(kind, 3, 5))
    assert all(bool((one == other).all()) for one, other in zip(first, again, strict=True))
    assert first[0].shape != first[1].shape or not bool((first[0] == first[1]).all())


def test_inverted_and_framed_otherwise() -> None:
    film = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    assert np.allclose(inverted(film) / 255, 1 - film, atol=0.003)
    shapes = {otherwise(film, seed).shape for seed in range(20)}
    assert all(rows == 40 or columns == 60 for rows, columns in shapes)
    assert len(shapes) > 5


@pytest.mark.parametrize("shape", [(256, 200), (28, 28), (9, 64), (2, 2)])
def test_every_picture_has_as_many_numbers(shape: tuple[int, int]) -> None:
    look = look_of(np.random.default_rng(0).random(shape).astype(np.float32))
    assert look.shape == (LOOK_LENGTH,)
    assert np.isfinite(look).all()


def test_bars_of_the_letterbox_are_not_part_of_the_picture() -> None:
    spec = InputSpec(channels=1, size=64, mean=0.5, std=0.25)
    box = Letterbox.fit(100, 50, 64)
    square = np.full((1, 64, 64), -2.0, np.float32)
    square[:, box.top : box.top + box.height, box.left : box.left + box.width] = 0.4
    grey = seen_grey(square, box, spec)
    assert grey.shape == (64, 32)
    assert np.allclose(grey, 0.6)


def test_features_are_the_means_of_the_channels() -> None:
    target = np.stack([np.full((4, 4), 9.0), np.full((4, 4), -4.0)])
    features = features_of(target, np.zeros((16, 16), np.float32))
    assert features[:2].tolist() == [3.0, -2.0]
    assert len(features) == 2 + LOOK_LENGTH


def test_a_real_network_tells_films_from_pages_of_text() -> None:
    model = prepare(tiny_card(), seeded("compact-resnet"))
    films = [(made_scan(picture), str(number)) for number, picture in enumerate(made_pictures("drawn limbs", 60, 0))]
    pages = [(made_scan(picture), "page") for picture in made_pictures("text pages", 15, 0)]
    looks = {"limb": pictures_of(model, films[:30])}
    found = fit_gate(looks, {"as they are": pictures_of(model, films[30:])}, {"pages": pictures_of(model, pages)})
    assert found.others["pages"].auroc is not None
    assert found.others["pages"].auroc > 0.95
