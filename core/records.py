"""What the command line says of files, as plain records: one a frame for ``predict``, one a scan for ``show``."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import BOXES_ONLY, ConfigurationError, NoFittingModel, RadLensError, ScanError
from core.models.catalogue import Catalogue
from core.models.scope import choose_model
from core.pixel_history import pixel_history
from core.reading import read_study
from core.reading.doctor import blocking, examine
from core.reading.study import Study
from core.scan import Scan
from core.windowing import FloatImage, default_window, display_grey

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.detections import Detection
    from core.explaining.places import Place
    from core.models.card import ModelCard
    from core.models.loading import Model

AUTO = "auto"
Record = dict[str, Any]


def predictions(path: str, model: str, catalogue: Catalogue) -> Iterator[Record]:
    """One record a frame of every scan at ``path`` (a file, a folder or an archive), whatever happens.

    ``file`` is the path as it was typed. What cannot be read is one record with the status "refused".
    """
    blank: Record = {
        "file": path, "series": None, "frame": None, "digest": None, "model": None, "weights": None,
        "status": "refused", "reason": None, "scores": {}, "logits": {}, "left_out": [],
    }  # fmt: skip
    try:
        study = study_at(Path(path))
    except ScanError as exc:
        yield {**blank, "reason": str(exc)}
        return
    for series, scan in enumerate(study.scans):
        known = {**blank, "series": series, "digest": scan.digest, "left_out": _left_out(study)}
        for frame in range(scan.frame_count):
            yield {**known, "frame": frame, **_answer(scan, frame, model, catalogue)}


def shown(study: Study, series: int, frame: int | None, card: "ModelCard | None") -> tuple[FloatImage, Record]:
    """The displayed grey, 0..1, of a frame (rows, columns) or of all frames (frames, rows, columns), and what it is.

    Raises ConfigurationError for a series or a frame that does not exist.
    """
    if series >= len(study.scans):
        raise ConfigurationError(f"There are {len(study.scans)} scans, counted from 0; there is no scan {series}.")
    scan = study.scans[series]
    if frame is not None and frame >= scan.frame_count:
        raise ConfigurationError(f"The scan has {scan.frame_count} frames, counted from 0; there is no frame {frame}.")
    window = None if scan.is_colour or scan.voi_lut is not None else default_window(scan)
    wanted = [frame] if frame is not None else list(range(scan.frame_count))
    grey = np.stack([display_grey(scan, index, window) for index in wanted])
    history = pixel_history(scan, wanted[0], window, card.input if card else None)
    rows, columns = scan.shape
    return grey if len(wanted) > 1 else grey[0], {
        "status": "ok", "reason": None, "digest": scan.digest, "format": scan.source_format,
        "series": series, "series_count": len(study.scans), "frame": frame, "frames": scan.frame_count,
        "rows": rows, "columns": columns, "colour": scan.is_colour, "modality": scan.modality,
        "spacing_mm": scan.geometry.spacing_mm, "slice_spacing_mm": scan.geometry.slice_spacing_mm,
        "orientation": scan.geometry.orientation, "slice_direction": scan.geometry.slice_direction,
        "unit": scan.modality_lut.unit,
        "window": None if window is None else {
            "centre": window.centre, "width": window.width, "function": window.function,
        },
        "verdicts": verdict_records(scan, card), "history": history.as_json(), "notes": list(scan.notes),
        "left_out": _left_out(study),
    }  # fmt: skip


def study_at(path: Path) -> Study:
    """The study of a file, an archive, or all files of a folder and those below it.

    Raises ScanError with a sentence to show.
    """
    return read_study(_files(path))


def card_for(scan: Scan, catalogue: Catalogue) -> "ModelCard | None":
    """The model made for this scan, if there is one."""
    try:
        return choose_model(catalogue.cards.values(), scan)
    except NoFittingModel:
        return None


def verdict_records(scan: Scan, card: "ModelCard | None") -> list[Record]:
    """The doctor's verdicts as records."""
    return [
        {"code": v.code, "severity": v.severity, "name": v.name, "sentence": v.sentence, "advice": v.advice}
        for v in examine(scan, card)
    ]


