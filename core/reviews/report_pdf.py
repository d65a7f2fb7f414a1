"""The report as PDF, set with fpdf2. Matplotlib's DejaVu is the text font; a Chinese one joins it where it is installed."""

from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

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
_WIDTHS = (38, 18, 18, 30, 28, 28, 20)
_WITHOUT_FONT = "Characters set as boxes have no font on this machine; the HTML and JSON reports hold them."


def as_pdf(content: ReportContent, picture: bytes | None = None) -> bytes:
    """The report as PDF; ``picture`` is a PNG."""
    pdf = FPDF(format="A4")
    pdf.set_title("RadLens report")
    pdf.set_creator("RadLens")
    pdf.set_margins(15, 15)
    pdf.set_auto_page_break(True, 15)
    chinese = _fonts(pdf)
    pdf.add_page()
    _line(pdf, content.disclaimer, size=8)
    _line(pdf, content.title, size=15, style="B")
    _line(pdf, content.state, size=11, style="B")
    for name, value in particulars(content):
        _pair(pdf, name, value)
    if picture is not None:
        pdf.ln(2)
        pdf.image(BytesIO(picture), h=90, keep_aspect_ratio=True)
    _table(pdf, content)
    for title, text in texts_of(content):
        _line(pdf, title, size=10, style="B")
        _line(pdf, text, size=9)
    if not chinese and _needs_other_font(content):
        _line(pdf, _WITHOUT_FONT, size=8)
    return bytes(pdf.output())


@cache
def chinese_font() -> tuple[str, int] | None:
    """The installed font with Chinese characters and the number of its face, or None."""
    return next(((path, face) for path, face in _CHINESE if Path(path).is_file()), None)


def _fonts(pdf: FPDF) -> bool:
    """Give the document its fonts; whether one with Chinese characters is among them."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pdf.add_font(_TEXT, "", folder / "DejaVuSans.ttf")
    pdf.add_font(_TEXT, "B", folder / "DejaVuSans-Bold.ttf")
    pdf.set_font(_TEXT, size=9)
    if (found := chinese_font()) is None:
        return False
    for style in ("", "B"):
        pdf.add_font("Chinese", style, found[0], collection_font_number=found[1])
    pdf.set_fallback_fonts(["Chinese"], exact_match=False)
    return True


def _needs_other_font(content: ReportContent) -> bool:
    """Whether there are characters of scripts that DejaVu does not have."""
    return any(ord(character) >= 0x2E80 for character in content.model_dump_json())


def _line(pdf: FPDF, text: str, *, size: int, style: str = "") -> None:
    pdf.set_font(_TEXT, style, size)
    pdf.multi_cell(0, size * 0.55, visible(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(1)


def _pair(pdf: FPDF, name: str, value: str) -> None:
    pdf.set_font(_TEXT, "", 8)
    pdf.set_text_color(100)
    pdf.cell(45, 4.6, visible(name))
    pdf.set_text_color(0)
    pdf.multi_cell(0, 4.6, visible(value), new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _table(pdf: FPDF, content: ReportContent) -> None:
    pdf.ln(2)
    pdf.set_font(_TEXT, "", 7.5)
    heads = FontFace(emphasis="BOLD", fill_color=(234, 238, 242))
    with pdf.table(col_widths=_WIDTHS, headings_style=heads, line_height=4.5) as table:
        for texts in (TABLE_HEADS, *(cells(row) for row in content.rows)):
            row = table.row()
            for text in texts:
                row.cell(visible(text))
    pdf.ln(2)
