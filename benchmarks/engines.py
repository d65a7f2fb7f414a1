"""What the fast engine costs beside one forward pass (F), and what several readers at once wait for.

    python -m benchmarks.engines
    python -m benchmarks.engines --rounds 15 --networks resnet18,densenet121

F is the plain forward pass (eager, NCHW, float32, ``torch.inference_mode``, not fused) on one thread; the figures of the
first two tables are CPU time, the median over interleaved rounds of the ratio to F in the same round. Every row of ours is
the prediction with the Grad-CAM of all labels; "all maps" adds the outputs of every convolution from the same run. The
largest difference to torch over logits, maps and layers, in shares of the largest value or of 1, stands beside it.

* networks of random weights, as published.
* the models that RadLens ships.
* memory: what 1 000 analyses in a row, with all maps, add to the process.
* four readers at once: the 95th percentile of what each waits for, beside what one alone waits for.
* eight requests in the queue, beside the same eight one after another.

The last two are wall time, so they need a machine with nothing else to do. Exit status 1 when a target is missed.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.analyse import CASES as ALL_CASES
from benchmarks.analyse import Case, random_model
from benchmarks.explaining import Check, at_most
from benchmarks.interleaved import HEADS, Candidate, machine, measure, table, use_one_thread
from core.analysis import analyse
from core.engines.engine import TOLERANCE, Engine, FloatArray, Outputs, difference
from core.engines.onnx_engine import OnnxEngine
from core.engines.queue import FairQueue
from core.explaining.evidence import Evidence, exact_evidence
from core.explaining.gradcam import evidence_of_all_labels
from core.models import exports
from core.models.catalogue import SHIPPED, read_catalogue
from core.models.loading import Model, load_model
from core.models.reference_pictures import reference_array
from core.models.weights import arrays_of, read_bytes_checked, save_weights
from core.samples import simulated_scan

CASES = tuple(
    case
    for case in ALL_CASES
    if case.architecture != "compact-resnet" and (case.architecture != "densenet121" or case.labels == 18)
)
TARGETS = {"mobilenet_v3_large": 0.75, "efficientnet_b0": 0.75}
TARGET, MOST_MEGABYTES, MOST_WAIT, MOST_QUEUED = 0.55, 30.0, 3.0, 0.5
TORCH, FAST, ALL = "ours: torch", "ours: fast engine", "ours: fast engine, all maps"
READERS, EACH, QUEUED = 4, 12, 8


class Contest:
    """One model with one picture."""

    def __init__(self, model: Model, engine: OnnxEngine) -> None:
        self.model, self.engine = model, engine
        self.picture = reference_array(model.card.input)[:1]
        self.tensor = torch.tensor(self.picture)
        self.layers = tuple(engine.record.layers)
        self.reference = model.networks.get()
        self.torch: Engine = reference_engine(model)

    def forward(self) -> torch.Tensor:
        """F."""
        with torch.inference_mode():
            return self.reference.network(self.tensor)

    def ours(self, engine: Engine, layers: Sequence[str] = ()) -> tuple[Outputs, Evidence]:
        """The prediction, the maps of all labels and any layers."""
        outputs = engine.run(self.picture, layers)[0]
        if engine.tail is not None:
            return outputs, exact_evidence(engine.tail, outputs.target)
        from core.engines.torch_engine import pass_of

        network = self.reference.fast if outputs.fused else self.reference.plain
        return outputs, evidence_of_all_labels(network, pass_of(outputs))

    def candidates(self) -> list[Candidate]:
        """F first."""
        return [
            Candidate("F: forward only", self.forward),
            Candidate(TORCH, lambda: self.ours(self.torch)),
            Candidate(FAST, lambda: self.ours(self.engine)),
            Candidate(ALL, lambda: self.ours(self.engine, self.layers)),
        ]

    def differs(self) -> float:
        """The largest difference of logits, target, layers and evidence to torch's."""
        (fast, own), (slow, reference) = (self.ours(engine, self.layers) for engine in (self.engine, self.torch))
        pairs = [(fast.logits, slow.logits), (fast.target, slow.target), (own.maps, reference.maps)]
        return max(difference(a, b) for a, b in [*pairs, *((fast.layers[n], slow.layers[n]) for n in self.layers)])


def reference_engine(model: Model) -> Engine:
    """The torch engine of a model, whatever answers for it."""
    from core.engines.torch_engine import TorchEngine

    built = model.networks.get()
    return TorchEngine(built.fast, built.plain)


def contest_of(case: Case, folder: Path) -> Contest:
    """A network of random weights, exported to a folder of its own."""
    model = random_model(case)
    sha256 = save_weights(model.network, folder / "weights.safetensors")
    card = model.card.model_copy(update={"weights_sha256": sha256})
    exports.export_networks(card, model.networks.get(), folder, folder)
    return Contest(model, engine_of(folder))


def engine_of(folder: Path) -> OnnxEngine:
    """The export that lies in a folder, on one thread."""
    record, graph = exports.read_export(folder)
    weights = read_bytes_checked(folder / "weights.safetensors", record.weights_sha256)
    return OnnxEngine(record, graph, arrays_of(weights), threads=1)


