"""The commands that question a heatmap: ``python -m core trust | ask | shortcuts``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from core.console import REFUSED, USAGE_ERROR, JsonOption, fail, output, usage
from core.errors import ConfigurationError, ScanError
from core.models.catalogue import read_catalogue
from core.models.scope import choose_model
from core.records import AUTO, Record, loaded_model, study_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.explaining.asking import Asked, Change
    from core.explaining.shortcuts import ShortcutScan
    from core.explaining.trust import TrustCard
    from core.explaining.trust_verdicts import Part
    from core.models.loading import Model
    from core.scan import Scan


class Fill(StrEnum):
    """What stands where something was erased, as ``core.explaining.erase`` knows it."""

    blur = "blur"
    mean = "mean"
    neighbour = "neighbour"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("trust")(trust)
    app.command("ask")(ask)
    app.command("shortcuts")(shortcuts)


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
    loaded = _model_for(scan, model)
    from core.explaining.trust import trust as trust_card

    card = usage(lambda: trust_card(loaded, scan, frame, label))
    if as_json:
        typer.echo(json.dumps({"file": str(path), "series": series, **_record(card)}, allow_nan=False))
    else:
        output.print(_table(card))
        output.print(Text(f"{card.model_id} {card.label}: {card.verdict}. {card.sentence}"))


def ask(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    box: Annotated[str, typer.Option("--box", help="What is erased: top,left,height,width in pixels of the scan.")],
    fill: Annotated[Fill, typer.Option("--fill", help="What stands there instead.")] = Fill.blur,
    model: Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")] = AUTO,
    series: Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")] = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Every score without a place. Exit status 0: asked, whatever came out; 1: refused; 2: wrong usage."""
    scan = _scan(path, series, frame)
    loaded = _model_for(scan, model)
    from core.explaining.asking import ask as ask_without
    from core.explaining.asking import box_region

    asked = usage(lambda: ask_without(loaded, scan, frame, box_region(scan.shape, *_box(box)), fill.value))
    if as_json:
        record = {"file": str(path), "series": series, "box": _box(box), **_record_of(asked)}
        record |= {"fill": asked.fill, "share": asked.share, "labels": _changes(asked.changes)}
        typer.echo(json.dumps(record, allow_nan=False))
    else:
        output.print(_changes_table(asked.changes, "as large a place elsewhere"))
        words = {label.code: label.words for label in loaded.card.labels}
        output.print(Text(asked.sentence(asked.foremost.label, words[asked.foremost.label])))


def shortcuts(
    path: Annotated[Path, typer.Argument(help="One scan.")],
    model: Annotated[str, typer.Option("--model", help="Model id, or auto: chosen by modality and body part.")] = AUTO,
    series: Annotated[int, typer.Option("--series", min=0, help="Which scan of several, from 0.")] = 0,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame of a multi-frame file, from 0.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Do the answers lean on corners, border, markers or writing? Exit status 0: asked; 1: refused; 2: wrong usage."""
    scan = _scan(path, series, frame)
    loaded = _model_for(scan, model)
    from core.explaining.shortcuts import find_shortcuts, words_of

    found = usage(lambda: find_shortcuts(loaded, scan, frame))
    words = words_of(loaded.card)
    if as_json:
        record = {"file": str(path), "series": series, **_record_of(found), "alarm": bool(found.leaning)}
        typer.echo(json.dumps({**record, "sentence": found.sentence(words), "spots": _spots(found)}, allow_nan=False))
    else:
        table = Table("erased", "label that moved furthest", "by", "elsewhere", "leans")
        for spot in found.spots:
            change = max(spot.changes.values(), key=lambda one: abs(one.change))
            leans = "yes" if any(spot.leans(code) for code in spot.changes) else "no"
            table.add_row(*(Text(cell) for cell in (spot.name, change.label, *_moved(change), leans)))
        output.print(table)
        output.print(Text(found.sentence(words)))


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


def _model_for(scan: "Scan", model: str) -> "Model":
    catalogue = read_catalogue()
    auto = model.lower() == AUTO
    card = usage(lambda: choose_model(catalogue.cards.values(), scan) if auto else catalogue.card(model))
    return usage(lambda: loaded_model(card.id))


def _box(words: str) -> tuple[float, float, float, float]:
    try:
        top, left, height, width = (float(word) for word in words.split(","))
    except ValueError:
        fail(f"A box is four numbers, top,left,height,width in pixels of the scan, not {words!r}.", USAGE_ERROR)
    return top, left, height, width


def _record_of(found: "Asked | ShortcutScan") -> Record:
    return {
        "frame": found.frame, "digest": found.scan_digest, "model": found.model_id, "weights": found.weights_sha256,
        "unit": found.unit,
    }  # fmt: skip


def _changes(changes: "Mapping[str, Change]") -> Record:
    return {
        code: {
            "logit": [change.logit_before, change.logit_after], "score": [change.score_before, change.score_after],
            "change": change.change, "elsewhere": list(change.elsewhere), "stands_out": change.stands_out,
        }
        for code, change in changes.items()
    }  # fmt: skip


def _spots(found: "ShortcutScan") -> list[Record]:
    return [
        {
            "name": spot.name, "share": spot.share, "labels": _changes(spot.changes),
            "leaning": [code for code in spot.changes if spot.leans(code)],
        }
        for spot in found.spots
    ]  # fmt: skip


def _changes_table(changes: "Mapping[str, Change]", elsewhere: str) -> Table:
    table = Table("label", "score before", "score after", "logit moves by", elsewhere)
    for change in sorted(changes.values(), key=lambda one: -abs(one.change)):
        scores = f"{change.score_before:.3f}", f"{change.score_after:.3f}"
        table.add_row(*(Text(cell) for cell in (change.label, *scores, *_moved(change))))
    return table


def _moved(change: "Change") -> tuple[str, str]:
    return f"{change.change:+.2f}", "" if change.usual is None else f"{change.usual:.2f}"


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
