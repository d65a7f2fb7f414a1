"""The scores of every slice of a stack: a run in the background whose chart stands under the picture."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.packing import strip_message
from dashboard.slices import SliceRun
from dashboard.texts import t
from dashboard.viewer.viewer import case_id, send

if TYPE_CHECKING:
    from dashboard.answer import Answer

_LOOK_SECONDS = 1.0


def slice_scores(case: state.Case, answer: "Answer") -> None:
    """A button that starts the run, then its progress, with a way to stop it."""
    scan, weights = case.scan, answer.model.card.weights_sha256
    if scan is None or scan.frame_count < 2:
        return
    anyway = state.chosen(state.choice(state.SHOWN_ANYWAY, weights), otherwise=False)
    of = f"{weights}:anyway" if anyway else weights
    run = state.slice_run(of)
    if run is None:
        if not st.button(t("slices.start"), help=t("slices.help")):
            return
        run = SliceRun(answer.model, scan, state.chosen_frame(scan.frame_count), cache.runner(), anyway=anyway)
        state.keep_slice_run(of, run)
    _follow(case, answer, run)


def _follow(case: state.Case, answer: "Answer", run: SliceRun) -> None:
    total, name = run.scores.shape[1], case_id(case)
    labels = [{"code": label.code, "words": label.words} for label in answer.model.card.labels]
    running = run.running

    @st.fragment(run_every=_LOOK_SECONDS if running else None)
    def chart() -> None:
        send(strip_message(name, labels, run.scores, run.done), f"strip-{name}")
        if run.running:
            st.progress(run.done / total, t("slices.progress", done=run.done, total=total))
            st.button(t("slices.cancel"), on_click=run.cancel)
        elif running:
            # The page stops looking.
            st.rerun()
        elif run.problem:
            st.text(run.problem)
        elif run.done < total:
            st.caption(t("slices.stopped", done=run.done, total=total))
        if run.held_back:
            st.caption(t("slices.held_back", count=run.held_back))

    chart()
