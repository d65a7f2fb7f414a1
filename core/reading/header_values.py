"""Guarded access to a header: pydicom converts lazily, so reading an element can raise nearly any type; here none is."""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, MutableSequence
from datetime import date
from itertools import islice

from pydicom import Dataset
from pydicom.sequence import Sequence

# Code -> detail, of what is odd about a file.
Signs = dict[str, str]
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")


def texts_of(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element as stripped text; a sequence has none."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, Sequence | Dataset):
        return []
    with contextlib.suppress(Exception):
        values: Iterable[object] = islice(value, 64) if isinstance(value, MutableSequence) else (value,)
        return [str(v)[:1024].strip(" \0\t\r\n") for v in values]
    return []


def text_of(dataset: Dataset, keyword: str) -> str:
    """The first value of an element as stripped text, or nothing."""
    return next(iter(texts_of(dataset, keyword)), "")


def codes_of(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a CS element; what VR CS does not allow (PS3.5 6.2) counts as empty."""
    return [text if _CODE.fullmatch(text) else "" for text in (t.upper() for t in texts_of(dataset, keyword))]


def code_of(dataset: Dataset, keyword: str) -> str:
    """The first value of a CS element, or nothing."""
    return next(iter(codes_of(dataset, keyword)), "")


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """All values as finite numbers, or nothing."""
    with contextlib.suppress(ValueError):
        numbers = [float(text) for text in texts_of(dataset, keyword)]
        return numbers if all(math.isfinite(n) for n in numbers) else []
    return []


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, or nothing."""
    value = _value(dataset, keyword)
    with contextlib.suppress(Exception):
        return list(value) if isinstance(value, Sequence) else []
    return []


def groups_of(dataset: Dataset, macro: str) -> Iterator[Dataset]:
    """The items of a functional group macro, the shared ones first (PS3.3 C.7.6.16)."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in items_of(dataset, groups):
            yield from items_of(item, macro)


def group_of(dataset: Dataset, macro: str) -> Dataset:
    """The first item of a functional group macro, else the dataset itself."""
    return next(groups_of(dataset, macro), dataset)


def days_of(dataset: Dataset, *keywords: str) -> list[date]:
    """The days that the first values of DA and DT elements name; what is no date is left out."""
    return [day for keyword in keywords if (day := _date(text_of(dataset, keyword)))]


def birth_date(dataset: Dataset) -> date | None:
    """The patient's birth date, or None."""
    return next(iter(days_of(dataset, "PatientBirthDate")), None)


PROJECTIONS = ("CR", "DX", "MG", "RF", "XA", "IO", "PX")


def is_projection(dataset: Dataset) -> bool:
    """Whether the modality projects the body on a plane, as films do, instead of cutting slices."""
    return code_of(dataset, "Modality") in PROJECTIONS


def _value(dataset: Dataset, keyword: str) -> object:
    with contextlib.suppress(Exception):
        return dataset.get(keyword)
    return None


_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
# Placeholders of de-identification such as 11111111 and 19000101 are no dates.
_EARLIEST = date(1900, 1, 1)


def _date(text: str) -> date | None:
    """A DA or the day of a DT, with or without the dots of ACR-NEMA (PS3.5 6.2)."""
    if match := _DATE.match(text.replace(".", "")):
        with contextlib.suppress(ValueError):
            day = date(int(match[1]), int(match[2]), int(match[3]))
            return day if day > _EARLIEST else None
    return None
