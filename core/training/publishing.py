"""A configuration -> a folder of the catalogue: weights, card with measured figures, README made from the card, export."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from core.analysis import software_versions
from core.models.architectures import build_network
from core.models.card import ModelCard, TrainingFacts
from core.models.card_text import card_to_markdown
from core.models.catalogue import WEIGHTS_FILE, read_card
from core.models.exports import export_beside
from core.models.loading import prepare
from core.models.self_test import reference_logits
from core.models.weights import fill, read_checked, save_weights
from core.training.checkpoint import fingerprint_of
from core.training.configuration import TrainingConfiguration
from core.training.curves import CURVES_FILE, FREE_RESPONSE_FILE, draw_free_response_png, draw_png, read_curves
from core.training.data import (
    SIMULATED,
    Examples,
    check_groups,
    check_labels,
    joined,
    load_split,
    read_index,
    simulated_examples,
    simulated_findings,
)
from core.training.evaluation import evidence_limit, figures, operating_points
from core.training.fitting import EpochRecord, fit
from core.training.loop import Run, device_words
from core.training.measuring import measure, measure_simulated
from core.training.outline_figures import provisional_threshold, with_outline_figures
from core.training.outlines import OutlinedExamples, load_outlined
from core.training.place_figures import place_thresholds
from core.training.segmentation import OutlineRecord, fit_outlines

# Seeds from here on are never trained on.
EVALUATION_SEED = 900_000
# Of files that cannot be read so many are named.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How a training tells of its course: a line of text, and every epoch's record."""

    on_text: Callable[[str], None]
    on_epoch: Callable[[EpochRecord | OutlineRecord], None]


def train(configuration: TrainingConfiguration, data: Path, out: Path, callbacks: Callbacks) -> ModelCard:
    """Train, measure and publish to ``out/<model id>``; the training log lies beside the weights.

    Raises ConfigurationError when the data does not fit the configuration or a group crosses the splits.
    """
    section = configuration.data
    splits = (section.train_split, section.validation_split, *section.further_splits)
    rows = read_index(data, section.label_column)
    check_groups(rows, splits)
    if section.evaluation_films:
        simulated_findings([label.code for label in configuration.model.labels])
    folder = out / configuration.model.id
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, fingerprint_of(configuration, *(json.dumps(row) for row in rows)))
    started = time.perf_counter()
    learn = _outlines_learnt if configuration.model.task == "segmentation" else _labels_learnt
    network, examples = learn(configuration, data, run, callbacks)
    minutes = (time.perf_counter() - started) / 60
    sha256 = save_weights(network, folder / WEIGHTS_FILE)
    card = _card(configuration, sha256, _facts(configuration, examples, minutes))
    draw_png(read_curves(run.log), folder / CURVES_FILE)
    callbacks.on_text("Measuring the figures")
    finished = _with_figures(card, network, data, configuration)
    write_card(finished, folder)
    callbacks.on_text(export_beside(finished, network, folder) or "Exported for the fast engine, equal to torch")
    draw_free_response_png(finished.evaluations[0], folder / FREE_RESPONSE_FILE)
    return finished


def write_card(card: ModelCard, folder: Path) -> None:
    """card.json and the README made from it."""
    (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card_to_markdown(card), encoding="utf-8")


def measure_again(configuration: TrainingConfiguration, data: Path, out: Path) -> ModelCard:
    """Publish a trained model's card anew: all figures, thresholds and the colour limit measured, the weights as they are.

    What the configuration says of the model (words, limits, scope) is taken over; raises ModelRejected as loading does.
    """
    folder = out / configuration.model.id
    known = read_card(folder / "card.json")
    network = build_network(known.architecture, channels=known.input.channels, labels=known.outputs)
    fill(network, read_checked(folder / WEIGHTS_FILE, known.weights_sha256))
    card = _card(configuration, known.weights_sha256, known.training)
    measured = _with_figures(card, network, data, configuration)
    # What was calibrated for these weights holds for them still.
    finished = measured.model_copy(update={"confidence": known.confidence})
    write_card(finished, folder)
    export_beside(finished, network, folder)
    return finished


