"""What goes to the browser once: a JSON header and aligned sections, as one run of bytes."""

import json
import math
import struct
from typing import TYPE_CHECKING, Any

from dashboard.outlines import size_text
from dashboard.texts import texts

if TYPE_CHECKING:
    import numpy.typing as npt

    from core.analysis import Analysis, Heatmap
    from core.masks import Mask
    from core.models.card import ModelCard
    from core.scan import Scan, Window

_ALIGNMENT = 8
# A low-resolution copy of every slice, so that scrolling shows something at once.
_PREVIEW_SIDE = 128
_PREVIEW_BYTES = 12 << 20
_STILL_SIDE = 768
_SCALE_STEPS = 256
# One message to the browser must stay well below Streamlit's limit of 200 MB.
_FRAME_BYTES = 96 << 20
_TYPES = {"u1", "i1", "u2", "i2", "i4", "u4", "f4"}


def pack(header: dict[str, Any], sections: "dict[str, bytes]") -> bytes:
    """uint32 header length, header (padded with blanks), sections; all offsets are multiples of 8."""
    places, at = {}, 0
    for name, content in sections.items():
        places[name] = {"offset": at, "length": len(content)}
        at += _up(len(content))
    text = json.dumps({**header, "sections": places}, allow_nan=False).encode()
    text += b" " * (_up(len(text) + 4) - len(text) - 4)
    return b"".join([struct.pack("<I", len(text)), text, *(c.ljust(_up(len(c)), b"\0") for c in sections.values())])


def pixels_message(scan: "Scan", case: str, frame: int, source: str) -> bytes:
    """The pixels of a scan, starting with one frame; the browser asks ``source`` for the others of a stack."""
    from core.windowing import EIGHT_BIT, default_window, window_choices

    choices = (EIGHT_BIT,) if scan.is_colour else window_choices(scan)
    windows = [_window(choice) for choice in choices]
    if scan.voi_lut is not None:
        windows.insert(0, _window(default_window(scan)) | {"name": texts()["viewer.file_lut"], "lut": True})
    geometry, lut = scan.geometry, scan.modality_lut
    rows, columns = shown_shape(scan)
    rate = scan.facts.get("Frames per second")
    header = {
        "kind": "pixels", "id": case, "version": scan.digest, "rows": rows, "columns": columns,
        "frames": scan.frame_count, "frame": frame, "samples": 3 if scan.is_colour else 1, "type": _type(scan),
        "source": source if scan.frame_count > 1 else None, "slope": lut.slope, "intercept": lut.intercept,
        "unit": lut.unit, "table_first": lut.table.first if lut.table else None,
        "voi_first": scan.voi_lut.first if scan.voi_lut else None, "monochrome1": scan.photometric == "MONOCHROME1",
        "padding": scan.padding, "windows": windows, "spacing": _shown_spacing(scan),
        "slice_spacing": geometry.slice_spacing_mm, "orientation": geometry.orientation,
        "slice_direction": geometry.slice_direction, "frame_rate": float(rate) if rate else None,
        "report_frame": scan.frame_count > 1,
        "texts": {key: words for key, words in texts().items() if key.startswith("viewer.")},
    }  # fmt: skip
    sections = {"frame": raw_frames(scan, frame, 1), "still": _still(scan, frame), **_tables(scan)}
    if scan.frame_count > 1:
        header["preview"], sections["preview"] = _preview(scan)
    if (mask := _overlay(scan)) is not None:
        sections["overlay"] = mask
    return pack(header, sections)


