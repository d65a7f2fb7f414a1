"""FairQueue: several readers, few processors. Round robin over readers, first come first served within one, small batches.

A lock would let one reader's tail starve, since it is handed to whoever wakes first; threads of one's own for every reader
make all of them slow. Here two workers take turns: each takes the oldest request of the reader whose turn it is, and with it
what others wait for with the same engine and layers, as far as the engine gains by that. Nothing is kept of a request once
it is answered.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from core.engines.engine import Engine, FloatArray, Outputs, Run
from core.engines.onnx_engine import SIDE_BY_SIDE


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """One picture (1, channels, size, size) that waits for its outputs."""

    engine: Engine
    picture: FloatArray = field(repr=False)
    layers: tuple[str, ...]
    future: "Future[Outputs]" = field(default_factory=Future, repr=False)

    def goes_with(self, other: "_Request") -> bool:
        """Whether one run can answer both."""
        alike = self.engine is other.engine and self.layers == other.layers
        return alike and self.picture.shape == other.picture.shape


class FairQueue:
    """``workers`` threads run the engines; they start with the first request and end with the process or with ``close``."""

    def __init__(self, workers: int = SIDE_BY_SIDE) -> None:
        self._workers = workers
        self._waiting: OrderedDict[str, deque[_Request]] = OrderedDict()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, reader: str, engine: Engine, picture: FloatArray, layers: Sequence[str] = ()) -> "Future[Outputs]":
        """A future of the outputs for one picture (1, channels, size, size); it can be cancelled while it waits.

        Raises RuntimeError once the queue is closed.
        """
        request = _Request(engine, picture, tuple(layers))
        with self._changed:
            if self._closed:
                raise RuntimeError("The queue is closed.")
            self._waiting.setdefault(reader, deque()).append(request)
            self._start()
            self._changed.notify()
        return request.future

    def run_for(self, reader: str) -> Run:
        """How ``core.analysis.analyse`` runs an engine through the queue, for this reader."""
        return lambda engine, picture, layers: self.submit(reader, engine, picture, layers).result()

    @property
    def waiting(self) -> int:
        """How many requests no worker has taken up yet."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def close(self) -> None:
        """Answer what waits, then end the workers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        while len(self._threads) < self._workers:
            name = f"radlens-engine-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while batch := self._take():
            _answer(batch)

    def _take(self) -> list[_Request]:
        """The next batch; empty when there is none and the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            # What waits is shared among the workers: one must not take all while another is about to be free.
            share = -(-sum(map(len, self._waiting.values())) // self._workers)
            return self._batch(share)

    def _batch(self, share: int) -> list[_Request]:
        """The oldest request of the reader whose turn it is, and up to ``share`` in all that go with it.

        No more than the engine likes at once. Who is served goes to the end.
        """
        if not self._waiting:
            return []
        batch = [self._next_of(next(iter(self._waiting)))]
        most, found = min(share, batch[0].engine.at_once), True
        while found and len(batch) < most:
            found = False
            for reader in list(self._waiting):
                if len(batch) < most and batch[0].goes_with(self._waiting[reader][0]):
                    batch.append(self._next_of(reader))
                    found = True
        return batch

    def _next_of(self, reader: str) -> _Request:
        own = self._waiting.pop(reader)
        request = own.popleft()
        if own:
            self._waiting[reader] = own
        return request


def _answer(batch: Sequence[_Request]) -> None:
    """Run those that nobody has cancelled. Where they fail together, each alone: a failure reaches its own caller only."""
    asked = [request for request in batch if request.future.set_running_or_notify_cancel()]
    if not asked:
        return
    try:
        _settle(asked)
    except BaseException as exc:  # noqa: BLE001 - whatever it is, the callers must not wait for ever
        if len(asked) == 1:
            asked[0].future.set_exception(exc)
            return
        for request in asked:
            _alone(request)


def _alone(request: _Request) -> None:
    try:
        _settle([request])
    except BaseException as exc:  # noqa: BLE001 - as above
        request.future.set_exception(exc)


def _settle(asked: Sequence[_Request]) -> None:
    first = asked[0]
    outputs = first.engine.run(np.concatenate([request.picture for request in asked]), first.layers)
    for request, one in list(zip(asked, outputs, strict=True)):
        request.future.set_result(one)
