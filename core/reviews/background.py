"""The background: goes through the worklist while nobody has to wait for it, and goes on where it stopped after a restart.

One thread a server takes the cases whose files are at hand; servers that share a database share the work, since what one has
taken no other takes. Several are in work at any time, so that some are read or stored while others are analysed. Readers in front
of a page come first at the engine.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.engines.engine import Engine, FloatArray, Outputs, Run
from core.engines.onnx_engine import SIDE_BY_SIDE
from core.engines.queue import FairQueue
from core.errors import RadLensError, ScanError, StoreBusy, StoreError
from core.models.card import ModelCard
from core.reading import read_study
from core.reviews.answers import Outcome, answer_case
from core.reviews.keeping import CaseFiles
from core.reviews.opening import Reviews
from core.reviews.record import SERVER
from core.reviews.store import Case
from core.reviews.worklist import Backlog
from core.scan import Scan

if TYPE_CHECKING:
    from core.models.loading import Model

# So many cases are taken at once; what is read and decoded at any time is only what is in work.
_AT_ONCE = 8
# As many as the engine runs side by side, and one more that is being read or stored.
_IN_WORK = SIDE_BY_SIDE + 1
# How often it looks for cases that another server left, and how long it waits before it tries a busy database again.
_LOOK_SECONDS = 20.0
_BUSY_SECONDS = 2.0
_TRIES = 30
_HOUR = 3600.0
# A reader's request is answered within moments; one that never ends must not stop the background for good.
_PATIENCE_SECONDS = 30.0
_STEP_SECONDS = 0.005
_GONE = "The file of this case is not on this server any more; upload it again, and it joins this case and its reviews."
_ANOTHER = "The file that was kept does not open as this case any more; upload the scan again."
_BROKE = "The network broke down on this scan, so there is no answer; the rest of the list goes on."


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` since it last had nothing to do, ``waiting`` still to do, ``gone``: wait without their file.

    ``problem``: why it stands still, in a sentence.
    """

    done: int
    waiting: int
    gone: int
    cancelled: bool
    problem: str

    @property
    def is_at_work(self) -> bool:
        """Whether cases are being answered, or will be in a moment."""
        return self.waiting > 0 and not self.cancelled


