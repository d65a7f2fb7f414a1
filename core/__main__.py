"""The command line: ``python -m core predict | show | explain | train | evaluate | unpack-medmnist | samples``."""

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from core.errors import RadLensError, ScanError
from core.models.catalogue import read_catalogue
from core.models.scope import choose_model
from core.reading.study import Study
from core.records import AUTO, Record, card_for, predictions, shown, study_at

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
T = TypeVar("T")

_output, _messages = Console(), Console(stderr=True)

USAGE_ERROR = 2
REFUSED = 1

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")]
SeriesOption = Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder with index.csv; else RADLENS_DATA.")]


class Method(StrEnum):
    """The explanation methods by name."""

    gradcam = "gradcam"


@app.command()
def predict(
    paths: Annotated[
        list[str], typer.Argument(help="Scans: DICOM, PNG, JPEG, TIFF or NIfTI; folders and zips of them.")
    ],
    model: ModelOption = AUTO,
    as_json: JsonOption = False,
) -> None:
    """Scores for scans, one line a frame. Exit status 0: all readable; 1: some refused; 2: wrong usage."""
    catalogue = read_catalogue()
    if model.lower() != AUTO:
        _usage(lambda: catalogue.card(model))
    refused = False
    rows = []
    for path in paths:
        for row in predictions(path, model, catalogue):
            refused |= row["status"] == "refused"
            if as_json:
                typer.echo(json.dumps(row, allow_nan=False))
            else:
                rows.append(row)
    if not as_json:
        _output.print(_table(rows))
    raise typer.Exit(REFUSED if refused else 0)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="A scan, a folder or a zip.")],
    npy: Annotated[Path | None, typer.Option("--npy", help="The displayed grey, 0..1, float32, upright.")] = None,
    series: SeriesOption = 0,
    frame: Annotated[int | None, typer.Option("--frame", min=0, help="One frame, from 0; else all of them.")] = None,
    model: ModelOption = AUTO,
    as_json: JsonOption = False,
) -> None:
    """What is displayed of a scan, and how it came about: size, spacing, orientation, verdicts, pixel history."""
    try:
        study = study_at(path)
    except ScanError as exc:
        if as_json:
            typer.echo(json.dumps({"file": str(path), "status": "refused", "reason": str(exc)}))
            raise typer.Exit(REFUSED) from exc
        _fail(str(exc), REFUSED)
    catalogue = read_catalogue()
    scan = study.scans[min(series, len(study.scans) - 1)]
    card = _usage(lambda: card_for(scan, catalogue) if model.lower() == AUTO else catalogue.card(model))
    grey, record = _usage(lambda: shown(study, series, frame, card))
    if npy:
        np.save(npy, grey)
    record = {"file": str(path), **record}
    if as_json:
        typer.echo(json.dumps(record, allow_nan=False))
    else:
        _output.print(_shown_table(record))


@app.command()
def explain(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    label: Annotated[str, typer.Option("--label", help="The label to explain, in any case.")],
    out: Annotated[Path | None, typer.Option("--out", help="PNG of the heatmap over the scan.")] = None,
    npy: Annotated[Path | None, typer.Option("--npy", help="Signed evidence, float32, on the scan's grid.")] = None,
    model: ModelOption = AUTO,
    series: SeriesOption = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    method: Annotated[Method, typer.Option("--method")] = Method.gradcam,
) -> None:
    """The heatmap of one label as a picture and as numbers."""
    study = _study_or_exit(path)
    if series >= len(study.scans):
        _fail(f"There are {len(study.scans)} scans, counted from 0; there is no scan {series}.", USAGE_ERROR)
    scan = study.scans[series]
    if frame >= scan.frame_count:
        _fail(f"The file has {scan.frame_count} frames, counted from 0; there is no frame {frame}.", USAGE_ERROR)
    catalogue = read_catalogue()
    model_id = _usage(
        lambda: catalogue.card(model).id if model.lower() != AUTO else choose_model(catalogue.cards.values(), scan).id
    )
    from core.analysis import analyse
    from core.models.loading import load_model
    from core.overlay import blend, encode_png
    from core.windowing import display_grey, display_rgb

    loaded = _usage(lambda: load_model(model_id))
    analysis = _usage(lambda: analyse(loaded, scan, frame))
    heatmap = _usage(lambda: analysis.heatmap(label))
    evidence = analysis.on_scan_grid(heatmap.label)
    if out:
        picture = display_rgb(scan, frame) if scan.is_colour else display_grey(scan, frame)
        out.write_bytes(encode_png(blend(picture, evidence, limit=heatmap.limit)))
    if npy:
        np.save(npy, evidence)
    score = analysis.prediction.scores[heatmap.label]
    outcome = f" {heatmap.outcome}" if heatmap.outcome else ""
    _messages.print(
        f"{model_id} {method.value} {heatmap.label}: score {score:.3f}, evidence in {heatmap.unit}.{outcome}"
    )


