"""Bench: kernels, pooling, activations, softmax to be tried on the scan, and the real network with filters silenced."""

from dashboard import state
from dashboard.bench.ablation import ablation_bench
from dashboard.bench.activation import activation_bench
from dashboard.bench.kernel import kernel_bench
from dashboard.bench.looks_for import looks_for_bench
from dashboard.bench.pooling import pooling_bench
from dashboard.bench.softmax import softmax_bench
from dashboard.bench.training import training_bench
from dashboard.inside.opening import open_inside, view_choice
from dashboard.texts import t

_BENCHES = {
    "kernel": kernel_bench, "pooling": pooling_bench, "activation": activation_bench, "softmax": softmax_bench,
    "ablation": ablation_bench, "looksfor": looks_for_bench, "training": training_bench,
}  # fmt: skip


def render() -> None:
    """The page."""
    inside = open_inside()
    if inside is None:
        return
    bench = view_choice(state.BENCH, tuple(_BENCHES), {name: t(f"bench.view_{name}") for name in _BENCHES})
    _BENCHES[bench](inside)
