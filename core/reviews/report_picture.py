"""The picture of a report: the scan as it is with what the reader marked, and beside it the network's evidence with its scale."""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.overlay import OUTLINE_COLOUR, blend, encode_png, outlined, resize, scale_colours, to_eight_bits
from core.windowing import display_grey, display_rgb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.analysis import Analysis, Heatmap
    from core.explaining.places import ScanBox
    from core.models.card import ModelCard
    from core.overlay import RgbImage
    from core.reviews.record import Region
    from core.scan import Scan
    from core.windowing import FloatImage

# Pixels: the longer side of a panel, the gap between two, the room for words above and for the scale below.
_SIDE, _GAP, _HEAD, _FOOT, _BAR = 620, 20, 34, 74, 18
_TEXT, _SMALL = 19, 16
_INK, _PAPER = (28, 37, 48), (255, 255, 255)
_READER_COLOUR = (255, 214, 10)
_BOX_LINE = 3
_Size = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ReportPicture:
    """A PNG and what is to be seen in it, in a sentence or two."""

    png: bytes = field(repr=False)
    caption: str

    @property
    def sha256(self) -> str:
        """The hash that the report names."""
        return hashlib.sha256(self.png).hexdigest()


def report_picture(
    scan: "Scan",
    frame: int,
    regions: "Sequence[Region]" = (),
    *,
    analysis: "Analysis | None" = None,
    card: "ModelCard | None" = None,
    label: str = "",
) -> ReportPicture:
    """The frame in the file's own window with the reader's regions; with an analysis, its evidence for ``label`` beside it.

    A detector's boxes and a segmentation's outline take the place that they have in the viewer.
    """
    size = _shown_size(scan)
    picture = display_rgb(scan, frame) if scan.is_colour else display_grey(scan, frame)
    small = resize(np.asarray(picture, np.float32), *size)
    plain = Image.fromarray(to_eight_bits(small))
    marked = [region for region in regions if region.frame == frame]
    _draw_boxes(plain, _edges(marked, scan, size), _READER_COLOUR)
    captions = ["The scan in its own window."]
    if marked:
        captions.append("Yellow boxes: marked by the reader.")
    if analysis is None or card is None:
        return ReportPicture(_set(size, [("The scan", plain)], None), " ".join(captions))
    words = next((one.words for one in card.labels if one.code == label), label)
    heatmap = analysis.heatmap(label)
    evident, told = _evidence_panel(small, scan, analysis, card, heatmap)
    captions += [f"{words}: {told}"]
    panels = [("The scan", plain), (f"Network: {words}", evident)]
    drawn = heatmap if heatmap.absent is None else None
    return ReportPicture(_set(size, panels, drawn), " ".join(captions))


def _shown_size(scan: "Scan") -> _Size:
    """Rows and columns of a panel: pixels that are not square are drawn as they lie in the patient."""
    rows, columns = map(float, scan.shape)
    if scan.geometry.spacing_mm is not None:
        rows *= scan.geometry.spacing_mm[0] / scan.geometry.spacing_mm[1]
    scale = _SIDE / max(rows, columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _evidence_panel(
    small: "FloatImage", scan: "Scan", analysis: "Analysis", card: "ModelCard", heatmap: "Heatmap"
) -> tuple[Image.Image, str]:
    """The picture under the label's evidence, outline or boxes, and what that is."""
    size = small.shape[0], small.shape[1]
    if card.task == "detection":
        from core.detections import shown

        panel = Image.fromarray(to_eight_bits(small))
        boxes = [found.box for found in shown(analysis, card).get(heatmap.label, ())]
        _draw_boxes(panel, _edges(boxes, scan, size), OUTLINE_COLOUR)
        return panel, "the detector's boxes from its threshold on." if boxes else "the detector drew no box."
    on_grid = analysis.letterbox.to_scan_grid(heatmap.evidence, *size)
    rgb: RgbImage = blend(small, on_grid, limit=heatmap.limit)
    mask = analysis.masks.get(heatmap.label)
    if mask is not None:
        rgb = outlined(rgb, mask.on_scan_grid(*size))
    return Image.fromarray(rgb), _told(heatmap, with_outline=mask is not None)


def _told(heatmap: "Heatmap", *, with_outline: bool) -> str:
    kind = f"evidence for it, in {heatmap.unit} (method: {heatmap.method}); evidence against it is not drawn."
    scale = "The colours end at the strongest place of this scan." if heatmap.per_scan else (
        "The colours are the same for every scan of this model."
    )  # fmt: skip
    outline = "The line is the network's outline." if with_outline else ""
    return " ".join(part for part in (kind, scale, outline, heatmap.outcome or "") if part)


def _edges(boxes: "Iterable[Region | ScanBox]", scan: "Scan", size: _Size) -> list[tuple[float, float, float, float]]:
    """Boxes in pixels of the scan -> left, top, right, bottom in pixels of a panel."""
    down, across = size[0] / scan.shape[0], size[1] / scan.shape[1]
    return [
        (box.left * across, box.top * down, (box.left + box.width) * across, (box.top + box.height) * down)
        for box in boxes
    ]


def _draw_boxes(
    panel: Image.Image, edges: "Iterable[tuple[float, float, float, float]]", colour: tuple[int, int, int]
) -> None:
    draw = ImageDraw.Draw(panel)
    for left, top, right, bottom in edges:
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=_BOX_LINE)


def _set(size: _Size, panels: "Sequence[tuple[str, Image.Image]]", heatmap: "Heatmap | None") -> bytes:
    """Panels side by side under their titles, and the colour scale under the last one."""
    rows, columns = size
    width = len(panels) * columns + (len(panels) - 1) * _GAP
    sheet = Image.new("RGB", (width, _HEAD + rows + (_FOOT if heatmap else 0)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (title, panel) in enumerate(panels):
        left = number * (columns + _GAP)
        draw.text((left, 4), _fitted(title, columns, _TEXT), fill=_INK, font=_font(_TEXT))
        sheet.paste(panel, (left, _HEAD))
    if heatmap is not None:
        _draw_scale(sheet, width - columns, _HEAD + rows + 12, columns, heatmap)
    return encode_png(np.asarray(sheet))


def _draw_scale(sheet: Image.Image, left: int, top: int, width: int, heatmap: "Heatmap") -> None:
    strength = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(_BAR, 0)
    sheet.paste(Image.fromarray(to_eight_bits(scale_colours(strength, "for"))), (left, top))
    draw, font, under = ImageDraw.Draw(sheet), _font(_SMALL), top + _BAR + 5
    end = f"{heatmap.limit:.3g}"
    draw.text((left, under), "0", fill=_INK, font=font)
    draw.text((left + width - font.getlength(end), under), end, fill=_INK, font=font)
    room = width - round(2 * font.getlength(end)) - 40
    unit = _fitted(heatmap.unit, room, _SMALL)
    draw.text((left + (width - font.getlength(unit)) / 2, under), unit, fill=_INK, font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _fitted(words: str, width: int, size: int) -> str:
    """Words cut to a width in pixels; the caption holds them whole."""
    font = _font(size)
    if font.getlength(words) <= width:
        return words
    kept = next((n for n in range(len(words), 0, -1) if font.getlength(words[:n] + "\u2026") <= width), 0)
    return words[:kept] + "\u2026"
