"""explain(model, scan) -> Explanation: heatmaps of all labels by any method, at any layer, of each or of one against another."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from weakref import WeakKeyDictionary

import numpy as np
import torch

from core.analysis import FIRST_ORDER_UNIT, Heatmap
from core.engines.cutting import CutNetwork, Pass
from core.errors import AnalysisError, UnknownLabel, UnknownLayer
from core.explaining.methods import BY_GRADIENT, gradients_of, map_of
from core.explaining.package import package_maps
from core.explaining.perturbation import (
    NOBODY,
    Answer,
    Watch,
    ablationcam,
    answer_of,
    approximate_answer_of,
    half_size,
    occlusion,
    rise,
    scorecam,
)
from core.explaining.registry import DEFAULT_METHOD, Method, find_method
from core.explaining.targets import Targets, targets_of
from core.inside.feature_maps import convolution_layers
from core.masks import Mask, masks_of
from core.models.card import ModelCard
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

NOT_FINITE = "Not a finite number: this method finds no usable map of this label here, so none is shown."
NO_GRADIENT = (
    "No gradient: this label's answer does not change with this layer on this scan, so there is nothing to weigh."
)
WITH_ITSELF = "This is the label that the others are compared with; choose another one."
ONE_LOGIT = "The network gives one number for both labels: what speaks for one of them speaks against the other."
APPROXIMATE = "Approximate: the network was asked with the picture at half its size and with fewer digits."
_MOST_CUTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The heatmaps of one method by label code, with what is needed to repeat them.

    ``against`` is the label that the others are compared with, if any; ``notes`` are sentences to be read with the maps.
    """

    scan_digest: str
    frame: int
    model_id: str
    weights_sha256: str
    method: Method
    layer: str
    against: str | None
    heatmaps: Mapping[str, Heatmap] = field(repr=False)
    letterbox: Letterbox
    notes: tuple[str, ...]


def explain(
    model: Model,
    scan: Scan,
    frame: int = 0,
    *,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    against: str | None = None,
    approximate: bool = False,
    watch: Watch = NOBODY,
) -> Explanation:
    """Heatmaps of every label by one method, at the card's target layer unless another ``layer`` is named.

    ``against``: why each label and not that one. ``approximate``: Score-CAM, RISE and occlusion ask a faster network, where
    it can be had. Nothing is left on the model: readers can share it.
    Raises UnknownMethod, UnknownLabel, UnknownLayer, AnalysisError when the network's answer is not a finite number, Stopped
    when the watch ended the work.
    """
    found, other = find_method(method), None if against is None else _label(model.card, against)
    network = cut_at(model, layer or model.card.target_layer)
    entry = to_model_input(scan, frame, model.card.input)
    picture = entry.tensor.contiguous(memory_format=torch.channels_last)
    one_pass = network.run(picture)
    _check(one_pass, layer)
    masks = _masks(model.card, one_pass, entry.letterbox, scan)
    targets = _targets(model.card, one_pass, masks, other)
    maps = _maps(_Asked(model, network, one_pass, picture, targets, watch, approximate), found)
    makers = _Makers(model.card, found, layer or model.card.target_layer, other, network.linear_tail is not None)
    absent = _absent(model.card, maps, masks, other)
    return Explanation(
        scan_digest=scan.digest,
        frame=frame,
        model_id=model.card.id,
        weights_sha256=model.card.weights_sha256,
        method=found,
        layer=makers.layer,
        against=other,
        heatmaps=_heatmaps(makers, maps, absent, _biases(found, network, targets)),
        letterbox=entry.letterbox,
        notes=notes_on(found, model.card, is_approximate=maps.approximate),
    )


def is_quick(model: Model, method: Method, layer: str | None = None) -> bool:
    """Whether the method needs one forward pass only, at this layer."""
    if method.name == "ablationcam":
        return (
            model.card.task == "classification"
            and cut_at(model, layer or model.card.target_layer).linear_tail is not None
        )
    return method.kind == "pass"


