"""Which groups of people and pictures an example belongs to: age, sex and view, from the columns of index.csv."""

import re
from collections.abc import Callable, Iterable, Mapping

NOT_STATED = "not stated"
AGE_BANDS = ((18, "under 18"), (40, "18 to 39"), (60, "40 to 59"), (121, "60 and over"))
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female", "o": "other", "other": "other"}
# An age in years, or as DICOM writes it: digits and D, W, M or Y (PS3.5 6.2, AS).
_AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s*([DWMY]?)", re.IGNORECASE)


def subgroups_of(row: Mapping[str, str]) -> dict[str, str]:
    """The row's group by age, sex and view, for those of the columns that the index has."""
    return {column: told(row[column] or "") for column, told in _COLUMNS.items() if column in row}


def in_order(groups: Iterable[str]) -> list[str]:
    """Groups in the order to show them: ages rising, else by name, what is not stated last."""
    rank = {name: index for index, (_, name) in enumerate(AGE_BANDS)}
    return sorted(groups, key=lambda name: (name == NOT_STATED, rank.get(name, 0), name))


def _age_band(stated: str) -> str:
    """The band of an age; an age above 120 years is a mistake and not stated."""
    found = _AGE.fullmatch(stated.strip())
    if found is None:
        return NOT_STATED
    years = int(found[1]) if found[2].upper() in {"", "Y"} else 0
    return next((name for end, name in AGE_BANDS if years < end), NOT_STATED)


def _sex(stated: str) -> str:
    return _SEXES.get(stated.strip().lower(), NOT_STATED)


def _view(stated: str) -> str:
    return stated.strip().upper() or NOT_STATED


_COLUMNS: dict[str, Callable[[str], str]] = {"age": _age_band, "sex": _sex, "view": _view}
