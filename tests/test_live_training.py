"""Training before one's eyes: the article's network, the same course every time, nobody else's business."""

import threading

import numpy as np
import pytest
import torch

from core.errors import ConfigurationError, Stopped
from core.explaining.perturbation import Watch
from core.inside.live_training import SIDE, Films, Lesson, Snapshot, films, learn, network_of
from core.models.architectures import ArticleCnn28


def bright_or_dark(_finding: str, *, held_out: bool) -> Films:
    """Pictures whose truth is their upper half: bright there or not."""
    random = torch.Generator().manual_seed(1 + held_out)
    truths = torch.arange(96) % 2
    pictures = torch.rand(96, 1, SIDE, SIDE, generator=random) - 0.5
    pictures[:, :, : SIDE // 2] += truths[:, None, None, None] * 0.5
    return Films(pictures, truths)


def course(lesson: Lesson) -> list[Snapshot]:
    return list(learn(lesson, films_of=bright_or_dark))


def test_it_is_the_articles_network() -> None:
    own, articles = network_of(Lesson()).state_dict(), ArticleCnn28(labels=2).state_dict()
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in articles.items()}


def test_it_learns_what_is_there_to_be_learnt() -> None:
    shown = course(Lesson(epochs=3, first_filters=8, second_filters=8))
    accuracies = [snapshot.accuracy for snapshot in shown if snapshot.accuracy is not None]
    assert len(accuracies) == 3
    assert accuracies[-1] > 0.95
    assert shown[-1].loss < shown[0].loss
    assert (shown[-1].step, shown[-1].epoch) == (shown[-1].steps, 3)
    assert shown[0].filters.shape == (8, 3, 3)
    assert not np.array_equal(shown[0].filters, shown[-1].filters)
    assert shown[-1].maps.shape == (8, 26, 26)
    # By hand: 8 x 9 + 8, 8 x 8 x 9 + 8, and 8 x 5 x 5 x 2 + 2.
    assert shown[0].parameters == 80 + 584 + 402


def test_two_sessions_at_once_change_nothing_of_each_other() -> None:
    alone = [course(Lesson(epochs=1, first_filters=4, second_filters=4, seed=seed))[-1].filters for seed in (1, 2)]
    found: dict[int, np.ndarray] = {}

    def train(seed: int) -> None:
        found[seed] = course(Lesson(epochs=1, first_filters=4, second_filters=4, seed=seed))[-1].filters

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.allclose(found[1], alone[0], atol=1e-6)
    assert np.allclose(found[2], alone[1], atol=1e-6)
    assert not np.allclose(found[1], found[2], atol=1e-3)


def test_it_can_be_stopped() -> None:
    done: list[int] = []
    with pytest.raises(Stopped):
        for _ in learn(
            Lesson(epochs=10),
            watch=Watch(lambda at, _n: done.append(at), lambda: len(done) > 2),
            films_of=bright_or_dark,
        ):
            pass
    assert done == [1, 2, 3]


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_every_size_of_filter_makes_a_network(kernel: int) -> None:
    network = network_of(Lesson(kernel=kernel, first_filters=2, second_filters=3))
    assert network(torch.zeros(1, 1, SIDE, SIDE)).shape == (1, 2)


@pytest.mark.parametrize(
    "settings", [{"finding": "fracture"}, {"kernel": 4}, {"first_filters": 0}, {"epochs": 11}, {"learning_rate": 1.0}]
)
def test_what_makes_no_lesson_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        Lesson(**settings)  # type: ignore[arg-type]


def test_the_films_are_half_with_and_half_without() -> None:
    held_out = films("cardiomegaly", held_out=True)
    assert held_out.pictures.shape == (200, 1, SIDE, SIDE)
    assert int(held_out.truths.sum()) == 100
    assert float(held_out.pictures.min()) >= -0.5
    assert float(held_out.pictures.max()) <= 0.5
    # A large heart makes the lower middle brighter: the mean films must say so.
    there, without = (held_out.pictures[held_out.truths == truth].mean(0)[0] for truth in (1, 0))
    assert float((there - without)[14:24, 8:20].mean()) > float((there - without)[:10].mean())
