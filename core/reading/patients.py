"""Whether files are of one patient: the guard against slices of two people in one stack, and what joins their studies."""

import hashlib
import json
import unicodedata
import warnings
from collections.abc import Iterable
from itertools import zip_longest

from pydicom import Dataset

from core.reading.header_values import birth_date, text_of


def same_patient(first: Dataset, second: Dataset) -> bool:
    """Whether nothing says that two files are of two people (Patient Module, PS3.3 C.7.1.1). Nothing is raised.

    Patient ID and its issuer decide where both files give them, else names; birth dates that differ always part them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = (first, second)
        if _differ(*(birth_date(d) for d in pair)):
            return False
        ids = [text_of(d, "PatientID").casefold() for d in pair]
        if all(ids):
            return ids[0] == ids[1] and not _differ(*(text_of(d, "IssuerOfPatientID").casefold() for d in pair))
        names = (_name_groups(d) for d in pair)
        return not any(_differ(one, other) for one, other in zip_longest(*names, fillvalue=()))


def patient_digest(datasets: Iterable[Dataset]) -> str:
    """SHA-256 of issuer and Patient ID (PS3.3 C.7.1.1), hexadecimal; empty where no file gives an ID.

    A name alone joins nothing: two people may share it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = ([text_of(d, "IssuerOfPatientID").casefold(), text_of(d, "PatientID").casefold()] for d in datasets)
        found = next((who for who in said if who[1]), None)
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def _name_groups(dataset: Dataset) -> list[tuple[str, ...]]:
    """The alphabetic, ideographic and phonetic groups of a name (PS3.5 6.2.1), each as its words."""
    name = unicodedata.normalize("NFKC", text_of(dataset, "PatientName")).casefold()
    return [tuple(group.replace("^", " ").split()) for group in name.split("=")]


def _differ(one: object, other: object) -> bool:
    """Whether both are given and not the same."""
    return bool(one) and bool(other) and one != other