def explainable_layers(model: Model) -> tuple[str, ...]:
    """The card's target layer, then every convolution from the last to the first."""
    convolutions = [layer.name for layer in convolution_layers(model.network) if layer.name in model.plain.layers]
    own = model.card.target_layer
    return (own, *(name for name in reversed(convolutions) if name != own))


def notes_on(method: Method, card: ModelCard, *, is_approximate: bool = False) -> tuple[str, ...]:
    """What to know of a method's maps beside what they show."""
    notes = []
    if not method.by_label:
        notes.append(
            f"{method.title} does not depend on the label: it shows what the feature maps have in common, not why the "
            "network answers as it does."
        )
    elif card.head == "logit":
        notes.append(ONE_LOGIT)
    return (*notes, APPROXIMATE) if is_approximate else tuple(notes)


_CUTS: "WeakKeyDictionary[CutNetwork, OrderedDict[str, CutNetwork]]" = WeakKeyDictionary()
_CUTTING = threading.Lock()


def cut_at(model: Model, layer: str) -> CutNetwork:
    """The model's network cut at a layer: the fused one where the layer survives fusing. The last few cuts are kept.

    Raises UnknownLayer.
    """
    if layer == model.card.target_layer:
        return model.fast
    with _CUTTING:
        kept = _CUTS.setdefault(model.fast, OrderedDict())
        if layer not in kept:
            kept[layer] = (model.fast if layer in model.fast.layers else model.plain).at(layer)
        kept.move_to_end(layer)
        if len(kept) > _MOST_CUTS:
            kept.popitem(last=False)
        return kept[layer]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """All that a method may need."""

    model: Model
    network: CutNetwork
    one_pass: Pass
    picture: torch.Tensor
    targets: Targets
    watch: Watch
    approximate: bool

    def answer(self) -> tuple[torch.Tensor, Answer, bool]:
        """The picture to alter, who answers it, and whether approximately."""
        fast = self.model.fast
        if self.approximate and self.targets.outlined is None:
            quick = approximate_answer_of(fast, self.targets, self.picture.shape[-1])
            if quick is not None:
                return half_size(self.picture), quick, True
        return self.picture, answer_of(fast, self.targets), False


@dataclass(frozen=True, slots=True, eq=False)
class _Maps:
    """``values`` (targets, h, w); ``silent`` (targets,) where the gradient is 0 everywhere, for methods that live on it."""

    values: torch.Tensor
    silent: torch.Tensor | None = None
    approximate: bool = False


def _maps(asked: _Asked, method: Method) -> _Maps:
    network, one_pass, targets, watch = asked.network, asked.one_pass, asked.targets, asked.watch
    if method.name in BY_GRADIENT:
        gradients = gradients_of(network, one_pass, targets)
        return _Maps(map_of(method.name, gradients, one_pass.target), (gradients == 0).all(-1).all(-1).all(-1))
    if method.name == "eigencam":
        return _Maps(map_of(method.name, targets.mix, one_pass.target))
    if method.name == "ablationcam":
        return _Maps(ablationcam(network, one_pass, targets, watch))
    if method.kind == "package":
        return _Maps(package_maps(method.name, network, asked.picture, targets, watch))
    return _perturbed(asked, method)


def _perturbed(asked: _Asked, method: Method) -> _Maps:
    picture, answer, approximate = asked.answer()
    if method.name == "scorecam":
        return _Maps(scorecam(asked.one_pass.target, picture, answer, asked.watch), approximate=approximate)
    by_place = occlusion if method.name == "occlusion" else rise
    return _Maps(by_place(picture, answer, asked.watch), approximate=approximate)


def _check(one_pass: Pass, layer: str | None) -> None:
    if one_pass.target.ndim != 3:
        raise UnknownLayer(f"The layer {layer!r} has no grid, so it cannot show places; choose a convolution.")
    if not all(bool(torch.isfinite(values).all()) for values in (one_pass.logits, one_pass.target)):
        raise AnalysisError("The network's answer is not a finite number, so there is no heatmap for this scan.")


