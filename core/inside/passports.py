"""Filter passports: which held-out pictures fire each filter most, which label it tells apart, what silencing it costs.

A filter fires where its map, after the batch norm behind it where there is one, is highest. Kept of a picture: its number in
the order of reading, the place in hundredths of the network's square, the value, and its labels; no picture, no name: numbers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from core.analysis import FloatArray
from core.errors import ConfigurationError
from core.inside.altering import heard_as
from core.inside.silencing import LayerSilenced, areas, silenced_layers
from core.models.card import ModelCard
from core.models.loading import Model
from core.training.data import Examples, Progress

PASSPORTS_FILE = "passports.json"
_TOP = 4
_BATCH = 8


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Firing(_Frozen):
    """A held-out picture by number, and where in the network's square (hundredths from left and top) the filter fires most."""

    picture: int
    x: int
    y: int
    value: float


class Silenced(_Frozen):
    """The network's AUROC for a ``label`` as it is and with the filter silenced, on the same so many ``pictures``."""

    label: str
    before: float
    after: float
    pictures: int


class FilterPassport(_Frozen):
    """``label`` is the one that the filter's strongest value tells apart best, with that ``auroc`` (below 0.5: against it).

    ``silenced`` is about that label, or the model's headline where too few pictures had it; None where neither could be told.
    """

    top: tuple[Firing, ...]
    label: str | None = None
    auroc: float | None = None
    silenced: Silenced | None = None


class Passports(_Frozen):
    """Of every convolution's filters; ``truths`` the labels of each picture that is named."""

    weights_sha256: str
    split: str
    pictures: int
    truths: dict[int, tuple[str, ...]]
    layers: dict[str, tuple[FilterPassport, ...]]

    def of(self, layer: str, channel: int) -> FilterPassport | None:
        """The passport of a filter, if there is one."""
        filters = self.layers.get(layer, ())
        return filters[channel] if 0 <= channel < len(filters) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Peaks:
    """Per picture and filter (pictures, filters): the highest value and its place (x, y) in shares of the square."""

    values: FloatArray = field(repr=False)
    x: FloatArray = field(repr=False)
    y: FloatArray = field(repr=False)


def read_passports(folder: Path, weights_sha256: str) -> Passports | None:
    """The passports in a model's folder; None where there are none, or they are damaged or of other weights."""
    try:
        stored = json.loads((folder / PASSPORTS_FILE).read_text("utf-8"))
        found = Passports.model_validate(_unpacked(stored))
    except (OSError, ValueError, ValidationError, TypeError, KeyError, IndexError):
        return None
    return found if found.weights_sha256 == weights_sha256 else None


def write_passports(folder: Path, passports: Passports) -> None:
    """Put them beside the weights.

    Raises ConfigurationError when the file cannot be written.
    """
    text = json.dumps(_packed(passports), separators=(",", ":"), allow_nan=False) + "\n"
    try:
        (folder / PASSPORTS_FILE).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"{PASSPORTS_FILE} cannot be written into the model's folder.") from exc


def make_passports(
    model: Model,
    examples: Examples,
    split: str = "val",
    *,
    silencing: bool = True,
    progress: Progress | None = None,
) -> Passports:
    """Run every picture of a split once and keep what fires each filter most; then silence each filter by itself.

    The second takes minutes, and is left out without ``silencing``; ``progress`` counts pictures first and layers then.
    """
    peaks = _peaks(model, examples, progress)
    labels = model.card.label_codes
    silenced = silenced_layers(model, examples, progress=progress) if silencing else {}
    layers = {
        layer: _with_silenced(_passports_of(found, examples.truths, labels), silenced.get(layer), model.card)
        for layer, found in peaks.items()
    }
    named = sorted({firing.picture for filters in layers.values() for one in filters for firing in one.top})
    truths = {
        number: tuple(code for code, truth in zip(labels, examples.truths[number], strict=True) if truth == 1)
        for number in named
    }
    return Passports(
        weights_sha256=model.card.weights_sha256, split=split, pictures=len(examples), truths=truths, layers=layers
    )


def _peaks(model: Model, examples: Examples, progress: Progress | None) -> dict[str, _Peaks]:
    heard = {layer: heard_as(model, layer) for layer in model.convolutions}
    found: dict[str, list[npt.NDArray[np.float32]]] = {layer: [] for layer in heard}
    for start, pictures in _batches(model, examples):
        for one in model.plain.run_all(pictures, tuple(dict.fromkeys(heard.values()))):
            for layer, name in heard.items():
                found[layer].append(_highest(one.layers[name]))
        if progress:
            progress(min(start + _BATCH, len(examples)), len(examples))
    return {layer: _Peaks(*np.stack(rows, 1)) for layer, rows in found.items()}


def _batches(model: Model, examples: Examples) -> Iterator[tuple[int, torch.Tensor]]:
    spec = model.card.input
    for start in range(0, len(examples), _BATCH):
        grey = examples.pictures[start : start + _BATCH].float() / 255
        yield start, (grey - spec.mean) / spec.std


