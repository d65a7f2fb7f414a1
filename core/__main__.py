"""The command line: ``python -m core predict | explain | train | evaluate | samples``."""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from core.errors import NoFittingModel, RadLensError, ScanError
from core.models.catalogue import Catalogue, read_catalogue
from core.models.scope import choose_model
from core.reading import read_scan
from core.scan import Scan

if TYPE_CHECKING:
    from core.models.loading import Model

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
T = TypeVar("T")

_output, _messages = Console(), Console(stderr=True)

AUTO = "auto"
USAGE_ERROR = 2
REFUSED = 1

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder with index.csv; else RADLENS_DATA.")]


class Method(StrEnum):
    """The explanation methods by name."""

    gradcam = "gradcam"


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(help="Scans: DICOM, PNG, JPEG or TIFF.")],
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
        for row in _predictions(path, model, catalogue):
            refused |= row["status"] == "refused"
            if as_json:
                typer.echo(json.dumps(row, allow_nan=False))
            else:
                rows.append(row)
    if not as_json:
        _output.print(_table(rows))
    raise typer.Exit(REFUSED if refused else 0)


@app.command()
def explain(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    label: Annotated[str, typer.Option("--label", help="The label to explain, in any case.")],
    out: Annotated[Path | None, typer.Option("--out", help="PNG of the heatmap over the scan.")] = None,
    npy: Annotated[Path | None, typer.Option("--npy", help="Signed evidence, float32, on the scan's grid.")] = None,
    model: ModelOption = AUTO,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    method: Annotated[Method, typer.Option("--method")] = Method.gradcam,
) -> None:
    """The heatmap of one label as a picture and as numbers."""
    scan = _scan_or_exit(path)
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


@app.command()
def samples(out: Annotated[Path, typer.Option("--out", help="Folder to write the sample cases to.")]) -> None:
    """Write the sample cases as files, to try an upload with."""
    from core.samples import list_samples

    out.mkdir(parents=True, exist_ok=True)
    for sample in list_samples():
        (out / f"{sample.id}.dcm").write_bytes(sample.load())
        typer.echo(f"{sample.id}.dcm  {sample.title}")


def _predictions(path: str, model: str, catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    """One record a frame, in the contract's form, whatever happens; ``file`` is the path as it was typed."""
    blank: dict[str, Any] = {
        "file": path, "frame": None, "digest": None, "model": None, "weights": None,
        "status": "refused", "reason": None, "scores": {}, "logits": {},
    }  # fmt: skip
    try:
        scan = read_scan(_bytes(Path(path)))
    except ScanError as exc:
        yield {**blank, "reason": str(exc)}
        return
    for frame in range(scan.frame_count):
        yield {**blank, "frame": frame, "digest": scan.digest, **_answer(scan, frame, model, catalogue)}


def _answer(scan: Scan, frame: int, model: str, catalogue: Catalogue) -> dict[str, Any]:
    try:
        if model.lower() == AUTO:
            card = choose_model(catalogue.cards.values(), scan)
            reason = f"{card.id} was chosen by modality {scan.modality} and body part {scan.body_part}."
        else:
            card, reason = catalogue.card(model), None
    except NoFittingModel as exc:
        return {"status": "withheld", "reason": str(exc)}
    from core.analysis import analyse

    try:
        analysis = analyse(_loaded(card.id), scan, frame)
    except RadLensError as exc:
        return {"status": "withheld", "model": card.id, "weights": card.weights_sha256, "reason": str(exc)}
    return {
        "model": card.id,
        "weights": card.weights_sha256,
        "status": "ok",
        "reason": reason,
        "scores": dict(analysis.prediction.scores),
        "logits": dict(analysis.prediction.logits),
    }


@cache
def _loaded(model_id: str) -> "Model":
    from core.models.loading import load_model

    return load_model(model_id)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as exc:
        raise ScanError("This is a folder; name the scans in it one by one.") from exc
    except OSError as exc:
        raise ScanError("The file cannot be opened; check that it exists and may be read.") from exc


def _scan_or_exit(path: Path) -> Scan:
    try:
        return read_scan(_bytes(path))
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


def _table(rows: list[dict[str, Any]]) -> Table:
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
