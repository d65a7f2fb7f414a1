"""What leaves of the reader's own review: PDF, HTML, JSON, evidence bundle; each is made when it is asked for, and audited."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache
from dashboard.answer import Answer
from dashboard.readers import present_reader
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.exporting import Kind, Opened
    from core.reviews.record import Reader
    from core.scan import Scan

_MIME = {"pdf": "application/pdf", "html": "text/html", "json": "application/json", "bundle": "application/zip"}
_ENDING = {"pdf": "pdf", "html": "html", "json": "json", "bundle": "zip"}


def export_panel(
    case_id: str, scan: "Scan | None" = None, answer: object = None, *, frame: int = 0, file: bytes | None = None
) -> None:
    """The buttons, where the reader has a review of the case; else nothing.

    ``answer`` is what the page has (an Answer, or what stands in its place), ``file`` what goes into the bundle on request.
    Raises StoreError, ConfigurationError.
    """
    from core.reviews.exporting import KINDS

    store, by = cache.reviews().store, present_reader()
    review = store.review(case_id, by) if by is not None else None
    if by is None or review is None:
        return
    st.markdown(f"**{t('export.title')}**")
    st.caption(t("export.signed") if review.stage == "signed" else t("export.draft"))
    kept = file if file is not None and st.checkbox(t("export.with_scan"), help=t("export.with_scan_help")) else None
    opened = _opened(scan, answer, frame, kept)
    names = dict(zip(KINDS, (t("export.pdf"), t("export.html"), t("export.json"), t("export.bundle")), strict=True))
    pseudonym = store.case(case_id).pseudonym
    with st.container(horizontal=True):
        for kind, words in names.items():
            st.download_button(
                words,
                partial(_made, case_id, by, kind, opened),
                f"radlens-{pseudonym}.{_ENDING[kind]}",
                _MIME[kind],
                key=f"export:{case_id}:{kind}",
                on_click="ignore",
                disabled=kind == "bundle" and opened is None,
                icon=":material/download:",
            )
    st.caption(t("export.bundle_words"))


def _opened(scan: "Scan | None", answer: object, frame: int, file: bytes | None) -> "Opened | None":
    from core.reviews.exporting import Opened

    if scan is None:
        return None
    if not isinstance(answer, Answer):
        return Opened(scan, frame, file=file)
    return Opened(scan, frame, answer.model.card, answer.analysis, answer.foremost_label, file)


def _made(case_id: str, by: "Reader", kind: "Kind", opened: "Opened | None") -> bytes:
    from core.reviews.exporting import exported

    return exported(cache.reviews().store, case_id, by, kind, opened)
