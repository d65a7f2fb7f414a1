"""What each step of the lesson shows: live numbers and pictures of the open case and its network."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard.inside.glance import sees_words
from dashboard.inside.numbers import fact_list, formula, in_a_row, number, number_grid
from dashboard.inside.opening import Inside, label_words
from dashboard.inside.passport import mark_of
from dashboard.inside.terms import cells, show_step
from dashboard.inside.walk import heat_png, output_of
from dashboard.pointing.picture import Mark, pointing_picture
from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from core.analysis import FloatArray
    from core.inside.convolution import WindowStep

# The lesson's picture, and the window of numbers that is cut out of it.
_SIDE, _WINDOW = 224, 7
_KERNEL = "sobel_across"
_SHOWN_FILTERS, _SHOWN_MAPS = 24, 16


def numbers(inside: Inside) -> None:
    """A small window of grey values, where the scan is most contrasted."""
    grey = _grey(inside)
    top, left = _busiest(grey)
    patch = grey[top : top + _WINDOW, left : left + _WINDOW]
    _beside(inside, grey, (top, left, _WINDOW), number_grid(patch, t("lesson.grey_values", row=top, column=left)))


def window(inside: Inside) -> None:
    """The same place under a narrow and a wide window of the file's values."""
    from core.inside.convolution import grey_png
    from core.scan import Window
    from core.windowing import default_window, display_grey

    scan = inside.scan
    if scan.is_colour:
        st.info(t("lesson.colour"), icon=":material/info:")
        return
    own = default_window(scan)
    for column, share in zip(st.columns(3), (0.5, 1.0, 2.0), strict=True):
        chosen = Window(own.centre, max(own.width * share, 1.0), own.function)
        grey = _small(display_grey(scan, inside.frame, chosen))
        column.image(grey_png(np.clip(grey, 0, 1)), caption=str(chosen), output_format="PNG", width="stretch")


def square(inside: Inside) -> None:
    """What the network is given: a small square, in numbers around zero."""
    from core.inside.convolution import grey_png

    picture = inside.recording.picture.numpy().mean(0)
    spec = inside.card.input
    left, right = st.columns(2, gap="large")
    left.image(grey_png(picture), output_format="PNG", width="stretch")
    with right:
        fact_list(
            [
                (t("lesson.scan_size"), " x ".join(map(str, inside.scan.shape))),
                (t("lesson.square_size"), f"{spec.size} x {spec.size}"),
                (t("lesson.normalised"), f"(grey − {number(spec.mean)}) / {number(spec.std)}"),
                (t("lesson.range"), f"{number(float(picture.min()))} … {number(float(picture.max()))}"),
            ]
        )


def kernel(inside: Inside) -> None:
    """One classic kernel on the scan, and the arithmetic of one of its values."""
    from core.inside.convolution import KERNELS, Sliding, convolve, grey_png, window_step

    grey, sliding = _grey(inside), Sliding(1, 1)
    found = convolve(grey, KERNELS[_KERNEL], sliding)
    top, left = _busiest(grey)
    near = np.abs(found[top : top + _WINDOW, left : left + _WINDOW])
    row, column = (int(at) for at in np.unravel_index(int(near.argmax()), near.shape))
    step = window_step(grey, KERNELS[_KERNEL], sliding, top + row, left + column)
    first, second, _ = st.columns([2, 2, 1], gap="large")
    with first:
        _picture("kernel-before", grey, (step.top, step.left, 3))
    second.image(grey_png(np.abs(found)), caption=t("lesson.edges"), output_format="PNG", width="stretch")
    _arithmetic(step)


def filters(inside: Inside) -> None:
    """The first layer's kernels and what they make of the scan."""
    from core.inside.feature_maps import grid_png
    from core.inside.filters import kernels, kernels_png

    first = inside.model.convolutions[0]
    maps = inside.recording.value(inside.recording.step(first)).numpy()
    weights = kernels(inside.model.network, first)
    left, right = st.columns(2, gap="large")
    shown = kernels_png(weights[:_SHOWN_FILTERS], columns=6)
    left.image(shown, caption=t("lesson.kernels", count=len(weights)), output_format="PNG", width="stretch")
    picture = grid_png(maps[:_SHOWN_FILTERS], columns=6)
    right.image(picture, caption=t("lesson.maps", count=len(maps)), output_format="PNG", width="stretch")


def activation(inside: Inside) -> None:
    """A map before and after its activation."""
    from core.inside.feature_maps import over_scan_png

    inside.recording.check_followed()
    steps = inside.recording.steps.values()
    step = next(s for s in steps if s.kind == "activation" and inside.recording.value(s).ndim == 3)
    before, after = (inside.recording.value(s).numpy() for s in (step.sources[0], step))
    channel = int(before.std((1, 2)).argmax())
    for column, values, words in zip(
        st.columns(2, gap="large"), (before[channel], after[channel]), ("lesson.before", "lesson.after"), strict=True
    ):
        png = over_scan_png(inside.scan, inside.frame, inside.recording.letterbox, values, opacity=1.0)
        words_ = t(words, low=number(float(values.min())), high=number(float(values.max())))
        column.image(png, caption=words_, output_format="PNG", width="stretch")
    silent = float((after[channel] == 0).mean())
    formula(t("lesson.relu", function=step.function, share=f"{silent:.0%}"))


