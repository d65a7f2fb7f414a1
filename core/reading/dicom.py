"""DICOM through pydicom and the pylibjpeg decoders: stored values, LUTs, geometry and allow-listed tags."""

import contextlib
import logging
import math
import re
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from core.errors import DamagedScan, NotAnImage, RadLensError, ScanError, ScanTooLarge
from core.reading.limits import check_size, max_inflated_bytes
from core.scan import Geometry, LookupTable, ModalityLut, Photometric, Scan, VoiFunction, Window, is_usable_window

Array = npt.NDArray[Any]
# pydicom's warnings and log repeat the value they complain about, which may be a patient's name.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Only these reach Scan.facts. None of them names a person, a place or a date.
_FACTS = (
    "Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality", "PhotometricInterpretation",
    "PresentationIntentType", "LossyImageCompression",
)  # fmt: skip
# All that VR CS allows (PS3.5 6.2): one flipped bit in a length must not pull a neighbour's text in.
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
_WORDS = re.compile(r"[A-Za-z0-9 _./-]{1,16}")
# Preamble, "DICM" and the element (0002,0000), whose value is the length of the rest of the meta group.
_AFTER_META_LENGTH = 128 + 4 + 12
_KINDS_WITHOUT_PIXELS = (
    ("Encapsulated PDF", "a PDF document inside DICOM"),
    ("Encapsulated", "a document inside DICOM"),
    ("SR", "a structured report"),
    ("Structure Set", "a radiotherapy structure set"),
    ("RT Plan", "a radiotherapy plan"),
    ("Presentation State", "a presentation state"),
    ("Key Object", "a key object selection"),
    ("Waveform", "a waveform recording"),
    ("Media Storage Directory", "a DICOMDIR, the list of contents of a disc"),
)
_VOI_FUNCTIONS: dict[str, VoiFunction] = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))


