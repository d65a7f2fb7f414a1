"""The doctor: what is odd about a file, said plainly before a model sees it.

``header_signs`` listens to the header while it is there and keeps codes, counts and numbers, never the patient's words;
``examine`` turns the signs of a Scan into Verdicts; ``same_patient`` guards against slices of two people in one stack.
"""

import contextlib
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Literal

from pydicom import Dataset
from pydicom.sequence import Sequence

if TYPE_CHECKING:
    from core.models.card import ModelCard
    from core.scan import Scan

Severity = Literal["block", "warn", "note"]
Signs = dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding: ``sentence`` is what was found, ``advice`` what to do. A "block" means that no prediction is shown."""

    code: str
    severity: Severity
    name: str
    sentence: str
    advice: str


def header_signs(dataset: Dataset) -> Signs:
    """Code -> detail of all that is odd in a header; details are numbers and words of our own, never the file's text.

    Any element may be missing, empty, multi-valued or of the wrong type; nothing is raised.
    """
    signs: Signs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in _CHECKS:
            # One element that cannot be read must not silence the other checks.
            with contextlib.suppress(Exception):
                signs |= check(dataset)
    return signs


def examine(scan: "Scan", card: "ModelCard | None" = None) -> tuple[Verdict, ...]:
    """The verdicts on a scan, and on whether ``card`` was made for it: the gravest first, then by code."""
    verdicts = {code: _verdict(code, detail) for code, detail in {**_scan_signs(scan), **scan.signs}.items()}
    if card is not None:
        verdicts |= {v.code: v for v in _card_verdicts(scan, card)}
    elif "no-tags" in verdicts:
        verdicts["no-tags"] = replace(verdicts["no-tags"], severity="note")
    for silent in _silent(set(verdicts), card):
        verdicts.pop(silent, None)
    return tuple(sorted(verdicts.values(), key=lambda v: (_GRAVITY.index(v.severity), v.code)))


def blocking(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The first verdict for which no prediction may be shown, or None."""
    return next((verdict for verdict in verdicts if verdict.severity == "block"), None)


def same_patient(first: Dataset, second: Dataset) -> bool:
    """Whether nothing says that two files are of two people (Patient Module, PS3.3 C.7.1.1). Nothing is raised.

    Patient ID and its issuer decide where both files give them, else names; birth dates that differ always part them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = (first, second)
        if _differ(*(_born(d) for d in pair)):
            return False
        ids = [_text(d, "PatientID").casefold() for d in pair]
        if all(ids):
            return ids[0] == ids[1] and not _differ(*(_text(d, "IssuerOfPatientID").casefold() for d in pair))
        names = (_name_groups(d) for d in pair)
        return not any(_differ(one, other) for one, other in zip_longest(*names, fillvalue=()))


# --- Guarded access: pydicom converts lazily, so reading an element can raise nearly any type. ---


def _value(dataset: Dataset, keyword: str) -> object:
    with contextlib.suppress(Exception):
        return dataset.get(keyword)
    return None


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element as stripped text; a sequence has none."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, Sequence | Dataset):
        return []
    with contextlib.suppress(Exception):
        values: Iterable[object] = islice(value, 64) if isinstance(value, MutableSequence) else (value,)
        return [str(v)[:1024].strip(" \0\t\r\n") for v in values]
    return []


def _text(dataset: Dataset, keyword: str) -> str:
    return next(iter(_texts(dataset, keyword)), "")


def _codes(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a CS element; what VR CS does not allow (PS3.5 6.2) counts as empty."""
    return [text if _CODE.fullmatch(text) else "" for text in (t.upper() for t in _texts(dataset, keyword))]


def _code(dataset: Dataset, keyword: str) -> str:
    return next(iter(_codes(dataset, keyword)), "")


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    """All values as finite numbers, or nothing."""
    with contextlib.suppress(ValueError):
        numbers = [float(text) for text in _texts(dataset, keyword)]
        return numbers if all(math.isfinite(n) for n in numbers) else []
    return []


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    with contextlib.suppress(Exception):
        return list(value) if isinstance(value, Sequence) else []
    return []


