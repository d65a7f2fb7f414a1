"""What the commands share: where they write, and what wrong usage does."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

from core.errors import RadLensError

T = TypeVar("T")

output, messages = Console(), Console(stderr=True)

USAGE_ERROR = 2
REFUSED = 1

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder with index.csv; else RADLENS_DATA.")]


def usage(act: Callable[[], T]) -> T:
    """The act's result, or exit status 2 with its sentence when what was asked for does not exist."""
    try:
        return act()
    except RadLensError as exc:
        fail(str(exc), USAGE_ERROR)


def fail(sentence: str, status: int) -> NoReturn:
    """Say why and leave with that exit status."""
    messages.print(sentence, style="bold", markup=False, highlight=False)
    raise typer.Exit(status)
