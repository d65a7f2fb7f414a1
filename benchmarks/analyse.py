"""What the explanation costs on top of the prediction: one forward pass (F) against prediction plus Grad-CAM.

    python -m benchmarks.analyse
    python -m benchmarks.analyse --rounds 31 --networks resnet18,compact-resnet

F is the plain forward pass of the network as RadLens loads it (eager, NCHW, float32, ``torch.inference_mode``, not
fused), on one thread. Against it stand our one pass with the Grad-CAM of all labels (fused, as the analysis runs;
unfused; unfused with the outputs of all convolutions), and the ``grad-cam`` package for one label and for all labels,
one call each. Weights are random, with batch-norm statistics from one training-mode pass so that activations are sane.

"map difference" is the largest difference, on the feature grid, between our map of any label and the package's, both
after the ReLU and scaled to a maximum of 1. For densenet121 the reference is the formula written out here, with
torch.autograd: there an in-place ReLU overwrites what the package's hook has kept, and libraries disagree.

A second table takes a full ``core.analysis.analyse`` of a simulated film apart. Exit status 1 when our fused pass with
the maps of all labels costs more than 1.15 F on any network.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional

from benchmarks.interleaved import HEADS, Candidate, Timing, machine, measure, table, use_one_thread
from core.analysis import analyse
from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.explaining.gradcam import evidence_of_all_labels
from core.inside.feature_maps import convolution_layers
from core.models.architectures import build_network
from core.models.card import InputSpec, Label, ModelCard, Scope
from core.models.loading import Model, prepare
from core.preprocessing import to_model_input
from core.samples import simulated_scan

TARGET = 1.15
OURS, UNFUSED, ALL_LAYERS = "ours, all labels", "ours unfused, all labels", "ours unfused, all labels, all layers"
ONE_LABEL, EVERY_LABEL = "grad-cam, 1 label", "grad-cam, all labels"


@dataclass(frozen=True, slots=True)
class Case:
    """A network to time. ``layer`` is the target layer by our name, ``module`` the same place for the package."""

    architecture: str
    layer: str
    module: str
    labels: int = 5
    channels: int = 3
    size: int = 224

    def __str__(self) -> str:
        return f"{self.architecture}, {self.size} px, {self.labels} labels"


CASES = (
    Case("resnet18", "layer4.1.relu_1", "layer4.1"),
    Case("resnet50", "layer4.2.relu_2", "layer4.2"),
    Case("densenet121", "relu", "features.norm5"),
    Case("densenet121", "relu", "features.norm5", labels=18),
    Case("mobilenet_v3_large", "features.16.2", "features.16"),
    Case("efficientnet_b0", "features.8.2", "features.8"),
    Case("compact-resnet", "blocks.5.relu_1", "blocks.5", labels=9, channels=1, size=256),
)


def calibrated_network(case: Case) -> nn.Module:
    """Random weights, batch-norm statistics from one training-mode pass, ready for inference."""
    torch.manual_seed(0)
    network = build_network(case.architecture, channels=case.channels, labels=case.labels)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        network.train()(torch.randn(8, case.channels, case.size, case.size))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    return network.eval().requires_grad_(requires_grad=False)


class Contest:
    """One network with all candidates on the same picture."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.network = calibrated_network(case)
        traced = trace(self.network)
        self.fast, self.plain = CutNetwork(fuse(traced), case.layer), CutNetwork(traced, case.layer)
        self.layers = [layer.name for layer in convolution_layers(self.network)]
        self.picture = torch.randn(1, case.channels, case.size, case.size)
        # As core.analysis hands it over.
        self.channels_last = self.picture.contiguous(memory_format=torch.channels_last)
        # The package works through hooks and gradients, so it gets a network of its own, as torchvision hands it out.
        peer = copy.deepcopy(self.network).requires_grad_(requires_grad=True)
        self.package = GradCAM(peer, [peer.get_submodule(case.module)])

    def candidates(self) -> list[Candidate]:
        """F first, then the others; the package's many calls take part in every fifth round."""
        labels = range(self.case.labels)
        return [
            Candidate("F: forward only", self.forward),
            Candidate(OURS, lambda: self.ours(self.fast)),
            Candidate(UNFUSED, lambda: self.ours(self.plain)),
            Candidate(ALL_LAYERS, lambda: self.ours(self.plain, self.layers)),
            Candidate(ONE_LABEL, lambda: self.peer_map(0), every=2),
            Candidate(EVERY_LABEL, lambda: [self.peer_map(label) for label in labels], every=5),
        ]

    def forward(self) -> torch.Tensor:
        """F."""
        with torch.inference_mode():
            return self.network(self.picture)

    def ours(self, network: CutNetwork, layers: Sequence[str] = ()) -> torch.Tensor:
        """Logits, the maps of all labels and the outputs of ``layers`` in one pass; returns the maps."""
        return torch.from_numpy(evidence_of_all_labels(network, network.run(self.channels_last, layers)).maps)

    def peer_map(self, label: int) -> object:
        """The package's map of one label, as it hands it out: resized to the picture."""
        return self.package(self.picture, [ClassifierOutputTarget(label)])

    def map_differences(self) -> dict[str, str]:
        """Largest difference of our maps to the reference over all labels and cells, by candidate."""
        is_densenet = self.case.architecture.startswith("densenet")
        reference = _scaled(self._densenet_formula() if is_densenet else self._package_maps())
        networks = {OURS: self.fast, UNFUSED: self.plain}
        return {name: f"{(_scaled(self.ours(net)) - reference).abs().max():.0e}" for name, net in networks.items()}

    def _package_maps(self) -> torch.Tensor:
        """The package's maps before it resizes them, by its own get_cam_image."""
        maps = []
        for label in range(self.case.labels):
            self.peer_map(label)
            kept = self.package.activations_and_grads
            activations, gradients = kept.activations[0].numpy(), kept.gradients[0].numpy()
            layer = self.package.target_layers[0]
            maps.append(self.package.get_cam_image(self.picture, layer, None, activations, gradients)[0])
        return torch.stack([torch.from_numpy(one) for one in maps])

    def _densenet_formula(self) -> torch.Tensor:
        """sum_k (mean of the gradient of z by A_k) A_k, where A is what the ReLU after the last dense block gives."""
        with torch.no_grad():
            activations = torch.relu(self.network.get_submodule("features")(self.picture))
        leaf = activations.clone()
        leaf.requires_grad = True
        logits = self.network.get_submodule("classifier")(functional.adaptive_avg_pool2d(leaf, 1).flatten(1))[0]
        gradients = [torch.autograd.grad(logit, leaf, retain_graph=True)[0][0] for logit in logits]
        return torch.stack([(one.mean((-2, -1), keepdim=True) * activations[0]).sum(0) for one in gradients])


