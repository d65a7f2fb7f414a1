"""Readers who wait in one queue get their own answers, in their turn, whatever happens to the others."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
import torch

from core.analysis import analyse
from core.engines.engine import FloatArray, Outputs
from core.engines.queue import FairQueue
from core.errors import UnknownLayer
from core.models.loading import prepare
from core.samples import simulated_scan
from tests.networks import card, seeded

PATIENCE = 30


class Doubling:
    """An engine that answers twice a picture's number, refuses -1, and works only while its gate is open."""

    name, tail = "doubling", None

    def __init__(self, at_once: int = 8) -> None:
        self.at_once = at_once
        self.gate, self.entered = threading.Event(), threading.Event()
        self.batches: list[list[float]] = []

    def run(self, pictures: FloatArray, layers: Sequence[str] = ()) -> list[Outputs]:  # noqa: ARG002 - as engines are asked
        """2 x each picture's number."""
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        numbers = pictures[:, 0, 0, 0]
        self.batches.append(numbers.tolist())
        if (numbers < 0).any():
            raise UnknownLayer("a picture that this engine refuses")
        return [Outputs(2 * picture[0], picture[0], {}) for picture in pictures]


def numbered(number: float) -> FloatArray:
    return np.full((1, 1, 2, 2), number, np.float32)


def value(future: "Future[Outputs]") -> float:
    return float(future.result(PATIENCE).logits[0, 0])


def held(engine: Doubling, queue: FairQueue) -> "Future[Outputs]":
    """One request that keeps the only worker busy until the gate opens."""
    future = queue.submit("first", engine, numbered(0))
    assert engine.entered.wait(PATIENCE)
    return future


def test_readers_take_turns_and_each_is_served_in_his_own_order() -> None:
    engine, queue = Doubling(at_once=1), FairQueue(workers=1)
    held(engine, queue)
    futures = [queue.submit("busy", engine, numbered(n)) for n in (11, 12, 13, 14)]
    futures += [queue.submit("other", engine, numbered(21)), queue.submit("third", engine, numbered(31))]
    engine.gate.set()
    assert [value(future) for future in futures] == [22, 24, 26, 28, 42, 62]
    assert engine.batches == [[0], [11], [21], [31], [12], [13], [14]]
    queue.close()


def test_who_waits_for_the_same_is_answered_together_up_to_the_most() -> None:
    engine, queue = Doubling(at_once=4), FairQueue(workers=1)
    held(engine, queue)
    alike = [queue.submit(reader, engine, numbered(n)) for n, reader in enumerate("ababcd", start=1)]
    layers = queue.submit("e", engine, numbered(7), ["another"])
    large = queue.submit("f", engine, np.full((1, 1, 3, 3), 8, np.float32))
    engine.gate.set()
    assert [value(future) for future in (*alike, layers, large)] == [2, 4, 6, 8, 10, 12, 14, 16]
    # a and b have had their turn, so that their second requests come after everybody's first.
    assert engine.batches == [[0], [1, 2, 5, 6], [7], [8], [3, 4]]
    queue.close()


def test_a_failure_reaches_its_own_caller_and_a_cancelled_request_nobody() -> None:
    engine, queue = Doubling(), FairQueue(workers=1)
    held(engine, queue)
    first, bad, cancelled, last = (queue.submit(f"reader {n}", engine, numbered(n)) for n in (1, -1, 5, 3))
    assert cancelled.cancel()
    engine.gate.set()
    assert (value(first), value(last)) == (2, 6)
    with pytest.raises(UnknownLayer, match="refuses"):
        bad.result(PATIENCE)
    with pytest.raises(CancelledError):
        cancelled.result(PATIENCE)
    assert not any(5 in batch for batch in engine.batches)
    # The worker lives.
    assert value(queue.submit("later", engine, numbered(4))) == 8
    queue.close()


def test_a_closed_queue_answers_who_waits_and_takes_nobody() -> None:
    engine, queue = Doubling(), FairQueue(workers=2)
    engine.gate.set()
    futures = [queue.submit("reader", engine, numbered(n)) for n in range(6)]
    queue.close()
    assert [value(future) for future in futures] == [0, 2, 4, 6, 8, 10]
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit("reader", engine, numbered(1))


def test_an_engine_that_answers_too_few_leaves_nobody_waiting() -> None:
    class Short(Doubling):
        def run(self, pictures: FloatArray, layers: Sequence[str] = ()) -> list[Outputs]:
            return super().run(pictures, layers)[:-1]

    engine, queue = Short(), FairQueue(workers=1)
    engine.gate.set()
    for future in [queue.submit("reader", engine, numbered(n)) for n in range(3)]:
        with pytest.raises(ValueError, match="zip"):
            future.result(PATIENCE)
    queue.close()


def test_many_readers_get_the_answers_that_each_would_get_alone() -> None:
    torch.manual_seed(0)
    model = prepare(card(), seeded("compact-resnet"))
    scans = [simulated_scan(seed, "mass", rows=64, columns=64)[0] for seed in range(6)]
    layers = ("stem.0",)
    alone = [analyse(model, scan, layers=layers) for scan in scans]
    queue, wrong = FairQueue(), list[int]()

    def read(reader: int) -> None:
        run = queue.run_for(f"reader {reader}")
        for turn in range(4):
            number = (reader + turn) % len(scans)
            got, expected = analyse(model, scans[number], layers=layers, run=run), alone[number]
            same = got.scan_digest == expected.scan_digest and all(
                np.allclose(got.heatmap(code).evidence, expected.heatmap(code).evidence, atol=1e-6)
                and abs(got.prediction.logits[code] - expected.prediction.logits[code]) < 1e-5
                for code in model.card.label_codes
            )
            if not (same and np.allclose(got.activations["stem.0"], expected.activations["stem.0"], atol=1e-5)):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.close()
    assert wrong == []
    # Another scan's map would not have passed.
    assert not np.allclose(alone[0].heatmap("mass").evidence, alone[1].heatmap("mass").evidence, atol=1e-5)
