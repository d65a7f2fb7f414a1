"""Development figures: the same training repeated with every patient held out once, measured on those it never saw."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from core.errors import ConfigurationError
from core.models.architectures import build_network
from core.models.card import Evaluation, ModelCard
from core.models.catalogue import WEIGHTS_FILE, read_card
from core.models.loading import Model, prepare
from core.models.weights import fill, read_checked
from core.training.checkpoint import fingerprint_of
from core.training.configuration import TrainingConfiguration
from core.training.data import MASK_COLUMN, Row, group_of, read_index
from core.training.evaluation import cross_validated, written_into
from core.training.measuring import Measurements, measure
from core.training.outline_figures import OutlineMeasurements, measure_outlines, segmentation_figures
from core.training.publishing import Callbacks, train, write_card

SCORES_FILE = "out-of-fold.jsonl"
_SEED = 0


def cross_validate(
    configuration: TrainingConfiguration, data: Path, out: Path, folds: int, callbacks: Callbacks
) -> ModelCard:
    """Train one network a fold and write their figures into the card of the published model in ``out/<model id>``.

    Patients (or near-duplicate groups) of the train and validation splits are shared out evenly by class. Each fold's
    network lies in ``folds/`` beside the card; folds that are finished are not trained again. The scores of every picture
    by the network that never saw it are written to ``out-of-fold.jsonl``.
    Folds start from nothing also where the configuration says ``start_from``: those weights have seen the pictures.
    Raises ConfigurationError when there are fewer groups than folds, ModelRejected when no model was published.
    """
    folder = out / configuration.model.id
    card = read_card(folder / "card.json")
    rows = [
        row
        for row in read_index(data, configuration.data.label_column)
        if row["split"] in (configuration.data.train_split, configuration.data.validation_split)
    ]
    measured: list[Measurements | OutlineMeasurements] = []
    for number, held_out in enumerate(_folds(rows, configuration.data.label_column, folds)):
        callbacks.on_text(f"Fold {number + 1} of {folds}: {len(held_out)} pictures held out")
        place = folder / "folds" / f"{number + 1}-of-{folds}"
        model = _model_of_fold(configuration, data, place, rows, held_out, card, callbacks)
        measured.append(_measured(model, configuration, place))
    finished = written_into(card, _evaluation(measured, card))
    _write_scores([_whole(one) for one in measured], folder / SCORES_FILE)
    write_card(finished, folder)
    return finished


def _folds(rows: Sequence[Row], column: str, folds: int) -> list[set[int]]:
    """The rows that each fold holds out, by their numbers."""
    groups = [group_of(row) for row in rows]
    if folds < 2 or len(set(groups)) < folds:
        raise ConfigurationError(f"{len(set(groups))} patients or groups cannot be shared out over {folds} folds.")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=_SEED)
    classes = [row[column] for row in rows]
    return [set(held_out.tolist()) for _, held_out in splitter.split(classes, classes, groups)]


def _model_of_fold(
    configuration: TrainingConfiguration,
    data: Path,
    place: Path,
    rows: Sequence[Row],
    held_out: set[int],
    card: ModelCard,
    callbacks: Callbacks,
) -> Model:
    """The network of one fold, trained now unless it lies there already."""
    section = configuration.data.model_copy(update={"further_splits": (), "evaluation_films": 0, "probes": False})
    from_nothing = configuration.fit.model_copy(update={"start_from": ""})
    stated = configuration.model_copy(update={"data": section, "fit": from_nothing})
    index = _index_of_fold(configuration, data, rows, held_out)
    place.mkdir(parents=True, exist_ok=True)
    with (place / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(index)
    fingerprint, sign = fingerprint_of(stated, *(json.dumps(row) for row in index)), place / "finished"
    if not sign.is_file() or sign.read_text() != fingerprint:
        train(stated, place, place, callbacks)
        sign.write_text(fingerprint)
    own = read_card(place / card.id / "card.json")
    network = build_network(own.architecture, channels=own.input.channels, labels=own.outputs)
    fill(network, read_checked(place / card.id / WEIGHTS_FILE, own.weights_sha256))
    if card.mask_threshold:
        # Chosen for the published network: the fold's own choice saw the pictures it is measured on.
        threshold = card.mask_threshold.model_copy(update={"weights_sha256": own.weights_sha256})
        own = own.model_copy(update={"mask_threshold": threshold})
    return prepare(own, network)


def _index_of_fold(
    configuration: TrainingConfiguration, data: Path, rows: Sequence[Row], held_out: set[int]
) -> list[dict[str, str]]:
    """The index with splits of the fold, its files named from the root, so that it can lie anywhere."""
    section = configuration.data
    root = data.resolve()
    found = []
    for number, row in enumerate(rows):
        split = section.validation_split if number in held_out else section.train_split
        files = {column: str(root / row[column]) for column in ("file", MASK_COLUMN) if row.get(column)}
        found.append({**row, **files, "split": split})
    return found


def _measured(model: Model, configuration: TrainingConfiguration, place: Path) -> Measurements | OutlineMeasurements:
    section = configuration.data
    split, name, column = section.validation_split, section.name, section.label_column
    if model.card.task == "segmentation":
        return measure_outlines(model, place, split, data=name, column=column)
    return measure(model, place, split, data=name, column=column)


def _evaluation(measured: Sequence[Measurements | OutlineMeasurements], card: ModelCard) -> Evaluation:
    found = cross_validated([_whole(one) for one in measured], card)
    outlined = [example for one in measured if isinstance(one, OutlineMeasurements) for example in one.outlined]
    return found.model_copy(update={"segmentation": segmentation_figures(outlined)}) if outlined else found


def _whole(measured: Measurements | OutlineMeasurements) -> Measurements:
    return measured.whole if isinstance(measured, OutlineMeasurements) else measured


def _write_scores(folds: Sequence[Measurements], path: Path) -> None:
    """One line a picture: fold, a number for its group, truths (null where unknown), scores by label, age band, sex, view."""
    groups: dict[str, int] = {}
    lines = []
    for number, fold in enumerate(folds):
        for one in fold.examples:
            truths = {code: None if np.isnan(truth) else int(truth) for code, truth in one.truths.items()}
            scores = {code: float(f"{score:.9g}") for code, score in one.scores.items()}
            group = groups.setdefault(one.group, len(groups))
            line = {"fold": number, "group": group, "truths": truths, "scores": scores}
            lines.append(json.dumps(line | ({"subgroups": dict(one.subgroups)} if one.subgroups else {})))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