def _highest(maps: torch.Tensor) -> FloatArray:
    """Maps (channels, h, w) -> (3, channels): the highest value, and the middle of its cell in shares of width and height."""
    channels, rows, columns = maps.shape
    value, place = maps.reshape(channels, -1).max(1)
    y, x = (place // columns + 0.5) / rows, (place % columns + 0.5) / columns
    return np.stack([value.numpy(), x.numpy(), y.numpy()]).astype(np.float32)


def _passports_of(
    peaks: _Peaks, truths: npt.NDArray[np.float32], labels: tuple[str, ...]
) -> tuple[FilterPassport, ...]:
    told_apart = areas(peaks.values, truths)
    order = np.argsort(-peaks.values, axis=0, kind="stable")[:_TOP]
    made = []
    for channel in range(peaks.values.shape[1]):
        # A filter that answers every picture alike prefers none.
        is_flat = bool(np.ptp(peaks.values[:, channel]) == 0)
        top = () if is_flat else tuple(_firing(peaks, int(picture), channel) for picture in order[:, channel])
        known = np.abs(told_apart[:, channel] - 0.5)
        best = int(np.nanargmax(known)) if not np.isnan(known).all() and not is_flat else None
        made.append(
            FilterPassport(
                top=top,
                label=None if best is None else labels[best],
                auroc=None if best is None else round(float(told_apart[best, channel]), 2),
            )
        )
    return tuple(made)


def _with_silenced(
    filters: tuple[FilterPassport, ...], found: LayerSilenced | None, card: ModelCard
) -> tuple[FilterPassport, ...]:
    if found is None:
        return filters
    made = []
    for channel, one in enumerate(filters):
        codes = (code for code in (one.label, card.headline) if code is not None)
        known = (card.label_codes.index(code) for code in codes)
        label = next((at for at in known if not np.isnan(found.before[at])), None)
        if label is None:
            made.append(one)
            continue
        before, after = (round(float(area), 3) for area in (found.before[label], found.after[label, channel]))
        told = Silenced(label=card.label_codes[label], before=before, after=after, pictures=found.pictures)
        made.append(one.model_copy(update={"silenced": told}))
    return tuple(made)


def _firing(peaks: _Peaks, picture: int, channel: int) -> Firing:
    x, y = (round(100 * float(at[picture, channel])) for at in (peaks.x, peaks.y))
    return Firing(picture=picture, x=x, y=y, value=float(f"{peaks.values[picture, channel]:.3g}"))


def _packed(passports: Passports) -> dict[str, object]:
    """The same as lists, which take a third of the room."""
    return {
        "schema": 2, "weights_sha256": passports.weights_sha256, "split": passports.split,
        "pictures": passports.pictures,
        "truths": {str(number): list(codes) for number, codes in passports.truths.items()},
        "layers": {
            layer: [[one.label, one.auroc, [[f.picture, f.x, f.y, f.value] for f in one.top]] for one in filters]
            for layer, filters in passports.layers.items()
        },
        "silenced": {
            layer: _packed_silenced(filters)
            for layer, filters in passports.layers.items()
            if any(one.silenced for one in filters)
        },
    }  # fmt: skip


def _packed_silenced(filters: tuple[FilterPassport, ...]) -> dict[str, object]:
    """What a layer's filters have in common once; of each the number of its label there, and its AUROC."""
    known = {one.silenced.label: one.silenced.before for one in filters if one.silenced}
    pictures = max((one.silenced.pictures for one in filters if one.silenced), default=0)
    labels = list(known)
    each = [one.silenced and [labels.index(one.silenced.label), one.silenced.after] for one in filters]
    return {"pictures": pictures, "before": known, "after": each}


def _unpacked(stored: Mapping[str, Any]) -> dict[str, object]:
    """What ``_packed`` wrote, now or before silencing was measured; raises TypeError, KeyError or IndexError otherwise."""
    if stored["schema"] not in (1, 2) or not isinstance(stored["layers"], dict):
        raise TypeError(stored["schema"])
    silenced = stored["silenced"] if stored["schema"] == 2 else {}
    layers = {
        layer: [
            {
                "label": one[0],
                "auroc": one[1],
                "top": [dict(zip(("picture", "x", "y", "value"), f, strict=True)) for f in one[2]],
                "silenced": _unpacked_silenced(silenced[layer], at) if layer in silenced else None,
            }
            for at, one in enumerate(filters)
        ]
        for layer, filters in stored["layers"].items()
    }
    kept = {name: stored[name] for name in ("weights_sha256", "split", "pictures", "truths")}
    return {**kept, "layers": layers}


def _unpacked_silenced(layer: Mapping[str, Any], at: int) -> dict[str, object] | None:
    if layer["after"][at] is None:
        return None
    number, after = layer["after"][at]
    label, before = list(layer["before"].items())[number]
    return {"label": label, "before": before, "after": after, "pictures": layer["pictures"]}
