"""A run of the network through every slice of a stack, in the background, with progress, to be cancelled at any time."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from core.models.loading import Model
    from core.scan import Scan


class SliceRun:
    """``scores`` (labels, slices) fill up from the slice in front outwards; NaN where none has been read yet."""

    def __init__(self, model: "Model", scan: "Scan", start: int) -> None:
        import numpy as np

        self.scores: npt.NDArray[Any] = np.full((len(model.card.label_codes), scan.frame_count), np.nan, np.float32)
        self.done = 0
        self.problem = ""
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(model, scan, start), name="radlens-slices", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether slices are still being read."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop after the slice in hand; what is there stays."""
        self._cancelled.set()

    def _run(self, model: "Model", scan: "Scan", start: int) -> None:
        from core.analysis import analyse
        from core.errors import RadLensError

        nearest_first = sorted(range(scan.frame_count), key=lambda frame: abs(frame - start))
        for frame in nearest_first:
            if self._cancelled.is_set():
                return
            try:
                scores = analyse(model, scan, frame).prediction.scores
            except RadLensError as exc:
                self.problem = str(exc)
                return
            self.scores[:, frame] = [scores[code] for code in model.card.label_codes]
            self.done += 1