def read_dicom(data: bytes, digest: str) -> Scan:
    """A DICOM file as a Scan.

    Raises NotAnImage for objects without pixels (reports, structure sets, PDF), DamagedScan where the header or the
    pixels cannot be read, ScanTooLarge by arithmetic before decoding.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read(data, digest)


def _read(data: bytes, digest: str) -> Scan:
    dataset = _parse(data)
    try:
        _check_has_pixels(dataset)
        _check_dimensions(dataset)
        stored = _decode(dataset)
        return _scan(dataset, stored, digest)
    except (RadLensError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # pylibjpeg-rle raises PanicException, a BaseException; broken headers nearly any type
        raise DamagedScan(
            f"The DICOM pixels cannot be decoded ({_syntax_name(dataset)}); export the scan again."
        ) from exc


def _check_inflated(data: bytes) -> None:
    """Count what a deflated data set inflates to before pydicom does (PS3.5 A.5): a bomb of 0.3 MB can hold 300."""
    if DeflatedExplicitVRLittleEndian.encode() not in data[:1024]:
        return
    start = _AFTER_META_LENGTH + int.from_bytes(data[_AFTER_META_LENGTH - 4 : _AFTER_META_LENGTH], "little")
    limit = max_inflated_bytes()
    with contextlib.suppress(zlib.error):  # pydicom says what is wrong with a damaged stream
        if len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], limit + 1)) > limit:
            raise ScanTooLarge(f"The file inflates to more than {limit >> 20} MiB; export it uncompressed and smaller.")


def _parse(data: bytes) -> Dataset:
    _check_inflated(data)
    try:
        dataset = dcmread(BytesIO(data), force=True)
        dataset.walk(lambda _dataset, _element: None, recursive=False)
    except Exception as exc:  # a flipped bit in a header surfaces as any of a dozen types
        raise DamagedScan("The DICOM header is damaged and cannot be read; export or copy the file again.") from exc
    if not len(dataset):
        raise DamagedScan("The DICOM file holds no data elements; it is cut short. Export or copy it again.")
    if getattr(dataset.file_meta, "TransferSyntaxUID", None) is None:
        # The standard's default where the file does not say (PS3.5 A.1).
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def _check_has_pixels(dataset: Dataset) -> None:
    if any(name in dataset for name in _PIXEL_ELEMENTS):
        return
    name = _class_name(dataset)
    kind = next((words for key, words in _KINDS_WITHOUT_PIXELS if key in name), None)
    if kind:
        raise NotAnImage(f"This DICOM file is {kind}; it holds no picture. Upload the scan it belongs to.")
    if "Rows" in dataset:
        raise DamagedScan("The DICOM file is cut short: it describes a picture but holds no pixels. Copy it again.")
    raise NotAnImage("This DICOM file holds no picture. Upload a scan.")


def _check_dimensions(dataset: Dataset) -> None:
    rows, columns = _whole_number(dataset, "Rows"), _whole_number(dataset, "Columns")
    frames, samples = _whole_number(dataset, "NumberOfFrames", 1), _whole_number(dataset, "SamplesPerPixel", 1)
    bits = _whole_number(dataset, "BitsAllocated", 64 if "DoubleFloatPixelData" in dataset else 32)
    if min(rows, columns, frames, samples) < 1 or samples not in (1, 3, 4) or bits not in (1, 8, 16, 32, 64):
        raise DamagedScan(
            f"The DICOM header describes no possible picture ({columns} x {rows}, {frames} frames, {samples} samples "
            f"of {bits} bits); export the scan again."
        )
    check_size(rows, columns, samples, frames, max(1, bits // 8))


def _whole_number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    value = dataset.get(keyword)
    if value in (None, ""):
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as exc:
        raise DamagedScan(f"The DICOM element {keyword} is not one whole number; export the scan again.") from exc


def _decode(dataset: Dataset) -> Array:
    """Pixels as (frames, rows, columns) or (frames, rows, columns, 3): colour as RGB of 8 bits, grey as stored."""
    pixels = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    colour = dataset.PhotometricInterpretation == "PALETTE COLOR" or int(dataset.SamplesPerPixel) > 1
    expected = 4 if colour else 3
    stored = pixels[None] if pixels.ndim == expected - 1 else pixels
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return _eight_bit_colour(stored[..., :3], dataset) if colour else _significant_bits(stored, dataset)


def _eight_bit_colour(pixels: Array, dataset: Dataset) -> Array:
    bits = pixels.dtype.itemsize * 8 if pixels.dtype.kind == "u" else int(dataset.BitsStored)
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        bits = int(dataset.BitsStored)
    return np.ascontiguousarray(pixels >> (bits - 8) if bits > 8 else pixels).astype(np.uint8)


def _significant_bits(stored: Array, dataset: Dataset) -> Array:
    """Only BitsStored bits are pixels; the others may hold overlays or rubbish (PS3.5 8.1.1)."""
    allocated = stored.dtype.itemsize * 8
    bits = int(dataset.get("BitsStored", allocated))
    if stored.dtype.kind not in "iu" or not 1 <= bits < allocated:
        return np.ascontiguousarray(stored)
    if stored.dtype.kind == "u":
        return np.bitwise_and(stored, (1 << bits) - 1, dtype=stored.dtype)
    up = allocated - bits
    return np.right_shift(np.left_shift(stored, up), up)


def _scan(dataset: Dataset, stored: Array, digest: str) -> Scan:
    colour = stored.ndim == 4
    photometric: Photometric = "RGB" if colour else "MONOCHROME2"
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        photometric = "MONOCHROME1"
    windows, notes = _windows(dataset)
    return Scan(
        stored=stored,
        digest=digest,
        source_format="DICOM",
        photometric=photometric,
        bits_stored=8 if colour else int(dataset.get("BitsStored", stored.dtype.itemsize * 8)),
        modality_lut=ModalityLut() if colour else _modality_lut(dataset),
        windows=() if colour else windows,
        voi_lut=None if colour else _voi_lut(dataset),
        padding=None if colour else _padding(dataset),
        geometry=Geometry(_spacing(dataset), _orientation(dataset)),
        modality=_code(dataset, "Modality"),
        body_part=_code(dataset, "BodyPartExamined"),
        view=_code(dataset, "ViewPosition"),
        facts=_facts(dataset, stored),
        notes=notes,
    )


def _functional_group(dataset: Dataset, macro: str) -> Dataset:
    """The macro of an enhanced multi-frame object (shared, else of the first frame), else the dataset itself (PS3.3 C.7.6.16)."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        items = dataset.get(groups)
        if items and items[0].get(macro):
            return items[0][macro].value[0]
    return dataset


def _modality_lut(dataset: Dataset) -> ModalityLut:
    source = _functional_group(dataset, "PixelValueTransformationSequence")
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        return ModalityLut(unit=_words(tables[0].get("ModalityLUTType")), table=_table(tables[0], _byte_order(dataset)))
    slope, intercept = _number(source, "RescaleSlope", 1.0), _number(source, "RescaleIntercept", 0.0)
    if slope == 0 or abs(slope) > 1e9 or abs(intercept) > 1e12:
        raise ScanError(
            f"The file's rescale slope and intercept ({slope:g}, {intercept:g}) give no usable values; export it again."
        )
    unit = _words(source.get("RescaleType")) or ("HU" if dataset.get("Modality") == "CT" else "")
    return ModalityLut(slope, intercept, "" if unit == "US" else unit)


def _voi_lut(dataset: Dataset) -> LookupTable | None:
    tables = dataset.get("VOILUTSequence")
    return _table(tables[0], _byte_order(dataset)) if tables else None


def _byte_order(dataset: Dataset) -> str:
    return ">" if dataset.original_encoding[1] is False else "<"


