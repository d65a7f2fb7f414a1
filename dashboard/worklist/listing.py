"""The list itself: what is asked of it, its rows as a table, the row that the reader chose."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from dashboard import cache, state
from dashboard.earlier import read_words
from dashboard.tables import NOTHING
from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader
    from core.reviews.worklist import Order, ReadFilter, WorklistRow

_ORDERS = ("newest", "oldest", "state", "random")
_BY_ANSWER = ("score", "novelty")
_READS = ("all", "unread", "read", "first read", "second read", "signed")
_TABLE_HEIGHT = 420


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the worklist."""

    order: "Order"
    read: "ReadFilter | None"
    words: str
    blind: bool


def question_of(reviews: "Reviews") -> Question:
    """The reader's choices. By what the network says only those cases can be sorted that it may speak of."""
    first, second, third, fourth = st.columns([2, 2, 3, 2], vertical_alignment="bottom")
    reads = second.selectbox(
        t("worklist.show"), _READS, key=state.LIST_READ, format_func=lambda name: t(f"worklist.show_{_slug(name)}")
    )
    words = third.text_input(t("worklist.words"), key=state.LIST_WORDS, placeholder=t("worklist.words_how"))
    blind = fourth.toggle(t("worklist.blind"), key=state.LIST_BLIND, help=t("worklist.blind_help"))
    may = not blind and (
        reviews.settings.triage or not reviews.settings.policy.read_first or reads not in ("all", "unread")
    )
    orders = (*_ORDERS, *_BY_ANSWER) if may else _ORDERS
    if state.chosen(state.LIST_ORDER, orders[0]) not in orders:
        state.choose(state.LIST_ORDER, orders[0])
    order = first.selectbox(
        t("worklist.order"),
        orders,
        key=state.LIST_ORDER,
        format_func=lambda name: t(f"worklist.order_{name}"),
        help=None if may else t("worklist.order_help"),
    )
    return Question(
        cast("Order", order), None if reads == "all" else cast("ReadFilter", reads), words or "", bool(blind)
    )


def rows_of(reviews: "Reviews", reader: "Reader", question: Question) -> "tuple[WorklistRow, ...]":
    """The rows that answer the question; asking is in the audit trail, once, without the words that were looked for.

    Raises StoreError.
    """
    if state.is_asked_anew((reader.name, question)):
        detail = {
            "order": question.order,
            "read": question.read or "all",
            "words": bool(question.words),
            "blind": question.blind,
        }
        reviews.store.record(reader, "worklist asked", detail=detail)
    return reviews.worklist.rows(
        reader,
        order=question.order,
        read=question.read,
        words=question.words,
        seed=_seed_of(reader),
        at_hand=cache.case_files().at_hand,
        blind=question.blind,
    )


def next_of(rows: "tuple[WorklistRow, ...]", question: Question) -> "WorklistRow | None":
    """The first unread case that can be opened, in this order; the oldest where the order is by time or state."""
    unread = [row for row in rows if row.read == "unread" and row.at_hand]
    if question.order in ("newest", "oldest", "state"):
        unread.sort(key=lambda row: row.case.added_at)
    return next(iter(unread), None)


# Streamlit's own way to save a table knows nothing of the audit trail, nor of formulas.
_NO_SAVING = """<style>[data-testid="stMain"] [data-testid="stElementToolbarButton"]:has([aria-label*="ownload"])
{display: none}</style>"""


def show_list(rows: "tuple[WorklistRow, ...]", question: Question) -> "WorklistRow | None":
    """The table; the row that is chosen in it, if one is."""
    st.html(_NO_SAVING)
    told = [_cells(row) for row in rows]
    found: Any = st.dataframe(
        {name: [cells[name] for cells in told] for name in told[0]},
        key=_table_key(rows, question),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=min(_TABLE_HEIGHT, 38 + 35 * len(rows)),
        placeholder=NOTHING,
        column_config={
            t(f"worklist.column_{name}"): st.column_config.TextColumn(help=t(f"worklist.column_{name}_help"))
            for name in ("score", "novelty")
        },
    )
    hides = "worklist.dash_blind" if rows[0].blind else "worklist.dash"
    st.caption(t(hides if any(row.hidden for row in rows) else "worklist.tick"))
    if gone := sum(not row.at_hand for row in rows):
        st.caption(t("worklist.gone", count=gone))
    chosen = found["selection"]["rows"]
    return rows[chosen[0]] if chosen and chosen[0] < len(rows) else None


def _cells(row: "WorklistRow") -> dict[str, str]:
    from core.reviews.intake import PATIENT, PATIENT_ID

    facts = row.case.facts
    who = [str(facts[name]) for name in (PATIENT, PATIENT_ID) if facts.get(name)]
    patient = {t("worklist.column_patient"): ", ".join(who) or NOTHING} if cache.settings().shows_identities else {}
    what = [str(facts[name]) for name in ("Modality", "BodyPartExamined", "ViewPosition") if facts.get(name)]
    return {
        t("worklist.column_case"): row.case.pseudonym,
        **patient,
        t("worklist.column_added"): f"{row.case.added_at:%Y-%m-%d %H:%M}",
        t("worklist.column_what"): " ".join(what) or NOTHING,
        t("worklist.column_answer"): NOTHING if row.blind else answer_words(row),
        t("worklist.column_read"): read_words(row),
        t("worklist.column_readers"): NOTHING if row.blind else str(row.reviews),
        t("worklist.column_score"): NOTHING if row.score is None else score_text(row.score),
        t("worklist.column_novelty"): NOTHING if row.novelty is None else f"{row.novelty:.2f}",
    }


def answer_words(row: "WorklistRow") -> str:
    """How far the network is with a case, and whether its file is gone."""
    words = t(f"worklist.answer_{_slug(row.answer)}")
    lost = not row.at_hand and row.answer != "file is gone"
    return f"{words}, {t('worklist.answer_file_is_gone')}" if lost else words


def _table_key(rows: "tuple[WorklistRow, ...]", question: Question) -> str:
    """A row that was chosen is chosen as long as the same rows stand in the same order."""
    ids = hashlib.sha256("".join(row.case.id for row in rows).encode()).hexdigest()
    return f"list-{question.order}-{ids[:16]}"


def _slug(name: str) -> str:
    return name.replace(" ", "_")


def _seed_of(reader: "Reader") -> int:
    """Another order for every reader, the same whenever they come back."""
    return int.from_bytes(hashlib.sha256(reader.name.encode()).digest()[:4], "big")
