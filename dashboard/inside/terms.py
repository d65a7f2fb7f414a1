"""One step of a walk: what the layer does in plain words, and its arithmetic with the numbers of this scan."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.inside.numbers import fact_list, formula, in_a_row, number, number_grid, sum_table
from dashboard.inside.opening import Inside, label_words
from dashboard.texts import t
from dashboard.widgets import score_text

if TYPE_CHECKING:
    from core.inside.arithmetic import Arithmetic, Term

# So many summands are told one by one; the others together.
_TOLD = 6
_SAID = {
    "convolution": "walk.say_convolution", "normalisation": "walk.say_normalisation",
    "activation": "walk.say_activation", "max pooling": "walk.say_maximum", "average pooling": "walk.say_average",
    "global pooling": "walk.say_pooling", "flatten": "walk.say_flatten", "linear": "walk.say_linear",
    "addition": "walk.say_addition", "product": "walk.say_product", "concatenation": "walk.say_concatenation",
    "enlargement": "walk.say_enlargement", "passing": "walk.say_passing", "other": "walk.say_other",
}  # fmt: skip


def show_step(inside: Inside, step: "Arithmetic", number_: int, count: int) -> None:
    """Its name, one sentence, the arithmetic, and whether it is torch's own number."""
    facts = inside.facts[step.place.layer]
    st.markdown(f"**{t('walk.title', step=number_, count=count, words=facts.words)}**")
    st.text(_place_words(inside, step))
    st.caption(t(_SAID[step.kind]))
    _SHOW.get(step.kind, _plain)(inside, step)
    difference = abs(step.total - step.value)
    st.caption(t("walk.check", value=number(step.value), difference=f"{difference:.0e}" if difference else "0"))


def show_answer(inside: Inside, label: str, last: "Arithmetic", *, told: bool) -> None:
    """From the network's output to the score that Review shows; ``told``: the last layer's sum stands above already."""
    prediction = inside.answer.analysis.prediction
    logit, score = prediction.logits[label], prediction.scores[label]
    st.divider()
    st.markdown(f"**{t('walk.answer', label=label_words(inside)[label])}**")
    words = {"logit": number(logit), "score": score_text(score), "output": number(last.value)}
    if inside.card.task == "segmentation":
        st.text(t("walk.answer_pixel", **words))
        return
    if last.kind == "linear" and not told:
        st.caption(t("walk.answer_sum"))
        _terms(inside, last, "logit")
    if inside.card.head == "softmax":
        others = " + ".join(f"e^{number(value)}" for value in prediction.logits.values())
        formula(t("walk.answer_softmax", others=others, **words))
    else:
        formula(t("walk.answer_sigmoid", **words))
        if inside.card.head == "logit":
            st.caption(t("walk.answer_logit"))
    if label in inside.card.published_points:
        st.caption(t("walk.answer_stretched"))
    cells(inside, label)


def cells(inside: Inside, label: str) -> None:
    """How the heatmap's cells and the bias add up to the logit, where they do."""
    heatmap = inside.answer.analysis.heatmap(label)
    if heatmap.bias is None:
        return
    total = float(heatmap.evidence.sum()) + heatmap.bias
    st.caption(
        t("walk.cells", cells=heatmap.evidence.size, sum=number(total - heatmap.bias), bias=number(heatmap.bias),
          total=number(total), unit=heatmap.unit)
    )  # fmt: skip


def _place_words(inside: Inside, step: "Arithmetic") -> str:
    place = step.place
    if inside.recording.value(inside.recording.step(place.layer)).ndim == 3:
        return t("walk.place", layer=place.layer, channel=place.channel, row=place.row, column=place.column)
    return t("walk.place_number", layer=place.layer, channel=place.channel)


def _convolution(inside: Inside, step: "Arithmetic") -> None:
    """Patch x kernel of one input channel, then the sums of all of them and the bias."""
    import numpy as np

    if step.patches is None or step.weights is None:
        _plain(inside, step)
        return
    seen = np.nan_to_num(step.patches).astype(np.float64)
    sums = (seen * step.weights).sum((1, 2))
    order = np.argsort(-np.abs(sums), kind="stable")
    at = int(order[0])
    if len(order) > 1:
        at = st.selectbox(
            t("walk.input"), [int(k) for k in order], help=t("walk.input_help"),
            key=state.choice(state.INSIDE, "shown_input", step.place.layer, str(step.place.channel)),
            format_func=lambda k: t("walk.input_option", channel=step.channels[k], sum=number(float(sums[k]))),
        )  # fmt: skip
    patch, kernel = step.patches[at], step.weights[at]
    in_a_row(
        number_grid(patch, t("walk.patch")), "×", number_grid(kernel, t("walk.kernel")), "=",
        number_grid(np.where(np.isnan(patch), 0, patch).astype(np.float64) * kernel, t("walk.products")),
    )  # fmt: skip
    if bool(np.isnan(patch).any()):
        st.caption(t("walk.outside"))
    lines = [(t("walk.input_sum", channel=step.channels[int(k)]), "", float(sums[k])) for k in order[:_TOLD]]
    _sum(lines, [float(sums[k]) for k in order[_TOLD:]], step)


