"""The command that looks inside a network over many pictures: ``python -m core passports``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from core.console import DataOption, messages, usage


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(passports)


def passports(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: DataOption = None,
    split: Annotated[str, typer.Option("--split", help="Value of the column split: pictures held out.")] = "val",
    column: Annotated[str, typer.Option("--column", help="The column of index.csv that names the class.")] = "label",
    silencing: Annotated[bool, typer.Option(help="Measure what silencing each filter does, too: minutes.")] = True,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the file; else the model's own.")] = None,
) -> None:
    """Which held-out pictures fire each filter of a model most and what silencing it costs, as numbers, beside its weights."""
    from core.inside.passports import PASSPORTS_FILE, make_passports, write_passports
    from core.models.catalogue import read_catalogue
    from core.models.loading import load_model
    from core.training.configuration import data_folder
    from core.training.data import load_split

    loaded = usage(lambda: load_model(model))
    folder = usage(lambda: data_folder(data))
    card = loaded.card
    with Progress(console=messages, transient=True) as progress:
        task = progress.add_task("pictures", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        examples = usage(lambda: load_split(folder, split, card.label_codes, card.input, column=column, progress=tell))
        made = make_passports(loaded, examples, split, silencing=silencing, progress=tell)
    usage(lambda: write_passports(out or read_catalogue().folders[card.id], made))
    messages.print(f"{PASSPORTS_FILE}: {len(made.layers)} convolutions over {made.pictures} pictures of {split}")