def _groups(dataset: Dataset, macro: str) -> Iterator[Dataset]:
    """The items of a functional group macro, the shared ones first (PS3.3 C.7.6.16)."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in _items(dataset, groups):
            yield from _items(item, macro)


def _group(dataset: Dataset, macro: str) -> Dataset:
    return next(_groups(dataset, macro), dataset)


def _date(text: str) -> date | None:
    """A DA or the day of a DT, with or without the dots of ACR-NEMA (PS3.5 6.2)."""
    if match := _DATE.match(text.replace(".", "")):
        with contextlib.suppress(ValueError):
            day = date(int(match[1]), int(match[2]), int(match[3]))
            return day if day > _EARLIEST else None
    return None


def _days(dataset: Dataset, *keywords: str) -> list[date]:
    return [day for keyword in keywords if (day := _date(_text(dataset, keyword)))]


def _born(dataset: Dataset) -> date | None:
    return next(iter(_days(dataset, "PatientBirthDate")), None)


def _name_groups(dataset: Dataset) -> list[tuple[str, ...]]:
    """The alphabetic, ideographic and phonetic groups of a name (PS3.5 6.2.1), each as its words."""
    name = unicodedata.normalize("NFKC", _text(dataset, "PatientName")).casefold()
    return [tuple(group.replace("^", " ").split()) for group in name.split("=")]


def _differ(one: object, other: object) -> bool:
    """Whether both are given and not the same."""
    return bool(one) and bool(other) and one != other


# --- What kind of picture it is. ---


def _class_uid(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return _text(dataset, "SOPClassUID") or (_text(meta, "MediaStorageSOPClassUID") if meta is not None else "")


def _not_intensities(dataset: Dataset) -> Signs:
    """Labels, maps and doses in the place of intensities (PS3.3 A.51, A.75, A.18)."""
    kind = _NO_INTENSITIES.get(_class_uid(dataset)) or _code(dataset, "Modality")
    return {"not-intensities": kind} if kind in _NO_INTENSITIES.values() else {}


def _image_type(dataset: Dataset) -> Signs:
    """Image Type (PS3.3 C.7.6.1.1.2): value 1 ORIGINAL or DERIVED, value 3 and later the kind, as C.8.2.1.1.1 for CT.

    A film for presentation is DERIVED from its own raw data by definition (C.8.11.1), so that alone is no sign.
    """
    values = _codes(dataset, "ImageType")
    signs = {code: "" for word, code in _KINDS.items() if word in values[2:]}
    ordinary = _is_projection(dataset) and values[1:2] != ["SECONDARY"]
    return signs | ({"derived": ""} if values[:1] == ["DERIVED"] and not ordinary else {})


def _secondary_capture(dataset: Dataset) -> Signs:
    """Conversion Type (PS3.3 C.8.6.1) is told of other classes too, so only those for film, paper and video count there."""
    conversion = _code(dataset, "ConversionType")
    if _class_uid(dataset) in _SECONDARY_CAPTURE or conversion in _COPIED:
        return {"secondary-capture": conversion if conversion in _COPIED else ""}
    return {}


def _lossy(dataset: Dataset) -> Signs:
    """Lossy compression at any point of the picture's life (PS3.3 C.7.6.1.1.5), or by the file's own encoding now."""
    meta = getattr(dataset, "file_meta", None)
    syntax = _text(meta, "TransferSyntaxUID") if meta is not None else ""
    said = _code(dataset, "LossyImageCompression")
    if said == "01" or syntax in _ALWAYS_LOSSY or (syntax in _PERHAPS_LOSSY and said != "00"):
        ratio = max(_numbers(dataset, "LossyImageCompressionRatio"), default=0.0)
        return {"lossy": f"{ratio:.3g}" if 1 < ratio < 1000 else ""}
    return {}


def _flags(dataset: Dataset) -> Signs:
    return {code: "" for keyword, value, code in _FLAGS if _code(dataset, keyword) == value}


def _burned_in_unknown(dataset: Dataset) -> Signs:
    """Without Burned In Annotation (PS3.3 C.7.6.1) such a picture may or may not hold a name."""
    usual = _code(dataset, "Modality") in _WRITTEN_ON or _class_uid(dataset) in _SECONDARY_CAPTURE
    return {"burned-in-unknown": ""} if usual and not _code(dataset, "BurnedInAnnotation") else {}


def _contrast(dataset: Dataset) -> Signs:
    agent = _text(dataset, "ContrastBolusAgent").casefold()
    given = agent not in _NO_AGENT or _items(dataset, "ContrastBolusAgentSequence")
    return {"contrast": ""} if given else {}


def _animal(dataset: Dataset) -> Signs:
    """A species other than ours, or a quadruped's directions (PS3.3 C.7.1.1, C.7.6.1.1.1)."""
    species = _text(dataset, "PatientSpeciesDescription").casefold()
    code = next((_text(item, "CodeValue") for item in _items(dataset, "PatientSpeciesCodeSequence")), "")
    other = species not in _HUMAN or code not in _HUMAN
    return {"animal": ""} if other or _code(dataset, "AnatomicalOrientationType") == "QUADRUPED" else {}