def maps_message(
    analysis: "Analysis",
    card: "ModelCard",
    case: str,
    label: str,
    score_texts: dict[str, str],
    places: dict[str, dict[str, Any]] | None = None,
) -> bytes:
    """The raw heatmaps of all labels for one frame, the two colour scales, and of a segmentation the probability maps.

    ``places``: by label code, as ``dashboard.places`` words them.
    """
    import dataclasses

    import numpy as np

    from core.overlay import scale_colours

    maps = [analysis.heatmaps[code] for code in card.label_codes]
    ramp = np.linspace(0, 1, _SCALE_STEPS, dtype=np.float32)
    rows, columns = maps[0].evidence.shape
    header = {
        "kind": "maps", "id": case, "frame": analysis.frame, "rows": rows, "columns": columns,
        "letterbox": dataclasses.asdict(analysis.letterbox), "limit": maps[0].limit, "unit": maps[0].unit,
        "label": label, "method": _method_words(maps[0], card), "per_scan": maps[0].per_scan,
        "labels": [
            _label(analysis, card, code, score_texts[code]) | {"places": (places or {}).get(code)}
            for code in card.label_codes
        ],
    }  # fmt: skip
    masks = [analysis.masks[code] for code in card.label_codes if code in analysis.masks]
    if masks:
        header["masks"] = dict(zip(("rows", "columns"), masks[0].probability.shape, strict=True))
    sections = {
        "maps": np.stack([heatmap.evidence for heatmap in maps]).astype("<f4").tobytes(),
        "scale_for": _eight_bits(scale_colours(ramp, "for")),
        "scale_signed": _eight_bits(scale_colours(2 * ramp - 1, "signed")),
    }
    if masks:
        sections["masks"] = np.stack([mask.probability for mask in masks]).astype("<f4").tobytes()
    return pack(header, sections)


def strip_message(case: str, labels: list[dict[str, str]], scores: "npt.NDArray[Any]", done: int) -> bytes:
    """Each label's score along the slices, (labels, slices), NaN where a slice has not been read yet."""
    header = {"kind": "strip", "id": case, "done": done, "total": scores.shape[1], "labels": labels}
    return pack(header, {"scores": scores.astype("<f4").tobytes()})


def asker_message(case: str, *, unanswered: bool = False) -> bytes:
    """The reader may mark places in the viewer of this case; ``unanswered``: also where no network has answered."""
    return pack({"kind": "ask", "id": case, "unanswered": unanswered}, {})


def asked_message(case: str, number: int, text: str) -> bytes:
    """What the network says without the place that was marked as ``number``."""
    return pack({"kind": "asked", "id": case, "number": number, "text": text}, {})


def hold_message(case: str) -> bytes:
    """No heatmaps for this case: nobody has read it, or nobody may see the answer yet."""
    return pack({"kind": "hold", "id": case}, {})


def raw_frames(scan: "Scan", first: int, count: int) -> bytes:
    """Frames as the browser gets them: stored values, little-endian, of the type that the header names."""
    frames = scan.stored[first : first + count]
    if shown_shape(scan) != scan.shape:
        return b"".join(_averaged(scan, frame, shown_shape(scan)) for frame in frames)
    return frames.astype(f"<{_type(scan)}", copy=False).tobytes()


