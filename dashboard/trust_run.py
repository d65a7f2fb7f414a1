"""The checks of one heatmap: in the background, each part as it comes, to be stopped."""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.explaining.trust import TrustCard
    from core.explaining.trust_verdicts import Part
    from core.models.loading import Model
    from core.scan import Scan


class TrustRun:
    """``parts`` fill up; ``card`` is there once all are, else ``problem`` says why not, empty where the reader stopped it."""

    def __init__(self, model: "Model", scan: "Scan", frame: int, label: str) -> None:
        self.parts: list[Part] = []
        self.card: TrustCard | None = None
        self.problem = ""
        self._cancelled = threading.Event()
        work = (model, scan, frame, label)
        self._thread = threading.Thread(target=self._run, args=work, name="radlens-trust", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether parts are still to come."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop after the batch in hand; what is there stays."""
        self._cancelled.set()

    def _run(self, model: "Model", scan: "Scan", frame: int, label: str) -> None:
        from core.errors import RadLensError, Stopped
        from core.explaining.trust import trust

        try:
            self.card = trust(model, scan, frame, label, progress=self.parts.append, cancelled=self._cancelled.is_set)
        except Stopped:
            pass
        except RadLensError as exc:
            self.problem = str(exc)
