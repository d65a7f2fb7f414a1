"""Ablation: filters of the real network silenced or swapped, on a copy that only this reader sees."""

import hashlib
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.inside.changes import change_table, changed_analysis
from dashboard.inside.opening import Inside, label_choice, layer_choice
from dashboard.texts import t

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.inside.altering import Change

_SILENCED, _FIRST, _SECOND = "silenced", "swap_first", "swap_second"
_SIDE = 420


def ablation_bench(inside: Inside) -> None:
    """Choose filters, see scores and heatmap move, take it back."""
    st.caption(t("ablation.caption"))
    left, right = st.columns([2, 3], gap="large")
    with left:
        layer = layer_choice(inside, inside.model.convolutions, "ablation")
        _filters(inside, layer)
        changes = _changes(inside)
        _told(changes)
        st.button(t("ablation.undo"), on_click=_undo, args=(inside,), disabled=not changes, icon=":material/undo:")
    with right:
        try:
            after = changed_analysis(inside, changes)
        except RadLensError as exc:
            st.text(str(exc))
            return
        change_table(inside, after)
        _fingerprints(inside, after)
    label = label_choice(inside, "ablation")
    _heatmaps(inside, after, label)


def fingerprint(analysis: "Analysis") -> str:
    """Eight characters that change with any bit of the logits or the heatmaps."""
    digest = hashlib.sha256(repr(list(analysis.prediction.logits.items())).encode())
    for heatmap in analysis.heatmaps.values():
        digest.update(heatmap.evidence.tobytes())
    return digest.hexdigest()[:8]


def _filters(inside: Inside, layer: str) -> None:
    """The choices for one layer; those of other layers stay as they are."""
    count = inside.facts[layer].shape[0]
    st.multiselect(t("ablation.silence"), range(count), key=_key(_SILENCED, layer), placeholder=t("ablation.none"))
    first, second = st.columns(2)
    options = [None, *range(count)]
    for column, name in ((first, _FIRST), (second, _SECOND)):
        column.selectbox(
            t(f"ablation.{name}"), options, key=_key(name, layer),
            format_func=lambda one: t("ablation.none") if one is None else str(one),
        )  # fmt: skip


def _changes(inside: Inside) -> "dict[str, Change]":
    """What was chosen for every convolution."""
    from core.inside.altering import Change

    found = {}
    for layer in inside.model.convolutions:
        silenced = frozenset(state.chosen(_key(_SILENCED, layer), ()))
        pair = state.chosen(_key(_FIRST, layer), None), state.chosen(_key(_SECOND, layer), None)
        swapped = ((pair[0], pair[1]),) if None not in pair and pair[0] != pair[1] else ()
        if silenced or swapped:
            found[layer] = Change(silenced, swapped)
    return found


def _told(changes: "dict[str, Change]") -> None:
    """All changes in words, also those of other layers."""
    lines = []
    for layer, change in changes.items():
        if change.silenced:
            lines.append(t("ablation.line_silenced", layer=layer, names=", ".join(map(str, sorted(change.silenced)))))
        lines += [t("ablation.line_swapped", layer=layer, first=a, second=b) for a, b in change.swapped]
    st.text("\n".join(lines) or t("ablation.nothing"))


def _undo(inside: Inside) -> None:
    for layer in inside.model.convolutions:
        state.choose(_key(_SILENCED, layer), [])
        state.choose(_key(_FIRST, layer), None)
        state.choose(_key(_SECOND, layer), None)


def _fingerprints(inside: Inside, after: "Analysis") -> None:
    """That what is back after an undo is the same bits."""
    real, now = fingerprint(inside.answer.analysis), fingerprint(after)
    st.caption(t("ablation.same" if real == now else "ablation.differs", real=real, now=now))


def _heatmaps(inside: Inside, after: "Analysis", label: str) -> None:
    from dashboard.inside.walk import heat_png

    first, second, _ = st.columns([2, 2, 1])
    first.image(
        heat_png(inside, inside.answer.analysis, label, _SIDE), caption=t("ablation.before"), output_format="PNG",
        width="stretch",
    )  # fmt: skip
    second.image(
        heat_png(inside, after, label, _SIDE), caption=t("ablation.after"), output_format="PNG", width="stretch"
    )


def _key(what: str, layer: str) -> str:
    return state.choice(state.INSIDE, "ablation", what, layer)
