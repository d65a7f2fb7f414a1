"""calibrate(model, ...): everything that the card says of confidence, measured anew."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from core.confidence.calibrating import REFITS, calibrations
from core.confidence.calibration import confidence_of
from core.confidence.conformal_fitting import fit_sets
from core.confidence.held_out import HeldOut, held_out_of, read_held_out
from core.confidence.novelty import NOVELTY_FILE, save_statistics
from core.confidence.novelty_fitting import RULE, Pictures, fit_gate, pictures_of
from core.confidence.operating import curves
from core.confidence.other_pictures import KINDS, bundled_scans, inverted, made_pictures, made_scan, otherwise
from core.errors import ConfigurationError, ScanError
from core.models.card import ModelCard
from core.models.confidence_card import Confidence, NoveltyGate
from core.models.loading import Model
from core.reading.decoding import decode_scan
from core.samples import simulated_scan
from core.scan import Scan
from core.training.cross_validation import SCORES_FILE
from core.training.data import Row, group_of, read_index, simulated_findings
from core.training.measuring import Measurements, measure
from core.training.outline_figures import measure_outlines
from core.training.publishing import EVALUATION_SEED
from core.windowing import display_grey

# Pictures of each kind that nobody needs more of; of the training pictures, as they are and otherwise.
_OTHERS = 60
_TRAINED, _TRAINED_OTHERWISE = 800, 300
_HELD_OUT = 300
_REFITS = REFITS
_SEED = 0
# Simulated films of the training have other seeds, and those of the evaluation end before these.
_SIMULATED_SEED, _SIMULATED = EVALUATION_SEED + 50_000, 60

Tell = Callable[[str], None]
Scans = Iterable[tuple[Scan, str]]


@dataclass(frozen=True, slots=True)
class Source:
    """The pictures of a model: a folder with index.csv or class folders, its splits, and what it is called.

    ``others`` are folders of other domains by name; beside them made pictures are used, and what pydicom brings
    of other modalities.
    """

    folder: Path
    name: str
    column: str = "label"
    train_split: str = "train"
    split: str = "val"
    others: Mapping[str, Path] | None = None


def calibrate_scores(model: Model, source: Source, folder: Path, tell: Tell) -> Confidence:
    """Calibration, thresholds and sets: from the out-of-fold scores in the model's ``folder``, else from ``source.split``.

    Novelty is kept as the card has it. Raises ConfigurationError when scores or pictures cannot be read.
    """
    card = model.card
    tell(f"Measuring {source.split} with the weights of the card")
    own = held_out_of(_measured(model, source), card)
    path = folder / SCORES_FILE
    held_out = read_held_out(path, card) if path.is_file() else own
    looked = own if held_out is not own else None
    tell(f"Calibrating with {len(held_out)} pictures of {held_out.networks} networks")
    known = confidence_of(card)
    return Confidence(
        weights_sha256=card.weights_sha256,
        data=_data_words(source, held_out),
        networks=held_out.networks,
        pictures=len(held_out),
        calibration=calibrations(held_out, exclusive=card.is_exclusive, own=looked, refits=_REFITS),
        curves=curves(own, source.split),
        sets=fit_sets(held_out, exclusive=card.is_exclusive, own=looked),
        novelty=known.novelty if known else None,
    )


def calibrate_novelty(model: Model, source: Source, folder: Path, tell: Tell) -> NoveltyGate:
    """The gate, its statistics written beside the card as novelty.safetensors.

    Raises ConfigurationError when a folder has no readable picture.
    """
    own = dict(_read(model, kinds, tell) for kinds in _own(model, source).items())
    looks = dict(_read(model, kinds, tell) for kinds in _looks(model, source).items())
    others = dict(_read(model, kinds, tell) for kinds in _others(model, source).items())
    fitted = fit_gate(looks, own, others, seed=_SEED)
    return NoveltyGate(
        file_sha256=save_statistics(fitted.statistics, folder / NOVELTY_FILE),
        method=fitted.method,
        gate=fitted.statistics.gate,
        rule=RULE,
        data=f"{source.name}, {source.train_split}; gate and figures: {source.split}",
        looks=fitted.statistics.looks,
        tried=dict(fitted.tried),
        own=fitted.own,
        others=dict(fitted.others),
        all_others=fitted.all_others,
    )


def with_novelty(card: ModelCard, gate: NoveltyGate) -> ModelCard:
    """The card with this gate; what it says of scores stays, where it is of the same weights."""
    known = confidence_of(card) or Confidence(weights_sha256=card.weights_sha256, data="", networks=0, pictures=0)
    return card.model_copy(update={"confidence": known.model_copy(update={"novelty": gate})})


def _measured(model: Model, source: Source) -> Measurements:
    if model.card.task == "segmentation":
        return measure_outlines(model, source.folder, source.split, data=source.name, column=source.column).whole
    return measure(model, source.folder, source.split, data=source.name, column=source.column)


def _data_words(source: Source, held_out: HeldOut) -> str:
    if held_out.networks == 1:
        return f"{source.name}, {source.split}: the scores of these weights on pictures they were not trained on"
    return f"{source.name}: out-of-fold scores of {held_out.networks} networks made in the same way"


def _read(model: Model, kinds: tuple[str, Scans], tell: Tell) -> tuple[str, Pictures]:
    name, scans = kinds
    tell(f"Novelty: {name}")
    return name, pictures_of(model, scans)


def _own(model: Model, source: Source) -> dict[str, Scans]:
    """Held-out pictures of the model's own domain, by kind: as they are first."""
    rows = _some(_rows(source, source.split), _HELD_OUT)
    kinds: dict[str, Scans] = {
        "as they are": _scans(source.folder, rows),
        "cut or exposed otherwise": _changed(source.folder, rows),
    }
    if _learnt_simulated(model.card):
        kinds["simulated"] = _simulated(model.card, _SIMULATED_SEED, _SIMULATED)
    return kinds


