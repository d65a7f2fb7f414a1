"""The worklist: how long the background takes for a film beside the bare loop over ``analyse``, and a page of 1 000 cases.

``python -m benchmarks.worklist`` prints two tables and ends with 1 where a figure is missed: the background within 1.15 times the
loop, any action on a page of 1 000 cases within a second. Both sides of a ratio take turns; wall-clock time, since that is
what a reader waits for. The loop has its scans open already; the background reads each from its bytes, stores every
answer and writes the audit trail. Both need the machine to themselves: with other work on all cores the ratio says how
patient the system is with threads that wait for each other.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table
from streamlit.testing.v1 import AppTest

from core.analysis import analyse
from core.engines.queue import FairQueue
from core.models.catalogue import read_catalogue
from core.models.loading import Model, load_model
from core.reading import read_scan
from core.reviews.background import Background, after_readers
from core.reviews.database import DATABASE_VARIABLE
from core.reviews.keeping import CaseFiles
from core.reviews.opening import Reviews, open_reviews
from core.reviews.record import NetworkAnswer, Read, Reader
from core.reviews.store import NewCase
from core.samples import film_to_dicom
from core.scan import Scan
from core.simulation import simulate_film
from dashboard import cache

FILMS, SIDES, ROUNDS = 56, (768, 2048), 5
MOST_TIMES = 1.15
CASES, MOST_SECONDS = 1000, 1.0
_READER = Reader(name="Benchmark")
_MEMORY = 4 << 30
_LOOK, _REPEATS = 0.05, 4


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds for all films: on the wall's clock, and of the processor in this process (decoding happens in another)."""

    wall: float
    processor: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure a round."""

    loop: list[Spent]
    background: list[Spent]

    @property
    def ratio(self) -> float:
        """The background by the loop of the same round: median over rounds."""
        return statistics.median(b.wall / a.wall for a, b in zip(self.loop, self.background, strict=True))

    def cells(self) -> tuple[str, ...]:
        """Milliseconds a film of both, wall and processor, and the ratio."""
        walls = [statistics.median(one.wall for one in found) for found in (self.loop, self.background)]
        processor = [statistics.median(one.processor for one in found) for found in (self.loop, self.background)]
        return (*(f"{1000 * seconds / FILMS:.1f}" for seconds in (*walls, *processor)), f"{self.ratio:.2f}")


def main() -> int:
    """Both tables; the exit status."""
    console = Console()
    with TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        kept = _background(console, Path(folder))
        kept &= _page(console, Path(folder))
    return 0 if kept else 1


def _background(console: Console, folder: Path) -> bool:
    model = load_model("chest-xray-adult")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    heads = ("films", "loop, ms a film", "background", "loop, processor", "background, processor", "times")
    table = Table(*heads, title=f"{FILMS} films, {ROUNDS} rounds in turns, {load}")
    ratios = []
    for side in SIDES:
        files = films(side)
        measured = _measured(model, files, folder)
        ratios.append(measured.ratio)
        table.add_row(f"{side} x {side}", *measured.cells())
    console.print(table)
    return _verdict(console, f"background at most {MOST_TIMES} times the loop", max(ratios) <= MOST_TIMES)


def films(side: int) -> list[bytes]:
    """Films that differ in every pixel: one simulated patient under different noise."""
    drawn = film_to_dicom(simulate_film(11, None, rows=side, columns=side))
    scan = read_scan(drawn)
    place = drawn.rindex(scan.stored.tobytes()[: 1 << 12])
    random = np.random.default_rng(0)
    found = []
    for _ in range(FILMS):
        noisy = np.clip(scan.stored + random.integers(-8, 8, scan.stored.shape), 0, scan.stored.max())
        pixels = noisy.astype(scan.stored.dtype).tobytes()
        found.append(drawn[:place] + pixels + drawn[place + len(pixels) :])
    return found


def _measured(model: Model, files: Sequence[bytes], folder: Path) -> Measured:
    scans = [read_scan(data) for data in files]
    measured = Measured([], [])
    numbers = count()
    queue = FairQueue()
    sides: list[tuple[list[Spent], Callable[[], Spent]]] = [
        (measured.loop, lambda: _loop(model, scans)),
        (
            measured.background,
            lambda: _in_background(
                model, queue, files, scans, folder / f"{files[0][-1]}-{next(numbers)}-{len(files[0])}.db"
            ),
        ),
    ]
    for _, call in sides:
        call()
    for number in range(ROUNDS):
        for times, call in sides if number % 2 else sides[::-1]:
            times.append(call())
    queue.close()
    return measured


def _loop(model: Model, scans: Sequence[Scan]) -> Spent:
    begun, used = time.perf_counter(), time.process_time()
    for scan in scans:
        analyse(model, scan)
    return Spent(time.perf_counter() - begun, time.process_time() - used)


def _in_background(model: Model, queue: FairQueue, files: Sequence[bytes], scans: Sequence[Scan], path: Path) -> Spent:
    reviews = open_reviews(f"sqlite:///{path}")
    kept = CaseFiles(reviews.store, _MEMORY)
    cases = []
    for data, scan in zip(files, scans, strict=True):
        case = reviews.store.add_case(NewCase(scan.digest, "upload", dict(scan.facts)), _READER)
        kept.keep(case, data)
        cases.append(case)
    reviews.worklist.queue(case.id for case in cases)
    cards = read_catalogue().cards.values()
    background = Background(reviews, kept, lambda: cards, lambda _: model, after_readers(queue))
    begun, used = time.perf_counter(), time.process_time()
    background.begin()
    while background.progress().waiting:
        time.sleep(_LOOK)
    spent = Spent(time.perf_counter() - begun, time.process_time() - used)
    background.close()
    states = {row.answer for row in reviews.worklist.rows(_READER)}
    if not states <= {"answered", "withheld"}:
        raise RuntimeError(f"not every film was analysed: {states}")
    return spent


def _verdict(console: Console, wanted: str, kept: bool) -> bool:  # noqa: FBT001
    console.print(f"{wanted}: {'kept' if kept else 'MISSED'}")
    return kept


def _page(console: Console, folder: Path) -> bool:
    """Every action on a page of 1 000 cases, from the reader's gesture to the last element; without a browser."""
    os.environ[DATABASE_VARIABLE] = f"sqlite:///{folder / 'thousand.db'}"
    _fill(open_reviews())
    app = AppTest.from_function(_script, default_timeout=600).run()
    seconds = {"the rows alone": _median(lambda: cache.reviews().worklist.rows(_READER))}
    actions: dict[str, Callable[[], object]] = {
        "draw the page": app.run,
        "another order": lambda: app.selectbox[0].set_value(next(_orders)).run(),
        "only unread": lambda: app.selectbox[1].set_value(next(_reads)).run(),
        "look for words": lambda: app.text_input[0].set_value(next(_words)).run(),
        "blind": lambda: app.toggle[1].set_value(next(_blind)).run(),
    }
    seconds |= {name: _median(action) for name, action in actions.items()}
    if app.exception or not app.dataframe:
        raise RuntimeError("the page did not draw its list")
    table = Table("action", "s", title=f"{CASES} cases")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.2f}")
    console.print(table)
    return _verdict(console, f"every action within {MOST_SECONDS} s", max(seconds.values()) <= MOST_SECONDS)


_orders, _reads = cycle(("oldest", "random", "state", "newest")), cycle(("unread", "all"))
_words, _blind = cycle(("chest", "")), cycle((True, False))


def _script() -> None:
    from dashboard import state
    from dashboard.pages import worklist

    state.declare_name("Benchmark")
    worklist.render()


def _fill(reviews: Reviews) -> None:
    """Cases with answers; a third of them read."""
    facts = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "Size": "2048 x 2048"}
    answer = NetworkAnswer(
        model_id="m",
        model_version="1",
        weights_sha256="0" * 64,
        frame=0,
        scores=dict.fromkeys("abcdefghi", 0.5),
        thresholds={},
    )
    for number in range(CASES):
        case = reviews.store.add_case(NewCase(f"{number:064x}", "upload", facts, patient=str(number // 3)), _READER)
        reviews.worklist.queue([case.id])
        reviews.worklist.keep_answer(
            case.id, _READER, state="answered", answer=answer, foremost=number / CASES, novelty=0.5
        )
        if number % 3 == 0:
            reviews.store.commit_first_read(case.id, _READER, Read(comment="seen"), datetime.now(UTC))


def _median(action: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
