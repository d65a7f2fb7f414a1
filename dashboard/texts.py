"""All words of the dashboard by key, from assets/texts; a language is one more file."""

import json
from functools import cache
from pathlib import Path

LANGUAGE = "en"
_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "texts"


@cache
def texts(language: str = LANGUAGE) -> dict[str, str]:
    """Every text of a language by key."""
    loaded: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return loaded


def t(key: str, **values: object) -> str:
    """The text of a key, with ``{name}`` replaced by the values."""
    return texts()[key].format(**values)
