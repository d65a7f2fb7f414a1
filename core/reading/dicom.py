"""DICOM through pydicom and the pylibjpeg decoders: stored values, LUTs, geometry and allow-listed tags."""

import contextlib
import logging
import math
import re
import warnings
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from core.errors import DamagedScan, NotAnImage, RadLensError, ScanError, ScanTooLarge
from core.reading.dicom_geometry import functional_group, geometry, plane, values
from core.reading.dicom_pixels import check_dimensions, decode_pixels, has_pixels
from core.reading.header_sides import view_of
from core.reading.header_signs import header_signs
from core.reading.limits import max_inflated_bytes
from core.reading.stacks import arranged, in_one_scale
from core.scan import LookupTable, ModalityLut, Overlay, Photometric, Scan, VoiFunction, Window, is_usable_window

Array = npt.NDArray[Any]
# pydicom's warnings and log repeat the value they complain about, which may be a patient's name.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

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


def read_dicom(data: bytes, digest: str) -> tuple[Scan, Dataset]:
    """A DICOM file as a Scan, and its header for those who put series together; the header stays in the reading process.

    Raises NotAnImage for objects without pixels (reports, structure sets, PDF), DamagedScan where the header or the
    pixels cannot be read, ScanTooLarge by arithmetic before decoding.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read(data, digest)


def _read(data: bytes, digest: str) -> tuple[Scan, Dataset]:
    dataset = parse_dicom(data)
    try:
        _check_has_pixels(dataset)
        check_dimensions(dataset)
        scan = scan_of(dataset, decode_pixels(dataset), digest)
        return _as_stack(scan, dataset), dataset
    except (RadLensError, KeyboardInterrupt, SystemExit, MemoryError):
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


def parse_dicom(data: bytes) -> Dataset:
    """The header and the pixels still encoded.

    Raises DamagedScan where they cannot be read, ScanTooLarge where a deflated file holds too much.
    """
    _check_inflated(data)
    try:
        dataset = dcmread(BytesIO(data), force=True)
        dataset.walk(lambda _dataset, _element: None, recursive=False)
    except MemoryError:
        raise
    except Exception as exc:  # a flipped bit in a header surfaces as any of a dozen types
        raise DamagedScan("The DICOM header is damaged and cannot be read; export or copy the file again.") from exc
    if not len(dataset):
        raise DamagedScan("The DICOM file holds no data elements; it is cut short. Export or copy it again.")
    if getattr(dataset.file_meta, "TransferSyntaxUID", None) is None:
        # The standard's default where the file does not say (PS3.5 A.1).
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def _check_has_pixels(dataset: Dataset) -> None:
    if has_pixels(dataset):
        return
    name = _class_name(dataset)
    kind = next((words for key, words in _KINDS_WITHOUT_PIXELS if key in name), None)
    if kind:
        raise NotAnImage(f"This DICOM file is {kind}; it holds no picture. Upload the scan it belongs to.")
    if "Rows" in dataset:
        raise DamagedScan("The DICOM file is cut short: it describes a picture but holds no pixels. Copy it again.")
    raise NotAnImage("This DICOM file holds no picture. Upload a scan.")


def scan_of(dataset: Dataset, stored: Array, digest: str) -> Scan:
    """The Scan of a header and its pixels as ``decode_pixels`` gives them."""
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
        geometry=geometry(dataset),
        modality=_code(dataset, "Modality"),
        body_part=_code(dataset, "BodyPartExamined"),
        view=view_of(dataset) or None,
        facts=_facts(dataset, stored),
        overlays=_overlays(dataset, stored.shape[:3]),
        signs=header_signs(dataset),
        notes=notes,
    )


def _as_stack(scan: Scan, dataset: Dataset) -> Scan:
    """The frames of an enhanced multi-frame object in the order of their places, in one scale (PS3.3 C.7.6.16)."""
    if scan.frame_count == 1 or "PerFrameFunctionalGroupsSequence" not in dataset:
        return scan
    luts = [_modality_lut(dataset, frame) for frame in range(scan.frame_count)]
    scan = in_one_scale(scan, luts)
    planes = [plane(dataset, frame) for frame in range(scan.frame_count)]
    stack = arranged(planes)
    if stack is None:
        return scan
    overlays = tuple(replace(overlay, mask=overlay.mask[stack.order]) for overlay in scan.overlays)
    stored = scan.stored if stack.order == sorted(stack.order) else scan.stored[stack.order]
    return replace(
        scan,
        stored=stored,
        geometry=stack.applied_to(scan.geometry),
        overlays=overlays,
        signs={**scan.signs, **stack.signs},
    )


def _overlays(dataset: Dataset, shape: tuple[int, ...]) -> tuple[Overlay, ...]:
    """The overlay planes with data of their own (PS3.3 C.9.2); one that does not fit is left out."""
    found = []
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x3000) in dataset:
            with contextlib.suppress(Exception):  # an overlay that cannot be read must not cost the picture
                found.append(_overlay(dataset, group, shape))
    return tuple(found)


def _overlay(dataset: Dataset, group: int, shape: tuple[int, ...]) -> Overlay:
    drawn = np.asarray(dataset.overlay_array(group))
    drawn = (drawn[None] if drawn.ndim == 2 else drawn).astype(np.bool_)
    top, left = (int(v) - 1 for v in dataset[group, 0x0050].value)
    first = int(dataset[group, 0x0051].value) - 1 if (group, 0x0051) in dataset else 0
    mask = np.zeros(shape, np.bool_)
    # One plane for a file of several frames belongs to all of them.
    frames = slice(None) if len(drawn) == 1 and first == 0 else slice(first, first + len(drawn))
    rows, columns = slice(max(top, 0), top + drawn.shape[1]), slice(max(left, 0), left + drawn.shape[2])
    place = mask[frames, rows, columns]
    cropped = drawn[:, max(-top, 0) :, max(-left, 0) :]
    place[...] = cropped[:, : place.shape[1], : place.shape[2]]
    return Overlay(mask, region=str(dataset[group, 0x0040].value) == "R")


def _modality_lut(dataset: Dataset, frame: int = 0) -> ModalityLut:
    source = functional_group(dataset, "PixelValueTransformationSequence", frame)
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
    source = functional_group(dataset, "FrameVOILUTSequence")
    function = _VOI_FUNCTIONS.get(_text(source.get("VOILUTFunction")) or "LINEAR")
    explanations = values(source, "WindowCenterWidthExplanation")
    windows, unusable = [], 0
    for index, (c, w) in enumerate(zip(values(source, "WindowCenter"), values(source, "WindowWidth"), strict=False)):
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


def _facts(dataset: Dataset, stored: Array) -> dict[str, str]:
    facts = {"Format": "DICOM", "Object": _class_name(dataset), "Encoding": _syntax_name(dataset)}
    facts["Size"] = f"{stored.shape[2]} x {stored.shape[1]}" + (f", {len(stored)} frames" if len(stored) > 1 else "")
    if rate := _frame_rate(dataset):
        facts["Frames per second"] = rate
    facts["Bits"] = str(dataset.get("BitsStored", stored.dtype.itemsize * 8))
    return facts | {name: text for name in _FACTS if (text := _code(dataset, name))}


def _frame_rate(dataset: Dataset) -> str:
    """How fast a cine was recorded (PS3.3 C.7.6.5), or nothing."""
    with contextlib.suppress(TypeError, ValueError):
        rate = float(dataset.get("CineRate") or dataset.get("RecommendedDisplayFrameRate") or 0)
        rate = rate or 1000 / float(dataset.get("FrameTime") or math.inf)
        return f"{rate:.3g}" if 0 < rate < 1000 else ""
    return ""


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


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    found = values(dataset, keyword)
    if not found:
        return default
    try:
        number = float(found[0])
    except (TypeError, ValueError) as exc:
        raise DamagedScan(f"The DICOM element {keyword} is not a number; export the scan again.") from exc
    if not math.isfinite(number):
        raise DamagedScan(f"The DICOM element {keyword} is not a finite number; export the scan again.")
    return number
