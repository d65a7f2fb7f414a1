"""Ratios that hold on a busy machine: all candidates take turns, each compared with the baseline of its own round.

Absolute times on a shared machine move by tens of per cent within a minute; the ratio of two calls a moment apart does
not. So every round calls each candidate once, each round starts with another one, every second round runs backwards (so
that nobody always follows the same neighbour), and what counts is the median over rounds of candidate / baseline in the
same round. Calls are timed in CPU time of this process, on one thread; the garbage collector rests meanwhile.
"""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to time. A slow one may take part in every ``every``-th round only."""

    name: str
    call: Callable[[], object]
    every: int = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """``median`` of what was measured; ``ratio`` to the baseline: median over rounds, quartiles ``low`` and ``high``."""

    name: str
    rounds: int
    median: float
    ratio: float
    low: float
    high: float

    def cells(self, digits: int = 1) -> tuple[str, ...]:
        """The columns of ``HEADS``."""
        return (
            self.name,
            str(self.rounds),
            f"{self.median:.{digits}f}",
            f"{self.ratio:.2f}",
            f"{self.low:.2f}-{self.high:.2f}",
        )


HEADS = ("candidate", "rounds", "CPU ms", "x baseline", "quartiles")


def use_one_thread() -> None:
    """One thread for torch and OpenCV: with more, waiting threads burn CPU time on a busy machine."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def machine() -> str:
    """One line on where the figures come from."""
    import torch

    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"torch {torch.__version__}, threads {torch.get_num_threads()}, load {os.getloadavg()[0]:.1f}"
    )


def measure(candidates: Sequence[Candidate], rounds: int) -> list[Timing]:
    """CPU milliseconds of each candidate; the first is the baseline."""
    for candidate in candidates:
        for _ in range(2 if candidate.every == 1 else 1):
            candidate.call()
    samples: dict[str, dict[int, float]] = {candidate.name: {} for candidate in candidates}
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        for candidate in order(candidates, number):
            if number % candidate.every == 0:
                samples[candidate.name][number] = cpu_ms(candidate.call)
    gc.unfreeze()
    return compare(samples)


def order(items: Sequence[Item], number: int) -> list[Item]:
    """The order of a round: rotated by one each time, every second round backwards."""
    start = number % len(items)
    rotated = [*items[start:], *items[:start]]
    return rotated if number % 2 == 0 else rotated[::-1]


def cpu_ms(call: Callable[[], object]) -> float:
    """CPU milliseconds of this process during one call, the garbage of others swept away before."""
    gc.collect()
    gc.disable()
    begin = time.process_time()
    call()
    spent = time.process_time() - begin
    gc.enable()
    return 1000 * spent


def compare(samples: Mapping[str, Mapping[int, float]]) -> list[Timing]:
    """Timings of {name: {round: figure}}; the first is the baseline and must have taken part in every round."""
    baseline = next(iter(samples.values()))
    timings = []
    for name, figures in samples.items():
        ratios = [figure / baseline[number] for number, figure in figures.items()]
        low, middle, high = quartiles(ratios)
        timings.append(Timing(name, len(ratios), statistics.median(figures.values()), middle, low, high))
    return timings


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table, aligned so that it can be read as it is: ``words`` columns to the left, then figures."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    rules = ["-" * (width + 2) for width in widths[:words]] + ["-" * (width + 1) + ":" for width in widths[words:]]
    lines = [_aligned(row, widths, words) for row in (heads, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def _aligned(row: Sequence[str], widths: Sequence[int], words: int) -> str:
    left = map(str.ljust, row[:words], widths[:words])
    right = map(str.rjust, row[words:], widths[words:])
    return f"| {' | '.join([*left, *right])} |"
