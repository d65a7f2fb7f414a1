"""The only file that names st.session_state keys: which case is open, which choices the reader made, what was noted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import ModelError, ScanError
from dashboard import cache
from dashboard.frames import Offer

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.explaining.asking import Asked
    from core.models.checking import CompatibilityReport
    from core.reading.guard import Report
    from core.reading.study import LeftOut
    from core.scan import Scan
    from dashboard.explanation_run import ExplanationRun
    from dashboard.slices import SliceRun
    from dashboard.trust_run import TrustRun
    from dashboard.watched_run import WatchedRun

_CASE = "case"
_NOTES = "notes"
_FORMER = "former_case"
_UPLOADS = "upload_number"
_VISITED = "visited"
_MODELS = "models_chosen_by_hand"
_CHECKED, _ADDED, _WEIGHTS = "checked_model", "added_model", "weights_number"
_INACTIVE, SHOWN_ANYWAY, SET_LEVEL = "inactive_model", "shown_anyway", "set_level"

_FRAME, _SLICE_RUN, _EXPLANATION_RUN = "frame", "slice_run", "explanation_run"
_TRUST_RUN, TRUST_LABEL = "trust_run", "trust_label"
_WATCHED_RUN, _ASKED = "watched_run", "asked"
ASK_FILL, ASK_LABEL, COMPARED = "ask_fill", "ask_label", "compared"
OF_LABEL, THRESHOLD, PREVALENCE = "of_label", "threshold", "prevalence"
METHOD, MAP_LAYER, AGAINST = "method", "map_layer", "against"
LAYER, ORDER, SCALE, CHANNEL = "layer", "order", "scale", "channel"
# Which part of Network and of Bench is shown, and all choices of a case inside the network.
VIEW, BENCH, INSIDE, LESSON = "view", "bench", "inside", "lesson"
# The settings of the live training and the table of its runs belong to no case.
LIVE, LIVE_RUNS = "live_training", "live_training_runs"
SAMPLE, SERIES, FOLDER, BY_HAND, READ_BY = "sample", "series", "folder", "by_hand", "read_by"
# What the reader chose stays when the page changes; Streamlit forgets a widget that is not drawn.
_KEPT = (LAYER, VIEW, BENCH, LESSON, LIVE, INSIDE, ORDER, SCALE, CHANNEL, FOLDER, METHOD, MAP_LAYER, AGAINST, TRUST_LABEL,
         ASK_FILL, ASK_LABEL, COMPARED, SET_LEVEL, OF_LABEL, THRESHOLD, PREVALENCE)  # fmt: skip
_RUNS = (_SLICE_RUN, _EXPLANATION_RUN, _TRUST_RUN, _WATCHED_RUN)
_OF_THE_CASE = (_FRAME, *_RUNS, SERIES, LAYER, CHANNEL, INSIDE, READ_BY, MAP_LAYER, AGAINST, TRUST_LABEL, ASK_LABEL, _ASKED,
                COMPARED, SHOWN_ANYWAY)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is open: the scans of one upload, or the sentence that says why there are none.

    ``title`` may be a file's name: shown literally. ``offer`` lets the browser fetch the frames of the scan in front.
    """

    title: str
    scans: "tuple[Scan, ...]" = field(default=(), repr=False)
    left_out: "tuple[LeftOut, ...]" = field(default=(), repr=False)
    front: int = 0
    offer: Offer | None = field(default=None, repr=False)
    refusal: str | None = None
    simulated: bool = False

    @property
    def scan(self) -> "Scan | None":
        """The scan in front."""
        return self.scans[self.front] if self.scans else None

    @property
    def key(self) -> str:
        """The digest of the scan in front: what choices, notes and caches go by."""
        return self.scans[self.front].digest if self.scans else ""


def choice(name: str, *within: str) -> str:
    """The key of a choice that belongs to the open case, or to a part of it.

    A widget that kept its key over two cases would go on showing the former one's value.
    """
    case = current_case()
    return ":".join((name, case.key[:16] if case else "", *within))


def keep_choices() -> None:
    """Hold on to the choices that this run's page does not draw."""
    for key in _chosen(_KEPT):
        st.session_state[key] = st.session_state[key]


def _chosen(names: tuple[str, ...]) -> list[str]:
    return [key for key in map(str, st.session_state) if key.partition(":")[0] in names]


def prefer(key: str, value: object) -> None:
    """What a choice stands at until the reader makes it. A widget must not be given the same as its own default."""
    if key not in st.session_state:
        st.session_state[key] = value


def chosen(key: str, otherwise: Any) -> Any:
    """What a choice of that key stands at, wherever its widget is."""
    return st.session_state.get(key, otherwise)


def choose(key: str, value: object) -> None:
    """Make a choice in the reader's name, before its widget is drawn: they pointed at it elsewhere."""
    st.session_state[key] = value


def reported(key: str, name: str) -> Any:
    """What an element of that key told in this run; the browser may say anything."""
    return st.session_state[key].get(name)


