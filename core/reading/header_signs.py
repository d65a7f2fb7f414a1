"""What is odd about a DICOM header, as codes, counts and numbers; never the patient's words."""

import contextlib
import math
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from pydicom import Dataset

from core.reading.header_sides import laterality, orientation, view_missing
from core.reading.header_values import (
    PROJECTIONS,
    Signs,
    birth_date,
    code_of,
    codes_of,
    days_of,
    group_of,
    is_projection,
    items_of,
    numbers_of,
    text_of,
)

# --- What kind of picture it is. ---


def _class_uid(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return text_of(dataset, "SOPClassUID") or (text_of(meta, "MediaStorageSOPClassUID") if meta is not None else "")


_NO_INTENSITIES: Mapping[str, str] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",
    "1.2.840.10008.5.1.4.1.1.30": "PMAP",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
}


def _not_intensities(dataset: Dataset) -> Signs:
    """Labels, maps and doses in the place of intensities (PS3.3 A.51, A.75, A.18)."""
    kind = _NO_INTENSITIES.get(_class_uid(dataset)) or code_of(dataset, "Modality")
    return {"not-intensities": kind} if kind in _NO_INTENSITIES.values() else {}


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


def _image_type(dataset: Dataset) -> Signs:
    """Image Type (PS3.3 C.7.6.1.1.2): value 1 ORIGINAL or DERIVED, value 3 and later the kind, as C.8.2.1.1.1 for CT.

    A film for presentation is DERIVED from its own raw data by definition (C.8.11.1), so that alone is no sign.
    """
    values = codes_of(dataset, "ImageType")
    signs = {code: "" for word, code in _KINDS.items() if word in values[2:]}
    ordinary = is_projection(dataset) and values[1:2] != ["SECONDARY"]
    return signs | ({"derived": ""} if values[:1] == ["DERIVED"] and not ordinary else {})


_SECONDARY_CAPTURE = frozenset(f"1.2.840.10008.5.1.4.1.1.7{end}" for end in ("", ".1", ".2", ".3", ".4"))
_COPIED = ("DF", "DRW", "DV", "SD", "SI")


def _secondary_capture(dataset: Dataset) -> Signs:
    """Conversion Type (PS3.3 C.8.6.1) is told of other classes too, so only those for film, paper and video count there."""
    conversion = code_of(dataset, "ConversionType")
    if _class_uid(dataset) in _SECONDARY_CAPTURE or conversion in _COPIED:
        return {"secondary-capture": conversion if conversion in _COPIED else ""}
    return {}


_JPEG, _MPEG = "1.2.840.10008.1.2.4.{}", range(100, 109)
_ALWAYS_LOSSY = frozenset(_JPEG.format(n) for n in (50, 51, 81, *_MPEG))
_PERHAPS_LOSSY = frozenset(_JPEG.format(n) for n in (91, 93, 111, 112, 203))


def _lossy(dataset: Dataset) -> Signs:
    """Lossy compression at any point of the picture's life (PS3.3 C.7.6.1.1.5), or by the file's own encoding now."""
    meta = getattr(dataset, "file_meta", None)
    syntax = text_of(meta, "TransferSyntaxUID") if meta is not None else ""
    said = code_of(dataset, "LossyImageCompression")
    if said == "01" or syntax in _ALWAYS_LOSSY or (syntax in _PERHAPS_LOSSY and said != "00"):
        ratio = max(numbers_of(dataset, "LossyImageCompressionRatio"), default=0.0)
        return {"lossy": f"{ratio:.3g}" if 1 < ratio < 1000 else ""}
    return {}


_FLAGS = (
    ("PresentationIntentType", "FOR PROCESSING", "for-processing"),
    ("BurnedInAnnotation", "YES", "burned-in"),
    ("RecognizableVisualFeatures", "YES", "recognizable-face"),
    ("QualityControlImage", "YES", "quality-control"),
    ("QualityControlSubject", "YES", "quality-control"),
)


def _flags(dataset: Dataset) -> Signs:
    return {code: "" for keyword, value, code in _FLAGS if code_of(dataset, keyword) == value}


# Ultrasound, endoscopy, photographs and whatever "other" is are where machines write into the pixels.
_WRITTEN_ON = ("US", "ES", "XC", "GM", "OT", "IVUS")


def _burned_in_unknown(dataset: Dataset) -> Signs:
    """Without Burned In Annotation (PS3.3 C.7.6.1) such a picture may or may not hold a name."""
    usual = code_of(dataset, "Modality") in _WRITTEN_ON or _class_uid(dataset) in _SECONDARY_CAPTURE
    return {"burned-in-unknown": ""} if usual and not code_of(dataset, "BurnedInAnnotation") else {}


_NO_AGENT = ("", "none", "no", "n", "0", "-", "no contrast", "without")


def _contrast(dataset: Dataset) -> Signs:
    agent = text_of(dataset, "ContrastBolusAgent").casefold()
    given = agent not in _NO_AGENT or items_of(dataset, "ContrastBolusAgentSequence")
    return {"contrast": ""} if given else {}


_HUMAN = ("", "human", "homo sapiens", "337915000", "L-85B00")


def _animal(dataset: Dataset) -> Signs:
    """A species other than ours, or a quadruped's directions (PS3.3 C.7.1.1, C.7.6.1.1.1)."""
    species = text_of(dataset, "PatientSpeciesDescription").casefold()
    code = next((text_of(item, "CodeValue") for item in items_of(dataset, "PatientSpeciesCodeSequence")), "")
    other = species not in _HUMAN or code not in _HUMAN
    return {"animal": ""} if other or code_of(dataset, "AnatomicalOrientationType") == "QUADRUPED" else {}