def _sum(lines: list[tuple[str, str, float]], others: list[float], step: "Arithmetic", name: str = "sum") -> None:
    """Summands, the small ones together, the bias, the total."""
    if others:
        lines.append((t("walk.others", count=len(others)), "", sum(others)))
    if step.bias is not None:
        words = t("walk.shift" if step.kind == "normalisation" else "walk.bias")
        lines.append((words, "", step.bias))
    sum_table(lines, (t("walk.total"), step.total), name=name)


def _pooling(inside: Inside, step: "Arithmetic") -> None:
    import numpy as np

    if step.patches is None:
        _plain(inside, step)
        return
    patch = step.patches[0]
    row, column = np.unravel_index(int(np.nanargmax(patch)), patch.shape)
    framed = (int(row), int(column)) if step.kind == "max pooling" else None
    in_a_row(number_grid(patch, t("walk.patch"), framed), "→", f"<strong>{number(step.total)}</strong>")
    formula(f"{step.formula} = {number(step.total)}")


def _global_pooling(inside: Inside, step: "Arithmetic") -> None:
    """The mean of the whole map: the pointed cell and all others."""
    if step.patches is None or step.through is None:
        _plain(inside, step)
        return
    cells_, own = step.patches[0], float(step.patches[0][step.through.row, step.through.column])
    whole = float(cells_.sum(dtype="float64"))
    if max(cells_.shape) <= 16:
        in_a_row(number_grid(cells_, t("walk.map"), (step.through.row, step.through.column)))
    lines = [
        (t("walk.own_cell", row=step.through.row, column=step.through.column), f"{number(own)} / {cells_.size}",
         own / cells_.size),
        (t("walk.other_cells", count=cells_.size - 1), f"{number(whole - own)} / {cells_.size}",
         (whole - own) / cells_.size),
    ]  # fmt: skip
    sum_table(lines, (t("walk.mean"), step.total))


def _terms(inside: Inside, step: "Arithmetic", name: str = "sum") -> None:
    """Value x weight of the strongest inputs, the others together, the bias: the sum is the value."""
    ahead = [term for term in step.terms if term.source == step.through]
    told = [*ahead, *(term for term in step.terms if term.source != step.through)][:_TOLD]
    rest = [term.product for term in step.terms if all(term is not one for one in told)]
    lines = [
        (f"{'▸ ' if term in ahead and len(step.terms) > 1 else ''}{_source_words(inside, term)}",
         f"{number(term.value)} × {number(term.weight)}", term.product)
        for term in told
    ]  # fmt: skip
    _sum(lines, rest, step, name)


def _source_words(inside: Inside, term: "Term") -> str:
    """Where a number comes from: behind pooling and flattening, the map that it was."""
    from core.inside.walk import map_behind

    found = map_behind(inside.recording, term.source) if term.source is not None else None
    if found is None:
        return term.words
    place, pooled = found
    if pooled:
        return t("walk.pooled_map", channel=place.channel, layer=place.layer)
    return t("walk.place", layer=place.layer, channel=place.channel, row=place.row, column=place.column)


def _normalisation(inside: Inside, step: "Arithmetic") -> None:
    formula(f"{step.formula} = {number(step.total)}")
    _terms(inside, step)


def _activation(_inside: Inside, step: "Arithmetic") -> None:
    before = step.terms[0].value if step.terms else step.value
    formula(f"{step.formula}:  {number(before)}  →  {number(step.total)}")


def _product(_inside: Inside, step: "Arithmetic") -> None:
    formula(" × ".join(number(term.value) for term in step.terms) + f" = {number(step.total)}")


def _plain(_inside: Inside, step: "Arithmetic") -> None:
    fact_list([(t("walk.value"), number(step.value))])


_SHOW: dict[str, Callable[[Inside, "Arithmetic"], None]] = {
    "convolution": _convolution,
    "max pooling": _pooling,
    "average pooling": _pooling,
    "global pooling": _global_pooling,
    "normalisation": _normalisation,
    "activation": _activation,
    "addition": _terms,
    "linear": _terms,
    "enlargement": _terms,
    "product": _product,
}
