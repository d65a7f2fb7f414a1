"""Whether files are of one patient: the guard against slices of two people in one stack, and what joins their studies.

Who the patient is is read for deployments that show identities alone, and is never part of a Scan.
"""

import hashlib
import json
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import zip_longest

from pydicom import Dataset, dcmread

from core.errors import ScanError
from core.reading.formats import sniff
from core.reading.header_values import birth_date, text_of

_LONGEST = 200


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


def identity_in(
    files: Sequence[tuple[str, bytes | memoryview]], skip: frozenset[int], tick: Callable[[int, int], None]
) -> list[str]:
    """Patient's name and ID (PS3.3 C.7.1.1) out of the first file that gives one, empty where none does. Runs in the worker."""
    for number, (_, content) in enumerate(files):
        tick(number, len(files))
        found = ["", ""] if number in skip else _identity(bytes(content))
        if any(found):
            return found
    return ["", ""]


def _identity(data: bytes) -> list[str]:
    try:
        if sniff(data) != "DICOM":
            return ["", ""]
    except ScanError:
        return ["", ""]
    with warnings.catch_warnings():
        # pydicom's warnings repeat the value that they complain about.
        warnings.simplefilter("ignore")
        header = dcmread(BytesIO(data), stop_before_pixels=True, force=True, specific_tags=["PatientName", "PatientID"])
        # The alphabetic group of a name (PS3.5 6.2.1), its parts in their order.
        name = " ".join(text_of(header, "PatientName").partition("=")[0].replace("^", " ").split())
        return [name[:_LONGEST], text_of(header, "PatientID")[:_LONGEST]]


def _name_groups(dataset: Dataset) -> list[tuple[str, ...]]:
    """The alphabetic, ideographic and phonetic groups of a name (PS3.5 6.2.1), each as its words."""
    name = unicodedata.normalize("NFKC", text_of(dataset, "PatientName")).casefold()
    return [tuple(group.replace("^", " ").split()) for group in name.split("=")]


def _differ(one: object, other: object) -> bool:
    """Whether both are given and not the same."""
    return bool(one) and bool(other) and one != other
