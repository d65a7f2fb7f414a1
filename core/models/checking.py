"""Weights that somebody brings -> what they are and whether RadLens can use them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from safetensors.torch import save
from torch import nn

from core.analysis import evidence_for_labels
from core.engines.candidates import CandidateLayer, candidate_layers
from core.errors import ModelRejected
from core.explaining.gradcam import evidence_of_all_labels
from core.models.architectures import build_unfilled
from core.models.card import InputSpec, Label, ModelCard, Scope, Task
from core.models.detector_test import reference_answers
from core.models.detectors import DETECTOR_NETWORKS, usual_size
from core.models.legacy import ReadWeights, read_weights
from core.models.loading import Model, prepare
from core.models.published_networks import XRV_BASES
from core.models.recognising import COUNTER, Fit, fit_of, fitting
from core.models.self_test import has_untrained_head, reference_logits, reference_pictures
from core.models.weights import fill

Head = Literal["sigmoid", "softmax", "logit"]
# What each kind of network is usually fed, where the weights cannot say: grey 0..1 around the middle.
_SIZES = {"article-cnn-28": 28, "compact-resnet": 256, "xrv-resnet50": 512}
_DEFAULT_SIZE = 224
# TorchXRayVision feeds grey 0..1 as -1024..1024.
_XRV_MEAN, _XRV_STD = 0.5, 1 / 2048
_XRV_OUTPUTS = 18
# The mean and standard deviation of ImageNet's three channels, as one number each.
_IMAGENET_MEAN, _IMAGENET_STD = 0.449, 0.226
_LEAST_LIMIT = 1e-6
_HEAD_WORDS = {
    "softmax": "classes of which one is the answer (softmax)",
    "sigmoid": "labels that go together (sigmoid)",
    "logit": "one logit for a negative and a positive label",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the one who brings weights says of them; None where RadLens is to find out."""

    architecture: str | None = None
    head: Head | None = None
    size: int | None = None
    layer: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CompatibilityReport:
    """What weights turned out to be.

    ``also_fits``: other architectures with the same names and shapes. ``layers``: where a heatmap can be taken, the best
    first. ``problem``: why the model cannot be used, from its self-test, or None. ``evidence_limit``: the strongest evidence
    on the reference pictures. ``weights`` are the same weights as safetensors, of ``sha256``.
    """

    architecture: str
    also_fits: tuple[str, ...]
    input: InputSpec
    outputs: int
    head: Head
    layers: tuple[CandidateLayer, ...]
    layer: str
    problem: str | None
    untrained: bool
    parameters: int
    evidence_limit: float
    reference_logits: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...]
    sha256: str
    weights: bytes = field(repr=False)
    task: Task = "classification"

    def rows(self) -> list[tuple[str, str]]:
        """What was found, as (what, found in words)."""
        spec = self.input
        channels = "1 channel" if spec.channels == 1 else f"{spec.channels} channels"
        twins = f" (so does {', '.join(self.also_fits)})" if self.also_fits else ""
        return [
            ("architecture", f"{self.architecture} fits{twins}"),
            ("size", f"{self.parameters / 1e6:.1f} million weights, {len(self.weights) / 1e6:.1f} MB"),
            (
                "input",
                f"{channels} of {spec.size} x {spec.size}; grey 0 to 1, less {spec.mean:g}, divided by {spec.std:.4g}",
            ),
            ("outputs", f"{self.outputs}, read as {_HEAD_WORDS[self.head]}")
            if self.task != "detection"
            else ("outputs", f"boxes with scores, for labels: {self.outputs}; no heatmap"),
            *(("heatmap at", _layer_words(layer)) for layer in self.layers if layer.name == self.layer),
            *(("or at", _layer_words(layer)) for layer in self.layers if layer.name != self.layer),
            ("self-test", self.problem or "passed"),
            *(() if self.task == "detection" else (("last layer", _head_words(untrained=self.untrained)),)),
            *(("mended", note) for note in self.notes),
        ]


def check_weights(data: bytes, wishes: Wishes | None = None) -> CompatibilityReport:
    """Read, recognise, fill and test.

    Raises ModelRejected when the file cannot be read, fits no architecture or fits the wished one not.
    """
    return check_tensors(read_weights(data), wishes or Wishes())


def check_tensors(read: ReadWeights, wishes: Wishes) -> CompatibilityReport:
    """The same for weights that are read already."""
    fit, others = _recognised(read.tensors, wishes.architecture)
    if fit.architecture in DETECTOR_NETWORKS:
        return _detector_report(read, fit, others, wishes)
    spec, head = _input(fit, wishes), _head(fit, wishes.head)
    network = build_unfilled(fit.architecture, channels=fit.channels, labels=fit.outputs)
    fill(network, _with_counters(read.tensors, network))
    layers = candidate_layers(network, channels=spec.channels, size=spec.size)
    layer = _layer(layers, wishes.layer)
    weights = save({name: value.contiguous() for name, value in network.state_dict().items()})
    sha256 = hashlib.sha256(weights).hexdigest()
    model, problem = _tested(network, fit, spec, head, layer)
    return CompatibilityReport(
        architecture=fit.architecture,
        also_fits=others,
        input=spec,
        outputs=fit.outputs,
        head=head,
        layers=layers,
        layer=layer,
        problem=problem,
        untrained=has_untrained_head(network),
        parameters=sum(p.numel() for p in network.parameters()),
        evidence_limit=_strongest(model) if model else 1.0,
        reference_logits=reference_logits(network, spec) if model else (),
        notes=read.notes,
        sha256=sha256,
        weights=weights,
    )


