"""The command line.

``python -m core predict | show | explain | trust | confidence | calibrate | train | evaluate | curves | unpack-medmnist |
check-model | export | passports | samples | verify``.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from core.confidence_commands import register as register_confidence
from core.console import REFUSED, USAGE_ERROR, JsonOption, fail, messages, output, usage
from core.errors import ScanError
from core.explaining.registry import DEFAULT_METHOD, METHODS
from core.explaining_commands import register as register_explaining
from core.inside_commands import register as register_inside
from core.model_commands import register as register_models
from core.models.catalogue import read_catalogue
from core.models.scope import choose_model
from core.reading.study import Study
from core.records import AUTO, Record, card_for, label_places, predictions, shown, study_at
from core.review_commands import register as register_reviews
from core.training_commands import register as register_training

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
register_training(app)
register_models(app)
register_explaining(app)
register_confidence(app)
register_inside(app)
register_reviews(app)

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")]
SeriesOption = Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")]


# The explanation methods by name.
Method = StrEnum("Method", [(method.name, method.name) for method in METHODS])  # type: ignore[misc]
DEFAULT = Method(DEFAULT_METHOD)


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
        usage(lambda: catalogue.card(model))
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
        output.print(_table(rows))
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
        fail(str(exc), REFUSED)
    catalogue = read_catalogue()
    scan = study.scans[min(series, len(study.scans) - 1)]
    card = usage(lambda: card_for(scan, catalogue) if model.lower() == AUTO else catalogue.card(model))
    grey, record = usage(lambda: shown(study, series, frame, card))
    if npy:
        np.save(npy, grey)
    record = {"file": str(path), **record}
    if as_json:
        typer.echo(json.dumps(record, allow_nan=False))
    else:
        output.print(_shown_table(record))


@app.command()
def explain(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    label: Annotated[str, typer.Option("--label", help="The label to explain, in any case.")],
    out: Annotated[Path | None, typer.Option("--out", help="PNG of the heatmap over the scan.")] = None,
    npy: Annotated[Path | None, typer.Option("--npy", help="Signed evidence, float32, on the scan's grid.")] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="The outline, bool, on the scan's grid, of a model that outlines.")
    ] = None,
    places: Annotated[
        Path | None,
        typer.Option("--places", help="JSON: boxes and contours of the label's places, in pixels of the scan."),
    ] = None,
    model: ModelOption = AUTO,
    series: SeriesOption = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    method: Annotated[Method, typer.Option("--method")] = DEFAULT,
    layer: Annotated[str | None, typer.Option("--layer", help="Layer to look at; else the one in the card.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Why the label and not this one: the difference of two logits.")
    ] = None,
) -> None:
    """The heatmap of one label, its places, and its outline where the model draws one, as a picture and as numbers."""
    study = _study_or_exit(path)
    if series >= len(study.scans):
        fail(f"There are {len(study.scans)} scans, counted from 0; there is no scan {series}.", USAGE_ERROR)
    scan = study.scans[series]
    if frame >= scan.frame_count:
        fail(f"The file has {scan.frame_count} frames, counted from 0; there is no frame {frame}.", USAGE_ERROR)
    catalogue = read_catalogue()
    model_id = usage(
        lambda: catalogue.card(model).id if model.lower() != AUTO else choose_model(catalogue.cards.values(), scan).id
    )
    from core.analysis import analyse
    from core.models.loading import load_model
    from core.overlay import blend, encode_png, outlined
    from core.windowing import display_grey, display_rgb

    loaded = usage(lambda: load_model(model_id))
    analysis = usage(lambda: analyse(loaded, scan, frame))
    heatmap = usage(lambda: analysis.heatmap(label))
    if places:
        placed = usage(lambda: label_places(analysis, loaded.card, heatmap.label, scan))
        places.write_text(json.dumps(placed, allow_nan=False) + "\n", encoding="utf-8")
    notes: tuple[str, ...] = ()
    if method != DEFAULT or layer or against:
        from core.explaining.explanation import explain as explained

        found = usage(lambda: explained(loaded, scan, frame, method=method.value, layer=layer, against=against))
        heatmap, notes = found.heatmaps[heatmap.label], found.notes
    evidence = analysis.letterbox.to_scan_grid(heatmap.evidence)
    outline = analysis.masks.get(heatmap.label)
    if mask and outline is None:
        fail(f"{model_id} draws no outline; leave --mask out or choose a model that does.", USAGE_ERROR)
    if out:
        picture = display_rgb(scan, frame) if scan.is_colour else display_grey(scan, frame)
        drawn = blend(picture, evidence, limit=heatmap.limit)
        out.write_bytes(encode_png(outlined(drawn, outline.on_scan_grid()) if outline else drawn))
    if npy:
        np.save(npy, evidence)
    if mask and outline:
        np.save(mask, outline.on_scan_grid())
    score = analysis.prediction.scores[heatmap.label]
    outcome = f" {heatmap.outcome}" if heatmap.outcome else ""
    versus = f", not {heatmap.against}" if heatmap.against else ""
    scale = "; colours: from 0 to the strongest place of this scan" if heatmap.per_scan else ""
    named = f"{model_id} {heatmap.method} {heatmap.label}{versus}"
    told = " ".join([f"score {score:.3f}, evidence in {heatmap.unit}{scale}.{outcome}", *notes])
    messages.print(f"{named}: {told}")


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
        fail(str(exc), REFUSED)


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
