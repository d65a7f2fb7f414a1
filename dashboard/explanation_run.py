"""A question about the network, and a heatmap that takes many passes: in the background, with progress, to be stopped."""

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.explaining.registry import DEFAULT_METHOD

if TYPE_CHECKING:
    from core.explaining.explanation import Explanation
    from core.models.loading import Model
    from core.scan import Scan


@dataclass(frozen=True, slots=True)
class Question:
    """What the reader wants to see; ``layer`` and ``against`` None for the card's layer and for each label on its own."""

    frame: int
    method: str
    layer: str | None
    against: str | None
    approximate: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """As ``core.explaining.explanation.explain`` takes them."""
        return asdict(self)

    @property
    def is_default(self) -> bool:
        """Whether the analysis itself holds the answer."""
        return self.method == DEFAULT_METHOD and self.layer is None and self.against is None


class ExplanationRun:
    """``explanation`` is there once the work is done; else ``problem`` says why not, empty where the reader stopped it."""

    def __init__(self, model: "Model", scan: "Scan", question: Question) -> None:
        self.explanation: Explanation | None = None
        self.problem = ""
        self.share = 0.0
        self._cancelled = threading.Event()
        work = (model, scan, question)
        self._thread = threading.Thread(target=self._run, args=work, name="radlens-explanation", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the heatmap is still being made."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop after the batch in hand."""
        self._cancelled.set()

    def _run(self, model: "Model", scan: "Scan", question: Question) -> None:
        from core.errors import RadLensError, Stopped
        from core.explaining.explanation import explain
        from core.explaining.perturbation import Watch

        watch = Watch(self._report, self._cancelled.is_set)
        try:
            self.explanation = explain(model, scan, watch=watch, **question.arguments)
        except Stopped:
            pass
        except RadLensError as exc:
            self.problem = str(exc)

    def _report(self, done: int, total: int) -> None:
        self.share = done / max(total, 1)