def _scaled(maps: torch.Tensor) -> torch.Tensor:
    positive = maps.clamp(min=0)
    return positive / positive.amax((-2, -1), keepdim=True).clamp(min=1e-12)


def random_model(case: Case) -> Model:
    """A model around a calibrated random network, prepared and self-tested as a shipped one is."""
    labels = tuple(Label(code=f"label-{number}", words=f"Label {number}") for number in range(case.labels))
    card = ModelCard(
        id="benchmark",
        version="0",
        title="Benchmark",
        task="classification",
        architecture=case.architecture,
        head="sigmoid",
        labels=labels,
        headline=labels[0].code,
        input=InputSpec(channels=1 if case.channels == 1 else 3, size=case.size, mean=0.5, std=0.25),
        scope=Scope(modalities=("DX",), body_parts=("CHEST",)),
        target_layer=case.layer,
        evidence_limit=1,
        weights_sha256="0" * 64,
        intended_use="Timing.",
        limits=(),
        licence="MIT",
    )
    return prepare(card, calibrated_network(case))


def whole_analysis(rounds: int) -> list[Timing]:
    """A full analysis of a simulated film of 512 x 512 and its parts."""
    model = random_model(CASES[-1])
    scan, _ = simulated_scan(1, "mass")
    picture = to_model_input(scan, 0, model.card.input).tensor
    channels_last = picture.contiguous(memory_format=torch.channels_last)
    layers = [layer.name for layer in convolution_layers(model.network)]
    one_pass = model.fast.run(channels_last)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return model.network(picture)

    candidates = [
        Candidate("F: forward only", forward),
        Candidate("analyse(model, scan)", lambda: analyse(model, scan)),
        Candidate("- preparing the input", lambda: to_model_input(scan, 0, model.card.input)),
        Candidate("- fused forward pass", lambda: model.fast.run(channels_last)),
        Candidate("- evidence of all labels", lambda: evidence_of_all_labels(model.fast, one_pass)),
        Candidate("analyse(..., layers=all convolutions)", lambda: analyse(model, scan, layers=layers)),
    ]
    return measure(candidates, rounds)


def contest_rows(case: Case, rounds: int) -> tuple[list[tuple[str, ...]], bool]:
    """The lines of one network, and whether the target is met."""
    contest = Contest(case)
    timings = measure(contest.candidates(), rounds)
    differences = contest.map_differences()
    rows = [(str(case), *timing.cells(), differences.get(timing.name, "")) for timing in timings]
    return rows, next(timing.ratio for timing in timings if timing.name == OURS) <= TARGET


def main() -> int:
    """Print the tables; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys(case.architecture for case in CASES))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--networks", default=",".join(names), help="separated by commas")
    options = parser.parse_args()
    chosen = set(options.networks.split(","))
    if unknown := chosen - set(names):
        parser.error(f"there is no network {', '.join(sorted(unknown))} here; choose from {', '.join(names)}")
    use_one_thread()
    print(f"{machine()}; CPU time, {options.rounds} interleaved rounds", flush=True)
    missed = []
    for case in CASES:
        if case.architecture in chosen:
            rows, is_met = contest_rows(case, options.rounds)
            print("\n" + table(("network", *HEADS, "map difference"), rows, words=2), flush=True)
            missed += [] if is_met else [str(case)]
    if "compact-resnet" in chosen:
        timings = whole_analysis(options.rounds)
        print("\nA whole analysis of a film of 512 x 512:\n\n" + table(HEADS, [timing.cells(2) for timing in timings]))
    print(f"\nTarget, ours with all labels <= {TARGET} F: " + (f"missed by {'; '.join(missed)}" if missed else "met"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
