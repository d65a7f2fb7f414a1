"""Follow one pixel: from a place on the scan, step by step, to the answer, with every number on the way."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.inside.numbers import fact_list, number
from dashboard.inside.opening import Inside, label_choice, layer_choice
from dashboard.inside.passport import mark_of
from dashboard.inside.terms import show_answer, show_step
from dashboard.pointing.picture import pointing_picture
from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.inside.arithmetic import Arithmetic
    from core.inside.receptive_field import ReceptiveField

_ANSWER, _LAYER = "answer", "layer"
_SIDE = 512
_STEP = "step"


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the walk begins: at an answer (``label``) through a cell of the last maps, or at a value of any layer."""

    layer: str
    row: int
    column: int
    channel: int
    label: str | None = field(default=None)


@st.fragment
def walk_view(inside: Inside) -> None:
    """A click runs this part of the page again, and no other."""
    st.caption(t("walk.caption"))
    if not inside.recording.followed:
        st.info(t("walk.not_followed"), icon=":material/info:")
        return
    start = _choices(inside)
    try:
        steps = _steps(inside, start)
    except RadLensError as exc:
        st.text(str(exc))
        return
    left, right = st.columns([2, 3], gap="large")
    with right:
        at = _step_choice(len(steps))
        show_step(inside, steps[at], at + 1, len(steps))
    with left:
        _picture(inside, start, steps, at)
        _all_steps(inside, steps, at)
    if start.label is not None:
        show_answer(inside, start.label, steps[-1], told=at == len(steps) - 1)


def _choices(inside: Inside) -> _Start:
    """From the answer of a label, or from any layer; then the cell, by click or by number."""
    first, second, third, fourth = st.columns([3, 3, 1, 1])
    origin_key = state.choice(state.INSIDE, "origin")
    state.prefer(origin_key, _ANSWER)
    with first:
        origin = st.radio(
            t("walk.origin"), (_ANSWER, _LAYER), format_func=lambda one: t(f"walk.origin_{one}"), key=origin_key,
            horizontal=True,
        )  # fmt: skip
    with second:
        if origin == _ANSWER:
            label, layer = label_choice(inside, "walk"), _last(inside)
        else:
            from core.inside.feature_maps import layers_with_maps

            label, layer = None, layer_choice(inside, layers_with_maps(inside.recording), "walk", _last(inside))
    channels, rows, columns = inside.recording.value(inside.recording.step(layer)).shape
    _prefer_hottest(inside, layer, rows, columns)
    with third:
        row = st.number_input(t("walk.row"), 0, rows - 1, key=_key("row", layer))
    with fourth:
        column = st.number_input(t("walk.column"), 0, columns - 1, key=_key("column", layer))
    channel = 0
    if origin == _LAYER:
        channel = st.number_input(t("walk.channel"), 0, channels - 1, key=_key("channel", layer), width=200)
    return _Start(layer, int(row), int(column), int(channel), label)


def _key(what: str, layer: str) -> str:
    return state.choice(state.INSIDE, what, layer)


def _last(inside: Inside) -> str:
    from core.inside.walk import last_maps

    return last_maps(inside.recording)


def _prefer_hottest(inside: Inside, layer: str, rows: int, columns: int) -> None:
    """The walk begins at the warmest place of the foremost label's heatmap."""
    import numpy as np

    evidence = inside.answer.analysis.heatmap(inside.answer.foremost_label).evidence
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    state.prefer(_key("row", layer), min(rows - 1, int((row + 0.5) * rows / evidence.shape[0])))
    state.prefer(_key("column", layer), min(columns - 1, int((column + 0.5) * columns / evidence.shape[1])))


def _steps(inside: Inside, start: _Start) -> "tuple[Arithmetic, ...]":
    """From the picture to the answer."""
    from core.inside.arithmetic import Place, path_to_picture
    from core.inside.walk import walk_from_answer

    if start.label is None:
        found = path_to_picture(inside.recording, Place(start.layer, start.channel, start.row, start.column))
    else:
        found = walk_from_answer(inside.recording, output_of(inside, start.label), start.row, start.column)
    return found[::-1]


def output_of(inside: Inside, label: str) -> int:
    """The network's output that a label is read from; of a network with one logit for two labels, that one."""
    return 0 if inside.card.head == "logit" else inside.card.label_codes.index(label)


