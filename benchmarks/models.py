"""All models of the catalogue in one table: figures from their cards, size, loading, speed, and what switching costs.

    python -m benchmarks.models
    python -m benchmarks.models --rounds 41 --switches 50

AUROC and pointing game are the card's own, never measured here; "-" where the card has none. Loading is ``load_model``
once torch is imported, self-test included, best of five in CPU seconds on one thread. "x resnet18" is one analysis of a
simulated film (preprocessing, network and heatmaps of all labels) against a plain forward pass of torchvision's resnet18
at 224 x 224, in CPU time on one thread, interleaved. Switching loads all models in turn with the dashboard's own limit of
three at a time. Exit status 1 when loading takes longer than 0.3 s or memory grows by 100 MB.
"""

import argparse
import gc
import sys
from collections import OrderedDict
from pathlib import Path

import torch

from benchmarks.interleaved import Candidate, cpu_ms, machine, measure, table, use_one_thread
from core.analysis import analyse
from core.models.architectures import build_network
from core.models.card import Evaluation, ModelCard
from core.models.catalogue import WEIGHTS_FILE, Catalogue, read_catalogue
from core.models.loading import Model, load_model
from core.samples import simulated_scan

LOAD_TARGET_SECONDS = 0.3
GROWTH_TARGET_MB = 100
KEPT = 3
_MEGABYTE = 1_000_000
HEADS = ("model", "headline AUROC (95 %)", "pointing game", "MB", "load CPU s", "x resnet18", "quartiles")
_KINDS = ("cross-validation", "held-out", "simulated")


def main_evaluation(card: ModelCard) -> Evaluation | None:
    """The evaluation that the card's first figure comes from."""
    return min(card.evaluations, key=lambda evaluation: _KINDS.index(evaluation.kind), default=None)


def card_figures(card: ModelCard) -> tuple[str, str]:
    """The headline's AUROC with its interval, and the pointing game's mean over labels with places."""
    evaluation = main_evaluation(card)
    if evaluation is None:
        return "-", "-"
    found = evaluation.labels.get(card.headline)
    area = found.auroc if found else None
    hits = [figure.pointing_game for figure in evaluation.labels.values() if figure.pointing_game is not None]
    stated = "-" if area is None else f"{area.value:.3f} ({area.low:.3f}-{area.high:.3f})"
    return stated, f"{sum(hits) / len(hits):.2f}" if hits else "-"


def load_seconds(model_id: str) -> float:
    """CPU seconds of a loading, the best of five."""
    return min(cpu_ms(lambda: load_model(model_id)) for _ in range(5)) / 1000


def speeds(models: dict[str, Model], rounds: int) -> dict[str, tuple[str, str]]:
    """One analysis in forward passes of resnet18, and the quartiles of that ratio."""
    scan, _ = simulated_scan(0, "mass")
    reference = build_network("resnet18", channels=3, labels=5)
    picture = torch.randn(1, 3, 224, 224)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return reference(picture)

    candidates = [Candidate("resnet18", forward)]
    candidates += [Candidate(name, lambda model=model: analyse(model, scan)) for name, model in models.items()]  # type: ignore[misc]
    timings = measure(candidates, rounds)[1:]
    return {timing.name: (f"{timing.ratio:.2f}", f"{timing.low:.2f}-{timing.high:.2f}") for timing in timings}


def growth_mb(names: list[str], switches: int) -> float:
    """What resident memory grew by over so many switches, three models kept at a time.

    The mean over the last round of models less that over the first: each model has a size of its own.
    """
    kept: OrderedDict[str, Model] = OrderedDict()
    scan, _ = simulated_scan(0, "mass")

    def switch(name: str) -> None:
        kept.pop(name, None)
        kept[name] = load_model(name)
        analyse(kept[name], scan)
        while len(kept) > KEPT:
            kept.popitem(last=False)

    for name in 2 * names:
        switch(name)
    resident = []
    for number in range(switches):
        switch(names[number % len(names)])
        resident.append(resident_mb())
    first, last = resident[: len(names)], resident[-len(names) :]
    return sum(last) / len(last) - sum(first) / len(first)


def resident_mb() -> float:
    """This process's resident memory, garbage swept away."""
    gc.collect()
    words = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(words.split()[1]) * 1024 / _MEGABYTE


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--switches", type=int, default=50)
    options = parser.parse_args()
    use_one_thread()
    print(f"{machine()}; CPU time, {options.rounds} interleaved rounds", flush=True)
    catalogue = read_catalogue()
    names = list(catalogue.cards)
    loads = {name: load_seconds(name) for name in names}
    found = speeds({name: load_model(name) for name in names}, options.rounds)
    rows = [_row(catalogue, name, loads[name], found[name]) for name in names]
    print("\n" + table(HEADS, rows), flush=True)
    growth = growth_mb(names, options.switches)
    slow = [name for name, seconds in loads.items() if seconds > LOAD_TARGET_SECONDS]
    print(f"\nLoading at most {LOAD_TARGET_SECONDS} s: " + (f"missed by {', '.join(slow)}" if slow else "met"))
    print(f"Memory after {options.switches} switches: {growth:+.0f} MB (target below {GROWTH_TARGET_MB})")
    return 1 if slow or growth > GROWTH_TARGET_MB else 0


def _row(catalogue: Catalogue, name: str, seconds: float, speed: tuple[str, str]) -> tuple[str, ...]:
    size = (catalogue.folders[name] / WEIGHTS_FILE).stat().st_size / _MEGABYTE
    return name, *card_figures(catalogue.cards[name]), f"{size:.1f}", f"{seconds:.2f}", *speed


if __name__ == "__main__":
    sys.exit(main())
