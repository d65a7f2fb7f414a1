"""A configuration -> a folder of the catalogue: weights, card with measured figures, README made from the card."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from core.analysis import software_versions
from core.models.architectures import build_network
from core.models.card import Evaluation, Interval, LabelFigures, ModelCard, TrainingFacts
from core.models.catalogue import read_card
from core.models.loading import WEIGHTS_FILE, prepare
from core.models.self_test import reference_logits
from core.models.weights import fill, read_checked, save_weights
from core.training.configuration import TrainingConfiguration
from core.training.data import (
    Examples,
    check_groups,
    check_labels,
    joined,
    load_split,
    read_index,
    simulated_examples,
    simulated_findings,
)
from core.training.evaluation import evidence_limit, figures, measure, measure_simulated, operating_points
from core.training.fitting import EpochRecord, fit

# Seeds from here on are never trained on.
EVALUATION_SEED = 900_000


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How a training tells of its course: a line of text, and every epoch's record."""

    on_text: Callable[[str], None]
    on_epoch: Callable[[EpochRecord], None]


def train(configuration: TrainingConfiguration, data: Path, out: Path, callbacks: Callbacks) -> ModelCard:
    """Train, measure and publish to ``out/<model id>``; the training log lies beside the weights.

    Raises ConfigurationError when the data does not fit the configuration or a group crosses the splits.
    """
    section = configuration.data
    splits = (section.train_split, section.validation_split, *section.further_splits)
    check_groups(read_index(data, section.label_column), splits)
    if section.evaluation_films:
        simulated_findings([label.code for label in configuration.model.labels])
    folder = out / configuration.model.id
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "training.jsonl"
    log.unlink(missing_ok=True)
    started = time.perf_counter()
    examples, validation = _examples(configuration, data, callbacks.on_text)
    network = fit(configuration, examples, validation, log=log, on_epoch=callbacks.on_epoch)
    minutes = (time.perf_counter() - started) / 60
    sha256 = save_weights(network, folder / WEIGHTS_FILE)
    card = _card(configuration, sha256, _facts(configuration, examples, minutes))
    callbacks.on_text("Measuring the figures")
    finished = _with_figures(card, network, data, configuration)
    write_card(finished, folder)
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
    network = build_network(known.architecture, channels=known.input.channels, labels=len(known.labels))
    fill(network, read_checked(folder / WEIGHTS_FILE, known.weights_sha256))
    card = _card(configuration, known.weights_sha256, known.training)
    finished = _with_figures(card, network, data, configuration)
    write_card(finished, folder)
    return finished


