"""The report as PDF, set with fpdf2. Matplotlib's DejaVu is the text font; a Chinese one joins it where it is installed."""

from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from core.reviews.report import TABLE_HEADS, ReportContent, cells, particulars, texts_of, visible

# Where distributions put fonts with Chinese characters; of a collection the simplified Chinese face.
_CHINESE = (
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
    ("/System/Library/Fonts/PingFang.ttc", 0),
)
_TEXT = "DejaVu"
_UPRIGHT = ("dejavu", "chinese")
_BOX = "\u25a1"
_WIDTHS = (32, 16, 17, 28, 26, 24, 24, 17)
_PICTURE_HEIGHT = 105  # mm, so that it shares the first page with what it belongs to
_WITHOUT_FONT = "Characters set as boxes have no font on this machine; the HTML and JSON reports hold them."


class _Sheet(FPDF):
    """Pages that say at their foot whose they are, and whether the report was signed.

    ``lacks``: whether a character was set as a box because no font here has it.
    """

    foot = ""
    lacks = False

    def shown(self, text: str) -> str:
        """The text as it is set: what cannot be seen is named, what no font has is a box."""
        has = [font.cmap for name, font in self.fonts.items() if name in _UPRIGHT and isinstance(font, TTFFont)]
        made = "".join(c if c in "\n\t" or any(ord(c) in glyphs for glyphs in has) else _BOX for c in visible(text))
        self.lacks |= made.count(_BOX) > text.count(_BOX)
        return made

    def footer(self) -> None:
        """One line on every page."""
        self.set_y(-11)
        self.set_font(_TEXT, "", 7)
        self.set_text_color(100)
        self.cell(0, 4, f"{self.foot} \u00b7 {self.page_no()} / {{nb}}", align="C")
        self.set_text_color(0)


def as_pdf(content: ReportContent, picture: bytes | None = None) -> bytes:
    """The report as PDF; ``picture`` is a PNG."""
    pdf = _Sheet(format="A4")
    pdf.foot = f"{content.state} \u00b7 {visible(content.case)}"
    pdf.set_title("RadLens report")
    pdf.set_creator("RadLens")
    pdf.set_margins(15, 15)
    pdf.set_auto_page_break(True, 15)
    _fonts(pdf)
    pdf.add_page()
    _line(pdf, content.disclaimer, size=8)
    _line(pdf, content.title, size=15, style="B")
    _line(pdf, content.state, size=11, style="B")
    for name, value in particulars(content):
        _pair(pdf, name, value)
    if picture is not None:
        pdf.ln(2)
        pdf.image(BytesIO(picture), w=pdf.epw, h=_PICTURE_HEIGHT, keep_aspect_ratio=True)
    pdf.ln(1)
    _line(pdf, content.picture, size=7.5)
    _table(pdf, content)
    for title, text in texts_of(content):
        _line(pdf, title, size=10, style="B")
        _line(pdf, text, size=9)
    if pdf.lacks:
        _line(pdf, _WITHOUT_FONT, size=8)
    return bytes(pdf.output())


@cache
def chinese_font() -> tuple[str, int] | None:
    """The installed font with Chinese characters and the number of its face, or None."""
    return next(((path, face) for path, face in _CHINESE if Path(path).is_file()), None)


def _fonts(pdf: FPDF) -> None:
    """Give the document its fonts, one with Chinese characters where it is installed."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pdf.add_font(_TEXT, "", folder / "DejaVuSans.ttf")
    pdf.add_font(_TEXT, "B", folder / "DejaVuSans-Bold.ttf")
    pdf.set_font(_TEXT, size=9)
    if (found := chinese_font()) is None:
        return
    for style in ("", "B"):
        pdf.add_font("Chinese", style, found[0], collection_font_number=found[1])
    pdf.set_fallback_fonts(["Chinese"], exact_match=False)


def _line(pdf: _Sheet, text: str, *, size: float, style: str = "") -> None:
    pdf.set_font(_TEXT, style, size)
    pdf.multi_cell(0, size * 0.55, pdf.shown(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(1)


def _pair(pdf: _Sheet, name: str, value: str) -> None:
    pdf.set_font(_TEXT, "", 8)
    pdf.set_text_color(100)
    pdf.cell(45, 4.6, pdf.shown(name))
    pdf.set_text_color(0)
    pdf.multi_cell(0, 4.6, pdf.shown(value), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _table(pdf: _Sheet, content: ReportContent) -> None:
    pdf.ln(2)
    pdf.set_font(_TEXT, "", 7.5)
    heads = FontFace(emphasis="BOLD", fill_color=(234, 238, 242))
    with pdf.table(col_widths=_WIDTHS, headings_style=heads, line_height=4.5, text_align="L") as table:
        for texts in (TABLE_HEADS, *(cells(row) for row in content.rows)):
            row = table.row()
            for text in texts:
                row.cell(pdf.shown(text))
    pdf.ln(2)
