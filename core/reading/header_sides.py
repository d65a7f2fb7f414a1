"""What a header says of side, direction and view, and where it contradicts itself."""

import math
import re
from collections.abc import Iterable, Mapping

from pydicom import Dataset

from core.reading.header_values import (
    Signs,
    code_of,
    codes_of,
    group_of,
    groups_of,
    is_projection,
    items_of,
    numbers_of,
    text_of,
    texts_of,
)

# PS3.16 Annex L, those that are paired and shown one at a time; a plural such as HANDS shows both.
_PAIRED = frozenset((
    "ANKLE", "ARM", "AXILLA", "BREAST", "CALCANEUS", "CALF", "CLAVICLE", "EAR", "ELBOW", "EYE", "FEMUR", "FIBULA",
    "FINGER", "FOOT", "FOREARM", "HAND", "HEEL", "HIP", "HUMERUS", "KNEE", "LEG", "ORBIT", "PATELLA", "RADIUS", "RIB",
    "SCAPULA", "SHOULDER", "THIGH", "THUMB", "TIBIA", "TOE", "ULNA", "WRIST", "ZYGOMA",
))  # fmt: skip
_SIDE_CODES: Mapping[str, str] = {"7771000": "L", "G-A101": "L", "24028007": "R", "G-A100": "R"}
_SIDE_WORDS: Mapping[str, str] = {"L": "L", "LT": "L", "LEFT": "L", "R": "R", "RT": "R", "RIGHT": "R"}
# "LEFT LATERAL" and "RIGHT ANTERIOR OBLIQUE" name the beam, not the part; a lone L or R may mean lumbar or "rule out".
_SIDE_IN_TEXT = re.compile(r"(?<![A-Z])(LEFT|LT|RIGHT|RT)(?![A-Z])(?![\s_.-]*(?:LAT|OBL|DEC|ANT|POST))")
_MAMMOGRAM_VIEW = re.compile(r"([LR])(?:CC|MLO|ML|LM|XCC|XCCL|XCCM|FB|SIO|LMO)")


def laterality(dataset: Dataset) -> Signs:
    """A paired part needs its side, said once (PS3.3 C.7.3.1, C.8.11.2); slices know theirs by position."""
    coded, paired = _coded_sides(dataset), _is_paired(dataset)
    sides = coded | (_told_sides(dataset) if paired else set())
    if {"L", "R"} <= sides:
        return {"laterality-conflict": ""}
    return {"laterality-missing": ""} if paired and not coded and is_projection(dataset) else {}


def _coded_sides(dataset: Dataset) -> set[str]:
    """The sides that the file states in codes: L, R, B (both), U (unpaired)."""
    frames = {code_of(item, "FrameLaterality") for item in groups_of(dataset, "FrameAnatomySequence")}
    sides = {code_of(dataset, "Laterality"), code_of(dataset, "ImageLaterality")}
    sides |= frames if len(frames) == 1 else set()
    for region in items_of(dataset, "AnatomicRegionSequence"):
        modifiers = (text_of(item, "CodeValue") for item in items_of(region, "AnatomicRegionModifierSequence"))
        sides |= {_SIDE_CODES.get(value, "") for value in modifiers}
    words = _body_words(dataset) if _is_paired(dataset) else set()
    return (sides | {_SIDE_WORDS.get(word, "") for word in words}) & set("LRBU")


def _told_sides(dataset: Dataset) -> set[str]:
    """The side in the operator's words, where they name exactly one, and in a mammogram's view, such as LMLO."""
    told: set[str] = set()
    for keyword in ("SeriesDescription", "ProtocolName"):
        sides = {_SIDE_WORDS[word] for word in _SIDE_IN_TEXT.findall(text_of(dataset, keyword)[:256].upper())}
        told |= sides if len(sides) == 1 else set()
    view = _MAMMOGRAM_VIEW.fullmatch(code_of(dataset, "ViewPosition"))
    return told | ({view[1]} if view and code_of(dataset, "Modality") == "MG" else set())


