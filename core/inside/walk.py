"""From an answer back to one pixel: the steps that made a logit, through the cell that the reader points at.

Where the network pools or flattens its last maps, the walk goes on through the pointed cell, and through the channel whose
value there counts most for the answer; everywhere else through the term that mattered most.
"""

from dataclasses import replace

import numpy as np
import torch

from core.errors import UnknownLayer
from core.inside.arithmetic import Arithmetic, Place, arithmetic, path_to_picture
from core.inside.recording import Recording
from core.inside.steps import Step

_BETWEEN = ("passing", "flatten", "global pooling", "activation")


def walk_from_answer(
    recording: Recording, output: int, row: int, column: int, channel: int | None = None
) -> tuple[Arithmetic, ...]:
    """From the network's output back to the picture, through a cell of the last maps and, if given, one of their channels.

    Of a network that answers every pixel the output has places itself, and the walk starts at one.
    Raises UnknownLayer when there is no such output, cell or channel, NotFollowed where the network has no graph.
    """
    recording.check_followed()
    answer = recording.name(recording.steps[recording.output].node)
    layer = last_maps(recording)
    if recording.values[recording.output].ndim == 3:
        return path_to_picture(recording, Place(answer, output, row, column))
    _check(recording, layer, row, column, channel)
    found: list[Arithmetic] = []
    at: Place | None = Place(answer, output)
    while at is not None and at.layer != layer:
        step = arithmetic(recording, at)
        found.append(_steered(recording, step, layer, (row, column), channel))
        at = found[-1].through
    return (*found, *path_to_picture(recording, at)) if at is not None else tuple(found)


def last_maps(recording: Recording) -> str:
    """The last layer with places that all later ones only pool, flatten and weigh.

    Of a network that answers every pixel, its output.
    """
    step = recording.steps[recording.output]
    while recording.value(step).ndim < 3 or tuple(recording.value(step).shape[1:]) == (1, 1):
        source = step.sources[0].name if step.sources else recording.entry
        if source not in recording.steps:
            break
        step = recording.steps[source]
    return recording.name(step.node)


def map_behind(recording: Recording, place: Place) -> tuple[Place, bool] | None:
    """What a number without places was before flattening, and whether it is a whole map's mean; None where it was no map's."""
    pooled = False
    while len(shape := tuple(recording.value(recording.step(place.layer)).shape)) < 3 or shape[1:] == (1, 1):
        step = recording.step(place.layer)
        if step.kind not in ("passing", "flatten", "global pooling") or step.sources[0].name not in recording.steps:
            return None
        before = recording.name(step.sources[0])
        if step.kind == "flatten":
            at = np.unravel_index(place.channel, tuple(recording.value(step.sources[0]).shape))
            place = Place(before, *(int(v) for v in at))
        else:
            place = Place(before, place.channel, place.row, place.column)
        pooled |= step.kind == "global pooling"
    return place, pooled


def _check(recording: Recording, layer: str, row: int, column: int, channel: int | None) -> None:
    shape = tuple(recording.value(recording.step(layer)).shape)
    asked = (channel or 0, row, column)
    if len(shape) != 3 or any(not 0 <= at < size for at, size in zip(asked, shape, strict=True)):
        there = " x ".join(str(size) for size in shape)
        raise UnknownLayer(f"The layer {layer!r} holds {there} values; there is none at {asked}.")


def _steered(
    recording: Recording, found: Arithmetic, layer: str, cell: tuple[int, int], channel: int | None
) -> Arithmetic:
    """The step with its way on bent towards the cell, where it is the one that decides."""
    if found.kind == "global pooling" and found.through is not None and found.through.layer == layer:
        return replace(found, through=Place(layer, found.place.channel, *cell))
    if found.kind != "linear" or (between := _up_to(recording, found, layer)) is None:
        return found
    maps = recording.value(recording.step(layer))
    pooled = any(step.kind == "global pooling" for step in between)
    weights = {term.source.channel: term.weight for term in found.terms if term.source is not None}
    inputs = _inputs(maps, cell, pooled=pooled)
    counted = np.array([weights[k] for k in inputs]) * maps[:, cell[0], cell[1]].double().numpy()
    chosen = int(np.abs(counted).argmax()) if channel is None else channel
    name = next(term.source.layer for term in found.terms if term.source is not None)
    return replace(found, through=Place(name, inputs[chosen]))


def _inputs(maps: torch.Tensor, cell: tuple[int, int], *, pooled: bool) -> list[int]:
    """The input of the linear layer that each channel's value at the cell goes into."""
    count, rows, columns = maps.shape
    if pooled:
        return list(range(count))
    return [int(np.ravel_multi_index((k, *cell), (count, rows, columns))) for k in range(count)]


def _up_to(recording: Recording, found: Arithmetic, layer: str) -> list[Step] | None:
    """The steps between a linear layer and the last maps, where none of them weighs again."""
    step = recording.step(found.place.layer)
    between: list[Step] = []
    while step.sources:
        source = step.sources[0]
        if source.name not in recording.steps:
            return None
        step = recording.steps[source.name]
        if recording.name(step.node) == layer:
            return between
        if step.kind not in _BETWEEN:
            return None
        between.append(step)
    return None
