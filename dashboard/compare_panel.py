"""Two methods, labels, layers or models side by side, and where they disagree."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import RadLensError
from core.explaining.registry import DEFAULT_METHOD, METHODS, find_method
from dashboard import cache, state
from dashboard.answer import Answer
from dashboard.explanation_run import Question
from dashboard.on_demand import network_is_there, on_demand
from dashboard.texts import t
from dashboard.viewer.comparison import show_comparison

if TYPE_CHECKING:
    from core.explaining.comparing import Side
    from core.explaining.explanation import Explanation
    from core.explaining.perturbation import Watch
    from core.models.card import ModelCard
    from core.models.loading import Model
    from core.scan import Scan

_KINDS = {
    "methods": "compare.methods",
    "labels": "compare.labels",
    "layers": "compare.layers",
    "models": "compare.models",
}
_OTHER_METHOD = "layercam"


@dataclass(frozen=True, slots=True)
class _Picked:
    """One of the two heatmaps, as chosen; ``layer`` None for the card's own."""

    model: "Model"
    label: str
    method: str = DEFAULT_METHOD
    layer: str | None = None

    @property
    def title(self) -> str:
        """What tells it from others of the same scan."""
        card = self.model.card
        words = next(label.words for label in card.labels if label.code == self.label).partition(" (")[0]
        layer = f" · {self.layer}" if self.layer else ""
        return f"{words} · {find_method(self.method).title}{layer} · {card.title}"


def compare_panel(scan: "Scan", frame: int, answer: Answer) -> None:
    """Folded away until asked for."""
    with st.expander(t("compare.title"), on_change="rerun") as panel:
        if not panel.open:
            return
        st.caption(t("compare.caption"))
        if not network_is_there():
            return
        picked = _choices(scan, answer)
        if picked is None:
            return
        try:
            sides = [_side(scan, frame, one) for one in picked]
        except RadLensError as exc:
            st.text(str(exc))
            return
        if sides[0] is not None and sides[1] is not None:
            _show(scan, frame, picked, (sides[0], sides[1]))


def _choices(scan: "Scan", answer: Answer) -> tuple[_Picked, _Picked] | None:
    key = state.choice(state.COMPARED, "kind")
    state.prefer(key, "methods")
    kind = st.radio(t("compare.kind"), list(_KINDS), format_func=lambda name: t(_KINDS[name]), key=key, horizontal=True)
    label = answer.foremost_label
    if kind != "labels":
        label = _select("compare.label", _labels(answer.model.card), answer, label, "label")
    base = _Picked(answer.model, label)
    if kind == "models":
        return _two_models(scan, answer, base)
    names = {"methods": _methods, "labels": lambda a: _labels(a.model.card), "layers": _layers}[kind](answer)
    if len(names) < 2:
        st.text(t("compare.one_only"))
        return None
    field = {"methods": "method", "labels": "label", "layers": "layer"}[kind]
    preferred = label if kind == "labels" else next(iter(names))
    columns = st.columns(2)
    with columns[0]:
        first = _select("compare.first", names, answer, preferred, "first", kind)
    with columns[1]:
        # Grad-CAM is the evidence map's positive part: nothing to see.
        other = _OTHER_METHOD if kind == "methods" else next(name for name in names if name != preferred)
        second = _select("compare.second", names, answer, other, "second", kind)
    return _with(base, field, first), _with(base, field, second)


def _with(base: _Picked, field: str, value: str) -> _Picked:
    own_layer = field == "layer" and value == base.model.card.target_layer
    changed: dict[str, Any] = {field: None if own_layer else value}
    return replace(base, **changed)


def _two_models(scan: "Scan", answer: Answer, base: _Picked) -> tuple[_Picked, _Picked] | None:
    from core.explaining.comparing import same_label
    from core.models.scope import mismatch

    own = answer.model.card
    others = {card.id: card for card in cache.catalogue().cards.values() if card.id != own.id}
    ranked = sorted(others, key=lambda identifier: mismatch(others[identifier], scan) is not None)
    if not ranked:
        st.text(t("compare.one_only"))
        return None
    titles = {identifier: others[identifier].title for identifier in ranked}
    columns = st.columns(2)
    with columns[0]:
        chosen = _select("compare.second", titles, answer, ranked[0], "second", "models")
    card = others[chosen]
    with columns[1]:
        matching = same_label(own, card, base.label) or card.headline
        label = _select("compare.second_label", _labels(card), answer, matching, "label", card.id, base.label)
    if (why := mismatch(card, scan)) is not None:
        st.text(why)
    try:
        return base, _Picked(cache.model(card.id), label)
    except RadLensError as exc:
        st.text(str(exc))
        return None


def _select(key: str, names: dict[str, str], answer: Answer, preferred: str, *within: str) -> str:
    kept = state.choice(state.COMPARED, answer.model.card.id, *within)
    state.prefer(kept, preferred)
    chosen: str = st.selectbox(t(key), list(names), format_func=lambda code: names[code], key=kept)
    return chosen


def _labels(card: "ModelCard") -> dict[str, str]:
    return {label.code: label.words for label in card.labels}


def _methods(_: Answer) -> dict[str, str]:
    return {method.name: method.title for method in METHODS}


def _layers(answer: Answer) -> dict[str, str]:
    from core.explaining.explanation import explainable_layers

    return {name: name for name in explainable_layers(answer.model)}


def _side(scan: "Scan", frame: int, picked: _Picked) -> "Side | None":
    """The heatmap, None while it is not there or where there is nothing to see; then the page says why."""
    from core.explaining.comparing import Side

    found = _explanation(scan, frame, picked)
    if found is None:
        return None
    heatmap = found.heatmaps[picked.label]
    if heatmap.absent:
        st.text(f"{picked.title}: {heatmap.absent}")
        return None
    return Side(heatmap, found.letterbox)


def _explanation(scan: "Scan", frame: int, picked: _Picked) -> "Explanation | None":
    """At once where one pass is enough, else when its button is pressed."""
    from core.explaining.explanation import explain, is_quick

    method = find_method(picked.method)
    question = Question(frame, picked.method, picked.layer, None, approximate=True)
    weights = picked.model.card.weights_sha256
    if is_quick(picked.model, method, picked.layer):
        return cache.explanation(scan.digest, weights, question, scan, picked.model)

    def work(watch: "Watch") -> "Explanation":
        return explain(picked.model, scan, watch=watch, **question.arguments)

    return on_demand(("compare", weights, repr(question)), t("compare.start", title=method.title), work)


def _show(scan: "Scan", frame: int, picked: tuple[_Picked, _Picked], sides: "tuple[Side, Side]") -> None:
    from core.explaining.comparing import compare

    found = compare(*sides, scan.geometry.orientation)
    st.markdown(f"**{found.sentence()}**")
    titles = picked[0].title, picked[1].title
    show_comparison(scan, frame, sides, titles, found, f"compare-{scan.digest[:24]}")
    how = "compare.how_signed" if found.is_signed else "compare.how_positive"
    st.caption(t(how, distance=f"{100 * found.distance:.0f} %"))
