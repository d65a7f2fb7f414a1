"""What waits to be written to the store: tried again by itself until it is there, so that no page waits for a busy database."""

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from core.reviews.opening import Reviews

    Job = Callable[[Reviews], object]

T = TypeVar("T")
_AGAIN_SECONDS = 1.5


class Outbox:
    """The writing of one session, in its order, in a thread that lives as long as something waits.

    ``problem`` says why the last try failed, empty where it did not.
    """

    def __init__(self, opened: "Callable[[], Reviews]") -> None:
        self.problem = ""
        self._opened = opened
        self._jobs: dict[Hashable, Job] = {}
        self._known: set[Hashable] = set()
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, key: "Hashable", job: "Job") -> None:
        """Write this; what still waits under the same key is replaced."""
        with self._changed:
            self._jobs[key] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="radlens-outbox", daemon=True)
                self._thread.start()

    def put_once(self, key: "Hashable", job: "Job") -> None:
        """Write this, unless something was put under the key before."""
        if key not in self._known:
            self._known.add(key)
            self.put(key, job)

    def now(self, job: "Callable[[Reviews], T]", instead_of: "Hashable") -> T:
        """Write this at once; what waits under the key is void with it.

        Raises StoreError, StoreBusy, ReviewRejected; what waited goes on waiting then.
        """
        with self._writing:
            with self._changed:
                waiting = self._jobs.pop(instead_of, None)
            try:
                return job(self._opened())
            except BaseException:
                if waiting is not None:
                    self.put(instead_of, waiting)
                raise

    def settle(self, seconds: float) -> bool:
        """Wait until everything is written, or a try has failed; whether everything is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs or self.problem, seconds)
            return not self._jobs

    @property
    def waits(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._jobs)

    def _run(self) -> None:
        while (found := self._next()) is not None:
            key, job = found
            with self._writing:
                # Meanwhile another may have taken its place, or none.
                done = self._jobs.get(key) is not job or self._tried(job)
            with self._changed:
                if done and self._jobs.get(key) is job:
                    del self._jobs[key]
                self._changed.notify_all()
                if not done:
                    self._changed.wait(_AGAIN_SECONDS)

    def _next(self) -> "tuple[Hashable, Job] | None":
        with self._changed:
            if not self._jobs:
                self._thread = None
                return None
            return next(iter(self._jobs.items()))

    def _tried(self, job: "Job") -> bool:
        from core.errors import RadLensError, ReviewRejected

        try:
            job(self._opened())
        except ReviewRejected:
            # Trying again would not help: the case is gone.
            pass
        except RadLensError as exc:
            self.problem = str(exc)
            return False
        self.problem = ""
        return True