def shown_shape(scan: "Scan") -> tuple[int, int]:
    """(rows, columns) as sent to the browser: those of the scan, or a whole fraction where a frame is too large to send."""
    factor = math.ceil(math.sqrt(scan.stored[0].nbytes / _FRAME_BYTES))
    return max(1, scan.shape[0] // factor), max(1, scan.shape[1] // factor)


def _up(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _type(scan: "Scan") -> str:
    kind = scan.stored.dtype.str[1:]
    return kind if kind in _TYPES else "f4"


def _window(window: "Window") -> dict[str, Any]:
    return {
        "name": str(window),
        "centre": window.centre,
        "width": window.width,
        "function": window.function,
    }


def _label(analysis: "Analysis", card: "ModelCard", code: str, score_text: str) -> dict[str, Any]:
    heatmap, point = analysis.heatmaps[code], card.threshold(code)
    score = analysis.prediction.scores[code]
    return {
        "code": code,
        "words": next(label.words for label in card.labels if label.code == code),
        "score": score_text,
        "threshold": None if point is None else f"{point:.2f}",
        "above": None if point is None else score >= point,
        "outcome": heatmap.outcome,
        "bias": heatmap.bias,
        "whole": _whole(analysis, card, code),
        "layer": heatmap.layer,
        "method": heatmap.method,
        "outline": _outline(analysis.masks.get(code)),
    }


def _method_words(heatmap: "Heatmap", card: "ModelCard") -> str | None:
    """What the legend calls the maps, where they are not the analysis' own."""
    from core.explaining.registry import DEFAULT_METHOD, find_method

    own = heatmap.method in (DEFAULT_METHOD, "seg-gradcam", "detector")
    if own and heatmap.against is None and heatmap.layer == card.target_layer:
        return None
    title = find_method(DEFAULT_METHOD if own else heatmap.method).title
    other = next((label.words for label in card.labels if label.code == heatmap.against), None)
    return f"{title} ({texts()['viewer.legend_against'].format(label=other)})" if other else title


def _outline(mask: "Mask | None") -> dict[str, Any] | None:
    """From which probability on a pixel is outlined, and the outline's size in words; no size where there is none."""
    if mask is None:
        return None
    return {"threshold": mask.threshold, "size": None if mask.outcome else size_text(mask)}


def _whole(analysis: "Analysis", card: "ModelCard", code: str) -> float:
    """What a map and its bias sum to: the logit, or for a softmax head how far it lies above the mean of all.

    Of a map against another label: the difference of the two logits.
    """
    logits = analysis.prediction.logits
    if (against := analysis.heatmaps[code].against) is not None:
        return logits[code] - logits[against]
    return logits[code] - (sum(logits.values()) / len(logits) if card.head == "softmax" else 0.0)


def _tables(scan: "Scan") -> dict[str, bytes]:
    import numpy as np

    tables = {}
    if scan.modality_lut.table is not None:
        tables["table"] = scan.modality_lut.table.values.astype("<f4").tobytes()
    if scan.voi_lut is not None:
        # The table's output runs from 0 to 2^bits - 1 (PS3.3 C.11.2.1.1).
        voi = np.clip(scan.voi_lut.values / np.float32(2**scan.voi_lut.bits - 1), 0, 1)
        tables["voi"] = voi.astype("<f4").tobytes()
    return tables


def _shown_spacing(scan: "Scan") -> tuple[float, float] | None:
    if scan.geometry.spacing_mm is None:
        return None
    (down, across), (rows, columns) = scan.geometry.spacing_mm, shown_shape(scan)
    return down * scan.shape[0] / rows, across * scan.shape[1] / columns


def _averaged(scan: "Scan", frame: "npt.NDArray[Any]", shape: tuple[int, int]) -> bytes:
    """A frame in a smaller size, in the type that the header names."""
    import cv2
    import numpy as np

    small = cv2.resize(frame.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    if scan.stored.dtype.kind != "f":
        small = np.rint(small)
    return small.astype(f"<{_type(scan)}").tobytes()


def _preview(scan: "Scan") -> tuple[list[int], bytes]:
    """Every frame averaged to a small one: its size (rows, columns), and the bytes."""
    rows, columns = scan.shape
    samples = 3 if scan.is_colour else 1
    room = _PREVIEW_BYTES / (scan.frame_count * samples * scan.stored.dtype.itemsize)
    side = min(_PREVIEW_SIDE, room**0.5)
    scale = min(1.0, side / max(rows, columns))
    small = max(1, round(rows * scale)), max(1, round(columns * scale))
    return list(small), b"".join(_averaged(scan, frame, small) for frame in scan.stored)


def _still(scan: "Scan", frame: int) -> bytes:
    """The frame in its own window as a small PNG, for a browser whose scripts fail."""
    from core.overlay import encode_png, resize, to_eight_bits
    from core.windowing import display_grey, display_rgb

    picture = display_rgb(scan, frame) if scan.is_colour else display_grey(scan, frame)
    scale = min(1.0, _STILL_SIDE / max(scan.shape))
    small = resize(picture, *(max(1, round(side * scale)) for side in scan.shape))
    return encode_png(to_eight_bits(small))


def _overlay(scan: "Scan") -> bytes | None:
    """The file's own graphics as one mask, where they are the same on every frame."""
    import numpy as np

    if not scan.overlays:
        return None
    mask = np.logical_or.reduce([overlay.mask for overlay in scan.overlays])
    rows, columns = shown_shape(scan)
    shown = mask[0][: rows * (scan.shape[0] // rows) : scan.shape[0] // rows]
    shown = shown[:, : columns * (scan.shape[1] // columns) : scan.shape[1] // columns]
    return shown.astype(np.uint8).tobytes() if bool((mask == mask[0]).all()) else None


def _eight_bits(colours: "npt.NDArray[Any]") -> bytes:
    import numpy as np

    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8).tobytes()
