"""All words of the dashboard by key, from assets/texts; a language is one more file."""

import json
import re
from functools import cache
from pathlib import Path

LANGUAGE = "en"
# What Markdown, or Streamlit in it, would take as its own: emphasis, links, pictures, colours, formulas, lists.
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+!|~$:.-])")
_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "texts"


@cache
def texts(language: str = LANGUAGE) -> dict[str, str]:
    """Every text of a language by key."""
    loaded: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return loaded


def t(key: str, **values: object) -> str:
    """The text of a key, with ``{name}`` replaced by the values."""
    return texts()[key].format(**values)


def literal(words: str) -> str:
    """Words of a file or a card for Markdown, so that they are shown as they stand and nothing in them is fetched."""
    return _MARKS.sub(r"\\\1", " ".join(words.split()))
