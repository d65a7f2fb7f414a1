"""What heatmaps cost beside one forward pass (F), whether they are right, and whether several readers get their own.

    python -m benchmarks.explaining
    python -m benchmarks.explaining --rounds 15 --networks resnet18,densenet121

F is the plain forward pass (eager, NCHW, float32, ``torch.inference_mode``, not fused) on one thread; all figures are CPU
time, the median over interleaved rounds of the ratio to F in the same round. Every row of ours includes the prediction.

* gradients: prediction and Grad-CAM of one label, and of all labels, against grad-cam, torchcam and captum for one label.
* all methods: the six maps of the CAM family for every label, and Eigen-CAM.
* Ablation-CAM in closed form for every label, where pooling and one linear layer follow the target layer.
* Score-CAM of all labels, approximate (half size, bfloat16). On resnet18 in full, against the package's for one label, once;
  on the others for 64 channels, as the cost of one channel.
* the largest difference between our maps and each method's definition, by plain autograd from the unfused network's own
  layer, in shares of the map's strongest place.
* four readers with two pictures at once on one shared network: how many maps were not those of a reader alone.

Exit status 1 when a target is missed.
"""

import argparse
import copy
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch

# The package's progress bars; tqdm looks when it is imported.
os.environ["TQDM_DISABLE"] = "1"

from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional
from torchcam.methods import GradCAM as TorchGradCAM

from benchmarks.analyse import CASES as ALL_CASES
from benchmarks.analyse import Case, calibrated_network
from benchmarks.interleaved import HEADS, Candidate, cpu_ms, machine, measure, table, use_one_thread
from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.explaining.methods import BY_GRADIENT, maps_of
from core.explaining.perturbation import BATCH, ablationcam, answer_of, approximate_answer_of, half_size, scorecam
from core.explaining.targets import targets_of

CASES = tuple(case for case in ALL_CASES if case.architecture != "compact-resnet")
ONE, EVERY, FAMILY = "ours: Grad-CAM, 1 label", "ours: Grad-CAM, all labels", "ours: all methods, all labels"
ABLATION, PACKAGE = "ours: Ablation-CAM, all labels", "grad-cam: Grad-CAM, 1 label"
TORCHCAM, CAPTUM = "torchcam: Grad-CAM, 1 label", "captum: Grad-CAM, 1 label"
MOST = 1.0
MOST_DIFFERENCE = 1e-4
MOST_SCORE_CAM, LEAST_CORRELATION, MOST_PER_CHANNEL = 40.0, 0.998, 0.1
CHANNELS = 64
READERS, MAPS_EACH = 4, 8
Maps = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Check:
    """A target and what was measured."""

    name: str
    measured: float
    target: str
    met: bool

    def cells(self) -> tuple[str, ...]:
        """A line of the last table."""
        return self.name, f"{self.measured:.3g}", self.target, "met" if self.met else "MISSED"


def at_most(name: str, measured: float, target: float, unit: str = "") -> Check:
    """A check that is met up to the target."""
    return Check(name, measured, f"<= {target:g}{unit}", measured <= target)