# --- Side, direction and view. ---


def _is_projection(dataset: Dataset) -> bool:
    return _code(dataset, "Modality") in _PROJECTIONS


def _body_words(dataset: Dataset) -> set[str]:
    words = set(re.findall(r"[A-Z]+", _code(dataset, "BodyPartExamined")))
    return words | ({"BREAST"} if _code(dataset, "Modality") == "MG" else set())


def _is_paired(dataset: Dataset) -> bool:
    return bool(_body_words(dataset) & _PAIRED)


def _coded_sides(dataset: Dataset) -> set[str]:
    """The sides that the file states in codes: L, R, B (both), U (unpaired)."""
    frames = {_code(item, "FrameLaterality") for item in _groups(dataset, "FrameAnatomySequence")}
    sides = {_code(dataset, "Laterality"), _code(dataset, "ImageLaterality")} | (frames if len(frames) == 1 else set())
    for region in _items(dataset, "AnatomicRegionSequence"):
        modifiers = (_text(item, "CodeValue") for item in _items(region, "AnatomicRegionModifierSequence"))
        sides |= {_SIDE_CODES.get(value, "") for value in modifiers}
    words = _body_words(dataset) if _is_paired(dataset) else set()
    return (sides | {_SIDE_WORDS.get(word, "") for word in words}) & set("LRBU")


def _told_sides(dataset: Dataset) -> set[str]:
    """The side in the operator's words, where they name exactly one, and in a mammogram's view, such as LMLO."""
    told: set[str] = set()
    for keyword in ("SeriesDescription", "ProtocolName"):
        sides = {_SIDE_WORDS[word] for word in _SIDE_IN_TEXT.findall(_text(dataset, keyword)[:256].upper())}
        told |= sides if len(sides) == 1 else set()
    view = _MAMMOGRAM_VIEW.fullmatch(_code(dataset, "ViewPosition"))
    return told | ({view[1]} if view and _code(dataset, "Modality") == "MG" else set())


def _laterality(dataset: Dataset) -> Signs:
    """A paired part needs its side, said once (PS3.3 C.7.3.1, C.8.11.2); slices know theirs by position."""
    coded, paired = _coded_sides(dataset), _is_paired(dataset)
    sides = coded | (_told_sides(dataset) if paired else set())
    if {"L", "R"} <= sides:
        return {"laterality-conflict": ""}
    return {"laterality-missing": ""} if paired and not coded and _is_projection(dataset) else {}


def _orientation(dataset: Dataset) -> Signs:
    """Patient Orientation (PS3.3 C.7.6.1.1.1) against Image Orientation (Patient) (C.7.6.2.1.1) and against custom."""
    said = _codes(dataset, "PatientOrientation")
    letters = said if len(said) == 2 and all(v and set(v) <= set(_AXES) for v in said) else []
    plane = _group(dataset, "PlaneOrientationSequence")
    cosines = _numbers(plane, "ImageOrientationPatient")
    if any(_texts(plane, "ImageOrientationPatient")) and not _is_orthonormal(cosines):
        return {"orientation-conflict": "cosines"}
    if letters and cosines and not all(map(_agree, letters, (cosines[:3], cosines[3:]))):
        return {"orientation-conflict": "planes"}
    if letters and _is_frontal_chest(dataset):
        return _film_direction(letters)
    missing = not letters and not cosines and _code(dataset, "Modality") in _DIRECTED
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


def _is_frontal_chest(dataset: Dataset) -> bool:
    return _view(dataset) in ("PA", "AP") and _is_chest_film(dataset)


def _is_chest_film(dataset: Dataset) -> bool:
    return _code(dataset, "Modality") in ("CR", "DX") and bool(_body_words(dataset) & {"CHEST", "THORAX", "LUNG"})


def _view(dataset: Dataset) -> str:
    """View Position, else the frontal views of View Code Sequence (PS3.3 C.8.11.5, PS3.16 CID 4010), else any code."""
    code = next((_text(item, "CodeValue") for item in _items(dataset, "ViewCodeSequence")), "")
    return _code(dataset, "ViewPosition") or _VIEW_CODES.get(code, code)


def _film_direction(letters: list[str]) -> Signs:
    """A frontal film hangs with the patient's right at the left edge of the picture: rows run to L, columns to F."""
    first = letters[0][0] + letters[1][0]
    detail = {"LF": None, "RF": "mirrored"}.get(first, "turned")
    return {"orientation-conflict": detail} if detail else {}


