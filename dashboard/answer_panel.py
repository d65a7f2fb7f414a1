"""What stands beside the picture of the network's answer, or in its place: verdicts on the file, caveats, scores."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache
from dashboard.answer import Answer, Failed, Unread, Withheld, unread
from dashboard.answer_sets import set_panel
from dashboard.outlines import outline_table
from dashboard.places import place_list
from dashboard.score_table import score_captions, score_table, score_texts
from dashboard.texts import t
from dashboard.widgets import answer_with_progress, error_box, verdict_list, withheld_box

if TYPE_CHECKING:
    from core.scan import Scan

Given = Answer | Withheld | Failed | Unread


def given_for(scan: "Scan", frame: int, *, kept_back: bool) -> Given:
    """The answer; while it is kept back, only what the file says by itself. Then no network is asked at all."""
    return unread(scan) if kept_back else answer_with_progress(scan, frame)


def file_verdicts(scan: "Scan", given: Given | None) -> None:
    """What the doctor found, less what stands beside the answer anyway."""
    from core.reading.doctor import examine

    card, said = None, None
    if isinstance(given, Answer | Unread):
        card, said = given.model.card if isinstance(given, Answer) else given.by, given.warning
    elif isinstance(given, Withheld):
        said = given.reason
    verdict_list(tuple(verdict for verdict in examine(scan, card) if verdict.sentence not in (said or "")))


def caveats(given: Given) -> None:
    """What to know before any score is looked at."""
    if isinstance(given, Answer) and given.model.untrained:
        st.warning(t("review.untrained"), icon=":material/warning:")
    if isinstance(given, Answer | Unread) and given.warning:
        st.warning(t("withheld.by_hand", reason=""), icon=":material/warning:")
        st.text(given.warning)
    if isinstance(given, Answer) and given.despite:
        st.warning(t("withheld.despite"), icon=":material/warning:")
        st.text(given.despite)


def answer_panel(scan: "Scan", frame: int, given: Given) -> None:
    """Scores, or why there are none; before the reader's own read nothing, but in a deployment for triage the scores."""
    if isinstance(given, Withheld):
        withheld_box(scan, given)
    elif isinstance(given, Failed):
        error_box(t("missing.title"), given.reason)
    elif isinstance(given, Answer):
        _scores(given)
        if not given.analysis.masks:
            place_list(given, scan)
        set_panel(given)
    elif cache.settings().triage and isinstance(answer := answer_with_progress(scan, frame), Answer):
        _scores(answer)


def _scores(answer: Answer) -> None:
    st.markdown(f"#### {t('review.answers')}")
    if answer.analysis.masks:
        outline_table(answer.model.card, answer.analysis, score_texts(answer))
        score_captions(answer)
    else:
        score_table(answer)
