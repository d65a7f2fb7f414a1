"""The commands about models: ``python -m core check-model | export``."""

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from core.console import REFUSED, USAGE_ERROR, fail, messages, output, usage
from core.errors import EngineRefused, ModelRejected
from core.models.catalogue import CARD_FILE, WEIGHTS_FILE


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("check-model")(check_model)
    app.command("export")(export)


class HeadName(StrEnum):
    """The kinds of head by name."""

    softmax = "softmax"
    sigmoid = "sigmoid"
    logit = "logit"


def check_model(
    path: Annotated[Path, typer.Argument(help="Weights: safetensors, or a state_dict that torch.save wrote.")],
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="Its name, such as resnet18; else it is found out.")
    ] = None,
    head: Annotated[
        HeadName | None, typer.Option("--head", help="Else: one output is one logit, more are softmax.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=8, max=2048, help="Side of the square that the network takes.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Where the heatmap is taken; else the deepest grid.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the weights and a card to fill in.")] = None,
) -> None:
    """What weights are and whether they can be used. Exit status 0: they can; 1: they cannot; 2: wrong usage."""
    from core.models.architectures import ARCHITECTURES
    from core.models.checking import Wishes, check_weights
    from core.models.registering import draft_card

    if architecture is not None and architecture not in ARCHITECTURES:
        fail(f"RadLens builds no {architecture!r}; it builds: {', '.join(ARCHITECTURES)}.", USAGE_ERROR)
    if out is not None and out.exists():
        fail("The folder of --out exists already; name a new one.", USAGE_ERROR)
    wishes = Wishes(architecture, head.value if head else None, size, layer)
    try:
        report = check_weights(_bytes_of(path), wishes)
    except ModelRejected as exc:
        fail(str(exc), REFUSED)
    output.print(_table(report.rows()))
    if out is not None:
        usage(lambda: _write(out, report.weights, json.dumps(draft_card(report), indent=2) + "\n"))
        messages.print(
            f"Fill in what begins with FILL IN in {CARD_FILE}, then name the folder above it in RADLENS_MODELS."
        )
    if report.problem:
        raise typer.Exit(REFUSED)


def export(
    models: Annotated[list[str] | None, typer.Argument(help="Ids of models; else every one in the catalogue.")] = None,
) -> None:
    """Write models for the fast engine, each checked against torch. Exit status 1: one of them cannot be, and torch answers."""
    from core.models.catalogue import read_catalogue
    from core.models.exports import export_model
    from core.models.loading import load_model

    catalogue, refused = read_catalogue(), False
    for model in models or list(catalogue.cards):
        card = usage(partial(catalogue.card, model))
        try:
            engine = export_model(load_model(card.id), catalogue.folders[card.id])
        except ModelRejected as exc:
            fail(str(exc), REFUSED)
        except EngineRefused as exc:
            messages.print(f"{card.id}: {exc}", markup=False)
            refused = True
            continue
        messages.print(f"{card.id}: {len(engine.record.layers)} layers for {engine.name}, equal to torch", markup=False)
    if refused:
        raise typer.Exit(REFUSED)


def _bytes_of(path: Path) -> bytes:
    from core.models.legacy import MAX_LEGACY_BYTES

    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_LEGACY_BYTES else None
    except OSError:
        fail("The weights file cannot be opened; check that it exists and may be read.", USAGE_ERROR)
    if data is None:
        fail(f"The weights file holds {size >> 20} MiB; RadLens reads up to {MAX_LEGACY_BYTES >> 20} MiB.", REFUSED)
    return data


def _write(folder: Path, weights: bytes, card: str) -> None:
    try:
        folder.mkdir(parents=True)
        (folder / WEIGHTS_FILE).write_bytes(weights)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    except OSError as exc:
        raise ModelRejected("The folder of --out cannot be written; name another one.") from exc


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table("what", "found")
    for what, found in rows:
        table.add_row(what, Text(found))
    return table
