"""Where the bytes of a case are: in the database where the deployment keeps files, else in this server's memory for a while."""

import threading
from collections import OrderedDict

from core.reader_study import ORIGIN, study_file
from core.reviews.store import Case, Store


class CaseFiles:
    """The files of cases by id. What memory holds is bounded by ``limit`` bytes; the oldest go first.

    Where the store keeps files nothing is held here. The films of the shipped reader study are drawn again.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self._store, self.limit = store, limit
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, case: Case, data: bytes) -> None:
        """Hold on to a case's file; what no longer fits goes, and so does this one where it alone is too large."""
        if self._store.policy.keeps_files:
            return
        with self._lock:
            self._held.pop(case.id, None)
            self._held[case.id] = data
            while self._held and self._used() > self.limit:
                self._held.popitem(last=False)

    def file_of(self, case: Case) -> bytes | None:
        """The bytes that open the case, or None where they are gone.

        Raises StoreError, and ReviewRejected when the case is gone.
        """
        with self._lock:
            held = self._held.get(case.id)
        if held is not None:
            return held
        return (self._store.file_of(case.id) if case.has_file else None) or study_file(case)

    def at_hand(self, case_id: str, origin: str, has_file: bool) -> bool:  # noqa: FBT001 - core.reviews.worklist.AtHand
        """Whether a case can be opened on this server."""
        return has_file or origin == ORIGIN or case_id in self._held

    def drop(self, case_id: str) -> None:
        """The case is deleted, so its file is too."""
        with self._lock:
            self._held.pop(case_id, None)

    def drop_deleted(self) -> None:
        """Nothing is held of cases that the store has no more.

        Raises StoreError.
        """
        # Before the store is asked: a case that comes meanwhile is not among these.
        held = set(self._held)
        for case_id in held - {case.id for case in self._store.cases()}:
            self.drop(case_id)

    @property
    def used(self) -> int:
        """How many bytes are held in memory."""
        with self._lock:
            return self._used()

    def _used(self) -> int:
        # Several cases may come from one file.
        return sum({id(data): len(data) for data in self._held.values()}.values())