def _label(card: ModelCard, label: str) -> str:
    if label.lower() in card.label_codes:
        return label.lower()
    raise UnknownLabel(f"The model has no label {label!r}; it knows: {', '.join(card.label_codes)}.")


def _masks(card: ModelCard, one_pass: Pass, letterbox: Letterbox, scan: Scan) -> Mapping[str, Mask]:
    if card.task != "segmentation":
        return {}
    return masks_of(card, one_pass.logits, letterbox, scan.geometry.spacing_mm)


def _targets(card: ModelCard, one_pass: Pass, masks: Mapping[str, Mask], against: str | None) -> Targets:
    outlined = torch.from_numpy(np.stack([mask.outlined for mask in masks.values()])) if masks else None
    targets = targets_of(card.head, len(one_pass.logits), outlined)
    return targets if against is None else targets.against(card.label_codes.index(against))


def _absent(card: ModelCard, maps: _Maps, masks: Mapping[str, Mask], against: str | None) -> dict[str, str]:
    """Why there is no map, by label."""
    finite = torch.isfinite(maps.values).all(-1).all(-1)
    absent = {code: NOT_FINITE for code, usable in zip(card.label_codes, finite.tolist(), strict=True) if not usable}
    if maps.silent is not None:
        absent |= {code: NO_GRADIENT for code, it in zip(card.label_codes, maps.silent.tolist(), strict=True) if it}
    absent |= {code: mask.outcome for code, mask in masks.items() if mask.outcome}
    return absent if against is None else absent | {against: WITH_ITSELF}


def _biases(method: Method, network: CutNetwork, targets: Targets) -> tuple[float, ...] | None:
    """What the cells leave to each target, where the method's cells and this sum to it; else None."""
    linear = network.linear_tail
    if linear is None or targets.outlined is not None or method.name not in ("evidence", "hirescam"):
        return None
    bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
    return tuple((targets.mix @ bias).tolist())


@dataclass(frozen=True, slots=True)
class _Makers:
    """What all heatmaps of an explanation have in common."""

    card: ModelCard
    method: Method
    layer: str
    against: str | None
    is_exact: bool

    @property
    def unit(self) -> str:
        """Exact contributions carry the evidence's unit; behind other tails they are first-order changes."""
        if self.method.unit is not None:
            return self.method.unit
        return self.card.evidence_unit if self.is_exact or self.card.task == "segmentation" else FIRST_ORDER_UNIT

    @property
    def has_models_scale(self) -> bool:
        """Whether the card's colour limit, measured on its own layer, is one for this map too."""
        return self.method.unit is None and self.layer == self.card.target_layer


def _heatmaps(
    makers: _Makers, maps: _Maps, absent: Mapping[str, str], bias: tuple[float, ...] | None
) -> Mapping[str, Heatmap]:
    """One colour limit for all labels: the model's where its unit holds, else the strongest place of this scan."""
    finite = torch.isfinite(maps.values).all(-1).all(-1)[:, None, None]
    usable = torch.where(finite, maps.values, 0.0)
    strongest = float(usable.abs().max())
    limit = makers.card.evidence_limit if makers.has_models_scale else strongest or 1.0
    heatmaps = {}
    for index, code in enumerate(makers.card.label_codes):
        heatmaps[code] = Heatmap(
            label=code,
            evidence=_frozen(usable[index]),
            unit=makers.unit,
            bias=None if bias is None else bias[index],
            limit=limit,
            method=makers.method.name,
            layer=makers.layer,
            absent=absent.get(code),
            against=makers.against,
            per_scan=not makers.has_models_scale,
        )
    return MappingProxyType(heatmaps)


def _frozen(tensor: torch.Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    array = np.array(tensor.numpy(), np.float32, order="C")
    array.setflags(write=False)
    return array