def _step_choice(count: int) -> int:
    """Which step is shown, from the picture on."""
    key = state.choice(state.INSIDE, _STEP)
    state.prefer(key, 1)
    if state.chosen(key, 1) > count:
        state.choose(key, count)

    def move(by: int) -> None:
        state.choose(key, min(max(state.chosen(key, 1) + by, 1), count))

    back, slider, on = st.columns([1, 4, 1], vertical_alignment="bottom")
    back.button(
        t("walk.back"), on_click=move, args=(-1,), disabled=state.chosen(key, 1) <= 1, width="stretch",
        icon=":material/arrow_back:",
    )  # fmt: skip
    on.button(
        t("walk.on"), on_click=move, args=(1,), disabled=state.chosen(key, 1) >= count, width="stretch",
        icon=":material/arrow_forward:", type="primary",
    )  # fmt: skip
    if count < 2:
        return 0
    chosen: int = slider.slider(t("walk.step"), 1, count, key=key)
    return chosen - 1


def _picture(inside: Inside, start: _Start, steps: "tuple[Arithmetic, ...]", at: int) -> None:
    """The scan with what the shown step sees, and faintly what the others see."""
    fields = [_field(inside, step) for step in steps]
    marks = [mark for seen in fields if seen is not None and (mark := mark_of(seen, inside, kind="faint"))]
    now = fields[at]
    if now is not None and (mark := mark_of(now, inside, t("walk.sees"))):
        marks.append(mark)
    _, rows, columns = inside.recording.value(inside.recording.step(start.layer)).shape
    box = inside.recording.letterbox

    def point(x: float, y: float) -> None:
        y_model, x_model = box.to_model(y * box.rows - 0.5, x * box.columns - 0.5)
        cells = ((y_model + 0.5) * rows / box.size, (x_model + 0.5) * columns / box.size)
        row, column = (min(max(int(cell), 0), side - 1) for cell, side in zip(cells, (rows, columns), strict=True))
        state.choose(_key("row", start.layer), row)
        state.choose(_key("column", start.layer), column)

    pointing_picture("walk", _png(inside, start), point, alt=t("walk.picture"), marks=marks)
    st.caption(_seen_words(now))


def _png(inside: Inside, start: _Start) -> bytes:
    """The scan under its heatmap, or under the map that the walk begins at."""
    if start.label is None:
        from core.inside.feature_maps import over_scan_png

        values = inside.recording.value(inside.recording.step(start.layer))[start.channel].numpy()
        return over_scan_png(inside.scan, inside.frame, inside.recording.letterbox, values, opacity=0.45)
    return heat_png(inside, inside.answer.analysis, start.label)


def heat_png(inside: Inside, analysis: "Analysis", label: str, side: int = _SIDE) -> bytes:
    """The scan with a label's heatmap out of an analysis."""
    from core.overlay import blend, encode_png, resize
    from core.windowing import display_grey

    heatmap = analysis.heatmap(label)
    scale = min(1.0, side / max(inside.scan.shape))
    rows, columns = (max(1, round(length * scale)) for length in inside.scan.shape)
    evidence = analysis.letterbox.to_scan_grid(heatmap.evidence, rows, columns)
    return encode_png(
        blend(resize(display_grey(inside.scan, inside.frame), rows, columns), evidence, limit=heatmap.limit)
    )


def _field(inside: Inside, step: "Arithmetic") -> "ReceptiveField | None":
    from core.inside.receptive_field import receptive_field

    place = step.place
    field_ = receptive_field(inside.recording, place.layer, place.row, place.column)
    return field_ if field_.size is not None else None


def _seen_words(field_: "ReceptiveField | None") -> str:
    if field_ is None or field_.size is None:
        return t("walk.sees_all")
    return t("walk.sees_words", rows=field_.size[0], columns=field_.size[1])


def _all_steps(inside: Inside, steps: "tuple[Arithmetic, ...]", at: int) -> None:
    with st.expander(t("walk.all", count=len(steps))):
        facts = inside.facts
        fact_list(
            [
                (f"{'▸ ' if index == at else ''}{index + 1}. {facts[step.place.layer].words} ({step.place.layer})",
                 number(step.value))
                for index, step in enumerate(steps)
            ]
        )  # fmt: skip
