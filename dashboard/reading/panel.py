"""The panel of a review: who reads, their first read, the second beside the network's answer, the signature."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.answer import Answer, Failed, Unread, Withheld
from dashboard.answer_panel import Given
from dashboard.earlier import earlier_cases
from dashboard.export_panel import export_panel
from dashboard.readers import present_reader
from dashboard.reading.desk import REVEALED, Desk, open_desk
from dashboard.reading.first import first_read
from dashboard.reading.form import codes_of
from dashboard.reading.rows import finding_words, table, term_of
from dashboard.reading.second import decision_words, said_of, second_read
from dashboard.texts import t
from dashboard.who import ask_name, outbox
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.models.card import Label
    from core.reviews.opening import Reviews
    from core.reviews.record import Review


def reading_panel(case: state.Case, given: Given, *, kept_back: bool) -> None:
    """The review of the case in front; folded away where the answer was shown from the start."""
    if case.origin in REVEALED:
        with st.expander(t("reading.fold"), on_change="rerun", icon=":material/edit_note:") as fold:
            if fold.open:
                _panel(case, given, kept_back=kept_back)
        return
    with st.container(border=True, key="reading-panel"):
        _panel(case, given, kept_back=kept_back)
    _earlier(case)


def audit_what_is_shown(case: state.Case, given: Given) -> None:
    """An answer that is in front of a reader, and a model that they chose by hand, each once."""
    reader = present_reader()
    asked_for = isinstance(given, Answer) and given.despite is not None
    if reader is None or (case.origin in REVEALED and not asked_for and state.desk((case.key, reader.name)) is None):
        return
    desk = open_desk(case, reader)
    if chosen := state.model_by_hand(case.key):
        desk.note("model chosen", chosen, model=chosen)
    if isinstance(given, Answer):
        card = given.model.card
        known = {"model": card.id, "version": card.version, "weights": card.weights_sha256}
        frame = given.analysis.frame
        if given.despite:
            desk.note("answer revealed", "anyway", card.id, **known, frame=frame, held_back=given.despite)
        else:
            desk.note("answer revealed", card.id, **known, frame=frame)


def words_of_former() -> str:
    """What the reader wrote of the case before this one, empty where nothing waits there."""
    former, reader = state.former_case(), present_reader()
    desk: Desk | None = state.desk((former[0], reader.name)) if former and reader else None
    return str(desk.values.get("comment") or "") if desk else ""


def _panel(case: state.Case, given: Given, *, kept_back: bool) -> None:
    st.markdown(f"#### {t('reading.title')}")
    reader = present_reader()
    if reader is None:
        st.text(t("reading.name_first"))
        ask_name("panel")
        # The store opens while they type.
        outbox().put_once("open", lambda _reviews: None)
        return
    desk, labels = open_desk(case, reader), _labels(given)
    if kept_back and desk.review is None:
        first_read(case, desk, labels)
        return
    answer = given if isinstance(given, Answer) else None
    withheld = given.reason if isinstance(given, Withheld | Failed) else ""
    review = desk.review
    if review is None or desk.editing or (review.stage == "first read" and not withheld):
        if review is not None and review.first is not None and review.stage == "first read":
            st.caption(t("reading.committed", time=_time(review.first_at or review.at)))
        second_read(desk, labels, answer, withheld)
        return
    _standing(desk, review, labels, answer, withheld)
    _exports(case, desk, given)


def _earlier(case: state.Case) -> None:
    """Other cases of the patient; a busy database has other things to do."""
    reader = present_reader()
    desk: Desk | None = state.desk((case.key, reader.name)) if reader else None
    if desk is None or desk.stored is None or desk.outbox.problem:
        return
    try:
        earlier_cases(desk.stored)
    except RadLensError as exc:
        st.text(str(exc))


def _exports(case: state.Case, desk: Desk, given: Given) -> None:
    scan = case.scan
    try:
        export_panel(
            desk.case_id, scan, given, frame=state.chosen_frame(scan.frame_count) if scan else 0, file=case.file
        )
    except RadLensError as exc:
        st.text(str(exc))


def _standing(desk: Desk, review: "Review", labels: "Sequence[Label]", answer: Answer | None, withheld: str) -> None:
    """What the review says now, and the buttons that take it further."""
    st.text(_state_words(review))
    _summary(review, labels, answer)
    left, right = st.columns(2)
    if review.stage == "signed":
        if left.button(t("reading.amend"), icon=":material/edit:", width="stretch", key=f"amend-{desk.key[:16]}"):
            desk.editing = True
            st.rerun()
        return
    if right.button(t("reading.change_again"), icon=":material/edit:", width="stretch", key=f"again-{desk.key[:16]}"):
        desk.editing = True
        st.rerun()
    if left.button(
        t("reading.sign"), type="primary", icon=":material/draw:", width="stretch", key=f"sign-{desk.key[:16]}"
    ):
        if problem := desk.take_step(lambda reviews: _signed(desk, review, withheld, reviews)):
            st.warning(t("reading.not_signed"), icon=":material/warning:")
            st.text(problem)
            return
        st.rerun()


def _signed(desk: Desk, review: "Review", withheld: str, reviews: "Reviews") -> "Review":
    """Sign; where there was no answer, the record says why before it is signed."""
    from core.reviews.record import SecondRead

    if review.second is None and withheld and review.first is not None:
        second = SecondRead(decisions={}, read=review.first)
        reviews.store.keep_second_read(
            desk.case_id, desk.reader, second, None, opened_at=desk.opened_at, withheld=withheld
        )
    return reviews.store.sign(desk.case_id, desk.reader)


def _state_words(review: "Review") -> str:
    words = {
        "first read": "reading.state_first",
        "second read": "reading.state_second",
        "signed": "reading.state_signed",
    }
    vouched = "who.authenticated" if review.reader.is_authenticated else "who.declared"
    return t(
        words[review.stage], name=review.reader.name, time=_time(review.at), version=review.version, how=t(vouched)
    )


def _summary(review: "Review", labels: "Sequence[Label]", answer: Answer | None) -> None:
    """Both reads and the network between them, a line a label."""
    terms = {label.code: term_of(label) for label in labels}
    first = review.first.findings if review.first else {}
    final = review.final.findings if review.final else {}
    decisions = review.second.decisions if review.second else {}
    scores = review.answer.scores if review.answer else {}
    said = _said(review, answer)
    codes = [
        code for code in dict.fromkeys([*codes_of(labels), *scores, *final]) if code in {*first, *final, *decisions}
    ]
    lines = []
    for code in codes:
        line = [terms.get(code, code), finding_words(final.get(code))]
        if review.first is not None:
            line.insert(1, finding_words(first.get(code)))
        if scores:
            made = decision_words(decisions[code]) if code in decisions else t("reading.undecided")
            line[-1:-1] = [said.get(code, ""), made]
        lines.append(line)
    heads = [t("review.column_label"), t("reading.column_final")]
    if review.first is not None:
        heads.insert(1, t("reading.column_first"))
    if scores:
        heads[-1:-1] = [t("reading.column_network"), t("reading.column_decision")]
    if lines:
        table(heads, lines)
    for title, words in (
        (t("reading.reason"), review.second.reason if review.second else ""),
        (t("reading.comment"), review.final.comment if review.final else ""),
        (t("reading.no_answer"), review.withheld),
    ):
        if words:
            st.caption(title)
            st.text(words)


def _said(review: "Review", answer: Answer | None) -> dict[str, str]:
    """What the network said when the review was kept, in the words of this page where the same answer is in front."""
    kept = review.answer
    if kept is None:
        return {}
    if answer is not None and (kept.weights_sha256, kept.frame) == (
        answer.model.card.weights_sha256,
        answer.analysis.frame,
    ):
        return {code: said.words for code, said in said_of(answer).items()}
    return {code: score_text(score) for code, score in kept.scores.items()}


def _labels(given: Given) -> "tuple[Label, ...]":
    """The labels of the model that answers, or would."""
    if isinstance(given, Answer):
        return tuple(given.model.card.labels)
    card = given.by if isinstance(given, Unread | Withheld) else None
    return tuple(card.labels) if card is not None else ()


def _time(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