def _body_words(dataset: Dataset) -> set[str]:
    words = set(re.findall(r"[A-Z]+", code_of(dataset, "BodyPartExamined")))
    return words | ({"BREAST"} if code_of(dataset, "Modality") == "MG" else set())


def _is_paired(dataset: Dataset) -> bool:
    return bool(_body_words(dataset) & _PAIRED)


_DIRECTED = ("CR", "DX", "MG", "CT", "MR", "PT")
_AXES: Mapping[str, tuple[int, int, int]] = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}


def orientation(dataset: Dataset) -> Signs:
    """Patient Orientation (PS3.3 C.7.6.1.1.1) against Image Orientation (Patient) (C.7.6.2.1.1) and against custom."""
    said = codes_of(dataset, "PatientOrientation")
    letters = said if len(said) == 2 and all(v and set(v) <= set(_AXES) for v in said) else []
    plane = group_of(dataset, "PlaneOrientationSequence")
    cosines = numbers_of(plane, "ImageOrientationPatient")
    if any(texts_of(plane, "ImageOrientationPatient")) and not _is_orthonormal(cosines):
        return {"orientation-conflict": "cosines"}
    if letters and cosines and not all(map(_agree, letters, (cosines[:3], cosines[3:]))):
        return {"orientation-conflict": "planes"}
    if letters and _is_frontal_chest(dataset):
        return _film_direction(letters)
    missing = not letters and not cosines and code_of(dataset, "Modality") in _DIRECTED
    return {"orientation-missing": ""} if missing else {}


def _is_orthonormal(cosines: list[float]) -> bool:
    if len(cosines) != 6:
        return False
    row, column = cosines[:3], cosines[3:]
    lengths = (math.hypot(*row), math.hypot(*column))
    return all(abs(length - 1) < 0.01 for length in lengths) and abs(_dot(row, column)) < 0.01


def _agree(letters: str, direction: list[float]) -> bool:
    """Whether letters such as PF point within 60 degrees of a direction: they name its axes, the strongest first."""
    named = [sum(values) for values in zip(*(_AXES[letter] for letter in letters), strict=True)]
    return _dot(named, direction) > 0.5 * math.hypot(*named)


def _dot(one: Iterable[float], other: Iterable[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _film_direction(letters: list[str]) -> Signs:
    """A frontal film hangs with the patient's right at the left edge of the picture: rows run to L, columns to F."""
    first = letters[0][0] + letters[1][0]
    detail = {"LF": None, "RF": "mirrored"}.get(first, "turned")
    return {"orientation-conflict": detail} if detail else {}


def _is_frontal_chest(dataset: Dataset) -> bool:
    return view_of(dataset) in ("PA", "AP") and _is_chest_film(dataset)


def _is_chest_film(dataset: Dataset) -> bool:
    return code_of(dataset, "Modality") in ("CR", "DX") and bool(_body_words(dataset) & {"CHEST", "THORAX", "LUNG"})


# The views of PS3.16 CID 4010, in SNOMED CT and as it was before, that View Position has a word for (PS3.3 C.8.1.1).
_VIEW_CODES: Mapping[str, str] = {
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "R-10214": "PA",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
}


def view_of(dataset: Dataset) -> str:
    """View Position, else View Code Sequence in its words, such as PA (PS3.3 C.8.11.5); "" where neither can be told."""
    return code_of(dataset, "ViewPosition") or _VIEW_CODES.get(_view_code(dataset), "")


def view_missing(dataset: Dataset) -> Signs:
    """A chest film needs its view; a code that View Position has no word for is one too."""
    given = view_of(dataset) or _view_code(dataset)
    return {"view-missing": ""} if _is_chest_film(dataset) and not given else {}


def _view_code(dataset: Dataset) -> str:
    return next((text_of(item, "CodeValue") for item in items_of(dataset, "ViewCodeSequence")), "")
