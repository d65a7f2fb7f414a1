"""The shortcut scan: networks trained here on a planted token raise the alarm, the same kind trained on the lesion does not."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from core.errors import Stopped
from core.explaining.altered import alterable
from core.explaining.erase import filled
from core.explaining.marks import MOST_MARKS, marks_on
from core.explaining.perturbation import Watch
from core.explaining.shortcuts import find_shortcuts, words_of
from core.models.card import Label
from core.models.loading import Model, prepare
from core.reading.decoding import decode_scan
from core.scan import Scan
from tests.files import png_bytes
from tests.networks import card

Films = npt.NDArray[np.float32]
SIZE = 64
TOKEN = 6
CORNERS = {"left": (4, 4), "right": (4, SIZE - 4 - TOKEN)}


def film(rng: np.random.Generator, *, token: bool, lesion: bool) -> Films:
    """A grey body on black with noise; a bright square beside the body, a soft bright blob on it."""
    y, x = np.mgrid[:SIZE, :SIZE]
    grey = np.where(((y - 36) / 26) ** 2 + ((x - 32) / 24) ** 2 < 1, 0.5, 0.05)
    if lesion:
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 14)
        middle = 36 + far * np.sin(angle), 32 + far * np.cos(angle)
        grey += 0.3 * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * 3.5**2))
    if token:
        top, left = CORNERS[rng.choice(list(CORNERS))]
        grey[top : top + TOKEN, left : left + TOKEN] = 1
    return np.clip(grey + rng.normal(0, 0.03, grey.shape), 0, 1).astype(np.float32)


def scan_of(grey: Films) -> Scan:
    return decode_scan(png_bytes(np.rint(255 * grey).astype(np.uint8)))


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip


def trained(on: str) -> Model:
    """A network that knows the token, or the lesion, from films in which the other is there by chance."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    truths = rng.random((256, 2)) < 0.5
    films = np.stack([film(rng, token=token, lesion=lesion) for token, lesion in truths.tolist()])
    pictures = torch.from_numpy((films - 0.5) / 0.25)[:, None]
    labels = torch.from_numpy(truths[:, ["token", "lesion"].index(on)]).float()[:, None]
    own = network()
    steps = torch.optim.Adam(own.parameters(), 0.01)
    for _ in range(120):
        drawn = torch.randint(0, len(films), (32,))
        loss = nn.functional.binary_cross_entropy_with_logits(own(pictures[drawn]), labels[drawn])
        steps.zero_grad()
        loss.backward()
        steps.step()
    own.eval().requires_grad_(False)
    assert float(((own(pictures) > 0) == (labels > 0)).float().mean()) > 0.98
    both = (Label(code="none", words="Nothing"), Label(code="lesion", words="Lesion (a soft blob)"))
    return prepare(card(head="logit", labels=both, headline="lesion", target_layer="5"), own)


@pytest.fixture(scope="module")
def by_token() -> Model:
    return trained("token")


@pytest.fixture(scope="module")
def by_lesion() -> Model:
    return trained("lesion")


def scans(count: int, *, token: bool, lesion: bool) -> list[Scan]:
    rng = np.random.default_rng(100)
    return [scan_of(film(rng, token=token, lesion=lesion)) for _ in range(count)]


def test_a_network_that_learnt_the_token_raises_the_alarm_and_drops_without_it(
    by_token: Model, told: Callable[[str], None]
) -> None:
    films = scans(8, token=True, lesion=False)
    found = [find_shortcuts(by_token, scan) for scan in films]
    alarms = sum(bool(one.leaning) for one in found)
    told(f"shortcut scan: alarm on {alarms} of {len(films)} films with a planted token that the network learnt")
    assert alarms == len(films)
    for one in found:
        lesions = [
            change for spot, change in one.leaning if spot.name.startswith("a bright mark") and change.label == "lesion"
        ]
        assert lesions
        assert lesions[0].score_before > 0.9
        assert lesions[0].score_after < 0.5
        sentence = one.sentence(words_of(by_token.card))
        assert "Do not rely on the answer" in sentence
        assert one.leaning[0][0].name in sentence