def current_case() -> Case | None:
    """The open case, if any."""
    case: Case | None = st.session_state.get(_CASE)
    return case


def open_files(files: Sequence[tuple[str, bytes]], title: str, report: "Report | None" = None) -> None:
    """Forget the former case, then read these files (name, bytes). What cannot be read becomes a case with its refusal."""
    from core.reading import read_study

    forget_case()
    try:
        study = read_study(files, report)
    except ScanError as exc:
        st.session_state[_CASE] = Case(title, refusal=str(exc))
        return
    _put_in_front(Case(title, study.scans, study.left_out), 0)


def open_sample(identifier: str) -> None:
    """Open a sample case by id; an unknown id opens nothing."""
    from core.reading.decoding import decode_scan
    from core.samples import find_sample

    sample = find_sample(identifier)
    if sample is None:
        return
    forget_case()
    try:
        scan = decode_scan(sample.load())
    except ScanError as exc:
        st.session_state[_CASE] = Case(sample.title, refusal=str(exc))
        return
    _put_in_front(Case(sample.title, (scan,), simulated=sample.simulated), 0)


def _put_in_front(case: Case, series: int) -> None:
    scan = case.scans[series]
    st.session_state[_CASE] = replace(case, front=series, offer=Offer(scan) if scan.frame_count > 1 else None)


def show_chosen_series() -> None:
    """Bring the scan of the case that the reader picked to the front."""
    case, chosen = current_case(), st.session_state.get(SERIES)
    if case is not None and isinstance(chosen, int) and chosen < len(case.scans):
        forget_choices()
        _put_in_front(case, chosen)


def open_chosen_sample() -> None:
    """Open the sample that the reader picked in the list."""
    chosen = st.session_state.get(SAMPLE)
    if chosen:
        open_sample(chosen)


def first_visit() -> bool:
    """True once a session, when the first case is to be opened."""
    first = _VISITED not in st.session_state
    st.session_state[_VISITED] = True
    return first


def chosen_frame(frame_count: int) -> int:
    """The frame that the reader looks at, counted from 0; a stack opens in its middle."""
    chosen = st.session_state.get(choice(_FRAME), first_frame(frame_count))
    return min(max(int(chosen), 0), frame_count - 1)


def first_frame(frame_count: int) -> int:
    """The frame that a scan opens with."""
    return frame_count // 2 if frame_count > 1 else 0


def follow_viewer(key: str) -> None:
    """The viewer of that key says on which frame the reader came to rest; anything but a number is ignored."""
    frame = st.session_state[key].get("frame")
    if isinstance(frame, int | float) and math.isfinite(frame):
        st.session_state[choice(_FRAME)] = int(frame)


def slice_run(weights: str) -> "SliceRun | None":
    """The run through all slices of the open case with this model, if it was started."""
    run: SliceRun | None = st.session_state.get(choice(_SLICE_RUN, weights))
    return run


def keep_slice_run(weights: str, run: "SliceRun") -> None:
    """Hold on to a run for as long as its case is open."""
    st.session_state[choice(_SLICE_RUN, weights)] = run


def _keep_run(name: str, question: tuple[str, ...], run: "ExplanationRun | TrustRun | WatchedRun[Any]") -> None:
    for key in _chosen((name,)):
        st.session_state[key].cancel()
    st.session_state[choice(name, *question)] = run


def explanation_run(question: tuple[str, ...]) -> "ExplanationRun | None":
    """The making of the heatmap that answers this question about the open case, if it was started."""
    run: ExplanationRun | None = st.session_state.get(choice(_EXPLANATION_RUN, *question))
    return run


def keep_explanation_run(question: tuple[str, ...], run: "ExplanationRun") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(_EXPLANATION_RUN, question, run)


def trust_run(question: tuple[str, ...]) -> "TrustRun | None":
    """The checks of this heatmap of the open case (weights, frame, label), if they were started."""
    run: TrustRun | None = st.session_state.get(choice(_TRUST_RUN, *question))
    return run


def keep_trust_run(question: tuple[str, ...], run: "TrustRun") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(_TRUST_RUN, question, run)


def watched_run(question: tuple[str, ...]) -> "WatchedRun[Any] | None":
    """The work that answers this question about the open case, if it was started."""
    run: WatchedRun[Any] | None = st.session_state.get(choice(_WATCHED_RUN, *question))
    return run


def keep_watched_run(question: tuple[str, ...], run: "WatchedRun[Any]") -> None:
    """Hold on to it for as long as its case is open; others that still work give way."""
    _keep_run(_WATCHED_RUN, question, run)


def asked(question: tuple[object, ...]) -> "Asked | None":
    """The answer to the question about a marked place that was asked last, if it is this one."""
    kept: tuple[tuple[object, ...], Asked] | None = st.session_state.get(choice(_ASKED))
    return kept[1] if kept is not None and kept[0] == question else None


