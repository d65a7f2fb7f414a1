"""The commands that question a heatmap: ``python -m core trust``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from core.console import REFUSED, JsonOption, fail, output, usage
from core.errors import ConfigurationError, ScanError
from core.models.catalogue import read_catalogue
from core.models.scope import choose_model
from core.records import AUTO, Record, loaded_model, study_at

if TYPE_CHECKING:
    from core.explaining.trust import TrustCard
    from core.explaining.trust_verdicts import Part
    from core.scan import Scan


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("trust")(trust)


def trust(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    label: Annotated[str, typer.Option("--label", help="The label whose heatmap is questioned, in any case.")],
    model: Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")] = AUTO,
    series: Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")] = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Can the heatmap of one label be trusted? Exit status 0: asked, whatever came out; 1: refused; 2: wrong usage."""
    scan = _scan(path, series, frame)
    catalogue = read_catalogue()
    model_id = usage(
        lambda: catalogue.card(model).id if model.lower() != AUTO else choose_model(catalogue.cards.values(), scan).id
    )
    from core.explaining.trust import trust as trust_card

    loaded = usage(lambda: loaded_model(model_id))
    card = usage(lambda: trust_card(loaded, scan, frame, label))
    if as_json:
        typer.echo(json.dumps({"file": str(path), "series": series, **_record(card)}, allow_nan=False))
    else:
        output.print(_table(card))
        output.print(Text(f"{card.model_id} {card.label}: {card.verdict}. {card.sentence}"))


def _scan(path: Path, series: int, frame: int) -> "Scan":
    try:
        scans = study_at(path).scans
    except ScanError as exc:
        fail(str(exc), REFUSED)
    return usage(lambda: _chosen(scans, series, frame))


def _chosen(scans: "tuple[Scan, ...]", series: int, frame: int) -> "Scan":
    if series >= len(scans):
        raise ConfigurationError(f"There are {len(scans)} scans, counted from 0; there is no scan {series}.")
    if frame >= scans[series].frame_count:
        count = scans[series].frame_count
        raise ConfigurationError(f"The file has {count} frames, counted from 0; there is no frame {frame}.")
    return scans[series]


def _record(card: "TrustCard") -> Record:
    return {
        "frame": card.frame, "digest": card.scan_digest, "model": card.model_id, "weights": card.weights_sha256,
        "label": card.label, "method": card.method, "verdict": card.verdict, "sentence": card.sentence,
        "parts": {part.name: _part(part) for part in card.parts},
    }  # fmt: skip


def _part(part: "Part") -> Record:
    record: Record = {"value": part.value, "verdict": part.verdict, "found": part.found, "advice": part.advice}
    if part.curves is not None:
        curves = part.curves
        record["spread"] = curves.spread
        for name in ("shares", "deletion", "insertion", "random_deletion", "random_insertion"):
            record[name] = getattr(curves, name).tolist()
    return record | ({"likeness": dict(part.likeness)} if part.likeness else {})


def _table(card: "TrustCard") -> Table:
    table = Table("asked", "verdict", "value", "found", "what to make of it")
    for part in card.parts:
        value = "" if part.value is None else f"{part.value:.3g}"
        table.add_row(*(Text(cell) for cell in (part.name, part.verdict, value, part.found, part.advice)))
    return table
