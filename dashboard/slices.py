"""A run of the network through every slice of a stack, in the background, with progress, to be cancelled at any time."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from core.engines.engine import Run
    from core.models.loading import Model
    from core.scan import Scan


class SliceRun:
    """``scores`` (labels, slices) fill up from the slice in front outwards; NaN where none has been read yet.

    ``held_back`` counts slices whose scores the novelty gate holds back, unless the run was made for ``anyway``.
    ``run`` runs the engine: through the queue, where other readers wait too.
    """

    def __init__(self, model: "Model", scan: "Scan", start: int, run: "Run", *, anyway: bool = False) -> None:
        import numpy as np

        self.scores: npt.NDArray[Any] = np.full((len(model.card.label_codes), scan.frame_count), np.nan, np.float32)
        self.done = self.held_back = 0
        self._anyway = anyway
        self.problem = ""
        self._cancelled = threading.Event()
        work = (model, scan, start, run)
        self._thread = threading.Thread(target=self._run, args=work, name="radlens-slices", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether slices are still being read."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop after the slice in hand; what is there stays."""
        self._cancelled.set()

    def _run(self, model: "Model", scan: "Scan", start: int, run: "Run") -> None:
        from core.analysis import analyse
        from core.errors import RadLensError

        nearest_first = sorted(range(scan.frame_count), key=lambda frame: abs(frame - start))
        for frame in nearest_first:
            if self._cancelled.is_set():
                return
            try:
                found = analyse(model, scan, frame, run=run)
            except RadLensError as exc:
                self.problem = str(exc)
                return
            if found.novelty is None or not found.novelty.outside or self._anyway:
                self.scores[:, frame] = [found.prediction.scores[code] for code in model.card.label_codes]
            else:
                self.held_back += 1
            self.done += 1