def _view_missing(dataset: Dataset) -> Signs:
    return {"view-missing": ""} if _is_chest_film(dataset) and not _view(dataset) else {}


# --- Spacing. ---


def _pair(dataset: Dataset, *keywords: str) -> list[float]:
    """The first of the elements that holds two numbers above zero."""
    pairs = (_numbers(dataset, keyword) for keyword in keywords)
    return next((pair for pair in pairs if len(pair) == 2 and min(pair) > 0), [])


def _spacing(dataset: Dataset) -> Signs:
    """Pixel Spacing is in the patient; Imager Pixel Spacing is at the detector, where all is larger (PS3.3 10.7.1)."""
    spacing = _pair(_group(dataset, "PixelMeasuresSequence"), "PixelSpacing")
    detector = _pair(dataset, "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    if spacing and detector:
        return _calibration(dataset, spacing[0] / detector[0])
    measured = _code(dataset, "Modality") in _MEASURED and not spacing
    return {"spacing-missing": "detector" if detector else ""} if measured else {}


def _calibration(dataset: Dataset, ratio: float) -> Signs:
    """Spacing in the patient cannot exceed that at the detector; where it is the same, nothing was corrected (10.7.1.1)."""
    stated = _code(dataset, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if not math.isclose(ratio, 1, rel_tol=0.01):
        magnification = max(_numbers(dataset, "EstimatedRadiographicMagnificationFactor"), default=0.0)
        explained = stated or math.isclose(ratio * magnification, 1, rel_tol=0.02)
        return {} if explained else {"spacing-conflict": "larger" if ratio > 1 else "calibration"}
    return {} if stated or not _is_projection(dataset) else {"spacing-at-detector": ""}


def _pixel_shape(dataset: Dataset) -> Signs:
    """Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7) is vertical to horizontal, as spacings are."""
    spacing = _pair(_group(dataset, "PixelMeasuresSequence"), "PixelSpacing", "ImagerPixelSpacing")
    aspect = _pair(dataset, "PixelAspectRatio")
    shapes = [pair[0] / pair[1] for pair in (spacing, aspect) if pair]
    if len(shapes) == 2 and not math.isclose(*shapes, rel_tol=0.02):
        return {"spacing-conflict": "aspect"}
    return _not_square(shapes[0]) if shapes else {}


def _not_square(shape: float) -> Signs:
    plausible = 0.01 < shape < 100 and not math.isclose(shape, 1, rel_tol=0.01)
    return {"pixels-not-square": f"{shape:.3g} to 1"} if plausible else {}


# --- Age and dates. ---


def _stated_age(dataset: Dataset) -> tuple[float, float] | None:
    """Patient's Age in years, from and to; "000Y" is what software writes that does not know."""
    match = _AGE.fullmatch(_text(dataset, "PatientAge").upper())
    if not match or match[0] == "000Y":
        return None
    unit = _YEARS[match[2]]
    return int(match[1]) * unit, (int(match[1]) + 1) * unit


def _reckoned_age(dataset: Dataset) -> float | None:
    born, days = _born(dataset), _days(dataset, "StudyDate", *_MADE)
    return (days[0] - born).days / 365.25 if born and days else None


def _age(dataset: Dataset) -> Signs:
    stated, reckoned = _stated_age(dataset), _reckoned_age(dataset)
    ages = [age for age in (stated and stated[0], reckoned) if age is not None and age >= 0]
    if not ages:
        return {"age-unknown": ""}
    return {"child": ""} if min(ages) < 18 else {}


def _date_order(dataset: Dataset) -> Signs:
    """The gravest rule that the dates break: a wrong patient's record first, shifted dates last."""
    rules = {"birth": _born_later, "age": _age_differs, "future": _in_future, "study": _study_later}
    return next(({"date-order": name} for name, broken in rules.items() if broken(dataset)), {})


def _born_later(dataset: Dataset) -> bool:
    born = _born(dataset)
    return born is not None and any(born > day for day in _days(dataset, "StudyDate", *_MADE))


def _age_differs(dataset: Dataset) -> bool:
    stated, reckoned = _stated_age(dataset), _reckoned_age(dataset)
    return stated is not None and reckoned is not None and not stated[0] - 1 <= reckoned <= stated[1] + 1


def _in_future(dataset: Dataset) -> bool:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return any(day > tomorrow for day in _days(dataset, "StudyDate", "SeriesDate", "PatientBirthDate", *_MADE))


def _study_later(dataset: Dataset) -> bool:
    study, made = _days(dataset, "StudyDate"), _days(dataset, *_MADE)
    return bool(study and made) and study[0] - min(made) > timedelta(days=1)


# --- From signs to verdicts. ---


def _scan_signs(scan: "Scan") -> Signs:
    """What can be told from the scan itself, whatever format it came in."""
    signs: Signs = {"constant": ""} if _is_constant(scan) else {}
    if scan.modality is None:
        signs["no-tags"] = ""
    if scan.geometry.orientation is None and scan.source_format != "DICOM":
        signs["orientation-unknown"] = ""
    row, column = scan.geometry.spacing_mm or (1.0, 1.0)
    return signs | (_not_square(row / column) if row > 0 and column > 0 else {})


def _is_constant(scan: "Scan") -> bool:
    """Whether all pixels are the same; most scans answer after the first frame."""
    if not scan.stored.size:
        return True
    first = scan.stored[0, 0, 0]
    return all(bool((frame == first).all()) for frame in scan.stored)


def _card_verdicts(scan: "Scan", card: "ModelCard") -> Iterator[Verdict]:
    """What does not fit the model; ``scope.mismatch`` decides, so that this and the withheld prediction agree."""
    from core.models.scope import mismatch

    if reason := mismatch(card, scan):
        verdict = _verdict(_mismatch_code(scan, card), "")
        yield replace(verdict, sentence=reason)
    elif card.scope.views and not scan.view:
        yield _verdict("view-unknown", "")
    if min(scan.shape) * 2 < card.input.size:
        yield _verdict("small-picture", f"{scan.shape[1]} x {scan.shape[0]}")
    if "child" in scan.signs and _is_for_adults(card):
        yield replace(_verdict("child", ""), severity="warn")


def _mismatch_code(scan: "Scan", card: "ModelCard") -> str:
    if scan.modality is None:
        return "no-tags"
    if scan.modality not in card.scope.modalities:
        return "wrong-modality"
    if scan.body_part is None:
        return "body-part-unknown"
    fits = any(part in scan.body_part for part in card.scope.body_parts)
    return "wrong-view" if fits else "wrong-body-part"


def _is_for_adults(card: "ModelCard") -> bool:
    return re.search(r"\badults?\b", card.title.casefold()) is not None


def _silent(codes: set[str], card: "ModelCard | None") -> Iterator[str]:
    """Verdicts that another one already says better, and an unknown age that matters to no model here."""
    yield from (code for code, better in _SAID_BETTER.items() if better & codes)
    if card is None or not _is_for_adults(card):
        yield "age-unknown"


def _verdict(code: str, detail: str) -> Verdict:
    """The words for a sign: those for this very detail, else for the code, else a plain note, so that nothing is lost."""
    plain = code if _SIGN.fullmatch(code) else "other"
    words = _WORDS.get(f"{plain}:{detail}") or _WORDS.get(plain) or _UNKNOWN
    severity, name, sentence, advice = words
    sentence = sentence if _PLAIN.fullmatch(detail) else _OPTIONAL.sub("", sentence)
    return Verdict(plain, severity, name, sentence.format(code=plain, detail=detail), advice)


_GRAVITY: tuple[Severity, ...] = ("block", "warn", "note")
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
# What may stand in a sentence: nothing that Markdown or HTML would take for markup.
_PLAIN = re.compile(r"[A-Za-z0-9 .,-]{1,24}")
_SIGN = re.compile(r"[a-z0-9-]{1,32}")
_OPTIONAL = re.compile(r" \([^()]*\{detail\}[^()]*\)")

# Placeholders of de-identification such as 11111111 and 19000101 are no dates.
_EARLIEST = date(1900, 1, 1)
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_MADE = ("AcquisitionDate", "AcquisitionDateTime", "ContentDate")
_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_YEARS: Mapping[str, float] = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}

_SECONDARY_CAPTURE = frozenset(f"1.2.840.10008.5.1.4.1.1.7{end}" for end in ("", ".1", ".2", ".3", ".4"))
_COPIED = ("DF", "DRW", "DV", "SD", "SI")
_NO_INTENSITIES: Mapping[str, str] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",
    "1.2.840.10008.5.1.4.1.1.30": "PMAP",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
}
_KINDS: Mapping[str, str] = {
    "LOCALIZER": "localizer",
    "SCOUT": "localizer",
    "SCREEN SAVE": "screen-save",
    "REFORMATTED": "reformatted",
    "MPR": "reformatted",
    "CSA MPR": "reformatted",
    "PROJECTION IMAGE": "projection",
    "MIP": "projection",
    "MAX_IP": "projection",
    "MIN_IP": "projection",
    "VRT": "projection",
    "GENERATED_2D": "projection",
}
_FLAGS = (
    ("PresentationIntentType", "FOR PROCESSING", "for-processing"),
    ("BurnedInAnnotation", "YES", "burned-in"),
    ("RecognizableVisualFeatures", "YES", "recognizable-face"),
    ("QualityControlImage", "YES", "quality-control"),
    ("QualityControlSubject", "YES", "quality-control"),
)
# Ultrasound, endoscopy, photographs and whatever "other" is are where machines write into the pixels.
_WRITTEN_ON = ("US", "ES", "XC", "GM", "OT", "IVUS")
_NO_AGENT = ("", "none", "no", "n", "0", "-", "no contrast", "without")
_HUMAN = ("", "human", "homo sapiens", "337915000", "L-85B00")