def coarser(inside: Inside) -> None:
    """How the maps get smaller and see more: the layers where the size changes, and what the cell in their middle sees."""
    from core.inside.convolution import grey_png

    rows, marks, size = [], [], None
    for layer in inside.facts.values():
        if len(layer.shape) == 3 and layer.shape[1:] != size:
            size = layer.shape[1:]
            words = t("lesson.layer_row", size=f"{size[0]} x {size[1]}", sees=sees_words(layer))
            rows.append((f"{layer.name}: {layer.words}", words))
            marks.append(_seen_from_the_middle(inside, layer.name, size))
    left, right = st.columns([2, 3], gap="large")
    with left:
        picture = grey_png(_grey(inside))
        pointing_picture("lesson-seen", picture, None, alt=t("lesson.seen"), marks=[mark for mark in marks if mark])
        st.caption(t("lesson.seen"))
    with right:
        fact_list(rows)


def _seen_from_the_middle(inside: Inside, layer: str, size: tuple[int, ...]) -> Mark | None:
    from core.inside.receptive_field import receptive_field

    return mark_of(receptive_field(inside.recording, layer, size[0] // 2, size[1] // 2), inside, kind="window")


def deeper(inside: Inside) -> None:
    """The strongest maps of the layer that the heatmap looks at."""
    from core.inside.feature_maps import grid_png, recorded_maps

    layer = inside.card.target_layer
    maps = recorded_maps(inside.recording, layer, order="strength").maps
    caption = t("lesson.deep", count=min(_SHOWN_MAPS, len(maps)), layer=layer)
    _half().image(grid_png(maps[:_SHOWN_MAPS], columns=4), caption=caption, output_format="PNG", width="stretch")


def answer(inside: Inside) -> None:
    """The last layer's sum, term by term, and the score that becomes of it."""
    from core.inside.arithmetic import Place, arithmetic

    label = inside.answer.foremost_label
    prediction = inside.answer.analysis.prediction
    linear = [name for name, one in inside.facts.items() if one.kind == "linear"]
    if linear:
        show_step(inside, arithmetic(inside.recording, Place(linear[-1], output_of(inside, label))), 1, 1)
    words = {"label": label_words(inside)[label], "logit": number(prediction.logits[label])}
    formula(t("lesson.score", score=score_text(prediction.scores[label]), **words))


def evidence(inside: Inside) -> None:
    """The heatmap of the foremost label, and what its cells add up to."""
    label = inside.answer.foremost_label
    left, right = st.columns(2, gap="large")
    left.image(heat_png(inside, inside.answer.analysis, label), output_format="PNG", width="stretch")
    with right:
        heatmap = inside.answer.analysis.heatmap(label)
        st.markdown(f"**{label_words(inside)[label]}**")
        if heatmap.outcome:
            st.text(heatmap.outcome)
        cells(inside, label)
        st.markdown(t("lesson.limits"))
        for limit in inside.card.limits[:3]:
            st.text(limit)


STEPS: dict[str, Callable[[Inside], None]] = {
    "numbers": numbers,
    "window": window,
    "square": square,
    "kernel": kernel,
    "filters": filters,
    "activation": activation,
    "coarser": coarser,
    "deeper": deeper,
    "answer": answer,
    "evidence": evidence,
}


def _grey(inside: Inside) -> "FloatArray":
    from core.inside.convolution import grey_levels

    return grey_levels(inside.scan, inside.frame, _SIDE)


def _small(grey: "FloatArray") -> "FloatArray":
    from core.overlay import resize

    scale = min(1.0, 2 * _SIDE / max(grey.shape[:2]))
    return resize(grey, *(max(1, round(side * scale)) for side in grey.shape[:2]))


def _busiest(grey: "FloatArray") -> tuple[int, int]:
    """Where a window of numbers is most varied, off the picture's edge."""
    windows = np.lib.stride_tricks.sliding_window_view(grey, (_WINDOW, _WINDOW))[::4, ::4]
    spread = windows.std((2, 3))
    edge = max(1, min(spread.shape) // 5)
    inner = spread[edge:-edge, edge:-edge] if min(spread.shape) > 2 * edge else spread
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    offset = edge if inner is not spread else 0
    return 4 * (int(row) + offset), 4 * (int(column) + offset)


def _beside(inside: Inside, grey: "FloatArray", marked: tuple[int, int, int], table: str) -> None:
    left, right = st.columns([2, 3], gap="large", vertical_alignment="center")
    with left:
        _picture(f"lesson-{inside.scan.digest[:12]}", grey, marked)
    with right:
        in_a_row(table)


def _picture(key: str, grey: "FloatArray", marked: tuple[int, int, int]) -> None:
    """The scan with a frame (top, left, side) on it."""
    from core.inside.convolution import grey_png

    top, left, side = marked
    rows, columns = grey.shape
    frame = Mark(left / columns, top / rows, side / columns, side / rows, "window")
    pointing_picture(key, grey_png(grey), None, alt=t("lesson.picture"), marks=(frame,))


def _arithmetic(step: "WindowStep") -> None:
    in_a_row(
        number_grid(step.patch, t("walk.patch")), "×", number_grid(step.kernel, t("walk.kernel")), "=",
        number_grid(step.products, t("walk.products")), "→",
        f'<strong data-window="{step.value!r}">{number(step.value)}</strong>',
    )  # fmt: skip
    formula(t("lesson.sum", value=number(step.value)))


def _half() -> "st.delta_generator.DeltaGenerator":
    return st.columns([2, 1])[0]