@app.command()
def train(
    configuration: Annotated[Path, typer.Argument(help="Training configuration (TOML).")],
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that gets <model id>/.")] = Path("runs"),
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Keep the weights, measure the card again.")
    ] = False,
) -> None:
    """Train a model and publish it with a card of measured figures."""
    from core.training.configuration import data_folder, read_configuration
    from core.training.fitting import EpochRecord
    from core.training.publishing import Callbacks, measure_again
    from core.training.publishing import train as run

    wanted = _usage(lambda: read_configuration(configuration))
    folder = _usage(lambda: data_folder(data, wanted.data.folder))
    if measure_only:
        measured = _usage(lambda: measure_again(wanted, folder, out))
        _messages.print(f"Measured {measured.id} {measured.version}, weights {measured.weights_sha256[:12]}")
        return
    with Progress(console=_messages) as progress:
        task = progress.add_task("epochs", total=wanted.fit.epochs)

        def on_epoch(record: EpochRecord) -> None:
            area = record.validation_auroc.get(wanted.model.headline, float("nan"))
            progress.console.print(
                f"epoch {record.epoch}: loss {record.train_loss:.4f}, AUROC {area:.3f}, {record.seconds:.0f} s"
            )
            progress.advance(task)

        card = _usage(lambda: run(wanted, folder, out, Callbacks(progress.console.print, on_epoch)))
    _messages.print(f"Published {card.id} {card.version}, weights {card.weights_sha256[:12]}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Option("--model", help="Model id.")],
    data: DataOption = None,
    split: Annotated[str, typer.Option("--split", help="Value of the column split.")] = "val",
    simulated: Annotated[
        int, typer.Option("--simulated", min=0, help="Measure on so many simulated films instead.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """The figures of a model on any folder with an index.csv, or on simulated films."""
    from core.models.loading import load_model
    from core.training.configuration import data_folder
    from core.training.evaluation import figures, measure, measure_simulated
    from core.training.publishing import EVALUATION_SEED, evaluation_text

    loaded = _usage(lambda: load_model(model))
    if simulated:
        measured = measure_simulated(loaded, simulated, EVALUATION_SEED)
    else:
        folder = _usage(lambda: data_folder(data, loaded.card.id))
        measured = _usage(lambda: measure(loaded, folder, split))
    evaluation = figures(measured, loaded.card)
    typer.echo(evaluation.model_dump_json() if as_json else evaluation_text(evaluation))


@app.command("unpack-medmnist")
def unpack_medmnist(
    archive: Annotated[Path, typer.Argument(help="A MedMNIST .npz file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and index.csv.")],
    names: Annotated[list[str], typer.Option("--name", help="A class, in the file's order; once for each.")],
) -> None:
    """Turn a MedMNIST file into a folder that train and evaluate read."""
    from core.training.medmnist import unpack

    out.mkdir(parents=True, exist_ok=True)
    typer.echo(f"{_usage(lambda: unpack(archive, out, names))} pictures")


@app.command()
def samples(out: Annotated[Path, typer.Option("--out", help="Folder to write the sample cases to.")]) -> None:
    """Write the sample cases as files, to try an upload with."""
    from core.samples import list_samples

    out.mkdir(parents=True, exist_ok=True)
    for sample in list_samples():
        (out / f"{sample.id}.dcm").write_bytes(sample.load())
        typer.echo(f"{sample.id}.dcm  {sample.title}")


def _study_or_exit(path: Path) -> Study:
    try:
        return study_at(path)
    except ScanError as exc:
        _fail(str(exc), REFUSED)


def _usage(act: Callable[[], T]) -> T:
    """The act's result, or exit status 2 with its sentence when what was asked for does not exist."""
    try:
        return act()
    except RadLensError as exc:
        _fail(str(exc), USAGE_ERROR)


def _fail(sentence: str, status: int) -> NoReturn:
    _messages.print(sentence, style="bold", markup=False, highlight=False)
    raise typer.Exit(status)


def _shown_table(record: Record) -> Table:
    """The record of ``show`` for people."""
    table = Table("what", "value")
    for name, value in record.items():
        lists = name in {"verdicts", "history", "left_out"}
        words = "\n".join(", ".join(f"{k}: {v}" for k, v in item.items()) for item in value) if lists else str(value)
        table.add_row(name, Text(words))
    return table


def _table(rows: list[Record]) -> Table:
    """The records of ``predict`` for people: highest scores first, three a scan."""
    table = Table("file", "frame", "status", "model", "highest scores", "reason")
    for row in rows:
        ranked = sorted(row["scores"].items(), key=lambda item: -item[1])[:3]
        scores = "\n".join(f"{label} {score:.3f}" for label, score in ranked)
        frame = "" if row["frame"] is None else str(row["frame"])
        cells = (row["file"], frame, row["status"], row["model"] or "", scores, row["reason"] or "")
        table.add_row(*(Text(cell) for cell in cells))
    return table


if __name__ == "__main__":
    app()
