"""The second read: the reader's first marks beside what the network says, and what they make of each of its answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.reviews.record import Finding, Read, SecondRead
from dashboard import state
from dashboard.answer import Answer
from dashboard.reading.fields import comment_field, saved_line
from dashboard.reading.form import COMMENT, DECISION, DECISIONS, REASON, SECOND, Form, values_of
from dashboard.reading.rows import STYLE, finding_words, mark_fields, name_of, row, rows, term_of
from dashboard.score_table import shown_scores
from dashboard.texts import t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.models.card import Label
    from core.reviews.opening import Reviews
    from core.reviews.record import Decision, Mark, Review
    from dashboard.reading.desk import Desk

_DECISIONS: "dict[Decision, str]" = {
    "agree": "reading.agree", "change": "reading.change", "reject": "reading.reject",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """What the network says of one label: in words, and as a mark where a threshold makes it one."""

    words: str
    call: "Mark | None"


def second_read(desk: "Desk", labels: "Sequence[Label]", answer: Answer | None, withheld: str) -> None:
    """The form and its buttons; ``withheld`` is the sentence that stood where the answer would."""
    if desk.review is not None and (desk.review.second is None or desk.editing):
        # Their own words so far; of the network's answers nothing is decided.
        desk.values = {**values_of(desk.review), **desk.values}
    _form(desk, labels, answer, withheld)


@st.fragment
def _form(desk: "Desk", labels: "Sequence[Label]", answer: Answer | None, withheld: str) -> None:
    form = Form(desk)
    st.html(STYLE)
    said = said_of(answer) if answer is not None else {}
    own = desk.review.first.findings if desk.review is not None and desk.review.first is not None else {}
    if answer is not None:
        st.caption(t("reading.second_how"))
        _decisions(form, labels, own, said)
        _reason(form, labels)
    elif labels:
        st.caption(t("reading.no_answer_how"))
        _marks(form, labels, own)
    comment_field(form)
    found = _second_of(form, labels, own, said) if answer is not None else _unanswered(form, labels)
    pressed = st.button(
        t("reading.keep"), key=f"keep-{desk.key[:16]}", type="primary", width="stretch", icon=":material/save:",
        disabled=found is None,
    )  # fmt: skip
    if pressed and found is not None and _kept(desk, form, found, answer, withheld):
        st.rerun()
    saved_line(desk)


def said_of(answer: Answer) -> dict[str, Said]:
    """What the network says of every label, by code."""
    scores, foremost = answer.analysis.prediction.scores, answer.foremost_label
    found = {}
    for code, shown in shown_scores(answer).items():
        point = answer.model.card.threshold(code)
        if point is not None:
            above = scores[code] >= point
            words = t("review.above" if above else "review.below", threshold=shown.point_text)
            found[code] = Said(_unbroken(f"{shown.text} {words}"), "present" if above else "absent")
        elif answer.model.card.is_exclusive:
            found[code] = Said(_unbroken(shown.text), "present" if code == foremost else "absent")
        else:
            found[code] = Said(_unbroken(shown.text), None)
    return found


def _unbroken(words: str) -> str:
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def final_finding(
    decision: "Decision | None", own: Finding | None, anew: Finding | None, call: "Mark | None"
) -> Finding | None:
    """What counts of a label: who agrees takes the network's mark, who rejects keeps their own, who changes marks anew."""
    if decision == "agree" and call is not None and (own is None or own.mark != call):
        return Finding(mark=call)
    if decision == "change" or (decision == "reject" and own is None):
        return anew or own
    return own


