"""What a segmentation model outlined, in words and as a table: the share of the picture, the area, the score."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.masks import Mask
    from core.models.card import Label, ModelCard

_CELL = "padding:.35rem .4rem;vertical-align:middle;text-align:left"


def share_text(mask: "Mask") -> str:
    """The outlined share of the picture; what is there is never 0."""
    return f"{100 * mask.share:.1f} %" if mask.share >= 0.001 else "< 0.1 %"


def area_text(mask: "Mask") -> str | None:
    """The area in the patient, or None where the file gives no real spacing."""
    if mask.area_mm2 is None:
        return None
    return f"{mask.area_mm2:.0f} mm²" if mask.area_mm2 >= 10 else f"{mask.area_mm2:.1f} mm²"


def size_text(mask: "Mask") -> str:
    """Share and, where it is known, area."""
    words = t("outline.share", share=share_text(mask))
    area = area_text(mask)
    return f"{words}, {area}" if area else words


def outline_table(card: "ModelCard", analysis: "Analysis", score_texts: dict[str, str]) -> None:
    """Every label with the size of its outline; where there is none, that is said, and that it proves nothing."""
    keys = ("review.column_label", "outline.column_share", "outline.column_area", "review.column_score")
    heads = "".join(f'<th scope="col" style="{_CELL};font-weight:600">{html.escape(t(key))}</th>' for key in keys)
    rows = "".join(_row(label, analysis.masks[label.code], score_texts[label.code]) for label in card.labels)
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem"><thead><tr>{heads}</tr></thead>{rows}</table>'
    )
    for mask in analysis.masks.values():
        if mask.outcome:
            st.text(mask.outcome)
    rule = next(iter(analysis.masks.values()))
    st.caption(
        t("outline.caption", threshold=f"{rule.threshold:g}", least=f"{rule.least_score:g}", dice=_dice_text(card))
    )


def _row(label: "Label", mask: "Mask", score: str) -> str:
    nothing = mask.outcome is not None
    share = t("outline.none") if nothing else share_text(mask)
    area = "" if nothing else area_text(mask) or t("outline.no_spacing")
    whole = "" if nothing or mask.area_mm2 is None else ";white-space:nowrap"
    texts = ((label.words, ""), (share, ""), (area, whole), (score, ";white-space:nowrap"))
    cells = "".join(f'<td style="{_CELL}{style}">{html.escape(text)}</td>' for text, style in texts)
    return f'<tr data-label="{html.escape(label.code)}" style="border-top:1px solid rgba(127,127,127,.25)">{cells}</tr>'


def _dice_text(card: "ModelCard") -> str:
    """How well the model's outlines agree with those of people and how often they are made up, from its card."""
    found = next((e.segmentation for e in card.evaluations if e.segmentation), None)
    if found is None:
        return t("outline.not_measured")
    dice, false = found.overlap.dice, found.false_masks
    words = t(
        "outline.dice",
        dice=f"{dice.value:.2f}",
        low=f"{dice.low:.2f}",
        high=f"{dice.high:.2f}",
        n=found.overlap.pictures,
    )
    return words if false is None else f"{words} {t('outline.made_up', share=f'{false.value:.0%}', n=found.normals)}"