def _table(item: Dataset, byte_order: str) -> LookupTable:
    """A LUT item (PS3.3 C.11.1.1.1): descriptor (entries, first value, bits), 0 entries meaning 65 536."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    values = item.LUTData
    wanted = entries or 65536
    kind = "u1" if bits <= 8 and len(values) <= wanted + 1 else f"{byte_order}u2"
    numbers = np.frombuffer(values, kind) if isinstance(values, bytes) else np.atleast_1d(np.array(values))
    if len(numbers) < wanted:
        raise DamagedScan(
            f"A lookup table of the file holds {len(numbers)} of its {wanted} entries; export the scan again."
        )
    signed_first = first - 65536 if first > 32767 and item["LUTDescriptor"].VR == "SS" else first
    return LookupTable(signed_first, numbers[:wanted].astype(np.float32), bits)


def _windows(dataset: Dataset) -> tuple[tuple[Window, ...], tuple[str, ...]]:
    source = _functional_group(dataset, "FrameVOILUTSequence")
    function = _VOI_FUNCTIONS.get(_text(source.get("VOILUTFunction")) or "LINEAR")
    explanations = _values(source, "WindowCenterWidthExplanation")
    windows, unusable = [], 0
    for index, (c, w) in enumerate(zip(_values(source, "WindowCenter"), _values(source, "WindowWidth"), strict=False)):
        with contextlib.suppress(TypeError, ValueError):
            centre, width = float(c), float(w)
            if function is not None and is_usable_window(centre, width, function):
                words = _words(explanations[index]) if index < len(explanations) else ""
                windows.append(Window(centre, width, function, words))
                continue
        unusable += 1
    notes = ("The file's own window cannot be used; an automatic one is shown.",) if unusable and not windows else ()
    return tuple(windows), notes


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    """The range of stored values that are no picture (PS3.3 C.7.5.1.1.2)."""
    with contextlib.suppress(TypeError, ValueError):
        value = float(dataset.PixelPaddingValue) if "PixelPaddingValue" in dataset else math.nan
        limit = float(dataset.get("PixelPaddingRangeLimit", value))
        if math.isfinite(value) and math.isfinite(limit):
            return min(value, limit), max(value, limit)
    return None


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    source = _functional_group(dataset, "PixelMeasuresSequence")
    with contextlib.suppress(TypeError, ValueError):
        row, column = (float(v) for v in _values(source, "PixelSpacing"))
        if 0 < row < 1e3 and 0 < column < 1e3:
            return row, column
    return None


def _orientation(dataset: Dataset) -> tuple[str, str] | None:
    """PatientOrientation as said, else the letters of ImageOrientationPatient's direction cosines (PS3.3 C.7.6.2.1.1)."""
    said = [str(v) for v in _values(dataset, "PatientOrientation")]
    if len(said) == 2 and all(set(v) <= set("LRAPHF") and v for v in said):
        return said[0], said[1]
    source = _functional_group(dataset, "PlaneOrientationSequence")
    with contextlib.suppress(TypeError, ValueError):
        cosines = [float(v) for v in _values(source, "ImageOrientationPatient")]
        if len(cosines) == 6 and all(math.isfinite(v) for v in cosines):
            row, column = _letters(cosines[:3]), _letters(cosines[3:])
            return (row, column) if row and column else None
    return None


def _letters(direction: list[float]) -> str:
    """The axes that a direction leans to by more than about 20 degrees, the strongest first."""
    parts = sorted(zip((abs(v) for v in direction), direction, _DIRECTIONS, strict=True), key=lambda p: -p[0])
    return "".join(names[0] if value > 0 else names[1] for size, value, names in parts if size > 0.35)


def _facts(dataset: Dataset, stored: Array) -> dict[str, str]:
    facts = {"Format": "DICOM", "Object": _class_name(dataset), "Encoding": _syntax_name(dataset)}
    facts["Size"] = f"{stored.shape[2]} x {stored.shape[1]}" + (f", {len(stored)} frames" if len(stored) > 1 else "")
    facts["Bits"] = str(dataset.get("BitsStored", stored.dtype.itemsize * 8))
    return facts | {name: text for name in _FACTS if (text := _code(dataset, name))}


def _class_name(dataset: Dataset) -> str:
    uid = UID(str(dataset.get("SOPClassUID", "") or dataset.file_meta.get("MediaStorageSOPClassUID", "")))
    return uid.name if uid.name != uid else "unknown object"


def _syntax_name(dataset: Dataset) -> str:
    uid = UID(str(dataset.file_meta.TransferSyntaxUID))
    return uid.name if uid.name != uid else "unknown transfer syntax"


def _code(dataset: Dataset, keyword: str) -> str | None:
    text = _text(dataset.get(keyword)).upper()
    return text if _CODE.fullmatch(text) else None


def _words(value: object) -> str:
    """Short plain words of a free text element, or nothing."""
    text = _text(value)
    return text if _WORDS.fullmatch(text) else ""


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "" or isinstance(value, Sequence):
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    values = _values(dataset, keyword)
    if not values:
        return default
    try:
        number = float(values[0])
    except (TypeError, ValueError) as exc:
        raise DamagedScan(f"The DICOM element {keyword} is not a number; export the scan again.") from exc
    if not math.isfinite(number):
        raise DamagedScan(f"The DICOM element {keyword} is not a finite number; export the scan again.")
    return number
