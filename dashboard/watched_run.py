"""Work that asks the network many times: in the background, with progress, to be stopped."""

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.explaining.perturbation import Watch

T = TypeVar("T")


class WatchedRun(Generic[T]):
    """``result`` is there once the work is done; else ``problem`` says why not, empty where the reader stopped it."""

    def __init__(self, name: str, work: "Callable[[Watch], T]") -> None:
        self.result: T | None = None
        self.problem = ""
        self.share = 0.0
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"radlens-{name}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop after the batch in hand."""
        self._cancelled.set()

    def _run(self, work: "Callable[[Watch], T]") -> None:
        from core.errors import RadLensError, Stopped
        from core.explaining.perturbation import Watch

        try:
            self.result = work(Watch(self._report, self._cancelled.is_set))
        except Stopped:
            pass
        except RadLensError as exc:
            self.problem = str(exc)

    def _report(self, done: int, total: int) -> None:
        self.share = done / max(total, 1)