class Background:
    """``cards`` and ``load`` give the models, ``run`` how an engine runs for the background (``after_readers``)."""

    def __init__(
        self,
        reviews: Reviews,
        kept: CaseFiles,
        cards: Callable[[], Iterable[ModelCard]],
        load: "Callable[[str], Model]",
        run: Run,
    ) -> None:
        self._reviews, self._kept, self._cards, self._load, self._run = reviews, kept, cards, load, run
        self._line, self._problem = _Line(tuple), ""
        self._cancelled, self._closed, self._woken = threading.Event(), threading.Event(), threading.Event()
        self._next_house = time.monotonic() + _HOUR
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def begin(self) -> None:
        """Start, or go on after a cancel."""
        self._cancelled.clear()
        self.wake()

    def wake(self) -> None:
        """There are new cases: go through them, unless the reader stopped it."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="radlens-worklist", daemon=True)
                self._thread.start()
        self._woken.set()

    def cancel(self) -> None:
        """Stop after the case in hand; the rest stays waiting."""
        self._cancelled.set()

    def close(self) -> None:
        """End the thread; what was taken waits again."""
        self._closed.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def progress(self) -> Progress:
        """How far it is.

        Raises StoreError.
        """
        backlog = self._backlog()
        return Progress(self._line.done, backlog.waiting, backlog.gone, self._cancelled.is_set(), self._problem)

    def _backlog(self) -> Backlog:
        return self._reviews.worklist.backlog(self._kept.at_hand)

    def _work(self) -> None:
        while not self._closed.is_set():
            self._woken.clear()
            try:
                self._keep_house()
                self._go_through()
                self._problem = ""
            except RadLensError as exc:
                self._problem = str(exc)
            except Exception:  # noqa: BLE001 - whatever it was, the list must not stand still for good
                self._problem = _BROKE
            self._woken.wait(_LOOK_SECONDS)

    def _go_through(self) -> None:
        """Until nothing waits, or somebody stops it; what was taken and not answered waits again."""
        line = _Line(lambda: () if self._stops else self._take())
        if not line.fill():
            return
        self._line = line
        try:
            with ThreadPoolExecutor(_IN_WORK, "radlens-worklist") as workers:
                for work in [workers.submit(self._serve, line) for _ in range(_IN_WORK)]:
                    work.result()
        finally:
            if line.open:
                self._reviews.worklist.give_back(line.open)

    def _take(self) -> tuple[Case, ...]:
        return self._reviews.worklist.take(_AT_ONCE, self._kept.at_hand)

    def _serve(self, line: "_Line") -> None:
        while not self._stops and (case := line.next()) is not None:
            self._keep(case, self._answer(self._open(case)))
            line.answered(case)

    @property
    def _stops(self) -> bool:
        return self._closed.is_set() or self._cancelled.is_set()

    def _open(self, case: Case) -> Scan | Outcome:
        """The case's scan, or the sentence that stands in its place."""
        try:
            data = self._kept.file_of(case)
            if data is None:
                return Outcome("file is gone", _GONE)
            scans = read_study([("", data)]).scans
        except (ScanError, StoreError) as exc:
            return Outcome("failed", str(exc))
        found = next((scan for scan in scans if scan.digest == case.digest), None)
        return found or Outcome("failed", _ANOTHER)

    def _answer(self, found: Scan | Outcome) -> Outcome:
        if isinstance(found, Outcome):
            return found
        try:
            return answer_case(found, self._cards(), self._load, self._run)
        except Exception:  # noqa: BLE001 - one scan that breaks a network must not hold up the others
            return Outcome("failed", _BROKE)

    def _keep(self, case: Case, outcome: Outcome) -> None:
        for tries_left in range(_TRIES, -1, -1):
            try:
                self._reviews.worklist.keep_answer(
                    case.id,
                    SERVER,
                    state=outcome.state,
                    frame=outcome.frame,
                    answer=outcome.answer,
                    sentence=outcome.sentence,
                    foremost=outcome.foremost,
                    novelty=outcome.novelty,
                )
            except StoreBusy as exc:
                self._problem = str(exc)
                if not tries_left or self._closed.wait(_BUSY_SECONDS):
                    raise
            else:
                self._problem = ""
                return

    def _keep_house(self) -> None:
        """Once an hour: delete what is past its time, and let go of the files of what is deleted."""
        if time.monotonic() >= self._next_house:
            self._next_house = time.monotonic() + _HOUR
            self._reviews.store.delete_outdated(SERVER)
            self._kept.drop_deleted()


class _Line:
    """Cases that were taken and not answered yet, for several threads; ``take`` gives more of them, or none."""

    def __init__(self, take: Callable[[], Sequence[Case]]) -> None:
        self._take = take
        self._waiting: deque[Case] = deque()
        self._lock = threading.Lock()
        self.open: set[str] = set()
        self.done = 0

    def next(self) -> Case | None:
        """The next case, None where there is none any more."""
        with self._lock:
            return self._waiting.popleft() if self._waiting or self.fill() else None

    def fill(self) -> bool:
        """Take more cases; whether there were any."""
        taken = self._take()
        self._waiting.extend(taken)
        self.open |= {case.id for case in taken}
        return bool(taken)

    def answered(self, case: Case) -> None:
        """It is done with."""
        with self._lock:
            self.open.discard(case.id)
            self.done += 1


def after_readers(queue: FairQueue, name: str = "the background") -> Run:
    """How an engine runs for the background: through the queue, once no reader waits there."""

    def run(engine: Engine, picture: FloatArray, layers: Sequence[str]) -> Outputs:
        until = time.monotonic() + _PATIENCE_SECONDS
        while queue.waiting and time.monotonic() < until:
            time.sleep(_STEP_SECONDS)
        return queue.submit(name, engine, picture, layers).result()

    return run
