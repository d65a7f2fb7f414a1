"""A row a label: its name, what was said of it, and the buttons to say it with. Small, so that nine of them fit in one glance."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.reading.form import MARKS, SURE, SURE_OF, Form
from dashboard.texts import t

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from core.models.card import Label
    from core.reviews.record import Finding, Mark

_WORDS: "dict[Mark, str]" = {
    "present": "reading.present", "absent": "reading.absent", "cannot tell": "reading.cannot_tell",
}  # fmt: skip
# Streamlit's own buttons are made for a few, not for nine rows of eight.
STYLE = """<style>
[class*="st-key-reading-rows"] {gap: .15rem}
[class*="st-key-reading-rows"] [data-testid="stButtonGroup"] button {padding: 0 .38rem; min-height: 1.75rem; height: 1.75rem}
[class*="st-key-reading-rows"] [data-testid="stButtonGroup"] button * {font-size: .78rem}
[class*="st-key-reading-row-"] {border-top: 1px solid rgba(127,127,127,.2); padding-top: .2rem; row-gap: .15rem}
[class*="st-key-reading-sure"] [data-testid="stButtonGroup"] button {padding: 0 .3rem; min-width: 1.35rem}
</style>"""


def rows() -> "DeltaGenerator":
    """The place for rows."""
    return st.container(key="reading-rows")


def row(number: int) -> "DeltaGenerator":
    """The place for one row; in a narrow window it becomes two lines."""
    return st.container(
        key=f"reading-row-{number}",
        horizontal=True,
        vertical_alignment="center",
        horizontal_alignment="right",
        gap="xsmall",
    )


def name_of(label: "Label", small: str = "") -> None:
    """The label's term, with something in small below it."""
    below = f'<div style="font-size:.78rem;opacity:.8">{html.escape(small)}</div>' if small else ""
    plain = html.escape(label.words, quote=True)
    st.html(
        f'<div style="min-width:6.6rem;font-size:.9rem;line-height:1.2" title="{plain}">'
        f"{html.escape(term_of(label))}{below}</div>"
    )


def term_of(label: "Label") -> str:
    """The label's term without what stands in brackets."""
    return label.words.partition(" (")[0]


def mark_fields(form: Form, kind: str, label: "Label") -> None:
    """Present, absent or cannot tell, and how sure, with nothing chosen."""
    term = term_of(label)
    st.segmented_control(
        t("reading.mark_of", label=term),
        MARKS,
        key=form.key(kind, label.code),
        format_func=mark_words,
        label_visibility="collapsed",
        on_change=form.keep,
        width="content",
    )
    with st.container(key=f"reading-sure-{kind}-{label.code}", width="content"):
        st.segmented_control(
            t("reading.sure_of", label=term),
            SURE,
            key=form.key(SURE_OF, kind, label.code),
            label_visibility="collapsed",
            on_change=form.keep,
            width="content",
        )


def mark_words(mark: "Mark") -> str:
    """A mark in words."""
    return t(_WORDS[mark])


def finding_words(finding: "Finding | None") -> str:
    """A mark and how sure the reader was, such as ``absent (4 of 5)``."""
    if finding is None:
        return t("reading.not_judged")
    if finding.confidence is None:
        return mark_words(finding.mark)
    return t("reading.mark_and_sure", mark=mark_words(finding.mark), sure=finding.confidence)


def table(heads: Sequence[str], lines: "Sequence[Sequence[str]]") -> None:
    """Words in a table, all of them literal."""
    cell = "padding:.3rem .4rem;text-align:left;vertical-align:top"
    head = "".join(f'<th scope="col" style="{cell};font-weight:600">{html.escape(word)}</th>' for word in heads)
    body = "".join(
        '<tr style="border-top:1px solid rgba(127,127,127,.25)">'
        + "".join(f'<td style="{cell}">{html.escape(word)}</td>' for word in line)
        + "</tr>"
        for line in lines
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.88rem"><thead><tr>{head}</tr></thead>{body}</table>'
    )
