"""Other cases of the patient in front: when they came, how far this reader is with them, and the way to them."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.case_opening import go_to_review, open_case
from dashboard.readers import present_reader
from dashboard.tables import NOTHING
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.reviews.store import Case
    from core.reviews.worklist import WorklistRow

_MOST = 10


def earlier_cases(case: "Case") -> None:
    """Beside a case: the others of its patient, the latest first. Nothing where there are none, or where one reads blind.

    Raises StoreError, ConfigurationError.
    """
    reader = present_reader()
    if reader is None or state.is_blind():
        return
    rows = cache.reviews().worklist.earlier_rows(case, reader, cache.case_files().at_hand)
    if not rows:
        return
    with st.container(border=True):
        st.markdown(f"**{t('worklist.earlier', count=len(rows))}**")
        for row in rows[:_MOST]:
            _line(row, of=case)
        if len(rows) > _MOST:
            st.caption(t("worklist.earlier_more", count=len(rows) - _MOST))


def _line(row: "WorklistRow", of: "Case") -> None:
    left, right = st.columns([4, 1], vertical_alignment="center")
    facts = row.case.facts
    what = " ".join(str(facts[name]) for name in ("Modality", "BodyPartExamined") if facts.get(name)) or NOTHING
    left.markdown(
        f"**{row.case.pseudonym}** · {row.case.added_at:%Y-%m-%d %H:%M} UTC · {literal(what)} · {read_words(row)}"
    )
    if right.button(
        t("worklist.open_short"),
        key=f"earlier-{of.id}-{row.case.id}",
        disabled=not row.at_hand,
        help=None if row.at_hand else t("worklist.gone_how"),
    ):
        open_case(row.case)
        go_to_review()


def read_words(row: "WorklistRow") -> str:
    """How far this reader is with a case."""
    return t(f"worklist.read_{row.read.replace(' ', '_')}")