def speed(name: str, contest: Contest, rounds: int, target: float | None) -> tuple[list[tuple[str, ...]], list[Check]]:
    """The lines of one network and its targets."""
    timings = measure(contest.candidates(), rounds)
    differs = contest.differs()
    rows = [(name, *timing.cells(), f"{differs:.0e}" if timing.name == ALL else "") for timing in timings]
    checks = [at_most(f"{name}: difference to torch", differs, TOLERANCE)]
    if target is not None:
        ratio = next(timing.ratio for timing in timings if timing.name == ALL)
        checks.append(at_most(f"{name}: {ALL[6:]}", ratio, target, " F"))
    return rows, checks


def networks(cases: Sequence[Case], rounds: int) -> list[Check]:
    """The first table."""
    checks: list[Check] = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            contest = contest_of(case, Path(folder))
            rows, found = speed(str(case), contest, rounds, TARGETS.get(case.architecture, TARGET))
        print("\n" + table(("network", *HEADS, "differs"), rows, words=2), flush=True)
        checks += found
    return checks


def shipped(rounds: int) -> list[Check]:
    """The second table."""
    rows: list[tuple[str, ...]] = []
    checks: list[Check] = []
    for model_id, folder in read_catalogue().folders.items():
        if folder.parent != SHIPPED:
            continue
        model = load_model(model_id)
        if model.card.task != "classification" or model.engines.fast is None:
            print(f"\n{model_id}: {model.engine_note or 'outlines, by torch behind its target layer'}")
            continue
        found, own = speed(model_id, Contest(model, engine_of(folder)), rounds, None)
        rows += found
        checks += own
    print("\n" + table(("model", *HEADS, "differs"), rows, words=2), flush=True)
    return checks


def memory(model: Model, count: int) -> list[Check]:
    """What so many analyses add, the first twenty left out: they fill what is kept once."""
    scans = [simulated_scan(seed, "mass")[0] for seed in range(4)]
    for turn in range(20):
        analyse(model, scans[turn % 4], layers=model.convolutions)
    before = megabytes()
    for turn in range(count):
        analyse(model, scans[turn % 4], layers=model.convolutions)
    return [at_most(f"{count} analyses in a row add", megabytes() - before, MOST_MEGABYTES, " MB")]


def megabytes() -> float:
    """What the process holds in memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def readers(name: str, engine: Engine, picture: FloatArray, rounds: int) -> list[Check]:
    """Waits of four readers at once and of one alone, in turns."""
    queue = FairQueue()
    alone: list[float] = []
    together: list[float] = []
    for _ in range(rounds):
        alone += waits(queue, engine, picture, 1)
        together += waits(queue, engine, picture, READERS)
    queue.close()
    once = statistics.median(alone)
    p50, p95 = (float(np.quantile(together, share)) / once for share in (0.5, 0.95))
    print(f"\n{name}: {READERS} readers at once wait {p50:.2f} (median) and {p95:.2f} (95 %) of what one waits alone")
    return [at_most(f"{name}: {READERS} readers at once, 95 % of waits", p95, MOST_WAIT, " x alone")]


def waits(queue: FairQueue, engine: Engine, picture: FloatArray, count: int) -> list[float]:
    """Seconds that each request of so many readers takes, each asking again as soon as it has its answer."""
    taken: list[float] = []

    def read(reader: int) -> None:
        run = queue.run_for(str(reader))
        for _ in range(EACH):
            begin = time.perf_counter()
            run(engine, picture, ())
            taken.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def queued(name: str, engine: Engine, picture: FloatArray, rounds: int) -> list[Check]:
    """Eight requests that wait together, beside eight that come one after another."""
    queue = FairQueue()

    def one_by_one() -> None:
        for _ in range(QUEUED):
            queue.submit("one", engine, picture).result()

    def together() -> None:
        futures = [queue.submit(str(number), engine, picture) for number in range(QUEUED)]
        for future in futures:
            future.result()

    ratios = [seconds(together) / seconds(one_by_one) for _ in range(rounds)]
    queue.close()
    return [
        at_most(f"{name}: {QUEUED} queued requests", statistics.median(ratios), MOST_QUEUED, " of one after another")
    ]


def seconds(act: Callable[[], None]) -> float:
    """Wall time of an act."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def served(rounds: int) -> list[Check]:
    """Readers and queue on resnet18."""
    case = next(case for case in CASES if case.architecture == "resnet18")
    with tempfile.TemporaryDirectory() as folder:
        contest = contest_of(case, Path(folder))
    found: list[Check] = []
    for name, engine in (("fast engine", contest.engine), ("torch", contest.torch)):
        engine.run(contest.picture.repeat(QUEUED, 0))
        found += readers(name, engine, contest.picture, rounds) + queued(name, engine, contest.picture, 2 * rounds)
    return found


def main() -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys(case.architecture for case in CASES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", default=",".join(names), help="separated by commas")
    parser.add_argument("--analyses", type=int, default=1000, help="so many in a row, for the memory")
    options = parser.parse_args()
    chosen = set(options.networks.split(","))
    if unknown := chosen - set(names):
        parser.error(f"there is no network {', '.join(sorted(unknown))} here; choose from {', '.join(names)}")
    use_one_thread()
    print(f"{machine()}; CPU time, {options.rounds} interleaved rounds", flush=True)
    checks = networks([case for case in CASES if case.architecture in chosen], options.rounds)
    checks += shipped(options.rounds)
    checks += memory(load_model("chest-xray-adult"), options.analyses)
    checks += served(max(3, options.rounds // 3))
    print("\n" + table(("what", "measured", "target", ""), [check.cells() for check in checks]))
    return 0 if all(check.met for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
