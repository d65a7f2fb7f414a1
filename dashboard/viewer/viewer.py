"""show(): the scan in its window, the heatmap over it, legend, orientation and scale in words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import streamlit as st

from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import Analysis, FloatArray, Heatmap
    from core.scan import Scan, Window

# Wider pictures are shown smaller, and the page says so.
MAX_SIDE = 1280
MIN_SIDE = 384


@dataclass(frozen=True, slots=True)
class Look:
    """How the reader wants to see the scan."""

    window: "Window | None" = None
    opacity: float = 0.6
    mode: Literal["for", "signed"] = "for"


@dataclass(frozen=True, slots=True)
class Overlaid:
    """Whose heatmap lies over the scan: the label's code, and its words for the caption."""

    analysis: "Analysis"
    label: str
    words: str


def show(scan: "Scan", frame: int, look: Look, overlaid: Overlaid | None = None) -> None:
    """Draw one frame, with a label's heatmap where there is one."""
    from core.overlay import blend, encode_png, to_eight_bits

    picture = _resized(_picture(scan, frame, look))
    rgb, words = to_eight_bits(picture), t("review.alt_plain")
    if overlaid is not None:
        heatmap = overlaid.analysis.heatmap(overlaid.label)
        evidence = overlaid.analysis.letterbox.to_scan_grid(heatmap.evidence, *picture.shape[:2])
        rgb = blend(picture, evidence, limit=heatmap.limit, opacity=look.opacity, mode=look.mode)
        words = t("review.alt", label=overlaid.words, place=heatmap.outcome or place_in_words(evidence))
    st.image(encode_png(rgb), alt=words, output_format="PNG", width="stretch")
    st.caption(words)
    if overlaid is not None:
        _legend(overlaid.analysis.heatmap(overlaid.label), look)
    st.caption(_facts_line(scan, picture.shape[1]))


def place_in_words(evidence: "FloatArray") -> str:
    """Which ninth of the picture holds most of the positive evidence, and what share of it."""
    import numpy as np

    positive = np.maximum(evidence, 0)
    ninths = np.array([[part.sum() for part in np.array_split(band, 3, 1)] for band in np.array_split(positive, 3, 0)])
    row, column = np.unravel_index(int(ninths.argmax()), ninths.shape)
    return t(
        "review.place",
        vertical=t(f"place.{('upper', 'middle', 'lower')[row]}"),
        horizontal=t(f"place.{('left', 'centre', 'right')[column]}"),
        share=round(100 * float(ninths.max() / max(ninths.sum(), 1e-12))),
    )


def _picture(scan: "Scan", frame: int, look: Look) -> "FloatArray":
    from core.windowing import display_grey, display_rgb

    return display_rgb(scan, frame) if scan.is_colour else display_grey(scan, frame, look.window)


def _resized(picture: "FloatArray") -> "FloatArray":
    """At most MAX_SIDE and at least MIN_SIDE pixels on the longer side, the shape kept."""
    from core.overlay import resize

    longer = max(picture.shape[:2])
    side = min(max(longer, MIN_SIDE), MAX_SIDE)
    rows, columns = (max(1, round(n * side / longer)) for n in picture.shape[:2])
    return resize(picture, rows, columns)


def _legend(heatmap: "Heatmap", look: Look) -> None:
    from core.overlay import encode_png, legend

    key = "review.legend_signed" if look.mode == "signed" else "review.legend"
    words = t(key, limit=f"{heatmap.limit:.2g}", unit=heatmap.unit)
    st.image(
        encode_png(legend(look.mode, width=960, height=14)),
        caption=words,
        alt=words,
        output_format="PNG",
        width="stretch",
    )


def _facts_line(scan: "Scan", shown_columns: int) -> str:
    rows, columns = scan.shape
    key = "review.reduced" if shown_columns < columns else "review.size"
    size = t(key, percent=round(100 * shown_columns / columns), columns=columns, rows=rows)
    return f"{_orientation(scan)} {size}"


def _orientation(scan: "Scan") -> str:
    """The patient's sides at the left and the top edge: opposite to where rows and columns run (PS3.3 C.7.6.1.1.1)."""
    if scan.geometry.orientation is None:
        return t("review.orientation_unknown")
    opposite = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
    along_row, along_column = scan.geometry.orientation
    left, top = (t(f"direction.{opposite[letters[0]]}") for letters in (along_row, along_column))
    return t("review.orientation", left=left, top=top)
