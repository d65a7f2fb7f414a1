"""The part of the picture that one cell of a layer can see, exactly: followed back through every window of the network.

A window of kernel k, stride s, padding p and dilation d at cell i covers the cells i s - p ... i s - p + d (k - 1) of the map
before it (Dumoulin and Visin 2016, arXiv 1603.07285; Araujo et al. 2019, Distill, doi:10.23915/distill.00021). Where paths
meet, the field is the hull of theirs. A pooling over the whole map, or a layer that weighs all places, sees everything.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import fx

from core.errors import UnknownLayer
from core.inside.recording import Recording
from core.inside.steps import Step
from core.preprocessing import Letterbox

Span = tuple[int, int]
_PASSING = {"normalisation", "activation", "addition", "product", "concatenation", "passing"}


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Pixels of the network's picture, first and last, before they are cut at its edges: (top, bottom), (left, right).

    ``sees_all``: some path to the cell goes through a pooling of the whole map (as in squeeze and excitation); the spans
    are then those of the other paths. Spans are None where no other path is left.
    """

    rows: Span | None
    columns: Span | None
    sees_all: bool

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels."""
        if self.rows is None or self.columns is None:
            return None
        return self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1

    def on_scan(self, letterbox: Letterbox) -> tuple[float, float, float, float] | None:
        """The field on the scan, cut at its edges: left, top, width and height in pixels (edges, not centres).

        None where nothing of it lies on the scan.
        """
        top, bottom = self.rows or (0, letterbox.size - 1)
        left, right = self.columns or (0, letterbox.size - 1)
        y = [(edge - letterbox.top) * letterbox.rows / letterbox.height for edge in (top, bottom + 1)]
        x = [(edge - letterbox.left) * letterbox.columns / letterbox.width for edge in (left, right + 1)]
        y, x = [min(max(v, 0.0), letterbox.rows) for v in y], [min(max(v, 0.0), letterbox.columns) for v in x]
        return (x[0], y[0], x[1] - x[0], y[1] - y[0]) if x[1] > x[0] and y[1] > y[0] else None


@dataclass(slots=True)
class _Seen:
    """What is needed of one step's map: spans, or everything."""

    rows: Span | None = None
    columns: Span | None = None
    everything: bool = False

    def add(self, rows: Span | None, columns: Span | None, *, everything: bool) -> None:
        self.rows, self.columns = _hull(self.rows, rows), _hull(self.columns, columns)
        self.everything |= everything


def receptive_field(recording: Recording, layer: str, row: int, column: int) -> ReceptiveField:
    """What the cell (row, column) of a layer sees; for a layer without places ask for (0, 0).

    Raises UnknownLayer when the layer or the cell does not exist, NotFollowed where the network has no graph.
    """
    recording.check_followed()
    step = recording.step(layer)
    shape = tuple(recording.value(step).shape)
    if len(shape) == 3 and not (0 <= row < shape[1] and 0 <= column < shape[2]):
        raise UnknownLayer(f"The layer {layer!r} has {shape[1]} x {shape[2]} cells; there is no cell {row}, {column}.")
    needed: dict[str, _Seen] = {step.node.name: _Seen((row, row), (column, column), everything=len(shape) < 3)}
    for name in reversed(list(recording.steps)):
        if name in needed:
            _pass_back(recording, recording.steps[name], needed)
    found = needed.get(recording.entry, _Seen())
    return ReceptiveField(found.rows, found.columns, found.everything)


def stride_of(recording: Recording, layer: str) -> tuple[float, float] | None:
    """How many pixels of the picture lie between neighbouring cells of a layer, or None where it has no places."""
    value, size = recording.value(recording.step(layer)), recording.picture.shape[-1]
    return (size / value.shape[1], size / value.shape[2]) if value.ndim == 3 else None


def size_of(recording: Recording, layer: str) -> ReceptiveField:
    """The field of a cell in the middle of the layer: where paths of different strides meet, the largest of four neighbours'."""
    value = recording.value(recording.step(layer))
    if value.ndim < 3:
        return receptive_field(recording, layer, 0, 0)
    rows, columns = ({side // 2, max(0, side // 2 - 1)} for side in value.shape[1:])
    fields = [receptive_field(recording, layer, row, column) for row in rows for column in columns]
    return max(fields, key=lambda field: field.size or (0, 0))


def _pass_back(recording: Recording, step: Step, needed: dict[str, _Seen]) -> None:
    seen = needed[step.node.name]
    for source in step.sources:
        if source.name not in recording.values:
            continue
        own = needed.setdefault(source.name, _Seen())
        shape = tuple(recording.value(source).shape)
        # A map that becomes a number, or a scale for each channel that was pooled from a whole map.
        spread = step.kind in _PASSING and tuple(recording.value(step).shape[1:]) != shape[1:]
        follows = step.kind in _PASSING or step.window is not None or step.kind == "enlargement"
        if len(shape) < 3 or spread or not follows:
            own.add(None, None, everything=True)
        else:
            rows, columns = (_back(recording, step, source, axis) for axis in (0, 1))
            own.add(seen.rows and rows(seen.rows), seen.columns and columns(seen.columns), everything=seen.everything)


def _back(recording: Recording, step: Step, source: fx.Node, axis: int) -> Callable[[Span], Span]:
    if step.window is not None:
        window = step.window
        stride, padding = window.stride[axis], window.padding[axis]
        reach = window.dilation[axis] * (window.kernel[axis] - 1)
        return lambda span: (span[0] * stride - padding, span[1] * stride - padding + reach)
    if step.kind == "enlargement":
        large, small = recording.value(step).shape[1 + axis], recording.value(source).shape[1 + axis]
        return lambda span: _enlarged(step, span, large, small)
    return lambda span: span


def _enlarged(step: Step, span: Span, large: int, small: int) -> Span:
    """The cells of the smaller map that a span of the larger one is made of: one each, or bilinear the two around each."""
    share = small / large
    mode = step.node.kwargs.get("mode", getattr(step.module, "mode", "nearest"))
    if mode == "nearest":
        return int(span[0] * share // 1), int(span[1] * share // 1)
    first, last = ((place + 0.5) * share - 0.5 for place in span)
    return max(0, int(first // 1)), min(small - 1, int(-(-last // 1)))


def _hull(first: Span | None, second: Span | None) -> Span | None:
    if first is None or second is None:
        return first or second
    return min(first[0], second[0]), max(first[1], second[1])
