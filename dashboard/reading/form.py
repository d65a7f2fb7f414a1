"""The fields of a reader's form on a case: what stands in them is their draft, and becomes a read when they commit it."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from core.reviews.record import Decision, Finding, Mark, Read, Region
from dashboard import state
from dashboard.reading.desk import Desk

if TYPE_CHECKING:
    from core.models.card import Label
    from core.reviews.record import Review

MARKS: tuple[Mark, ...] = get_args(Mark)
DECISIONS: tuple[Decision, ...] = get_args(Decision)
SURE = (1, 2, 3, 4, 5)
COMMENT, REASON = "comment", "reason"
# Marks of the first read, marks of the second, decisions on the network's answers, and how sure the reader is of each mark.
FIRST, SECOND, DECISION, SURE_OF, WHERE = "first", "second", "decision", "sure", "where"
_ALLOWED: dict[str, Sequence[object]] = {FIRST: MARKS, SECOND: MARKS, DECISION: DECISIONS, SURE_OF: SURE}
_SAVED_WITHIN = 0.3


class Form:
    """The fields of a desk's form, by name; every change of one is the reader's draft."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._prefix = f"{state.choice(state.READ, desk.reader.name)}:"
        self._restore()

    def key(self, *name: str) -> str:
        """The key of a field's widget."""
        return self._prefix + ":".join(name)

    def value(self, *name: str) -> Any:
        """What stands in a field, None where nothing does."""
        return state.chosen(self.key(*name), None)

    def text(self, name: str) -> str:
        """What stands in a field for text."""
        return str(self.value(name) or "")

    def keep(self) -> None:
        """Save what stands in the form as the reader's draft; a busy database gets it later."""
        self.desk.values = {**self.desk.values, **state.form_values(self._prefix)}
        content = json.dumps({"opened_at": self.desk.opened_at.isoformat(), "values": self.desk.values})
        desk = self.desk
        desk.outbox.put(desk.draft_key, lambda reviews: reviews.store.save_draft(desk.case_id, desk.reader, content))
        desk.outbox.settle(_SAVED_WITHIN)

    def fill(self, values: dict[str, Any]) -> None:
        """Put these into the form, as if the reader had."""
        for name, value in values.items():
            state.choose(self._prefix + name, value)

    def clear(self) -> None:
        """Empty the form: what stood in it is in the review now."""
        self.desk.values = {}
        state.empty_form(self._prefix)

    def marked(self, kind: str, codes: Sequence[str]) -> dict[str, Finding]:
        """The findings that are marked, by label code."""
        found = {}
        for code in codes:
            if (mark := self.value(kind, code)) in MARKS:
                regions = tuple(Region(**box) for box in self.value(WHERE, code) or ()) if kind == FIRST else ()
                found[code] = Finding(mark=mark, confidence=self.value(SURE_OF, kind, code), regions=regions)
        return found

    def first_read(self, codes: Sequence[str]) -> Read:
        """What the reader says before the network does."""
        return Read(findings=self.marked(FIRST, codes), comment=self.text(COMMENT))

    def _restore(self) -> None:
        """What was typed before a reload, a restart or another case is there again; what is typed already stays."""
        desk = self.desk
        late = bool(desk.draft)
        if late:
            opened, found = _read_draft(desk.draft)
            desk.values = {**found, **{name: value for name, value in desk.values.items() if value}}
            desk.opened_at = min(desk.opened_at, opened or desk.opened_at)
            desk.draft = ""
        state.fill_form(self._prefix, desk.values, over_empty=late)


def values_of(review: "Review") -> dict[str, Any]:
    """The fields of a form that says what a review says; for its reader to change."""
    read = review.final or Read()
    values: dict[str, Any] = {COMMENT: read.comment}
    if review.second is not None:
        values[REASON] = review.second.reason
        values |= {f"{DECISION}:{code}": decision for code, decision in review.second.decisions.items()}
        for code, finding in read.findings.items():
            values |= {f"{SECOND}:{code}": finding.mark, f"{SURE_OF}:{SECOND}:{code}": finding.confidence}
    return values


def codes_of(labels: "Sequence[Label]") -> tuple[str, ...]:
    """The codes of labels, in their order."""
    return tuple(label.code for label in labels)


def _read_draft(content: str) -> tuple[datetime | None, dict[str, Any]]:
    """When the case was opened first, and the fields; whatever else a draft holds is left out."""
    try:
        draft = json.loads(content)
        opened, found = datetime.fromisoformat(draft["opened_at"]), dict(draft["values"])
    except (ValueError, KeyError, TypeError):
        return None, {}
    return opened, {name: value for name, value in found.items() if _is_allowed(str(name), value)}


def _is_allowed(name: str, value: object) -> bool:
    kind = name.partition(":")[0]
    if kind in (COMMENT, REASON):
        return isinstance(value, str)
    if kind == WHERE:
        return isinstance(value, list)
    return value in _ALLOWED.get(kind, ())