class Contest:
    """One network with one picture."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.network = calibrated_network(case)
        traced = trace(self.network)
        self.fast, self.plain = CutNetwork(fuse(traced), case.layer), CutNetwork(traced, case.layer)
        self.picture = torch.randn(1, case.channels, case.size, case.size)
        self.channels_last = self.picture.contiguous(memory_format=torch.channels_last)
        self.targets = targets_of("sigmoid", case.labels)

    def forward(self) -> torch.Tensor:
        """F."""
        with torch.inference_mode():
            return self.network(self.picture)

    def maps(self, names: Sequence[str], labels: Sequence[int] | None = None) -> dict[str, torch.Tensor]:
        """Prediction and maps from one pass of the fused network."""
        targets = self.targets if labels is None else self.targets.only(labels)
        return maps_of(names, self.fast, self.fast.run(self.channels_last), targets)

    def candidates(self) -> list[Candidate]:
        """F first."""
        peer = copy.deepcopy(self.network).requires_grad_(requires_grad=True)
        package = GradCAM(peer, [peer.get_submodule(self.case.module)])
        found = [
            Candidate("F: forward only", self.forward),
            Candidate(ONE, lambda: self.maps(["gradcam"], [0])),
            Candidate(EVERY, lambda: self.maps(["gradcam"])),
            Candidate(PACKAGE, lambda: package(self.picture, [ClassifierOutputTarget(0)]), every=3),
            Candidate(TORCHCAM, self._torchcam(), every=3),
            Candidate(CAPTUM, self._captum(), every=3),
        ]
        if self.case.labels <= 5:
            found.append(Candidate(FAMILY, lambda: self.maps([*BY_GRADIENT, "eigencam"])))
        if self.fast.linear_tail is not None:
            found.append(Candidate(ABLATION, self.ablation))
        return found

    def _torchcam(self) -> Callable[[], object]:
        peer = copy.deepcopy(self.network).requires_grad_(requires_grad=True)
        extractor = TorchGradCAM(peer, peer.get_submodule(self.case.module))
        return lambda: extractor(0, peer(self.picture))

    def _captum(self) -> Callable[[], object]:
        """It answers the map alone: the prediction is another forward pass that its callers need, and that is not counted."""
        peer = copy.deepcopy(self.network).requires_grad_(requires_grad=True)
        layer = LayerGradCam(peer, peer.get_submodule(self.case.module))
        return lambda: layer.attribute(self.picture, target=0)

    def ablation(self) -> torch.Tensor:
        """Prediction and Ablation-CAM."""
        return ablationcam(self.fast, self.fast.run(self.channels_last), self.targets)

    def differences(self) -> dict[str, float]:
        """The largest difference to each method's definition, over labels and cells, in shares of the strongest place."""
        activations, rest = self._own_layer()
        leaf = activations.clone()
        leaf.requires_grad = True
        gradients = [torch.autograd.grad(z, leaf, retain_graph=True)[0][0].double() for z in rest(leaf)[0]]
        own = self.plain.run(self.picture)
        found = maps_of(DEFINITIONS, self.plain, own, self.targets)
        worst = {}
        for name, definition in DEFINITIONS.items():
            expected = [definition(activations[0].double(), gradient) for gradient in gradients]
            parts = zip(found[name], expected, strict=True)
            worst[name] = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-12)) for a, b in parts)
        return worst

    def _own_layer(self) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """What the eager network's own layer puts out, and the eager network from there on."""
        module, kept = self.network.get_submodule(self.case.module), []
        handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
        with torch.no_grad():
            self.network(self.picture)
        handle.remove()
        if self.case.architecture.startswith("densenet"):
            classifier = self.network.get_submodule("classifier")
            return kept[0].relu(), lambda a: classifier(functional.adaptive_avg_pool2d(a, 1).flatten(1))
        return kept[0], lambda a: self._from(module, a)

    def _from(self, module: nn.Module, activations: torch.Tensor) -> torch.Tensor:
        handle = module.register_forward_hook(lambda _module, _inputs, _output: activations.clone())
        logits = self.network(self.picture)
        handle.remove()
        return logits

    def score_cam(self, channels: int | None = None) -> torch.Tensor:
        """Score-CAM of all labels, approximate, for the first channels or all of them."""
        answer = approximate_answer_of(self.fast, self.targets, self.case.size)
        target = self.fast.run(self.channels_last).target[:channels]
        if answer is None:
            return scorecam(target, self.channels_last, answer_of(self.fast, self.targets))
        return scorecam(target, half_size(self.picture), answer)


