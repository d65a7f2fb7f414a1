"""Which reviews the page speaks of: of one reader or of all, of the reader study or of other cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.reader_study import ORIGIN
from dashboard.texts import t

if TYPE_CHECKING:
    from core.reviews.opening import Reviews
    from core.reviews.record import Review
    from core.reviews.worklist import GivenScores

_EVERYBODY = ""
_CASES = ("all", "study", "other")


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The chosen reviews as they stand now, the truth of those cases where it is known, and the scores of those cases."""

    reviews: "tuple[Review, ...]"
    truths: Mapping[str, Mapping[str, bool]]
    scores: "tuple[GivenScores, ...]"


def choose_reviews(opened: "Reviews") -> Selection:
    """The choices in a row, and what they leave."""
    cases = {case.id: case for case in opened.store.cases()}
    reviews = [review for review in opened.store.latest_reviews() if review.case_id in cases]
    left, right = st.columns(2)
    readers = sorted({review.reader.name for review in reviews})
    reader = left.selectbox(
        t("agreement.reader"), [_EVERYBODY, *readers], format_func=lambda name: name or t("agreement.everybody")
    )
    words = dict(
        zip(_CASES, (t("agreement.cases_all"), t("agreement.cases_study"), t("agreement.cases_other")), strict=True)
    )
    wanted = right.selectbox(t("agreement.cases"), _CASES, format_func=words.__getitem__)
    return Selection(
        tuple(
            review
            for review in reviews
            if reader in (_EVERYBODY, review.reader.name) and _is_wanted(cases[review.case_id].origin, wanted)
        ),
        {case.id: case.truth for case in cases.values() if case.truth},
        tuple(one for one in opened.worklist.given_scores() if _is_wanted(one.origin, wanted)),
    )


def _is_wanted(origin: str, wanted: str) -> bool:
    return wanted == "all" or (origin == ORIGIN) == (wanted == "study")
