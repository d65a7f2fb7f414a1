"""What it costs to look inside: activations of all convolutions, the grid of maps, page actions, memory.

    python -m benchmarks.inside
    python -m benchmarks.inside --rounds 41 --changes 100

CPU time of this process on one thread, candidates interleaved (see ``benchmarks.interleaved``). Activations: one pass of the
unfused network with the output of every convolution kept, against the same pass without. Grid: 512 maps of 28 x 28 (the
worst of our networks' and resnet18's shapes) to an indexed PNG, against one matplotlib figure with a subplot a map in the same
run. Actions are a view of the Network page, or a step of the kernel bench, run again by Streamlit's own test harness after
a choice, in the real application without a browser. Memory: what this process grew by over so many changes of the layer,
after the first round. Exit status 1 when a target is missed.
"""

import argparse
import gc
import os
import statistics
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from streamlit.testing.v1 import AppTest

from benchmarks.interleaved import Candidate, cpu_ms, machine, measure, table, use_one_thread
from core.analysis import FloatArray
from core.inside.feature_maps import grid_png
from core.models.catalogue import read_catalogue
from core.models.loading import load_model
from core.preprocessing import to_model_input
from core.samples import simulated_scan

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS_TARGET = 1.25
GRID_TARGET_MS = 15.0
GRID_TARGET_TIMES = 200.0
ACTION_TARGET_MS = 1000.0
STEP_TARGET_MS = 150.0
GROWTH_TARGET_MB = 50.0
HEADS = ("figure", "measured", "target", "")
_MEGABYTE = 1_000_000
_PAGE = """
from dashboard import state
from dashboard.pages import {page}
from dashboard.widgets import open_panel
state.keep_choices()
open_panel()
{page}.render()
"""

Row = tuple[str, str, str, str]


def activations(rounds: int) -> list[Row]:
    """All convolutions' outputs kept, in passes of the same network without them, for every model."""
    rows = []
    scan, _ = simulated_scan(0, "mass")
    for model_id in read_catalogue().cards:
        model = load_model(model_id)
        picture = to_model_input(scan, 0, model.card.input).tensor.contiguous(memory_format=torch.channels_last)
        layers, plain = tuple(model.convolutions), model.plain
        # A pass of less than a millisecond is shorter than the clock's steps.
        times = range(1 if model.card.input.size > 64 else 50)
        candidates = [
            Candidate("plain", lambda plain=plain, picture=picture, times=times: [plain.run(picture) for _ in times]),  # type: ignore[misc]
            Candidate(
                "kept",
                lambda plain=plain, picture=picture, layers=layers, times=times: [  # type: ignore[misc]
                    plain.run(picture, layers) for _ in times
                ],
            ),
        ]
        kept = measure(candidates, rounds)[1]
        name = f"{model_id}: all {len(layers)} convolutions in the same pass"
        measured = f"{kept.ratio:.2f} x ({kept.low:.2f}-{kept.high:.2f})"
        rows.append(judged(name, measured, kept.ratio, ACTIVATIONS_TARGET, f"{ACTIVATIONS_TARGET} x"))
    return rows


def grids(rounds: int) -> list[Row]:
    """512 maps as one indexed PNG, and as matplotlib subplots in the same run."""
    maps = np.random.default_rng(0).standard_normal((512, 28, 28)).astype(np.float32)
    candidates = [
        Candidate("ours", lambda: grid_png(maps, columns=24)),
        Candidate("matplotlib", lambda: subplots_png(maps), every=max(1, rounds // 3)),
    ]
    ours, theirs = measure(candidates, rounds)
    return [
        judged("grid of 512 maps of 28 x 28", f"{ours.median:.1f} ms", ours.median, GRID_TARGET_MS, f"{GRID_TARGET_MS:g} ms"),
        judged("times faster than subplots", f"{theirs.ratio:.0f}", -theirs.ratio, -GRID_TARGET_TIMES, f"{GRID_TARGET_TIMES:g}"),
    ]  # fmt: skip


def subplots_png(maps: FloatArray) -> bytes:
    """The usual way: a subplot a map."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(24, 22))
    for index, values in enumerate(maps):
        axes = figure.add_subplot(22, 24, index + 1)
        axes.imshow(values, cmap="viridis")
        axes.set_axis_off()
    stream = BytesIO()
    FigureCanvasAgg(figure).print_png(stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def actions(rounds: int) -> list[Row]:
    """Another layer, another order, another window."""
    maps, kernel = opened("network", "maps"), opened("bench", "kernel")
    layers = chooser(maps, "Layer").options
    orders = ("strength", "variance", "contribution", "channel")
    layer = [cpu_ms(lambda n=n: chooser(maps, "Layer").select_index(n % len(layers)).run()) for n in range(rounds)]  # type: ignore[misc]
    order = [
        cpu_ms(lambda n=n: chooser(maps, "Order").set_value(orders[n % 4]).run())  # type: ignore[misc]
        for n in range(rounds)
    ]
    step = [cpu_ms(lambda: on_button(kernel)) for _ in range(rounds)]
    for app in (maps, kernel):
        if app.exception:
            message = "a page failed; run it in the browser to see why"
            raise RuntimeError(message)
    return [
        timed("Network: another layer", layer, ACTION_TARGET_MS),
        timed("Network: another order", order, ACTION_TARGET_MS),
        timed("Bench: the next window (whole page)", step, STEP_TARGET_MS),
    ]


def growth(changes: int) -> Row:
    """Resident memory after so many changes of the layer, less that after the first round of all layers."""
    app = opened("network", "maps")
    count = len(chooser(app, "Layer").options)

    def run(times: int) -> None:
        for number in range(times):
            chooser(app, "Layer").select_index(number % count).run()

    run(count)
    before = resident_mb()
    run(changes)
    grown = resident_mb() - before
    name = f"growth over {changes} changes of the layer"
    return judged(name, f"{grown:.1f} MB", grown, GROWTH_TARGET_MB, f"{GROWTH_TARGET_MB:g} MB")


def opened(page: str, view: str) -> AppTest:
    """A page of the dashboard with its first sample case."""
    app = AppTest.from_string(_PAGE.format(page=page), default_timeout=120)
    app.query_params["view"] = view
    return app.run()


def chooser(app: AppTest, label: str) -> Any:
    """The select box of that label."""
    return next(one for one in app.selectbox if one.label == label)


def on_button(app: AppTest) -> None:
    """The next window."""
    next(one for one in app.button if one.label == "On").click().run()


def resident_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


def timed(name: str, times: list[float], target: float) -> Row:
    """Median and slowest of CPU milliseconds against a target for the median."""
    median = statistics.median(times)
    return judged(name, f"{median:.0f} ms (slowest {max(times):.0f})", median, target, f"{target:g} ms")


def judged(name: str, measured: str, value: float, target: float, words: str) -> Row:
    """A line of the table."""
    return name, measured, words, "" if value <= target else "missed"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--changes", type=int, default=100)
    given = parser.parse_args()
    use_one_thread()
    print(machine())
    parts: list[Callable[[], list[Row]]] = [
        lambda: activations(given.rounds),
        lambda: grids(given.rounds),
        lambda: actions(given.rounds),
        lambda: [growth(given.changes)],
    ]
    start()
    rows = [row for part in parts for row in part()]
    print(table(HEADS, rows))
    return 1 if any(row[-1] for row in rows) else 0


def start() -> None:
    """What the server does once."""
    from dashboard import cache

    started = cache.start_up()
    started.begin()
    started.want_network()
    started.network.wait(300)


if __name__ == "__main__":
    sys.exit(main())
