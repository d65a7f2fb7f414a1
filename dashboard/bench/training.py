"""Live training: the article's network learns in front of one's eyes; runs with other settings stand beside each other."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ConfigurationError
from dashboard import state
from dashboard.charts import epochs_spec
from dashboard.inside.numbers import number
from dashboard.inside.opening import Inside
from dashboard.texts import t
from dashboard.watched_run import WatchedRun

if TYPE_CHECKING:
    from core.explaining.perturbation import Watch
    from core.inside.live_training import Lesson, Snapshot

_LOOK_SECONDS = 0.7
_FINDINGS = ("cardiomegaly", "effusion", "mass", "pneumonia")
_QUESTION = ("live-training",)
_MOST_RUNS = 8


class LearningRun(WatchedRun["Snapshot"]):
    """``snapshots`` fill up while the network learns."""

    def __init__(self, lesson: "Lesson") -> None:
        self.lesson = lesson
        self.snapshots: list[Snapshot] = []
        self.is_listed = False
        super().__init__(_QUESTION[0], self._learn)

    def _learn(self, watch: "Watch") -> "Snapshot":
        from core.inside.live_training import learn

        for snapshot in learn(self.lesson, watch=watch):
            self.snapshots.append(snapshot)
        return self.snapshots[-1]


def training_bench(_inside: Inside) -> None:
    """Settings on the left, the course on the right, the runs so far below."""
    st.caption(t("train.caption"))
    left, right = st.columns([2, 3], gap="large")
    with left:
        lesson = _settings()
        run = state.watched_run(_QUESTION)
        working = run is not None and run.running
        if st.button(t("train.start"), type="primary", disabled=working or lesson is None, icon=":material/school:"):
            state.keep_watched_run(_QUESTION, LearningRun(lesson))  # type: ignore[arg-type]
            st.rerun()
    with right:
        if isinstance(run, LearningRun):
            _list(run)
            _follow(run)
    _runs_so_far()


def _settings() -> "Lesson | None":
    from core.inside.live_training import Lesson

    finding = st.selectbox(t("train.finding"), _FINDINGS, format_func=str.capitalize, key=_key("finding"))
    for name, start in (("first", 32), ("second", 64), ("kernel", 3), ("epochs", 5)):
        state.prefer(_key(name), start)
    first = st.select_slider(t("train.first"), (2, 4, 8, 16, 32, 64), key=_key("first"))
    second = st.select_slider(t("train.second"), (2, 4, 8, 16, 32, 64, 128), key=_key("second"))
    side = st.select_slider(t("train.kernel"), (3, 5, 7), key=_key("kernel"))
    epochs = st.slider(t("train.epochs"), 1, 10, key=_key("epochs"))
    seed = st.number_input(t("train.seed"), 0, 9999, key=_key("seed"), help=t("train.seed_help"))
    try:
        return Lesson(finding, first, second, side, epochs, seed=int(seed))
    except ConfigurationError as exc:
        st.text(str(exc))
        return None


def _follow(run: LearningRun) -> None:
    running = run.running

    @st.fragment(run_every=_LOOK_SECONDS if running else None)
    def course() -> None:
        if run.running:
            st.progress(run.share, t("train.progress", share=f"{run.share:.0%}"))
            st.button(t("train.stop"), on_click=run.cancel)
        elif run.problem:
            st.text(run.problem)
        if run.snapshots:
            _show(list(run.snapshots))
        if running and not run.running:
            st.rerun()

    course()


def _show(snapshots: "list[Snapshot]") -> None:
    """The newest filters and maps, the loss, the accuracy after each epoch."""
    from core.inside.feature_maps import grid_png
    from core.inside.filters import kernels_png

    last = snapshots[-1]
    measured = [snapshot for snapshot in snapshots if snapshot.accuracy is not None]
    first, second, third = st.columns(3)
    first.metric(t("train.loss"), f"{last.loss:.3f}")
    accuracy = measured[-1].accuracy if measured else None
    second.metric(t("train.accuracy"), "–" if accuracy is None else f"{accuracy:.0%}", help=t("train.accuracy_help"))
    third.metric(t("train.epoch"), str(last.epoch))
    spec = epochs_spec(
        [snapshot.step for snapshot in snapshots], {t("train.loss"): [snapshot.loss for snapshot in snapshots]},
        (t("train.step"), t("train.loss")),
    )  # fmt: skip
    st.vega_lite_chart(spec={**spec, "height": 200}, alt=t("train.course"), width="stretch")
    left, right = st.columns(2)
    columns = min(8, len(last.filters))
    left.image(
        kernels_png(last.filters[:, None], columns=columns),
        caption=t("train.filters"),
        output_format="PNG",
        width="stretch",
    )
    right.image(grid_png(last.maps, columns=columns), caption=t("train.maps"), output_format="PNG", width="stretch")


def _list(run: LearningRun) -> None:
    """A line for the table of runs, once it is through."""
    if run.result is None or run.is_listed:
        return
    run.is_listed = True
    lesson, last = run.lesson, run.result
    line = {
        t("train.finding"): lesson.finding, t("train.first"): lesson.first_filters, t("train.second"): lesson.second_filters,
        t("train.kernel"): lesson.kernel, t("train.epochs"): lesson.epochs, t("train.parameters"): last.parameters,
        t("train.accuracy"): f"{last.accuracy or 0:.0%}", t("train.seconds"): number(round(last.seconds, 1)),
    }  # fmt: skip
    state.choose(state.LIVE_RUNS, [*state.chosen(state.LIVE_RUNS, []), line][-_MOST_RUNS:])


def _runs_so_far() -> None:
    runs = state.chosen(state.LIVE_RUNS, [])
    if runs:
        st.markdown(f"**{t('train.runs')}**")
        st.dataframe(runs, hide_index=True, width="stretch")
        st.caption(t("train.runs_caption"))


def _key(name: str) -> str:
    return f"{state.LIVE}:{name}"
