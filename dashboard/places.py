"""Findings as places on the page: what the viewer draws for each label, and the same in plain words beside the scores."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.texts import literal, t, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.detections import Detection
    from core.explaining.places import Place
    from core.scan import Scan
    from dashboard.answer import Answer

Entry = dict[str, Any]
# So many places of a label are told one by one.
_MOST_TOLD = 3


def place_entries(answer: "Answer", scan: "Scan", shown: tuple[int, int]) -> dict[str, Entry]:
    """For the viewer, by label code: boxes [left, top, width, height] and contours [[x, y], ...], and what they are in words.

    Both count edges in pixels of the picture as it is ``shown`` (rows, columns). Labels without a place threshold have none.
    """
    from core.detections import findings_as_places

    scale = shown[1] / scan.shape[1], shown[0] / scan.shape[0]
    return {
        code: {"list": [_drawn(place, scale) for place in places], "words": _told(answer, code, places, scan)}
        for code, places in findings_as_places(answer.analysis, answer.model.card).items()
    }


def place_list(answer: "Answer", scan: "Scan") -> None:
    """Beside the scores: a line for every label that is called and has places, and what such a place is."""
    from core.detections import findings_as_places

    card, found = answer.model.card, findings_as_places(answer.analysis, answer.model.card)
    if not found:
        return
    terms = {label.code: label.words.split(" (")[0] for label in card.labels}
    lines = [f"- **{literal(terms[code])}**: {literal(places_in_words(p, scan))}" for code, p in found.items() if p]
    boxes = card.task == "detection"
    nothing = t("places.no_box") if boxes else t("places.none")
    st.markdown(f"**{t('places.title')}**\n" + "\n".join(lines or [nothing]))
    st.caption(t("places.boxes_caption") if boxes else t("places.caption"))


def places_in_words(places: "Sequence[Place | Detection]", scan: "Scan") -> str:
    """``1 place, left lower zone, 62 x 40 mm``: the strongest first, the size where the file gives real spacing."""
    count = len(places)
    words = texts()["places.one" if count == 1 else "places.many"].format(count=count)
    told = "; ".join(_place_in_words(place, scan) for place in places[:_MOST_TOLD])
    more = texts()["places.more"].format(count=count - _MOST_TOLD) if count > _MOST_TOLD else ""
    return f"{words}{', ' if count == 1 else ': '}{told}{more}"


def _place_in_words(place: "Place | Detection", scan: "Scan") -> str:
    zone, size = place.box.zone(scan.geometry, scan.shape), place.box.size_mm(scan.geometry)
    parts = [zone] if size is None else [zone, f"{size[0]:.0f} x {size[1]:.0f} mm"]
    score = getattr(place, "score", None)
    return ", ".join(parts if score is None else [*parts, texts()["places.score"].format(score=f"{score:.2f}")])


def _told(answer: "Answer", code: str, places: "Sequence[Place | Detection]", scan: "Scan") -> str:
    """What the viewer says below the picture of a label's places."""
    card, score = answer.model.card, answer.analysis.prediction.scores[code]
    words = next(label.words.split(" (")[0] for label in card.labels if label.code == code)
    boxes = card.task == "detection"
    if places:
        key = "viewer.boxes_legend" if boxes else "viewer.places_legend"
        return texts()[key].format(label=words, places=places_in_words(places, scan))
    if boxes:
        return texts()["viewer.boxes_none"].format(label=words)
    point = card.threshold(code)
    key = "viewer.places_below" if point is not None and score < point else "viewer.places_none"
    return texts()[key].format(label=words)


def _drawn(place: "Place | Detection", scale: tuple[float, float]) -> Entry:
    across, down = scale
    left, top, width, height = place.box.xywh
    return {
        "box": [round(value, 2) for value in (left * across, top * down, width * across, height * down)],
        "contour": [[round(x * across, 2), round(y * down, 2)] for y, x in getattr(place, "contour", ())],
    }
