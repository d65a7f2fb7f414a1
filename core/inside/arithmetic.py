"""Follow one pixel: the arithmetic of one value of one layer, term by term, with the numbers of the scan in front of you.

A convolution's value is the sum of products over its window, y = b + sum_c sum_i sum_j w(c, i, j) x(c, r s - p + i d,
q s - p + j d): cross-correlation, as every deep-learning library computes it (Goodfellow et al. 2016, Deep Learning, section
9.1). Batch norm is y = gamma (x - mean) / sqrt(variance + eps) + beta (Ioffe and Szegedy 2015, arXiv 1502.03167).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from core.analysis import FloatArray
from core.errors import UnknownLayer
from core.inside.activations import ACTIVATION_FORMULAS, ACTIVATIONS
from core.inside.recording import Recording
from core.inside.steps import Kind, Step, Window


@dataclass(frozen=True, slots=True)
class Place:
    """One value: of a layer (``picture`` for the network's input), its channel, row and column; 0, 0 without places."""

    layer: str
    channel: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One summand: what it is, the value it takes, what that is multiplied with, and where the value comes from."""

    words: str
    value: float
    weight: float
    product: float
    source: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """How one value came about: ``value`` is torch's, ``total`` what the terms and the bias give.

    ``patches`` and ``weights`` (inputs, kernel rows, kernel columns) of a convolution, ``patches`` alone of a pooling; NaN where
    the window lies outside the map. ``terms`` of a convolution: one an input channel, by size of the product.
    ``through`` is the value to follow on towards the picture: the term that mattered most.
    """

    place: Place
    kind: Kind
    formula: str
    value: float
    total: float
    terms: tuple[Term, ...]
    bias: float | None = None
    patches: FloatArray | None = field(default=None, repr=False)
    weights: FloatArray | None = field(default=None, repr=False)
    channels: tuple[int, ...] = ()
    through: Place | None = None


def arithmetic(recording: Recording, place: Place) -> Arithmetic:
    """The arithmetic of one value.

    Raises UnknownLayer when the layer or the place in it does not exist, NotFollowed where the network has no graph.
    """
    recording.check_followed()
    step = recording.step(place.layer)
    _check(recording, step, place)
    how = _HOW.get(step.kind, _unexplained)
    return how(recording, step, place)


def path_to_picture(recording: Recording, place: Place) -> tuple[Arithmetic, ...]:
    """From a value back to the picture, each time through the term that mattered most."""
    found = []
    at: Place | None = place
    while at is not None and at.layer != "picture":
        found.append(arithmetic(recording, at))
        at = found[-1].through
    return tuple(found)


def _check(recording: Recording, step: Step, place: Place) -> None:
    shape = tuple(recording.value(step).shape)
    asked = (place.channel, place.row, place.column)[: len(shape)]
    if len(shape) not in (1, 3) or any(not 0 <= at < size for at, size in zip(asked, shape, strict=True)):
        there = " x ".join(str(size) for size in shape)
        raise UnknownLayer(f"The layer {place.layer!r} holds {there} values; there is none at {asked}.")


def _at(value: torch.Tensor, place: Place) -> float:
    return float(value[place.channel]) if value.ndim == 1 else float(value[place.channel, place.row, place.column])


def _convolution(recording: Recording, step: Step, place: Place) -> Arithmetic:
    module, source = step.module, step.sources[0]
    if not isinstance(module, nn.Conv2d) or step.window is None:
        return _unexplained(recording, step, place)
    each = module.in_channels // module.groups
    first = place.channel // (module.out_channels // module.groups) * each
    channels = tuple(range(first, first + each))
    patches = _patches(recording.value(source), step.window, place, channels)
    weights = np.asarray(module.weight[place.channel].numpy(), np.float32)
    seen = np.nan_to_num(patches)
    products = seen.astype(np.float64) * weights
    bias = 0.0 if module.bias is None else float(module.bias[place.channel])
    order = np.argsort(-np.abs(products.sum((1, 2))), kind="stable")
    terms = tuple(
        Term(f"input channel {channels[k]}", float("nan"), float("nan"), float(products[k].sum())) for k in order
    )
    strongest = np.unravel_index(int(np.abs(products).argmax()), products.shape)
    at = _in_window(step.window, place, (int(strongest[1]), int(strongest[2])))
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula="sum of (value x weight) over the window and all input channels + bias",
        value=_at(recording.value(step), place),
        total=float(products.sum()) + bias,
        terms=terms,
        bias=bias,
        patches=patches,
        weights=weights,
        channels=channels,
        through=Place(recording.name(source), channels[int(strongest[0])], *at),
    )


def _pooling(recording: Recording, step: Step, place: Place) -> Arithmetic:
    source = step.sources[0]
    if step.window is None:
        return _unexplained(recording, step, place)
    patch = _patches(recording.value(source), step.window, place, (place.channel,))
    is_max = step.kind == "max pooling"
    # Average pooling counts what lies outside as 0 (torch's count_include_pad); the maximum never takes it.
    total = float(np.nanmax(patch)) if is_max else float(np.nan_to_num(patch).mean(dtype=np.float64))
    at = np.unravel_index(int(np.nanargmax(patch)), patch.shape)
    cell = _in_window(step.window, place, (int(at[1]), int(at[2])))
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula="the largest value of the window" if is_max else "sum of the window / number of its places",
        value=_at(recording.value(step), place),
        total=total,
        terms=(),
        patches=patch,
        channels=(place.channel,),
        through=Place(recording.name(source), place.channel, *cell),
    )


def _normalisation(recording: Recording, step: Step, place: Place) -> Arithmetic:
    module, x = step.module, _at(recording.value(step.sources[0]), place)
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None or module.running_var is None:
        return _unexplained(recording, step, place)
    k = place.channel
    mean, deviation = float(module.running_mean[k]), float(module.running_var[k] + module.eps) ** 0.5
    gamma = 1.0 if module.weight is None else float(module.weight[k])
    beta = 0.0 if module.bias is None else float(module.bias[k])
    before = Place(recording.name(step.sources[0]), k, place.row, place.column)
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula=f"{gamma:.4g} x (value - {mean:.4g}) / {deviation:.4g} + {beta:.4g}",
        value=_at(recording.value(step), place),
        total=gamma * (x - mean) / deviation + beta,
        terms=(Term("value before", x, gamma / deviation, x * gamma / deviation, before),),
        bias=beta - gamma * mean / deviation,
        through=before,
    )


def _activation(recording: Recording, step: Step, place: Place) -> Arithmetic:
    x = _at(recording.value(step.sources[0]), place)
    before = Place(recording.name(step.sources[0]), place.channel, place.row, place.column)
    function = ACTIVATIONS[step.function]
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula=ACTIVATION_FORMULAS[step.function],
        value=_at(recording.value(step), place),
        total=function(x),
        terms=(Term("value before", x, 1.0, x, before),),
        through=before,
    )


def _addition(recording: Recording, step: Step, place: Place) -> Arithmetic:
    names = [recording.name(source) for source in step.sources]
    values = [_at(recording.value(source), place) for source in step.sources]
    places = [Place(name, place.channel, place.row, place.column) for name in names]
    terms = tuple(Term(n, v, 1.0, v, p) for n, v, p in zip(names, values, places, strict=True))
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula=" + ".join(names),
        value=_at(recording.value(step), place),
        total=sum(values),
        terms=terms,
        through=max(terms, key=lambda term: abs(term.value)).source,
    )


def _concatenation(recording: Recording, step: Step, place: Place) -> Arithmetic:
    channel, chosen = place.channel, step.sources[0]
    for chosen in step.sources:
        count = recording.value(chosen).shape[0]
        if channel < count:
            break
        channel -= count
    return _same_value(recording, step, place, Place(recording.name(chosen), channel, place.row, place.column))


def _passing(recording: Recording, step: Step, place: Place) -> Arithmetic:
    before = Place(recording.name(step.sources[0]), place.channel, place.row, place.column)
    return _same_value(recording, step, place, before)


def _flatten(recording: Recording, step: Step, place: Place) -> Arithmetic:
    shape = tuple(recording.value(step.sources[0]).shape)
    at = (int(v) for v in np.unravel_index(place.channel, shape))
    return _same_value(recording, step, place, Place(recording.name(step.sources[0]), *at))


def _enlargement(recording: Recording, step: Step, place: Place) -> Arithmetic:
    """The nearest cell's value, or the four nearest cells' weighted by closeness (bilinear, half-pixel centres)."""
    source = step.sources[0]
    mode = step.node.kwargs.get("mode", getattr(step.module, "mode", "nearest"))
    large, small = recording.value(step).shape[1:], recording.value(source).shape[1:]
    if mode == "nearest":
        row, column = (at * few // many for at, few, many in zip((place.row, place.column), small, large, strict=True))
        return _same_value(recording, step, place, Place(recording.name(source), place.channel, row, column))
    if mode != "bilinear" or step.node.kwargs.get("align_corners", getattr(step.module, "align_corners", False)):
        return _unexplained(recording, step, place)
    rows, columns = (
        _between(at, few, many) for at, few, many in zip((place.row, place.column), small, large, strict=True)
    )
    terms = []
    for row, down in rows.items():
        for column, across in columns.items():
            at = Place(recording.name(source), place.channel, row, column)
            value = _at(recording.value(source), at)
            terms.append(Term(f"cell {row}, {column}", value, down * across, value * down * across, at))
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula="the nearest cells' values, weighted by how close they are",
        value=_at(recording.value(step), place),
        total=sum(term.product for term in terms),
        terms=tuple(terms),
        through=max(terms, key=lambda term: abs(term.product)).source,
    )


def _between(at: int, few: int, many: int) -> dict[int, float]:
    """The cells of the smaller map around one of the larger, with their weights."""
    position = max(0.0, (at + 0.5) * few / many - 0.5)
    lower = int(position)
    share = position - lower
    return {lower: 1.0} if share == 0 or lower + 1 >= few else {lower: 1 - share, lower + 1: share}


def _global_pooling(recording: Recording, step: Step, place: Place) -> Arithmetic:
    cells = recording.value(step.sources[0])[place.channel]
    row, column = (int(v) for v in np.unravel_index(int(cells.abs().argmax()), tuple(cells.shape)))
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula=f"sum of the map / {cells.numel()} cells",
        value=float(recording.value(step)[place.channel].flatten()[0]),
        total=float(cells.double().sum()) / cells.numel(),
        terms=(),
        patches=_frozen(cells[None]),
        channels=(place.channel,),
        through=Place(recording.name(step.sources[0]), place.channel, row, column),
    )


def _linear(recording: Recording, step: Step, place: Place) -> Arithmetic:
    module = step.module
    if not isinstance(module, nn.Linear):
        return _unexplained(recording, step, place)
    name, x = recording.name(step.sources[0]), recording.value(step.sources[0]).double()
    weights = module.weight[place.channel].double()
    products = x * weights
    bias = 0.0 if module.bias is None else float(module.bias[place.channel])
    order = products.abs().argsort(descending=True, stable=True).tolist()
    terms = tuple(
        Term(f"{name} [{k}]", float(x[k]), float(weights[k]), float(products[k]), Place(name, k)) for k in order
    )
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula="sum of (value x weight) over all inputs + bias",
        value=_at(recording.value(step), place),
        total=float(products.sum()) + bias,
        terms=terms,
        bias=bias,
        through=terms[0].source,
    )


def _product(recording: Recording, step: Step, place: Place) -> Arithmetic:
    """A map times a scale for each channel, as in squeeze and excitation (Hu et al. 2018, arXiv 1709.01507)."""
    values = [recording.value(source) for source in step.sources]
    numbers = [float(v[place.channel, place.row % v.shape[1], place.column % v.shape[2]]) for v in values]
    largest = max(range(len(values)), key=lambda index: values[index].numel())
    name = recording.name(step.sources[largest])
    terms = tuple(
        Term(recording.name(source), number, 1.0, number) for source, number in zip(step.sources, numbers, strict=True)
    )
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula=" x ".join(recording.name(source) for source in step.sources),
        value=_at(recording.value(step), place),
        total=float(np.prod(numbers)),
        terms=terms,
        through=Place(name, place.channel, place.row, place.column),
    )


def _same_value(recording: Recording, step: Step, place: Place, before: Place) -> Arithmetic:
    x = _at(recording.value(_source(recording, step, before.layer)), before)
    return Arithmetic(
        place=place,
        kind=step.kind,
        formula="the same value",
        value=_at(recording.value(step), place),
        total=x,
        terms=(Term("value before", x, 1.0, x, before),),
        through=before,
    )


def _unexplained(recording: Recording, step: Step, place: Place) -> Arithmetic:
    """A step whose arithmetic is not shown: its value stands for itself, and the path ends here."""
    value = _at(recording.value(step), place)
    return Arithmetic(place, step.kind, "not shown for this kind of layer", value, value, ())


def _source(recording: Recording, step: Step, name: str) -> torch.fx.Node:
    return next(source for source in step.sources if recording.name(source) == name)


def _patches(value: torch.Tensor, window: Window, place: Place, channels: tuple[int, ...]) -> FloatArray:
    """The values under the window (inputs, kernel rows, kernel columns), NaN outside the map."""
    rows, columns = _positions(window, place)
    patches = np.full((len(channels), *window.kernel), np.nan, np.float32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if 0 <= row < value.shape[1] and 0 <= column < value.shape[2]:
                patches[:, i, j] = value[channels[0] : channels[-1] + 1, row, column].numpy()
    return patches


def _positions(window: Window, place: Place) -> tuple[list[int], list[int]]:
    """The rows and the columns of the map before that the window lies on, outside it as well."""
    starts = [at * s - p for at, s, p in zip((place.row, place.column), window.stride, window.padding, strict=True)]
    rows, columns = (
        [start + i * d for i in range(k)] for start, k, d in zip(starts, window.kernel, window.dilation, strict=True)
    )
    return rows, columns


def _in_window(window: Window, place: Place, at: tuple[int, int]) -> tuple[int, int]:
    rows, columns = _positions(window, place)
    return rows[at[0]], columns[at[1]]


def _frozen(tensor: torch.Tensor) -> FloatArray:
    array = np.array(tensor.numpy(), np.float32)
    array.setflags(write=False)
    return array


_HOW: dict[Kind, Callable[[Recording, Step, Place], Arithmetic]] = {
    "convolution": _convolution,
    "max pooling": _pooling,
    "average pooling": _pooling,
    "normalisation": _normalisation,
    "activation": _activation,
    "addition": _addition,
    "product": _product,
    "concatenation": _concatenation,
    "passing": _passing,
    "flatten": _flatten,
    "enlargement": _enlargement,
    "global pooling": _global_pooling,
    "linear": _linear,
}