def keep_asked(question: tuple[object, ...], answer: "Asked") -> None:
    """Hold on to an answer until the next one; of the marked place nothing else is kept."""
    st.session_state[choice(_ASKED)] = (question, answer)


def note_key(case_key: str) -> str:
    """The key of the notes field of a case."""
    return f"notes-{case_key}"


def forget_case() -> None:
    """No result of the former case stays; the reader's notes on it do."""
    case = st.session_state.pop(_CASE, None)
    if case is not None and case.key:
        st.session_state[_FORMER] = (case.key, case.title)
    forget_choices()


def forget_choices() -> None:
    """The choices that belonged to the scan in front; work on it in the background ends."""
    for key in _chosen(_OF_THE_CASE):
        former = st.session_state.pop(key, None)
        if hasattr(former, "cancel"):
            former.cancel()


def close_case() -> None:
    """Nothing is open any more, and nothing of it is kept in memory; the list of samples shows no choice."""
    forget_case()
    cache.forget_session()
    st.session_state.pop(SAMPLE, None)


def former_case() -> tuple[str, str] | None:
    """(key, title) of the case that was open before, if there was one."""
    former: tuple[str, str] | None = st.session_state.get(_FORMER)
    return former


def notes(case_key: str) -> str:
    """The reader's notes on a case."""
    found: str = st.session_state.get(_NOTES, {}).get(case_key, "")
    return found


def keep_notes(case_key: str) -> None:
    """Keep what stands in the notes field of a case, for this session."""
    st.session_state.setdefault(_NOTES, {})[case_key] = st.session_state[note_key(case_key)]


def model_by_hand(case_key: str) -> str | None:
    """The model that the reader chose for a case that fits none by its tags."""
    chosen: str | None = st.session_state.get(_MODELS, {}).get(case_key)
    return chosen


def choose_model_by_hand(case_key: str, model_id: str) -> None:
    """Read a case with this model although its tags do not fit."""
    st.session_state.setdefault(_MODELS, {})[case_key] = model_id


def take_chosen_reader(key: str, case_key: str) -> None:
    """Read a case with the model that the reader picked in the widget of that key, if it works."""
    if problem := try_model_by_hand(case_key, st.session_state[key]):
        del st.session_state[key]
        st.session_state[_INACTIVE] = problem


def try_model_by_hand(case_key: str, model_id: str) -> str | None:
    """Read a case with this model once it has loaded and passed its self-test; else why not, and the former stays active."""
    try:
        cache.model(model_id)
    except ModelError as exc:
        return str(exc)
    choose_model_by_hand(case_key, model_id)
    return None


def inactive_model() -> str | None:
    """Why the model that was picked last could not become active, said once."""
    problem: str | None = st.session_state.pop(_INACTIVE, None)
    return problem


def checked_model() -> "CompatibilityReport | str | None":
    """What the reader's own weights turned out to be, or the sentence that refuses them."""
    found: CompatibilityReport | str | None = st.session_state.get(_CHECKED)
    return found


def keep_checked_model(found: "CompatibilityReport | str") -> None:
    """Hold on to a report or a refusal until the next weights come."""
    st.session_state[_CHECKED] = found
    st.session_state.pop(_ADDED, None)


def finish_own_model(title: str) -> None:
    """The model is in the catalogue: its weights and its upload are given back."""
    st.session_state.pop(_CHECKED, None)
    st.session_state[_ADDED] = title
    file = st.session_state.pop(weights_key(), None)
    st.session_state[_WEIGHTS] = st.session_state.get(_WEIGHTS, 0) + 1
    if file is not None:
        _release(file)


def added_model() -> str | None:
    """The title of the model that was added last, until others are checked."""
    title: str | None = st.session_state.get(_ADDED)
    return title


def weights_key() -> str:
    """The key of the present upload widget for weights."""
    return f"weights-{st.session_state.get(_WEIGHTS, 0)}"


def upload_key() -> str:
    """The key of the present upload widget."""
    return f"upload-{st.session_state.get(_UPLOADS, 0)}"


def take_uploads(files: "Sequence[UploadedFile]", report: "Report | None" = None) -> None:
    """Open uploaded files, then give their memory back: Streamlit would hold the bytes as long as the session lives."""
    folder, slash, _ = files[0].name.partition("/")
    title = files[0].name if len(files) == 1 else f"{folder if slash else files[0].name} ({len(files)} files)"
    open_files([(file.name, file.getvalue()) for file in files], title, report)
    st.session_state[_UPLOADS] = st.session_state.get(_UPLOADS, 0) + 1
    st.session_state.pop(SAMPLE, None)
    for file in files:
        _release(file)


def _release(file: "UploadedFile") -> None:
    """Streamlit offers no public way; where this one is gone, the new widget key alone still frees it at session end."""
    try:
        from streamlit.runtime.scriptrunner import get_script_run_ctx
    except ImportError:
        return
    context = get_script_run_ctx()
    if context is not None and hasattr(context.uploaded_file_mgr, "remove_file"):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