_JPEG, _MPEG = "1.2.840.10008.1.2.4.{}", range(100, 109)
_ALWAYS_LOSSY = frozenset(_JPEG.format(n) for n in (50, 51, 81, *_MPEG))
_PERHAPS_LOSSY = frozenset(_JPEG.format(n) for n in (91, 93, 111, 112, 203))

_PROJECTIONS = ("CR", "DX", "MG", "RF", "XA", "IO", "PX")
_DIRECTED = ("CR", "DX", "MG", "CT", "MR", "PT")
_MEASURED = (*_PROJECTIONS, "CT", "MR", "PT", "NM")
_AXES: Mapping[str, tuple[int, int, int]] = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}
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
_VIEW_CODES: Mapping[str, str] = {"399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA"}

_CHECKS: tuple[Callable[[Dataset], Signs], ...] = (
    _not_intensities, _image_type, _secondary_capture, _lossy, _flags, _burned_in_unknown, _contrast, _animal,
    _laterality, _orientation, _view_missing, _spacing, _pixel_shape, _age, _date_order,
)  # fmt: skip

_SAID_BETTER: Mapping[str, set[str]] = {
    "derived": {"secondary-capture", "screen-save", "reformatted", "projection", "localizer", "not-intensities"},
    "burned-in-unknown": {"not-intensities"},
    "orientation-unknown": {"orientation-missing"},
    "view-missing": {"view-unknown", "wrong-view"},
}

