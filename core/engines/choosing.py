"""Which engine answers for a model: the fast one where it proved equal to torch, else torch, and why."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from core.engines.engine import Engine
    from core.engines.onnx_engine import OnnxEngine
    from core.engines.record import ExportRecord

T = TypeVar("T")


class Later(Generic[T]):
    """What takes long to make: made once, when somebody first asks; others who ask meanwhile wait for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[T] = []

    def get(self) -> T:
        """It. Raises what making it raised, and tries again the next time."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


class EngineChoice:
    """``current`` answers. A reader who took an engine keeps it to the end of his analysis, whatever is chosen meanwhile."""

    def __init__(self, reference: "Later[Engine]", fast: "OnnxEngine | None" = None, note: str | None = None) -> None:
        self._reference = reference
        self._chosen = (fast, note)

    @property
    def current(self) -> "Engine":
        """The fast engine where it may be used, else the reference."""
        return self.giving(())

    def giving(self, layers: Sequence[str]) -> "Engine":
        """The same, for somebody who wants these layers too: an export has the convolutions, torch has every layer."""
        fast, _ = self._chosen
        return self._reference.get() if fast is None or any(name not in fast.record.layers for name in layers) else fast

    @property
    def fast(self) -> "OnnxEngine | None":
        """The fast engine, where it may be used."""
        return self._chosen[0]

    @property
    def note(self) -> str | None:
        """Why the reference answers where a fast engine could, in one sentence; else None."""
        return self._chosen[1]

    @property
    def record(self) -> "ExportRecord | None":
        """What is known of the network from its export."""
        fast, _ = self._chosen
        return None if fast is None else fast.record

    def take(self, fast: "OnnxEngine") -> None:
        """From now on the fast engine answers."""
        self._chosen = (fast, None)

    def refuse(self, sentence: str) -> None:
        """From now on the reference answers, and this says why."""
        self._chosen = (None, sentence)