def _detector_report(read: ReadWeights, fit: Fit, others: tuple[str, ...], wishes: Wishes) -> CompatibilityReport:
    """The same for a detector, which has no layer to take a heatmap from."""
    size = wishes.size or usual_size(fit.architecture)
    spec = InputSpec(channels=3, size=size, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    network = build_unfilled(fit.architecture, channels=3, labels=fit.outputs)
    fill(network, _with_counters(read.tensors, network))
    model, problem = _tested(network, fit, spec, "sigmoid", "")
    weights = save({name: value.contiguous() for name, value in network.state_dict().items()})
    return CompatibilityReport(
        architecture=fit.architecture,
        also_fits=others,
        input=spec,
        outputs=fit.outputs,
        head="sigmoid",
        layers=(),
        layer="",
        problem=problem,
        untrained=False,
        parameters=sum(p.numel() for p in network.parameters()),
        evidence_limit=1.0,
        reference_logits=reference_answers(network, spec, fit.outputs) if model else (),
        notes=read.notes,
        sha256=hashlib.sha256(weights).hexdigest(),
        weights=weights,
        task="detection",
    )


def _stand_in_card(fit: Fit, spec: InputSpec, head: Head, layer: str) -> ModelCard:
    """A card that says just enough to run the network; its labels are numbers."""
    task: Task = "detection" if fit.architecture in DETECTOR_NETWORKS else "classification"
    count = 2 if head == "logit" else fit.outputs
    labels = tuple(Label(code=f"output-{number}", words=f"Output {number}") for number in range(count))
    return ModelCard(
        id="unnamed", version="0", title="Unnamed", task=task, architecture=fit.architecture,
        head=head, labels=labels, headline=labels[-1].code, input=spec, scope=Scope(modalities=(), body_parts=()),
        target_layer=layer, evidence_limit=1.0, weights_sha256="0" * 64, intended_use="", limits=(), licence="",
    )  # fmt: skip


def _recognised(tensors: Mapping[str, torch.Tensor], wished: str | None) -> tuple[Fit, tuple[str, ...]]:
    if wished:
        return fit_of(wished, tensors), ()
    fits = fitting(tensors)
    if not fits:
        raise ModelRejected(
            f"The {len(tensors)} tensors fit none of the architectures that RadLens builds; name the architecture to learn "
            "what differs."
        )
    # A film network of 18 outputs is TorchXRayVision's far more often than anybody's own.
    first = next((fit for fit in fits if fit.architecture in XRV_BASES and fit.outputs == _XRV_OUTPUTS), fits[0])
    return first, tuple(fit.architecture for fit in fits if fit is not first)


def _input(fit: Fit, wishes: Wishes) -> InputSpec:
    size = wishes.size or _SIZES.get(fit.architecture, _DEFAULT_SIZE)
    if fit.architecture in XRV_BASES:
        return InputSpec(channels=1, size=size, fit="crop", mean=_XRV_MEAN, std=_XRV_STD)
    if fit.channels == 3:
        return InputSpec(channels=3, size=size, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    return InputSpec(channels=1, size=size, mean=0.5, std=0.25)


def _head(fit: Fit, wished: Head | None) -> Head:
    """One output is one logit; of several the commonest is softmax, of TorchXRayVision's sigmoid."""
    guess: Head = "logit" if fit.outputs == 1 else "sigmoid" if fit.architecture in XRV_BASES else "softmax"
    head = wished or guess
    if head == "logit" and fit.outputs != 1:
        raise ModelRejected(
            f"The network has {fit.outputs} outputs; a head of one logit has 1. Choose softmax or sigmoid."
        )
    if head == "softmax" and fit.outputs == 1:
        raise ModelRejected("The network has 1 output, which no softmax tells apart; choose one logit or sigmoid.")
    return head


def _layer(layers: tuple[CandidateLayer, ...], wished: str | None) -> str:
    if not layers:
        raise ModelRejected(
            "The network has no layer with a grid, so no heatmap can be made; choose a larger input size."
        )
    names = [layer.name for layer in layers]
    if wished and wished not in names:
        raise ModelRejected(f"The layer {wished!r} is none of those that can be the target: {', '.join(names)}.")
    return wished or names[0]


def _with_counters(tensors: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights, with batch norms' counters where an old file has none."""
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTER)}
    return {**counters, **tensors}


def _head_words(*, untrained: bool) -> str:
    return "looks untrained: its scores mean nothing" if untrained else "trained, as far as can be seen"


def _layer_words(layer: CandidateLayer) -> str:
    words = f"{layer.name}: {layer.channels} maps of {layer.rows} x {layer.columns}"
    exact = ", the map sums to the logit" if layer.exact else ""
    return words + exact + ("" if layer.alone else ", but a shortcut passes it by")


def _tested(network: nn.Module, fit: Fit, spec: InputSpec, head: Head, layer: str) -> tuple[Model | None, str | None]:
    try:
        return prepare(_stand_in_card(fit, spec, head, layer), network), None
    except ModelRejected as exc:
        return None, str(exc)


def _strongest(model: Model) -> float:
    """The strongest evidence for any label on the reference pictures: an end for the colour scale until films measure it."""
    strongest = _LEAST_LIMIT
    for picture in reference_pictures(model.card.input):
        one_pass = model.fast.run(picture)
        shown = evidence_for_labels(model.card, evidence_of_all_labels(model.fast, one_pass))
        strongest = max(strongest, float(shown.maps.max()))
    return strongest