@cache
def loaded_model(model_id: str) -> "Model":
    """The model, loaded once a process."""
    from core.models.loading import load_model

    return load_model(model_id)


def _files(path: Path) -> Sequence[tuple[str, bytes]]:
    try:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            return [(str(file.relative_to(path)), file.read_bytes()) for file in found]
        return [(path.name, path.read_bytes())]
    except (OSError, ValueError) as exc:
        raise ScanError("The file cannot be opened; check that it exists and may be read.") from exc


def _answer(scan: Scan, frame: int, model: str, catalogue: Catalogue) -> Record:
    try:
        if model.lower() == AUTO:
            card = choose_model(catalogue.cards.values(), scan)
            reason = f"{card.id} was chosen by modality {scan.modality} and body part {scan.body_part}."
        else:
            card, reason = catalogue.card(model), None
    except NoFittingModel as exc:
        return {"status": "withheld", "reason": str(exc)}
    known = {"model": card.id, "weights": card.weights_sha256}
    if verdict := blocking(examine(scan, card)):
        return {**known, "status": "withheld", "reason": f"{verdict.sentence} {verdict.advice}"}
    from core.analysis import analyse

    try:
        analysis = analyse(loaded_model(card.id), scan, frame)
    except RadLensError as exc:
        return {**known, "status": "withheld", "reason": str(exc)}
    scores, logits = dict(analysis.prediction.scores), dict(analysis.prediction.logits)
    answered: Record = {**known, "status": "ok", "reason": reason, "scores": scores, "logits": logits}
    if placed := place_records(analysis, card, scan):
        answered["places"] = placed
    if not analysis.masks:
        return answered
    outlines = {
        code: {"share": mask.share, "area_mm2": mask.area_mm2, "threshold": mask.threshold}
        for code, mask in analysis.masks.items()
    }
    return {**answered, "outlines": outlines}


def label_places(analysis: "Analysis", card: "ModelCard", label: str, scan: Scan) -> Record:
    """The places of one label, with the threshold that drew them; of a detector its boxes.

    Raises ConfigurationError for a label without a place threshold.
    """
    from core.explaining.places import WEAKLY_SUPERVISED

    tuned = card.place_thresholds.get(label)
    if tuned is None and card.task != "detection":
        known = ", ".join(card.place_thresholds) or "none"
        raise ConfigurationError(f"{card.id} draws no places for {label}; it does for: {known}.")
    return {
        "digest": scan.digest, "frame": analysis.frame, "model": card.id, "weights": card.weights_sha256, "label": label,
        "score": analysis.prediction.scores[label], "operating_point": card.threshold(label),
        "place_threshold": tuned.threshold if tuned else None, "unit": analysis.heatmap(label).unit,
        "places": place_records(analysis, card, scan)[label], "note": WEAKLY_SUPERVISED if tuned else BOXES_ONLY,
    }  # fmt: skip


def place_records(analysis: "Analysis", card: "ModelCard", scan: Scan) -> dict[str, list[Record]]:
    """The places of every label that has a place threshold, or a detector's boxes; none of a label that is not called.

    Boxes and contours count edges in pixels of the scan, rows first.
    """
    from core.detections import findings_as_places

    found = findings_as_places(analysis, card)
    return {code: [_place_record(place, scan) for place in places] for code, places in found.items()}


def _place_record(place: "Place | Detection", scan: Scan) -> Record:
    from core.detections import Detection

    box = place.box
    record: Record = {
        "top": box.top, "left": box.left, "height": box.height, "width": box.width,
        "zone": box.zone(scan.geometry, scan.shape), "size_mm": box.size_mm(scan.geometry),
    }  # fmt: skip
    if isinstance(place, Detection):
        return {**record, "score": place.score}
    return {**record, "peak": place.peak, "total": place.total, "share": place.share, "contour": place.contour}


def _left_out(study: Study) -> list[Record]:
    return [{"name": left.name, "reason": left.reason} for left in study.left_out]
