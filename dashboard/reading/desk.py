"""A reader's desk for a case: their review and draft of it, fetched and written beside the page, never in its way."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import RadLensError, ReviewRejected
from dashboard import cache, state
from dashboard.outbox import Outbox
from dashboard.readers import present_reader
from dashboard.who import name_once, outbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from core.reviews.audit import Event
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader, Review
    from core.reviews.store import Case as StoredCase

    T = TypeVar("T")

# The store opens the cases of these with the answer shown.
REVEALED = ("sample", "demo")
# A database that is free answers within a few milliseconds; opening it for the first time takes a second.
_PATIENCE = 0.4


@dataclass(slots=True, eq=False)
class Desk:
    """What is known of one reader's review of one case.

    ``values``: what stands in its form, also when it is not drawn; ``editing``: what was kept or signed is being changed.
    ``gone`` says why the case cannot be reviewed any more, empty where it can.
    """

    reader: "Reader"
    key: str
    outbox: Outbox = field(repr=False)
    stored: "StoredCase | None" = None
    review: "Review | None" = None
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    draft: str = field(default="", repr=False)
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    gone: str = ""
    editing: bool = False
    ready: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def case_id(self) -> str:
        """The case's id in the store, empty until the store has answered."""
        return self.stored.id if self.stored is not None else ""

    @property
    def draft_key(self) -> tuple[str, str, str]:
        """Under what a draft waits in the outbox."""
        return "draft", self.key, self.reader.name

    def note(self, event: "Event", *of: str, **detail: object) -> None:
        """One event of this case in the audit trail, once a session for each ``of``."""

        def job(reviews: "Reviews") -> None:
            if not self.gone:
                reviews.store.record(self.reader, event, case_id=self.case_id, detail=detail)

        self.outbox.put_once((event, self.key, self.reader.name, *of), job)

    def take_step(self, step: "Callable[[Reviews], Review]") -> str:
        """A step of the review, written at once; why it was not, empty where it was."""
        try:
            self.review = self.outbox.now(step, instead_of=self.draft_key)
        except ReviewRejected as exc:
            self._look_again()
            return str(exc)
        except RadLensError as exc:
            return str(exc)
        return ""

    def _look_again(self) -> None:
        """Another window of the same reader may have been first."""

        def job(reviews: "Reviews") -> None:
            self.review = reviews.store.review(self.case_id, self.reader)

        self.outbox.put(("review", self.key, self.reader.name), job)
        self.outbox.settle(_PATIENCE)


def open_desk(case: state.Case, reader: "Reader") -> Desk:
    """The reader's desk for the scan in front; it is ``ready`` once the store has answered, mostly at once."""
    key = (case.key, reader.name)
    found: Desk | None = state.desk(key)
    if found is None:
        found = Desk(reader, case.key, outbox())
        state.keep_desk(key, found)
        found.outbox.put(("open", *key), lambda reviews: _open(found, case, reviews))
        name_once(reader)
        found.note("case viewed", origin=case.origin)
    if not found.ready.is_set():
        found.ready.wait(_PATIENCE)
    return found


def keeps_back(case: state.Case) -> bool:
    """Whether the network's answer must not be shown to this reader yet.

    Raises ConfigurationError.
    """
    if case.origin in REVEALED or not cache.settings().policy.read_first:
        return False
    reader = present_reader()
    if reader is None:
        return True
    found = open_desk(case, reader)
    return found.review is None


def _open(desk: Desk, case: state.Case, reviews: "Reviews") -> None:
    store = reviews.store
    try:
        if case.stored:
            desk.stored = store.case(case.stored)
        else:
            desk.stored = store.add_case(_new_case(case, reviews.key), desk.reader)
        desk.review = store.review(desk.case_id, desk.reader)
        desk.draft = store.draft(desk.case_id, desk.reader)
    except ReviewRejected as exc:
        desk.gone = str(exc)
    desk.ready.set()


def _new_case(case: state.Case, key: bytes) -> Any:
    from core.reviews.patients import keyed
    from core.reviews.store import NewCase

    return NewCase(
        digest=case.key,
        origin=case.origin,
        facts=dict(case.scan.facts) if case.scan else {},
        patient=keyed(case.patient, key),
        file=case.file if len(case.scans) == 1 else None,
    )