def _evidence(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return (g.mean((1, 2), keepdim=True) * a).sum(0)


def _plus_plus(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    alpha = torch.where(g == 0, 0.0, g**2 / (2 * g**2 + a.sum((1, 2), keepdim=True) * g**3))
    return ((alpha * g.clamp(min=0)).sum((1, 2), keepdim=True) * a).sum(0).clamp(min=0)


def _xgrad(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    sums = a.sum((1, 2), keepdim=True)
    return (torch.where(sums == 0, 0.0, g * a / sums).sum((1, 2), keepdim=True) * a).sum(0)


DEFINITIONS: dict[str, Maps] = {
    "evidence": _evidence,
    "gradcam": lambda a, g: _evidence(a, g).clamp(min=0),
    "hirescam": lambda a, g: (g * a).sum(0),
    "gradcam++": _plus_plus,
    "xgradcam": _xgrad,
    "layercam": lambda a, g: (g.clamp(min=0) * a).sum(0).clamp(min=0),
}


def speed(contest: Contest, rounds: int) -> tuple[list[tuple[str, ...]], list[Check]]:
    """The lines of one network and its targets."""
    timings = measure(contest.candidates(), rounds)
    ours = [timing for timing in timings if timing.name.startswith("ours")]
    checks = [at_most(f"{contest.case}: {timing.name[6:]}", timing.ratio, MOST, " F") for timing in ours]
    return [(str(contest.case), *timing.cells()) for timing in timings], checks


def correctness(contest: Contest) -> Check:
    """All methods against their definitions."""
    worst = contest.differences()
    name = max(worst, key=lambda method: worst[method])
    return at_most(f"{contest.case}: map against definition, worst {name}", worst[name], MOST_DIFFERENCE)


def score_cam(contest: Contest) -> list[Check]:
    """Score-CAM in full on resnet18, else by the channel."""
    contest.score_cam(8)
    case = contest.case
    once = sorted(cpu_ms(contest.forward) for _ in range(5))[2]
    if case.architecture != "resnet18":
        spent = cpu_ms(lambda: contest.score_cam(CHANNELS)) / once / CHANNELS
        return [at_most(f"{case}: Score-CAM, 1 channel", spent, MOST_PER_CHANNEL, " F")]
    found: list[torch.Tensor] = []
    spent = cpu_ms(lambda: found.append(contest.score_cam())) / once
    peer = copy.deepcopy(contest.network)
    theirs: list[torch.Tensor] = []
    with ScoreCAM(peer, [peer.get_submodule(case.module)]) as package:
        label, package.batch_size = [ClassifierOutputTarget(0)], BATCH
        peers = cpu_ms(lambda: theirs.append(torch.from_numpy(package(contest.picture, label)))) / once
    own = functional.interpolate(found[0][None, :1], (case.size,) * 2, mode="bilinear")[0, 0]
    alike = float(np.corrcoef(own.numpy().ravel(), theirs[0].numpy().ravel())[0, 1])
    print(
        f"\n{case}: Score-CAM of {case.labels} labels, approximate: {spent:.0f} F; the package's of one: {peers:.0f} F"
    )
    return [
        at_most(f"{case}: Score-CAM, all labels", spent, MOST_SCORE_CAM, " F"),
        Check(f"{case}: Score-CAM, correlation", alike, f">= {LEAST_CORRELATION}", alike >= LEAST_CORRELATION),
    ]


def readers(contest: Contest) -> list[Check]:
    """Wrong maps of four readers at once: ours, which must be none, and for comparison the package's on one network."""
    pictures = [contest.picture, contest.picture.flip(-1)]
    ours = wrong_maps(
        lambda p: maps_of(["gradcam"], contest.fast, contest.fast.run(p), contest.targets)["gradcam"], pictures
    )
    # In a process of its own: hooks shared by threads have broken the memory of the whole process.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            theirs = str(process.submit(wrong_maps_of_package, contest.case).result())
        except BrokenProcessPool:
            theirs = "broke down"
    total = READERS * MAPS_EACH
    print(f"\n{contest.case}, {READERS} readers at once: wrong maps of {total}: ours {ours}, grad-cam {theirs}")
    return [at_most(f"{contest.case}: wrong maps of {total}", ours, 0)]


def wrong_maps_of_package(case: Case) -> int:
    """How many of grad-cam's maps are wrong when four readers share one network."""
    use_one_thread()
    contest = Contest(case)
    peer = copy.deepcopy(contest.network).requires_grad_(requires_grad=True)
    package = GradCAM(peer, [peer.get_submodule(case.module)])
    pictures = [contest.picture, contest.picture.flip(-1)]
    return wrong_maps(lambda p: torch.from_numpy(package(p, [ClassifierOutputTarget(0)])), pictures)


def wrong_maps(make: Callable[[torch.Tensor], torch.Tensor], pictures: Sequence[torch.Tensor]) -> int:
    """How many maps of readers side by side are not the map of that picture alone; a failure counts as wrong."""
    alone = [make(picture) for picture in pictures]
    wrong: list[int] = []

    def read(reader: int) -> None:
        which = reader % len(pictures)
        for _ in range(MAPS_EACH):
            try:
                right = torch.allclose(make(pictures[which]), alone[which], atol=1e-4 * float(alone[which].abs().max()))
            except Exception:  # noqa: BLE001 - whatever breaks in the package is a map that the reader does not get
                right = False
            wrong.extend([] if right else [reader])

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(wrong)


def checks_of(case: Case, rounds: int) -> list[Check]:
    """All that is measured on one network; prints its table of times."""
    contest = Contest(case)
    rows, checks = speed(contest, rounds)
    print("\n" + table(("network", *HEADS), rows, words=2), flush=True)
    checks.append(correctness(contest))
    if case.labels <= 5:
        checks += score_cam(contest)
    return checks + (readers(contest) if case.architecture == "resnet18" else [])


def main() -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys(case.architecture for case in CASES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", default=",".join(names), help="separated by commas")
    options = parser.parse_args()
    chosen = set(options.networks.split(","))
    if unknown := chosen - set(names):
        parser.error(f"there is no network {', '.join(sorted(unknown))} here; choose from {', '.join(names)}")
    use_one_thread()
    print(f"{machine()}; CPU time, {options.rounds} interleaved rounds", flush=True)
    checks = [check for case in CASES if case.architecture in chosen for check in checks_of(case, options.rounds)]
    print("\n" + table(("what", "measured", "target", ""), [check.cells() for check in checks]))
    return 0 if all(check.met for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