def card_to_markdown(card: ModelCard) -> str:
    """The model card for people."""
    parts = [
        f"# {card.title} (`{card.id}` {card.version})",
        card.intended_use,
        "## What it answers\n" + "\n".join(_label_line(label.code, label.words, label.limits) for label in card.labels),
        f"## Network\nArchitecture `{card.architecture}`, input {card.input.channels} x {card.input.size} x {card.input.size}, "
        f"head {card.head}, target layer `{card.target_layer}`. Evidence is in {card.evidence_unit}; the colour scale ends "
        f"at {card.evidence_limit:.3g} for every scan. Weights SHA-256 `{card.weights_sha256}`.",
        "## Training\n" + _training_text(card.training),
        *(evaluation_text(evaluation) for evaluation in card.evaluations),
        _thresholds_text(card),
        "## Limits\n" + "\n".join(f"- {limit}" for limit in card.limits),
        f"## Licence\n{card.licence}",
        "## Sources\n" + "\n".join(f"- {citation}" for citation in card.citations),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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
    left_out = len(real.unreadable) + len(validation.unreadable)
    on_text(
        f"{len(real)} + {len(simulated)} simulated to train, {len(validation)} held out, {left_out} unreadable left out"
    )
    return joined(real, simulated), validation


def _facts(configuration: TrainingConfiguration, examples: Examples, minutes: float) -> TrainingFacts:
    simulated = configuration.data.simulated_films
    groups = {group for group in examples.groups if not group.startswith("simulated-")}
    return TrainingFacts(
        configuration="training.toml",
        data=configuration.data.name,
        images=len(examples) - simulated,
        simulated_images=simulated,
        patients=len(groups),
        epochs=configuration.fit.epochs,
        device=f"CPU, {torch.get_num_threads()} threads, {configuration.fit.precision}",
        minutes=round(minutes, 1),
        software=dict(software_versions()),
    )


def _card(configuration: TrainingConfiguration, sha256: str, facts: TrainingFacts | None) -> ModelCard:
    stated = configuration.model.model_dump()
    return ModelCard.model_validate(
        {**stated, "task": "classification", "evidence_limit": 1.0, "weights_sha256": sha256, "training": facts}
    )


def _with_figures(card: ModelCard, network: nn.Module, data: Path, configuration: TrainingConfiguration) -> ModelCard:
    model = prepare(card, network)
    section = configuration.data
    real, *further = (
        measure(model, data, split, data=section.name, column=section.label_column)
        for split in (section.validation_split, *section.further_splits)
    )
    evaluations = [figures(measured, card) for measured in (real, *further)]
    if section.evaluation_films:
        evaluations.append(figures(measure_simulated(model, section.evaluation_films, EVALUATION_SEED), card))
    return card.model_copy(
        update={
            "reference_logits": reference_logits(network, card.input),
            "evidence_limit": evidence_limit(real),
            "thresholds": operating_points(real, card.label_codes),
            "evaluations": tuple(evaluations),
        }
    )


def _label_line(code: str, words: str, limits: str) -> str:
    return f"- `{code}`: {words}" + (f". {limits}" if limits else "")


def _training_text(facts: TrainingFacts | None) -> str:
    if facts is None:
        return "Not recorded."
    software = ", ".join(f"{name} {number}" for name, number in facts.software.items())
    simulated = (
        f", and {facts.simulated_images} simulated films with lesions placed by our own generator"
        if facts.simulated_images
        else ""
    )
    return (
        f"{facts.data}: {facts.images} pictures of {facts.patients} patients or groups{simulated}. "
        f"{facts.epochs} epochs in {facts.minutes:g} minutes on {facts.device} "
        f"({software}). Made by `{facts.configuration}`; "
        "the log is `training.jsonl`. No weights were chosen on the held-out split."
    )


def evaluation_text(evaluation: Evaluation) -> str:
    """An evaluation as a Markdown table."""
    head = (
        f"## Figures: {evaluation.data}, {evaluation.split} ({evaluation.images} pictures)\n"
        "| label | with / without | AUROC (95 % interval) | boxes | pointing game | positive evidence in the box |\n"
        "|---|---|---|---|---|---|\n"
    )
    rows = "\n".join(_figures_row(code, figure) for code, figure in evaluation.labels.items())
    return head + rows + _classes_text(evaluation)


def _classes_text(evaluation: Evaluation) -> str:
    """Accuracy and confusion matrix of a softmax head."""
    found = evaluation.classes
    if found is None:
        return ""
    codes = list(evaluation.labels)
    macro = "too few cases" if found.macro_auroc is None else f"{found.macro_auroc:.3f}"
    rows = [f"| {code} | " + " | ".join(map(str, row)) + " |" for code, row in zip(codes, found.confusion, strict=True)]
    return (
        f"\n\nAccuracy {_interval(found.accuracy)}, macro AUROC {macro}, expected calibration error "
        f"{found.calibration_error:.3f}. Rows are the truth, columns the answers:\n\n"
        f"| | {' | '.join(codes)} |\n|---{'|---' * len(codes)}|\n" + "\n".join(rows)
    )


def _figures_row(code: str, figure: LabelFigures) -> str:
    pointing = "" if figure.pointing_game is None else f"{figure.pointing_game:.2f}"
    energy = "" if figure.energy_in_box is None else f"{figure.energy_in_box:.2f}"
    area = "too few" if figure.auroc is None else _interval(figure.auroc)
    return (
        f"| {code} | {figure.positives} / {figure.negatives} | {area} | {figure.boxes or ''} | {pointing} | {energy} |"
    )


def _thresholds_text(card: ModelCard) -> str:
    if not card.thresholds:
        return ""
    rows = "\n".join(
        f"| {code} | {point.threshold:.3f} | {_interval(point.sensitivity)} | {_interval(point.specificity)} "
        f"| {point.positives} / {point.negatives} |"
        for code, point in card.thresholds.items()
    )
    first = next(iter(card.thresholds.values()))
    return (
        f"## Operating points\nRule: {first.rule}, chosen and measured on the same split ({first.split}), so they flatter.\n\n"
        "| label | threshold | sensitivity | specificity | with / without |\n|---|---|---|---|---|\n" + rows
    )


def _interval(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
