"""The row that was chosen: what is known of it, opening and deleting it, other cases of its patient."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.case_opening import go_to_review, open_case
from dashboard.earlier import earlier_cases, read_words
from dashboard.texts import t
from dashboard.worklist.listing import answer_words

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader
    from core.reviews.worklist import WorklistRow

_LONGEST_REASON = 500


def chosen_panel(reviews: "Reviews", reader: "Reader", row: "WorklistRow") -> None:
    """Raises StoreError."""
    with st.container(border=True):
        left, right = st.columns([3, 2], gap="large")
        with left:
            st.markdown(f"**{t('worklist.case', name=row.case.pseudonym)}**")
            _facts(row)
            if not row.at_hand:
                st.warning(t("worklist.gone_how"), icon=":material/folder_off:")
            if st.button(t("worklist.open"), type="primary", disabled=not row.at_hand, icon=":material/open_in_new:"):
                open_case(row.case)
                go_to_review()
        with right:
            earlier_cases(row.case)
            _delete(reviews, reader, row)


def _facts(row: "WorklistRow") -> None:
    """What a file says may be anything: it stands there literally."""
    if row.blind:
        st.caption(t("worklist.blind_facts"))
        return
    facts = (str(row.case.facts.get(name, "")) for name in ("Modality", "BodyPartExamined", "ViewPosition", "Size"))
    st.text(" \u00b7 ".join(fact for fact in facts if fact))
    st.text(t("worklist.states", answer=answer_words(row), read=read_words(row)))
    if row.sentence:
        st.text(row.sentence)


def _delete(reviews: "Reviews", reader: "Reader", row: "WorklistRow") -> None:
    with st.popover(t("worklist.delete"), icon=":material/delete:"):
        st.text(t("worklist.delete_what", name=row.case.pseudonym))
        why = st.text_input(t("worklist.delete_why"), key=f"why-{row.case.id}", max_chars=_LONGEST_REASON).strip()
        sure = st.checkbox(t("worklist.delete_sure"), key=f"sure-{row.case.id}")
        if st.button(t("worklist.delete_now"), key=f"delete-{row.case.id}", disabled=not (why and sure)):
            reviews.store.delete_case(row.case.id, reader, why)
            cache.case_files().drop(row.case.id)
            opened = state.current_case()
            if opened is not None and opened.key == row.case.digest:
                state.close_case()
            st.toast(t("worklist.deleted", name=row.case.pseudonym))
            st.rerun()
