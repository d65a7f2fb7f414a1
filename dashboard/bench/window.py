"""How a window slides and where it stands: the choices that the kernel and the pooling bench share."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.pointing.picture import Mark, pointing_picture
from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import FloatArray
    from core.inside.convolution import Sliding

# The bench's picture: large enough to recognise, small enough to be worked through at once.
BENCH_SIDE = 224
_RANGES = {"stride": (1, 64), "padding": (0, 64), "dilation": (1, 16)}


def sliding_choice(use: str, stride: int, padding: int, *, dilates: bool) -> "Sliding":
    """Stride, padding and dilation.

    Raises ConfigurationError.
    """
    from core.inside.convolution import Sliding

    names = ("stride", "padding", "dilation") if dilates else ("stride", "padding")
    starts = {"stride": stride, "padding": padding, "dilation": 1}
    found = []
    for column, name in zip(st.columns(len(names)), names, strict=True):
        state.prefer(_key(use, name), starts[name])
        low, high = _RANGES[name]
        found.append(
            column.number_input(t(f"bench.{name}"), low, high, help=t(f"bench.{name}_help"), key=_key(use, name))
        )
    return Sliding(*(int(value) for value in found))


def place_choice(use: str, after: "FloatArray") -> tuple[int, int]:
    """Which value of the output is looked at, by number or step by step; it begins at the largest, of either sign."""
    import numpy as np

    shape = after.shape
    keys = _key(use, "row"), _key(use, "column")
    strongest = np.unravel_index(int(np.abs(after).argmax()), shape)
    for key, side, at in zip(keys, shape, strongest, strict=True):
        state.prefer(key, int(at))
        if not 0 <= state.chosen(key, 0) < side:
            state.choose(key, int(at))

    def step(by: int) -> None:
        at = state.chosen(keys[0], 0) * shape[1] + state.chosen(keys[1], 0) + by
        at = min(max(at, 0), shape[0] * shape[1] - 1)
        state.choose(keys[0], at // shape[1])
        state.choose(keys[1], at % shape[1])

    first, second = st.columns(2)
    row = first.number_input(t("bench.row"), 0, shape[0] - 1, key=keys[0])
    column = second.number_input(t("bench.column"), 0, shape[1] - 1, key=keys[1])
    back, on = st.columns(2)
    back.button(
        t("bench.back"), on_click=step, args=(-1,), key=f"{use}-back", icon=":material/arrow_back:", width="stretch"
    )
    on.button(
        t("bench.on"), on_click=step, args=(1,), key=f"{use}-on", icon=":material/arrow_forward:", width="stretch"
    )
    return int(row), int(column)


def pictures(
    use: str, before: "FloatArray", after: "FloatArray", sliding: "Sliding", side: int, at: tuple[int, int]
) -> None:
    """The picture with the window on it and the output with its value on it; a click in either moves both."""
    from core.inside.convolution import grey_png

    reach = sliding.dilation * (side - 1) + 1
    top, left = (place * sliding.stride - sliding.padding for place in at)
    rows, columns = before.shape
    window = Mark(left / columns, top / rows, reach / columns, reach / rows, "window")
    value = Mark(at[1] / after.shape[1], at[0] / after.shape[0], 1 / after.shape[1], 1 / after.shape[0], "window")

    def on_input(x: float, y: float) -> None:
        _move(use, after.shape, y * rows, x * columns, sliding, reach)

    def on_output(x: float, y: float) -> None:
        state.choose(_key(use, "row"), int(y * after.shape[0]))
        state.choose(_key(use, "column"), int(x * after.shape[1]))

    first, second = st.columns(2)
    with first:
        pointing_picture(f"{use}-before", grey_png(before), on_input, alt=t("bench.input"), marks=(window,))
        st.caption(t("bench.input_words", rows=rows, columns=columns))
    with second:
        pointing_picture(f"{use}-after", grey_png(after), on_output, alt=t("bench.output"), marks=(value,), sharp=True)
        low, high = float(after.min()), float(after.max())
        st.caption(
            t("bench.output_words", rows=after.shape[0], columns=after.shape[1], low=f"{low:.4g}", high=f"{high:.4g}")
        )


def _move(use: str, shape: tuple[int, ...], y: float, x: float, sliding: "Sliding", reach: int) -> None:
    """Put the window's middle where the reader pointed, as near as it can stand."""
    for name, at, count in zip(("row", "column"), (y, x), shape, strict=True):
        place = round((at - reach / 2 + sliding.padding) / sliding.stride)
        state.choose(_key(use, name), min(max(place, 0), count - 1))


def _key(use: str, what: str) -> str:
    return state.choice(state.INSIDE, "bench", use, what)