_ANOTHER_MODEL = "Choose a model that was made for this scan, or check the file's tags at the source."
_EXPORT_ORIGINAL = "Ask for the original image from the archive and use that instead."
_ASK_SIDE = "Check the side against the request and the marker on the film."
_MEASURE_NOT = "Do not measure lengths on this picture without a known reference in it."
_CHECK_SERIES = "Export the whole series again and compare the number of slices."

# code or code:detail -> severity, name, what was found, what to do. A bracket with {detail} goes where there is none.
_Words = tuple[Severity, str, str, str]
_WORDS: Mapping[str, _Words] = {
    "not-intensities": (
        "block", "Not an image of intensities",
        "The pixels are labels, computed values or a dose, not what a scanner measured ({detail}).",
        "Upload the scan that this object was made from.",
    ),
    "constant": (
        "block", "Picture without content",
        "All pixels of the picture have the same value.",
        "Export the scan again; the picture was probably lost on the way.",
    ),
    "lossy": (
        "warn", "Compressed with loss",
        "The picture was compressed with loss (ratio {detail} to 1); fine detail may be gone or invented.",
        "Use the uncompressed original where fine lines or small nodules matter.",
    ),
    "derived": (
        "note", "Computed from another image",
        "The picture was computed from another one; its values may not be those that were measured.",
        "Prefer the original series if it is at hand.",
    ),
    "secondary-capture": (
        "warn", "Copy of an image",
        "The file is a secondary capture: a copy that may have lost depth, scale and orientation.",
        _EXPORT_ORIGINAL,
    ),
    "secondary-capture:DF": (
        "warn", "A digitised film", "The picture is a film that was digitised; its grey values are those of a scanner.",
        "Look for dust, scratches and labels, and trust fine detail less.",
    ),
    "secondary-capture:DRW": (
        "warn", "Drawing, not a scan", "The file says that it is a drawing.", "Upload the scan itself.",
    ),
    "secondary-capture:SD": (
        "warn", "A scanned document", "The file says that it is a scanned document.", "Upload the scan itself.",
    ),
    "screen-save": (
        "warn", "A saved screen", "The picture is a saved screen; its grey values are those of a display.", _EXPORT_ORIGINAL,
    ),
    "localizer": (
        "warn", "Localizer, not a scan",
        "The picture is a localizer, made to plan the scan and not to be read.", "Use the series that was planned on it.",
    ),
    "reformatted": (
        "note", "Slices reformatted from others",
        "The slices were computed from another series; sharpness may differ by direction.",
        "Prefer the original slices for measuring and for models.",
    ),
    "projection": (
        "warn", "Projection of a volume",
        "The picture is computed from a whole volume, such as a maximum projection; overlying structures merge.",
        "Use the slices that it was computed from.",
    ),
    "for-processing": (
        "warn", "Raw detector image",
        "The picture is marked FOR PROCESSING: it is not yet prepared for reading.",
        "Export the version marked FOR PRESENTATION.",
    ),
    "burned-in": (
        "warn", "Text in the pixels",
        "The file says that text is burned into the pixels; it may name the patient, and a model may read it.",
        "Do not share pictures of this scan; use a version without text.",
    ),
    "burned-in-unknown": (
        "note", "Text in pixels possible",
        "Pictures of this kind often hold burned-in text, and the file does not say whether this one does.",
        "Look for names and dates in the picture before sharing it.",
    ),
    "recognizable-face": (
        "note", "Patient may be recognisable",
        "The file says that the picture, or a surface made from it, could show who the patient is.",
        "Do not share pictures of this scan.",
    ),
    "quality-control": (
        "warn", "Quality control image", "The file says that it shows a phantom or a test, not a patient.",
        "Do not read a prediction from it.",
    ),
    "animal": (
        "warn", "Not a human patient", "The file says that the patient is an animal.",
        "Use models and references that were made for this species.",
    ),
    "child": (
        "note", "Patient under 18 years", "The patient is under 18 years old by the file's age or dates.",
        "Do not rely on models or reference values made for adults.",
    ),
    "age-unknown": (
        "note", "Age not given", "The model was made for adults, and the file does not give the patient's age.",
        "Make sure that the patient is an adult.",
    ),
    "contrast": (
        "note", "Contrast agent given", "The file says that a contrast agent was given.",
        "Mind that vessels, organs and bowel may look denser than without it.",
    ),
    "laterality-missing": (
        "warn", "Side not given", "The file shows a paired body part and does not say which side.", _ASK_SIDE,
    ),
    "laterality-conflict": (
        "warn", "Left contradicts right", "Some parts of the file say left and others right.", _ASK_SIDE,
    ),
    "orientation-missing": (
        "note", "Orientation not given", "The file does not say which edge of the picture is the patient's left or head.",
        "Check the side marker in the picture.",
    ),
    "orientation-unknown": (
        "note", "Orientation not known", "The directions of the patient in this picture are not known.",
        "Check the side marker in the picture.",
    ),
    "orientation-conflict": (
        "warn", "Orientation contradicts itself", "The file contradicts itself about the patient's directions in the picture.",
        "Check the side marker and the anatomy before naming a side.",
    ),
    "orientation-conflict:mirrored": (
        "warn", "Chest film mirrored",
        "By its tags this frontal chest film is mirrored: the patient's left is at the left edge of the picture.",
        "Check the heart and the side marker; flip the film at its source if it is mirrored.",
    ),
    "orientation-conflict:turned": (
        "warn", "Chest film turned", "By its tags this frontal chest film is not upright.",
        "Turn the film upright at its source; models expect the head at the top.",
    ),
    "orientation-conflict:cosines": (
        "warn", "Impossible image orientation",
        "The directions of rows and columns in the file are not at right angles or not of length one.",
        "Do not trust left, right or oblique cuts; export the scan again.",
    ),
    "view-missing": (
        "note", "View not given", "The file does not say from which direction the chest film was taken.",
        "Find out whether it is PA, AP or lateral before reading it.",
    ),
    "view-unknown": (
        "warn", "View not known", "The model was made for certain views, and the file does not say which this is.",
        "Make sure that the view is one that the model was made for.",
    ),
    "spacing-missing": (
        "note", "Pixel size not given", "The file does not say how large its pixels are in the patient.", _MEASURE_NOT,
    ),
    "spacing-missing:detector": (
        "note", "Pixel size at detector", "The file gives the pixel size at the detector only, not in the patient.",
        "Lengths are too long by the magnification; measure only against a known reference.",
    ),
    "spacing-at-detector": (
        "note", "Lengths not corrected", "The pixel size is that of the detector, not corrected for magnification.",
        "Expect lengths to read too long, more so for parts far from the detector.",
    ),
    "spacing-conflict": (
        "warn", "Contradicting pixel sizes", "The file gives pixel sizes that contradict each other.", _MEASURE_NOT,
    ),
    "spacing-conflict:calibration": (
        "note", "Calibration not explained",
        "The pixel size differs from the detector's, and the file does not say how it was calibrated.",
        "Measure only if you know how the calibration was done.",
    ),
    "spacing-conflict:larger": (
        "warn", "Impossible pixel size",
        "The pixel size in the patient is larger than at the detector, which no X-ray can give.", _MEASURE_NOT,
    ),
    "spacing-conflict:aspect": (
        "warn", "Contradicting pixel shape", "The pixel size and the pixel's aspect ratio contradict each other.",
        "Check that round things look round; export the scan again if they do not.",
    ),
    "pixels-not-square": (
        "note", "Pixels not square", "The pixels are not square (height to width {detail}).",
        "Check that the picture is not stretched where it is shown.",
    ),
    "date-order": (
        "note", "Dates out of order", "The dates in the file contradict each other.",
        "Expected after de-identification; else check that this is the right study.",
    ),
    "date-order:birth": (
        "warn", "Born after the study", "By the file's dates the patient was born after the study.",
        "Check that file and patient belong together.",
    ),
    "date-order:age": (
        "warn", "Age contradicts birth date", "The patient's age and birth date in the file differ by more than a year.",
        "Check that file and patient belong together.",
    ),
    "date-order:future": (
        "note", "Date in the future", "A date in the file lies in the future.",
        "Expected after de-identification; else check the clock of the device.",
    ),
    "date-order:study": (
        "note", "Study after its images", "The study is dated more than a day after its images.",
        "Expected after de-identification; else check that this is the right study.",
    ),
    "no-tags": (
        "warn", "Content not stated", "The file does not say what it shows (it has no DICOM modality tag).",
        "Use the DICOM original, or make sure yourself that the scan fits the model.",
    ),
    "wrong-modality": ("warn", "Not the model's modality", "The model was made for another modality.", _ANOTHER_MODEL),
    "wrong-body-part": ("warn", "Not the model's body part", "The model was made for another body part.", _ANOTHER_MODEL),
    "body-part-unknown": (
        "warn", "Body part not given", "The file does not say which body part it shows.", _ANOTHER_MODEL,
    ),
    "wrong-view": ("warn", "Not the model's view", "The model was made for another view.", _ANOTHER_MODEL),
    "small-picture": (
        "warn", "Smaller than model's input",
        "The picture has less than half the pixels per side that the model takes ({detail}).",
        "Use the scan in full size, not a thumbnail.",
    ),
    "gap": (
        "warn", "Slices are missing", "There are gaps between the slices; by their positions some are missing ({detail}).",
        _CHECK_SERIES,
    ),
    "uneven-spacing": (
        "warn", "Uneven slice distances", "The distance between slices is not the same throughout ({detail}).",
        "Do not measure across slices; cuts in other planes are distorted.",
    ),
    "incomplete": (
        "warn", "Series not complete", "Fewer images came than the numbering of the series tells ({detail}).", _CHECK_SERIES,
    ),
    "no-geometry": (
        "warn", "Slices without position", "The slices do not say where they lie; they are in the order of their numbers.",
        "Do not measure across slices, and check the order by the anatomy.",
    ),
    "mixed-orientation": (
        "note", "Series with several planes", "The series held slices in several planes and was split by plane ({detail}).",
        "Look at the other parts of the series as well.",
    ),
    "duplicate": (
        "note", "Images sent twice", "Some images came more than once; the copies were left out ({detail}).",
        "Nothing, unless you expected different images.",
    ),
    "left-out": (
        "warn", "Files left out", "Some files of the upload could not be read and were left out ({detail}).",
        "Copy or export these files again if they belong to the scan.",
    ),
    "time-point": (
        "note", "One of several volumes", "This is one volume of a series that holds several ({detail}).",
        "Look at the other volumes as well.",
    ),
    "oblique": (
        "note", "Slices are tilted", "The slices are tilted against the body's axes ({detail} degrees).",
        "Mind that the edges of the picture do not point straight left, right, front or back.",
    ),
    "two-studies": (
        "warn", "Several studies uploaded", "The upload held more than one study ({detail}).",
        "Make sure that the study you see is the one you mean.",
    ),
    "mixed-scale": (
        "note", "Slices scaled one by one", "The slices do not share one scale; each was converted by its own.",
        "Expected in PET; else compare values between slices with care.",
    ),
}  # fmt: skip
_UNKNOWN: _Words = (
    "note",
    "Something else was found",
    "Reading the file reported: {code} ({detail}).",
    "Check the file at its source.",
)
