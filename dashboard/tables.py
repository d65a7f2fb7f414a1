"""Tables of words on a page, and numbers in words for them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.models.card import ModelCard
    from core.models.card_fields import Interval

Row = dict[str, str]
NOTHING = "\u2013"


def table(rows: Iterable[Row]) -> None:
    """Rows of words, shown literally."""
    kept = [{literal(name): literal(cell) for name, cell in row.items()} for row in rows]
    if kept:
        st.table(kept, border="horizontal", hide_index=True)


def term(card: "ModelCard", code: str) -> str:
    """A label's plain words without what stands in brackets."""
    return next((label.words.split(" (")[0] for label in card.labels if label.code == code), code)


def interval_words(interval: "Interval | None") -> str:
    """``0.84 (95 % 0.78 to 0.89)``, or that there were too few pictures."""
    if interval is None:
        return t("model.too_few")
    return t("model.interval", value=f"{interval.value:.2f}", low=f"{interval.low:.2f}", high=f"{interval.high:.2f}")


def span_words(interval: "Interval") -> str:
    """From where to where an interval goes, in percent."""
    return t("model.span", low=percent_words(interval.low), high=percent_words(interval.high))


def percent_words(share: float) -> str:
    """``84 %`` of a share that was counted; a score is told by ``core.confidence.words.percent``."""
    return f"{100 * share:.0f} %"


def number_words(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"
