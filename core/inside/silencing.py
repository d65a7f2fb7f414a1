"""What silencing a filter does to an AUROC, measured: every filter by itself is set to 0 and the rest of the network runs again.

Only what comes after the filter runs, with its map, after the batch norm behind it where there is one, set to 0 and all
others as they are. That is exact, not a first-order estimate, and takes long where much comes after: so a layer is measured on
as many pictures as its budget allows, says on how many, and is left out where they would be too few to say anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import nn

from core.engines.cutting import CutNetwork, Pass
from core.explaining.explanation import cut_at
from core.inside.altering import heard_as
from core.inside.glance import at_a_glance
from core.inside.recording import record_picture
from core.masks import PRESENCE_EPS, scores_of
from core.models.card import ModelCard
from core.models.loading import Model
from core.preprocessing import Letterbox
from core.training.data import Examples, Progress

FloatArray = npt.NDArray[np.float64]

# A label needs so many pictures with it and without it.
LEAST = 5
# A layer is measured on as many pictures as take the work of so many passes through the whole network, or, of a small network,
# so many multiplications; not on fewer than the least, of which half have the label: then one changed pair is 0.004.
_PASSES, _MULTIPLICATIONS = 1000, 1e11
_LEAST_PICTURES = 32
_TOGETHER = 16
# Pooling and sums are work as well, where nothing is multiplied any more.
_LEAST_SHARE = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class LayerSilenced:
    """``pictures`` were asked; ``before`` (labels,) the AUROC of each label, ``after`` (labels, filters) with each silenced.

    NaN for labels that too few of the pictures have or lack.
    """

    pictures: int
    before: FloatArray = field(repr=False)
    after: FloatArray = field(repr=False)


def silenced_layers(model: Model, examples: Examples, *, progress: Progress | None = None) -> dict[str, LayerSilenced]:
    """Every filter of every convolution that can be afforded, by the layer's name."""
    counts = {layer: count for layer, count in affordable(model, len(examples)).items() if count}
    found = {}
    for number, (layer, count) in enumerate(counts.items(), 1):
        chosen = sample(model.card, examples.truths, count)
        found[layer] = _silenced(model, heard_as(model, layer), examples, chosen)
        if progress:
            progress(number, len(counts))
    return found


def affordable(model: Model, pictures: int) -> dict[str, int]:
    """On how many of so many pictures each convolution's filters can be silenced one by one; 0 where that takes too long."""
    spec = model.card.input
    blank = torch.zeros(1, spec.channels, spec.size, spec.size)
    recording = record_picture(model, blank, Letterbox.fit(spec.size, spec.size, spec.size))
    layers = [layer for block in at_a_glance(recording, model.network) for layer in block.layers]
    behind, left = {}, sum(layer.multiplications for layer in layers)
    whole = max(1, left)
    for layer in layers:
        left -= layer.multiplications
        # Without a graph the whole network runs again.
        behind[layer.name] = max(left, _LEAST_SHARE * whole) if model.plain.has_graph else whole
    budget = max(_PASSES * whole, _MULTIPLICATIONS)
    found = {}
    for name in model.convolutions:
        work = _filters(model, name) * behind.get(heard_as(model, name), whole)
        count = min(pictures, int(budget / work))
        found[name] = count if count >= min(_LEAST_PICTURES, pictures) else 0
    return found


def areas(values: npt.NDArray[np.floating], truths: npt.NDArray[np.float32]) -> FloatArray:
    """AUROC of each column of ``values`` (pictures, columns) for each label of ``truths`` (pictures, labels), by ranks.

    (labels, columns); Mann and Whitney 1947. NaN where too few pictures are known to have the label or to lack it.
    """
    found = np.full((truths.shape[1], values.shape[1]), np.nan)
    for label, truth in enumerate(truths.T):
        known = ~np.isnan(truth)
        with_it, without = int((truth[known] == 1).sum()), int((truth[known] == 0).sum())
        if min(with_it, without) >= LEAST:
            ranks = rankdata(values[known], axis=0)[truth[known] == 1].sum(0)
            found[label] = (ranks - with_it * (with_it + 1) / 2) / (with_it * without)
    return found


def sample(card: ModelCard, truths: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """So many pictures, evenly from the order of reading: of each class alike, or with the headline label and without alike."""
    if card.head == "softmax":
        groups = [np.flatnonzero(truths[:, label] == 1) for label in range(truths.shape[1])]
    else:
        headline = truths[:, card.label_codes.index(card.headline)]
        groups = [np.flatnonzero(headline == truth) for truth in (1, 0)]
    groups = sorted((group for group in groups if len(group)), key=len)
    chosen: list[npt.NDArray[np.intp]] = []
    left = min(count, sum(len(group) for group in groups))
    for number, group in enumerate(groups):
        share = min(len(group), -(-left // (len(groups) - number)))
        chosen.append(group[np.linspace(0, len(group) - 1, share).round().astype(np.intp)])
        left -= share
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(min(count, len(truths)))


def scores(card: ModelCard, outputs: torch.Tensor) -> torch.Tensor:
    """The network's outputs (n, ...) as what each label's pictures are ranked by, (n, labels)."""
    if card.task == "segmentation":
        return torch.logit(scores_of(torch.sigmoid(outputs)), eps=PRESENCE_EPS)
    if card.head == "logit":
        return torch.cat([-outputs, outputs], 1)
    # Double precision: two sure answers must not become one and the same.
    return torch.log_softmax(outputs.double(), 1) if card.head == "softmax" else outputs


def _silenced(model: Model, heard: str, examples: Examples, chosen: npt.NDArray[np.intp]) -> LayerSilenced:
    network = cut_at(model, heard)
    before, after = [], []
    for one in _passes(model, network, examples, chosen):
        before.append(scores(model.card, one.logits[None])[0].double().numpy())
        after.append(scores(model.card, _without_each(network, one)).double().numpy())
    truths, labels = examples.truths[chosen], range(examples.truths.shape[1])
    whole, each = np.stack(before), np.stack(after)
    return LayerSilenced(
        len(chosen),
        np.array([areas(whole[:, [at]], truths[:, [at]])[0, 0] for at in labels]),
        np.stack([areas(each[:, :, at], truths[:, [at]])[0] for at in labels]),
    )


def _filters(model: Model, layer: str) -> int:
    part = model.network.get_submodule(layer)
    return part.out_channels if isinstance(part, nn.Conv2d) else 0


def _passes(model: Model, network: CutNetwork, examples: Examples, chosen: npt.NDArray[np.intp]) -> Iterator[Pass]:
    spec = model.card.input
    for number in chosen:
        grey = examples.pictures[int(number)][None].float() / 255
        yield network.run(((grey - spec.mean) / spec.std).contiguous(memory_format=torch.channels_last))


def _without_each(network: CutNetwork, one: Pass) -> torch.Tensor:
    """The outputs with each channel of the target in turn set to 0, (channels, ...)."""
    kept = 1 - torch.eye(len(one.target))
    found = []
    with torch.inference_mode():
        for part in kept.split(_TOGETHER):
            batch = (one.target * part[:, :, None, None]).contiguous(memory_format=torch.channels_last)
            beside = (
                value.expand(len(part), *value.shape[1:]) if isinstance(value, torch.Tensor) else value
                for value in one.crossings
            )
            found.append(network.tail(batch, *beside)[0])
    return torch.cat(found)