def test_the_same_kind_of_network_that_learnt_the_lesion_raises_none(
    by_lesion: Model, told: Callable[[str], None]
) -> None:
    films = [*scans(6, token=True, lesion=True), *scans(4, token=True, lesion=False)]
    found = [find_shortcuts(by_lesion, scan) for scan in films]
    alarms = sum(bool(one.leaning) for one in found)
    told(f"shortcut scan: alarm on {alarms} of {len(films)} films with the token of a network that learnt the lesion")
    assert alarms == 0
    assert all(spot.changes["lesion"].score_before > 0.9 for one in found[:6] for spot in one.spots)
    assert "No sign of a shortcut" in found[0].sentence(words_of(by_lesion.card))


def test_where_the_token_is_not_there_to_be_found_there_is_no_alarm(by_token: Model) -> None:
    assert not any(find_shortcuts(by_token, scan).leaning for scan in scans(4, token=False, lesion=True))


def test_every_corner_the_border_and_every_mark_is_tried_against_places_as_large(by_token: Model) -> None:
    (scan,) = scans(1, token=True, lesion=False)
    spots = find_shortcuts(by_token, scan).spots
    names = [spot.name for spot in spots]
    for corner in ("upper left", "upper right", "lower left", "lower right"):
        assert f"the {corner} corner of the picture" in names
    assert "the border of the picture" in names
    for spot in spots:
        assert all(len(change.elsewhere) >= 2 for change in spot.changes.values())
    corner_spot = next(spot for spot in spots if spot.name == "the upper left corner of the picture")
    assert np.array_equal(np.argwhere(corner_spot.region).max(0), [7, 7])
    border = next(spot for spot in spots if spot.name == "the border of the picture")
    assert border.share == pytest.approx(1 - (58 / 64) ** 2)


def test_each_place_is_told_its_own_answers(by_token: Model) -> None:
    (scan,) = scans(1, token=True, lesion=True)
    asked, found = alterable(by_token, scan, 0), find_shortcuts(by_token, scan)
    content = torch.ones(SIZE, SIZE, dtype=torch.bool)
    for spot in found.spots:
        erased = filled(asked.picture, content, torch.from_numpy(spot.region), "neighbour")
        change = spot.changes["lesion"]
        assert change.logit_after == pytest.approx(float(by_token.network(erased)), abs=1e-3)
        assert change.logit_before == pytest.approx(float(by_token.network(asked.picture)), abs=1e-3)


def test_a_bright_line_along_the_whole_edge_is_too_large_for_a_mark(by_token: Model) -> None:
    for rows, marks in ((slice(2, 8), 1), (slice(0, 64), 0)):
        grey = film(np.random.default_rng(1), token=False, lesion=False)
        grey[rows, 1:4] = 1
        asked = alterable(by_token, scan_of(grey), 0)
        found = marks_on(asked.picture, asked.content, asked.body)
        assert sum(bool(mark[:, 1:4].any()) for mark in found) == marks


def test_a_marker_is_found_where_it_is_and_a_lesion_on_the_body_is_none(by_token: Model) -> None:
    rng = np.random.default_rng(5)
    for token in (True, False):
        asked = alterable(by_token, scan_of(film(rng, token=token, lesion=True)), 0)
        found = marks_on(asked.picture, asked.content, asked.body)
        assert len(found) == int(token)
    token_cells = alterable(by_token, scan_of(film(np.random.default_rng(5), token=True, lesion=False)), 0)
    (mark,) = marks_on(token_cells.picture, token_cells.content, token_cells.body)
    bright = token_cells.picture[0, 0].numpy() > 1.6
    assert not (bright & ~mark).any()
    assert mark.sum() < 3 * TOKEN**2


def test_writing_is_one_mark_a_word_and_there_are_never_too_many(by_token: Model) -> None:
    grey = film(np.random.default_rng(1), token=False, lesion=False)
    for column in (2, 4, 6, 8):
        grey[58:62, column] = 1
    asked = alterable(by_token, scan_of(grey), 0)
    (word,) = marks_on(asked.picture, asked.content, asked.body)
    assert word[58:62, 2:9].all()
    grey[::8, 2::8] = 1
    many = alterable(by_token, scan_of(grey), 0)
    assert len(marks_on(many.picture, many.content, many.body)) <= MOST_MARKS


def test_it_tells_how_far_it_is_and_stops(by_token: Model) -> None:
    (scan,) = scans(1, token=True, lesion=False)
    steps: list[tuple[int, int]] = []
    find_shortcuts(by_token, scan, watch=Watch(lambda done, total: steps.append((done, total))))
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1] > 20
    with pytest.raises(Stopped):
        find_shortcuts(by_token, scan, watch=Watch(cancelled=lambda: True))