def _decisions(form: Form, labels: "Sequence[Label]", own: dict[str, Finding], said: dict[str, Said]) -> None:
    with rows():
        for number, label in enumerate(labels):
            code = label.code
            with row(number):
                name_of(label, _own_words(form, code, own, said))
                st.text(said[code].words, width=95)
                st.segmented_control(
                    t("reading.decision_of", label=term_of(label)),
                    DECISIONS,
                    key=form.key(DECISION, code),
                    format_func=decision_words,
                    label_visibility="collapsed",
                    on_change=form.keep,
                    width="content",
                )
            if _marks_anew(form, code, own):
                with st.container(
                    horizontal=True,
                    horizontal_alignment="right",
                    vertical_alignment="center",
                    key=f"reading-row-anew-{number}",
                ):
                    st.caption(t("reading.anew"), width="content")
                    mark_fields(form, SECOND, label)


def _own_words(form: Form, code: str, own: dict[str, Finding], said: dict[str, Said]) -> str:
    """The first mark, and the final one where the decision changes it."""
    before = own.get(code)
    anew = form.marked(SECOND, [code]).get(code)
    after = final_finding(form.value(DECISION, code), before, anew, said[code].call)
    if after is None or after == before:
        return t("reading.you", mark=finding_words(before))
    return t("reading.you_now", before=finding_words(before), after=finding_words(after))


def decision_words(decision: "Decision") -> str:
    """A decision in words."""
    return t(_DECISIONS[decision])


def _marks_anew(form: Form, code: str, own: dict[str, Finding]) -> bool:
    decision = form.value(DECISION, code)
    return decision == "change" or (decision == "reject" and code not in own)


def _marks(form: Form, labels: "Sequence[Label]", own: dict[str, Finding]) -> None:
    with rows():
        for number, label in enumerate(labels):
            if label.code in own:
                state.prefer(form.key(SECOND, label.code), own[label.code].mark)
            with row(number):
                name_of(label)
                mark_fields(form, SECOND, label)


def _reason(form: Form, labels: "Sequence[Label]") -> None:
    rejected = [term_of(label) for label in labels if form.value(DECISION, label.code) == "reject"]
    if not rejected:
        return
    st.text_input(
        t("reading.reason"), key=form.key(REASON), on_change=form.keep, placeholder=t("reading.reason_placeholder")
    )
    if not form.text(REASON).strip():
        st.caption(f":material/edit: {t('reading.reason_missing')}")


def _second_of(
    form: Form, labels: "Sequence[Label]", own: dict[str, Finding], said: dict[str, Said]
) -> SecondRead | None:
    """What the form says, None while it is not complete."""
    decisions: dict[str, Decision] = {}
    findings = dict(own)
    for label in labels:
        code, decision = label.code, form.value(DECISION, label.code)
        anew = form.marked(SECOND, [code]).get(code)
        if decision is None:
            continue
        if decision == "change" and anew is None:
            return None
        decisions[code] = decision
        if (final := final_finding(decision, own.get(code), anew, said[code].call)) is not None:
            findings[code] = final
    if not decisions or ("reject" in decisions.values() and not form.text(REASON).strip()):
        return None
    reason = form.text(REASON) if "reject" in decisions.values() else ""
    return SecondRead(decisions=decisions, read=Read(findings=findings, comment=form.text(COMMENT)), reason=reason)


def _unanswered(form: Form, labels: "Sequence[Label]") -> SecondRead | None:
    findings = form.marked(SECOND, [label.code for label in labels])
    comment = form.text(COMMENT)
    if not findings and not comment.strip():
        return None
    return SecondRead(decisions={}, read=Read(findings=findings, comment=comment))


def _kept(desk: "Desk", form: Form, second: SecondRead, answer: Answer | None, withheld: str) -> bool:
    if not desk.ready.is_set():
        st.warning(t("reading.not_yet"), icon=":material/hourglass_top:")
        return False

    def step(reviews: "Reviews") -> "Review":
        from core.reviews.answers import network_answer

        said = None if answer is None else network_answer(answer.model.card, answer.analysis)
        return reviews.store.keep_second_read(
            desk.case_id, desk.reader, second, said, opened_at=desk.opened_at, withheld=withheld
        )

    if problem := desk.take_step(step):
        st.warning(t("reading.not_kept"), icon=":material/warning:")
        st.text(problem)
        return False
    form.clear()
    desk.editing = False
    return True