def _labels_learnt(
    configuration: TrainingConfiguration, data: Path, run: Run, callbacks: Callbacks
) -> tuple[nn.Module, Examples]:
    examples, validation = _examples(configuration, data, callbacks.on_text)
    return fit(configuration, examples, validation, run=run, on_epoch=callbacks.on_epoch), examples


def _outlines_learnt(
    configuration: TrainingConfiguration, data: Path, run: Run, callbacks: Callbacks
) -> tuple[nn.Module, OutlinedExamples]:
    section, spec = configuration.data, configuration.model.input
    examples, validation = (
        load_outlined(data, split, spec, column=section.label_column)
        for split in (section.train_split, section.validation_split)
    )
    left_out = examples.unreadable + validation.unreadable
    known = int(examples.known.sum())
    callbacks.on_text(
        f"{known} with a mask to train, {len(examples) - known} without one left out, {len(validation)} held out, "
        f"{_listed(left_out)} left out"
    )
    return fit_outlines(configuration, examples, validation, run=run, on_epoch=callbacks.on_epoch), examples


def _examples(
    configuration: TrainingConfiguration, data: Path, on_text: Callable[[str], None]
) -> tuple[Examples, Examples]:
    section, spec = configuration.data, configuration.model.input
    labels = [label.code for label in configuration.model.labels]
    real, validation = (
        load_split(data, split, labels, spec, column=section.label_column)
        for split in (section.train_split, section.validation_split)
    )
    check_labels(real, labels)
    simulated = simulated_examples(section.simulated_films, section.simulated_seed, labels, spec)
    left_out = real.unreadable + validation.unreadable
    on_text(
        f"{len(real)} + {len(simulated)} simulated to train, {len(validation)} held out, {_listed(left_out)} left out"
    )
    return joined(real, simulated), validation


def _listed(unreadable: tuple[str, ...]) -> str:
    """How many files cannot be read, and which."""
    names = ", ".join(unreadable[:_NAMED]) + (", ..." if len(unreadable) > _NAMED else "")
    return f"{len(unreadable)} unreadable" + (f" ({names})" if unreadable else "")


def _facts(
    configuration: TrainingConfiguration, examples: Examples | OutlinedExamples, minutes: float
) -> TrainingFacts:
    simulated = configuration.data.simulated_films
    groups = {group for group in examples.groups if not group.startswith(SIMULATED)}
    return TrainingFacts(
        configuration="training.toml",
        data=configuration.data.name,
        images=len(examples) - simulated,
        simulated_images=simulated,
        patients=len(groups),
        epochs=configuration.fit.epochs,
        device=device_words(configuration.fit),
        minutes=round(minutes, 1),
        software=dict(software_versions()),
        started_from=configuration.fit.start_from,
    )


def _card(configuration: TrainingConfiguration, sha256: str, facts: TrainingFacts | None) -> ModelCard:
    stated = configuration.model.model_dump()
    outlines = stated["task"] == "segmentation"
    return ModelCard.model_validate(
        {
            **stated,
            "mask_threshold": provisional_threshold(sha256) if outlines else None,
            "evidence_limit": 1.0,
            "weights_sha256": sha256,
            "training": facts,
        }
    )


def _with_figures(card: ModelCard, network: nn.Module, data: Path, configuration: TrainingConfiguration) -> ModelCard:
    if card.task == "segmentation":
        return with_outline_figures(card, network, data, configuration)
    model = prepare(card, network)
    section = configuration.data
    real, *further = (
        measure(model, data, split, data=section.name, column=section.label_column, probes=section.probes)
        for split in (section.validation_split, *section.further_splits)
    )
    measurements = [real, *further]
    if section.evaluation_films:
        measurements.append(measure_simulated(model, section.evaluation_films, EVALUATION_SEED))
    decided = card.model_copy(
        update={
            "reference_logits": reference_logits(network, card.input),
            "evidence_limit": evidence_limit(real),
            "thresholds": operating_points(real, card),
        }
    )
    decided = decided.model_copy(update={"place_thresholds": place_thresholds(real, decided)})
    return decided.model_copy(update={"evaluations": tuple(figures(one, decided) for one in measurements)})
