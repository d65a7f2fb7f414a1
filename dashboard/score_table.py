"""Every label's score: calibrated, in words and numbers, where the card can; else as the network gives it, and called so."""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.confidence.calibration import calibrated, calibrated_threshold
from core.confidence.words import frequency, percent
from dashboard.answer import Answer
from dashboard.tables import term
from dashboard.texts import literal, t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from core.models.card_fields import Interval

_CELL = "padding:.35rem .4rem;vertical-align:middle"


@dataclass(frozen=True, slots=True)
class ShownScore:
    """A label's score as it is shown: its ``value`` 0..1 and the threshold on the same scale, both in words.

    ``words`` say what the number means.
    """

    value: float
    text: str
    words: str
    point: float | None
    point_text: str | None


def shown_scores(answer: Answer) -> dict[str, ShownScore]:
    """Every label's score as pages show it, by code; no calibration holds for pictures that the gate had held back."""
    card = answer.model.card
    intervals = {} if answer.despite else calibrated(card, answer.analysis.prediction).intervals
    return {code: _shown(answer, code, intervals.get(code)) for code in card.label_codes}


def score_texts(answer: Answer) -> dict[str, str]:
    """Every label's score in words, for the viewer and for tables."""
    return {code: shown.text for code, shown in shown_scores(answer).items()}


def score_table(answer: Answer) -> None:
    """Every label with its score as number and bar, the operating point as a tick, and what that means in words."""
    shown = shown_scores(answer)
    rows = "".join(_row(label.code, label.words, shown[label.code]) for label in answer.model.card.labels)
    heads = "".join(
        f'<th scope="col" colspan="{span}" style="text-align:left;padding:.2rem .4rem;font-weight:600">{html.escape(t(key))}</th>'
        for key, span in (("review.column_label", 1), ("review.column_score", 2), ("review.column_threshold", 1))
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem"><thead><tr>{heads}</tr></thead>{rows}</table>'
    )
    score_captions(answer)


def score_captions(answer: Answer) -> None:
    """What the scores are, and why some or all of them are not calibrated."""
    card, found = answer.model.card, calibrated(answer.model.card, answer.analysis.prediction)
    said = [literal(found.missing)] if found.missing else []
    if answer.despite:
        said = [t("review.outside")]
    elif found.shares:
        code = card.headline if card.headline in found.shares else next(iter(found.shares))
        said.insert(0, t("review.calibrated", share=percent(found.shares[code]), label=literal(term(card, code))))
    rule = next((point.rule for point in card.thresholds.values()), "")
    if card.published_points:
        said.append(t("review.published_points"))
    elif rule:
        said.append(t("review.operating_point", rule=rule))
    if said:
        st.caption(" ".join(said))


def _shown(answer: Answer, code: str, interval: "Interval | None") -> ShownScore:
    prediction, point = answer.analysis.prediction, answer.model.card.threshold(code)
    if interval is None:
        own, words = prediction.scores[code], t("review.uncalibrated_score")
        return ShownScore(own, score_text(own), words, point, None if point is None else f"{point:.2f}")
    at = calibrated_threshold(answer.model.card, prediction, code)
    span = t("model.span", low=percent(interval.low), high=percent(interval.high))
    words = f"{frequency(interval.value)} ({span})"
    return ShownScore(interval.value, percent(interval.value), words, at, None if at is None else percent(at))


def _row(code: str, words: str, shown: ShownScore) -> str:
    meaning = t("review.no_threshold")
    words_of_score = html.escape(shown.words).replace(" %", "&nbsp;%")
    if shown.point is not None:
        meaning = t("review.above" if shown.value >= shown.point else "review.below", threshold=shown.point_text)
    return (
        f'<tr data-label="{html.escape(code)}" style="border-top:1px solid rgba(127,127,127,.25)">'
        f'<td style="{_CELL}">{_label_words(words)}</td>'
        f'<td style="{_CELL};width:34%">{_bar(shown.value, shown.point)}'
        f'<div style="font-size:.78rem;opacity:.8;margin-top:.25rem">{words_of_score}</div></td>'
        f'<td style="{_CELL};font-variant-numeric:tabular-nums;white-space:nowrap">{html.escape(shown.text)}</td>'
        f'<td style="{_CELL};font-size:.85rem;white-space:nowrap">{html.escape(meaning)}</td></tr>'
    )


def _label_words(words: str) -> str:
    """The term, with its plain words in brackets set smaller."""
    term, _, plain = words.partition(" (")
    small = f' <span style="font-size:.8rem;opacity:.75">({html.escape(plain)}</span>' if plain else ""
    return html.escape(term) + small


def _bar(score: float, point: float | None) -> str:
    tick = ""
    if point is not None:
        place = f"left:calc({100 * point:.1f}% - 1px)"
        tick = f'<div style="position:absolute;{place};top:-3px;width:2px;height:14px;background:currentColor"></div>'
    return (
        '<div style="position:relative;height:8px;background:rgba(127,127,127,.25);border-radius:4px">'
        f'<div style="width:{100 * score:.1f}%;height:8px;background:#3f8fbf;border-radius:4px"></div>{tick}</div>'
    )
