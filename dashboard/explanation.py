"""Which heatmap is shown: by which method, at which layer, of each label or against one. Slow ones only when asked for."""

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from core.explaining.registry import DEFAULT_METHOD, METHODS, find_method
from dashboard import cache, state
from dashboard.answer import Answer
from dashboard.explanation_run import ExplanationRun, Question
from dashboard.texts import t

if TYPE_CHECKING:
    from core.explaining.explanation import Explanation
    from core.scan import Scan

_LOOK_SECONDS = 0.7
_EACH = ""


def explained(scan: "Scan", frame: int, answer: Answer) -> Answer:
    """The choices, and the answer with the heatmaps that were chosen; those of the analysis until they are there."""
    method = _method_choice(answer)
    layer, against = _place_choices(answer)
    question = Question(frame, method, layer, against, approximate=True)
    found = None if question.is_default else _found(scan, answer, question)
    _words(method, found)
    return answer if found is None else replace(answer, analysis=replace(answer.analysis, heatmaps=found.heatmaps))


def _method_choice(answer: Answer) -> str:
    from core.explaining.explanation import is_quick

    quick = {method.name for method in METHODS if is_quick(answer.model, method)}
    ranked = sorted(METHODS, key=lambda method: method.name not in quick)
    titles = {m.name: m.title if m.name in quick else t("explain.slow", title=m.title) for m in ranked}
    state.prefer(state.METHOD, DEFAULT_METHOD)
    chosen: str = st.selectbox(
        t("explain.method"), list(titles), format_func=lambda name: titles[name], key=state.METHOD,
        help=t("explain.method_help"),
    )  # fmt: skip
    return chosen


def _place_choices(answer: Answer) -> tuple[str | None, str | None]:
    """The layer and the label to compare with, None where they stand at their defaults."""
    from core.explaining.explanation import explainable_layers

    card, layers = answer.model.card, explainable_layers(answer.model)
    words = {_EACH: t("explain.each"), **{label.code: label.words for label in card.labels}}
    own = card.target_layer
    with st.expander(t("explain.more")):
        layer = st.selectbox(
            t("explain.layer"), layers, key=state.choice(state.MAP_LAYER, card.id), help=t("explain.layer_help"),
            format_func=lambda name: t("explain.layer_default", name=name) if name == own else name,
        )  # fmt: skip
        against = st.selectbox(
            t("explain.against"), list(words), key=state.choice(state.AGAINST, card.id),
            format_func=lambda code: words[code], disabled=len(card.labels) < 2,
        )  # fmt: skip
    return None if layer == own else layer, against or None


def _found(scan: "Scan", answer: Answer, question: Question) -> "Explanation | None":
    from core.explaining.explanation import is_quick

    try:
        if is_quick(answer.model, find_method(question.method), question.layer):
            weights = answer.model.card.weights_sha256
            return cache.explanation(scan.digest, weights, question, scan, answer.model)
    except RadLensError as exc:
        st.text(str(exc))
        return None
    return _slow(scan, answer, question)


def _slow(scan: "Scan", answer: Answer, question: Question) -> "Explanation | None":
    key = (answer.model.card.weights_sha256, repr(question))
    run = state.explanation_run(key)
    if run is not None and run.running:
        _follow(run)
        return None
    if run is not None and run.explanation is not None:
        return run.explanation
    if run is not None:
        st.text(run.problem or t("explain.stopped"))
    if st.button(t("explain.start", title=find_method(question.method).title), help=t("explain.start_help")):
        state.keep_explanation_run(key, ExplanationRun(answer.model, scan, question))
        st.rerun()
    st.caption(t("explain.until_then"))
    return None


def _follow(run: ExplanationRun) -> None:
    @st.fragment(run_every=_LOOK_SECONDS)
    def progress() -> None:
        if not run.running:
            st.rerun()
        st.progress(run.share, t("explain.progress", share=f"{run.share:.0%}"))
        st.button(t("explain.stop"), on_click=run.cancel)

    progress()


def _words(name: str, found: "Explanation | None") -> None:
    """What the method does and what to know of its maps."""
    method = find_method(name)
    told = [method.about]
    if found is not None:
        told += found.notes
        if next(iter(found.heatmaps.values())).per_scan:
            told.append(t("explain.per_scan"))
    st.caption(" ".join(told), help=method.source)