# --- Spacing. ---

_MEASURED = (*PROJECTIONS, "CT", "MR", "PT", "NM")


def _spacing(dataset: Dataset) -> Signs:
    """Pixel Spacing is in the patient; Imager Pixel Spacing is at the detector, where all is larger (PS3.3 10.7.1)."""
    spacing = _pair(group_of(dataset, "PixelMeasuresSequence"), "PixelSpacing")
    detector = _pair(dataset, "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    if spacing and detector:
        return _calibration(dataset, spacing[0] / detector[0])
    measured = code_of(dataset, "Modality") in _MEASURED and not spacing
    return {"spacing-missing": "detector" if detector else ""} if measured else {}


def _calibration(dataset: Dataset, ratio: float) -> Signs:
    """Spacing in the patient cannot exceed that at the detector; where it is the same, nothing was corrected (10.7.1.1)."""
    stated = code_of(dataset, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if not math.isclose(ratio, 1, rel_tol=0.01):
        magnification = max(numbers_of(dataset, "EstimatedRadiographicMagnificationFactor"), default=0.0)
        explained = stated or math.isclose(ratio * magnification, 1, rel_tol=0.02)
        return {} if explained else {"spacing-conflict": "larger" if ratio > 1 else "calibration"}
    return {} if stated or not is_projection(dataset) else {"spacing-at-detector": ""}


def _pixel_shape(dataset: Dataset) -> Signs:
    """Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7) is vertical to horizontal, as spacings are."""
    spacing = _pair(group_of(dataset, "PixelMeasuresSequence"), "PixelSpacing", "ImagerPixelSpacing")
    aspect = _pair(dataset, "PixelAspectRatio")
    shapes = [pair[0] / pair[1] for pair in (spacing, aspect) if pair]
    if len(shapes) == 2 and not math.isclose(*shapes, rel_tol=0.02):
        return {"spacing-conflict": "aspect"}
    return not_square(shapes[0]) if shapes else {}


def not_square(shape: float) -> Signs:
    """The sign of pixels that are not square; ``shape`` is their height to width."""
    plausible = 0.01 < shape < 100 and not math.isclose(shape, 1, rel_tol=0.01)
    return {"pixels-not-square": f"{shape:.3g} to 1"} if plausible else {}


def _pair(dataset: Dataset, *keywords: str) -> list[float]:
    """The first of the elements that holds two numbers above zero."""
    pairs = (numbers_of(dataset, keyword) for keyword in keywords)
    return next((pair for pair in pairs if len(pair) == 2 and min(pair) > 0), [])


# --- Age and dates. ---

_MADE = ("AcquisitionDate", "AcquisitionDateTime", "ContentDate")
_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_YEARS: Mapping[str, float] = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def _age(dataset: Dataset) -> Signs:
    stated, reckoned = _stated_age(dataset), _reckoned_age(dataset)
    ages = [age for age in (stated and stated[0], reckoned) if age is not None and age >= 0]
    if not ages:
        return {"age-unknown": ""}
    return {"child": str(int(min(ages)))} if min(ages) < 18 else {}


def _stated_age(dataset: Dataset) -> tuple[float, float] | None:
    """Patient's Age in years, from and to; "000Y" is what software writes that does not know."""
    match = _AGE.fullmatch(text_of(dataset, "PatientAge").upper())
    if not match or match[0] == "000Y":
        return None
    unit = _YEARS[match[2]]
    return int(match[1]) * unit, (int(match[1]) + 1) * unit


def _reckoned_age(dataset: Dataset) -> float | None:
    born, days = birth_date(dataset), days_of(dataset, "StudyDate", *_MADE)
    return (days[0] - born).days / 365.25 if born and days else None


def _date_order(dataset: Dataset) -> Signs:
    """The gravest rule that the dates break: a wrong patient's record first, shifted dates last."""
    rules = {"birth": _born_later, "age": _age_differs, "future": _in_future, "study": _study_later}
    return next(({"date-order": name} for name, broken in rules.items() if broken(dataset)), {})


def _born_later(dataset: Dataset) -> bool:
    born = birth_date(dataset)
    return born is not None and any(born > day for day in days_of(dataset, "StudyDate", *_MADE))


def _age_differs(dataset: Dataset) -> bool:
    stated, reckoned = _stated_age(dataset), _reckoned_age(dataset)
    return stated is not None and reckoned is not None and not stated[0] - 1 <= reckoned <= stated[1] + 1


def _in_future(dataset: Dataset) -> bool:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return any(day > tomorrow for day in days_of(dataset, "StudyDate", "SeriesDate", "PatientBirthDate", *_MADE))


def _study_later(dataset: Dataset) -> bool:
    study, made = days_of(dataset, "StudyDate"), days_of(dataset, *_MADE)
    return bool(study and made) and study[0] - min(made) > timedelta(days=1)


# --- All of them. ---

_CHECKS: tuple[Callable[[Dataset], Signs], ...] = (
    _not_intensities, _image_type, _secondary_capture, _lossy, _flags, _burned_in_unknown, _contrast, _animal,
    laterality, orientation, view_missing, _spacing, _pixel_shape, _age, _date_order,
)  # fmt: skip


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