def _looks(model: Model, source: Source) -> dict[str, Scans]:
    """The training pictures by what they show, as they are and a part of them otherwise."""
    card = model.card
    rows = _some(_rows(source, source.train_split), _TRAINED)
    again = {id(row) for row in _some(rows, _TRAINED_OTHERWISE)}
    kinds: dict[str, Scans] = {}
    for name in dict.fromkeys(_look_words(card, row, source.column) for row in rows):
        named = [row for row in rows if _look_words(card, row, source.column) == name]
        kinds[name] = _both(source.folder, named, [row for row in named if id(row) in again])
    if _learnt_simulated(card):
        kinds["a simulated film"] = _simulated(card, _SIMULATED_SEED + _SIMULATED, 2 * _SIMULATED)
    return kinds


def _others(model: Model, source: Source) -> dict[str, Scans]:
    """Pictures of other domains, by kind."""
    held_out = _some(_rows(source, source.split), _OTHERS)
    kinds: dict[str, Scans] = {"inverted": _inverted(source.folder, held_out)}
    for name, folder in (source.others or {}).items():
        kinds[name] = _scans(folder, _some(read_index(folder), _OTHERS))
    for kind in KINDS:
        kinds[kind] = ((made_scan(picture), kind) for picture in made_pictures(kind, _OTHERS, _SEED))
    kinds["other DICOM files"] = (
        (scan, "bundled") for scan in islice(bundled_scans(model.card.scope.modalities), _OTHERS)
    )
    return kinds


def _rows(source: Source, split: str) -> list[dict[str, str]]:
    rows = [row for row in read_index(source.folder, source.column) if row["split"] == split]
    if not rows:
        raise ConfigurationError(
            f"The folder has no picture in the split {split!r}; name it with --split or --train-split."
        )
    return rows


def _some(rows: Sequence[dict[str, str]], count: int) -> list[dict[str, str]]:
    """So many rows at most, drawn evenly, in their order."""
    if len(rows) <= count:
        return list(rows)
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(rows), count, replace=False))
    return [rows[index] for index in chosen]


def _scans(folder: Path, rows: Iterable[Row]) -> Iterator[tuple[Scan, str]]:
    """The pictures that can be read, with their groups."""
    for row in rows:
        try:
            yield decode_scan((folder / row["file"]).read_bytes()), group_of(row)
        except (ScanError, OSError):
            continue


def _changed(folder: Path, rows: Iterable[Row]) -> Iterator[tuple[Scan, str]]:
    for number, (scan, group) in enumerate(_scans(folder, rows)):
        yield made_scan(otherwise(display_grey(scan), number)), group


def _inverted(folder: Path, rows: Iterable[Row]) -> Iterator[tuple[Scan, str]]:
    for scan, group in _scans(folder, rows):
        yield made_scan(inverted(display_grey(scan))), group


def _both(folder: Path, rows: Sequence[Row], again: Sequence[Row]) -> Iterator[tuple[Scan, str]]:
    yield from _scans(folder, rows)
    yield from _changed(folder, again)


def _simulated(card: ModelCard, seed: int, count: int) -> Iterator[tuple[Scan, str]]:
    findings = [None, *simulated_findings(card.label_codes)]
    for number in range(count):
        scan, _ = simulated_scan(seed + number, findings[number % len(findings)])
        yield scan, f"simulated-{seed + number}"


def _learnt_simulated(card: ModelCard) -> bool:
    return card.training is not None and card.training.simulated_images > 0


def _look_words(card: ModelCard, row: Row, column: str) -> str:
    """What a training picture shows, in words that identify nobody."""
    code = row[column].lower()
    words = next((label.words for label in card.labels if label.code == code), code.replace("_", " ") or "not named")
    return f"{words}, {row['view'].upper()} view" if row.get("view") else words
