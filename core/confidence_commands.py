"""The commands about confidence: ``python -m core calibrate | confidence``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from core.console import REFUSED, USAGE_ERROR, DataOption, JsonOption, fail, messages, output, usage
from core.errors import ScanError
from core.models.catalogue import read_catalogue
from core.models.scope import choose_model
from core.records import AUTO, loaded_model, study_at

if TYPE_CHECKING:
    from core.confidence.assessment import Assessment
    from core.models.card import ModelCard
    from core.scan import Scan


class Part(StrEnum):
    """What is measured: all of it, what needs scores, or what needs pictures of other domains."""

    everything = "all"
    scores = "scores"
    novelty = "novelty"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("calibrate")(calibrate)
    app.command("confidence")(confidence)


def calibrate(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: DataOption = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--others", help="A folder of pictures the model was not made for; once for each."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="The split that the model was not trained on.")] = "val",
    train_split: Annotated[str, typer.Option("--train-split", help="The split that it was trained on.")] = "train",
    column: Annotated[str, typer.Option("--column", help="The column of index.csv that names the class.")] = "label",
    name: Annotated[str, typer.Option("--name", help="What the data is called; else the folder's name.")] = "",
    part: Annotated[
        Part, typer.Option("--part", help="Measure a part only; the rest of the card stays.")
    ] = Part.everything,
) -> None:
    """Measure calibration, thresholds, sets of answers and the novelty gate, and write them into the model's card.

    Calibration and sets are made from out-of-fold.jsonl in the model's folder, which cross-validate writes, else from --split.
    """
    from core.confidence.gathering import Source, calibrate_novelty, calibrate_scores, with_novelty
    from core.models.confidence_text import confidence_text
    from core.models.loading import load_model
    from core.training.configuration import data_folder
    from core.training.publishing import write_card

    loaded = usage(lambda: load_model(model))
    root = usage(lambda: data_folder(data, loaded.card.id))
    folder = read_catalogue().folders[loaded.card.id]
    named = {other.name: other for other in others or []}
    source = Source(root, name or root.name, column, train_split, split, named)
    card = loaded.card
    if part in (Part.everything, Part.scores):
        found = usage(lambda: calibrate_scores(loaded, source, folder, messages.print))
        card = card.model_copy(update={"confidence": found})
    if part in (Part.everything, Part.novelty):
        gate = usage(lambda: calibrate_novelty(loaded, source, folder, messages.print))
        card = with_novelty(card, gate)
    write_card(card, folder)
    typer.echo(confidence_text(card))


def confidence(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    model: Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")] = AUTO,
    series: Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")] = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    level: Annotated[float, typer.Option("--level", help="Coverage of the sets: 0.8, 0.9 or 0.95.")] = 0.9,
    stability: Annotated[bool, typer.Option(help="Ask the network about slightly changed copies as well.")] = True,
    as_json: JsonOption = False,
) -> None:
    """How far the answer for one scan can be trusted. Exit status 0: answered; 1: the file is refused; 2: wrong usage."""
    from core.confidence.assessment import assess
    from core.confidence.conformal import LEVELS
    from core.confidence.stability import COPIES
    from core.explaining.perturbation import Watch

    if level not in LEVELS:
        fail(
            f"There are sets for a coverage of {', '.join(f'{one:g}' for one in LEVELS)}; {level:g} is none.",
            USAGE_ERROR,
        )
    scan = _scan(path, series, frame)
    catalogue = read_catalogue()
    model_id = usage(
        lambda: catalogue.card(model).id if model.lower() != AUTO else choose_model(catalogue.cards.values(), scan).id
    )
    loaded = usage(lambda: loaded_model(model_id))
    with Progress(console=messages, transient=True) as progress:
        task = progress.add_task("changed copies", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        watch, copies = Watch(report=tell), COPIES if stability else 0
        found = usage(lambda: assess(loaded, scan, frame, level=level, copies=copies, watch=watch))
    if as_json:
        typer.echo(json.dumps({"file": str(path), "series": series, **found.record()}, allow_nan=False))
        return
    output.print(_table(loaded.card, found))
    for sentence in found.sentences:
        output.print(Text(sentence))


def _scan(path: Path, series: int, frame: int) -> "Scan":
    try:
        scans = study_at(path).scans
    except ScanError as exc:
        fail(str(exc), REFUSED)
    if series >= len(scans) or frame >= scans[series].frame_count:
        frames = scans[min(series, len(scans) - 1)].frame_count
        fail(f"There are {len(scans)} scans and {frames} frames, counted from 0; choose one of these.", USAGE_ERROR)
    return scans[series]


def _table(card: "ModelCard", found: "Assessment") -> Table:
    table = Table("label", "score", "calibrated (95 %)", f"at {100 * found.level:g} % coverage", "under small changes")
    for label in card.labels:
        row = found.row(label.code)
        table.add_row(*(Text(row[name]) for name in ("label", "score", "calibrated", "set", "stability")))
    return table
