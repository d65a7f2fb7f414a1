"""The only file with st.cache_*, and with what is loaded in the background. Keys are digests, never pixels."""

import gc
import os
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from core.analysis import Analysis, FloatArray
    from core.engines.engine import Run
    from core.engines.queue import FairQueue
    from core.explaining.explanation import Explanation
    from core.inside.altering import Change
    from core.inside.glance import Block
    from core.inside.passports import Passports
    from core.inside.recording import Recording
    from core.models.card import ModelCard
    from core.models.catalogue import Catalogue
    from core.models.loading import Model
    from core.reviews.background import Background
    from core.reviews.keeping import CaseFiles
    from core.reviews.opening import Reviews
    from core.reviews.settings import Settings
    from core.scan import Scan
    from dashboard.explanation_run import Question


# So long torch's import waits for the first answer, which it would slow down.
_PATIENCE = 6.0
_MOMENT = 0.5


class StartUp:
    """What takes seconds, done in a thread that ``begin`` starts once the first page stands, so that it waits for nothing.

    ``reading`` is set when files can be opened, ``answers`` when a model with an export can answer, ``network`` when torch
    is there, for all that asks the network itself; ``problem`` when an import failed.
    """

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.answers = threading.Event()
        self.network = threading.Event()
        self.problem = threading.Event()
        self._wanted = threading.Event()
        self._begun = threading.Lock()
        self._serves = False

    def begin(self) -> None:
        """Start, if nobody has yet."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._run, name="radlens-start-up", daemon=True).start()

    def begin_soon(self) -> None:
        """Start in a moment: a browser that is still to come finds all ready, one that is there already gets its page first."""
        self._serves = True
        timer = threading.Timer(_MOMENT, self.begin)
        timer.daemon = True
        timer.start()

    def want_network(self) -> None:
        """Somebody waits for torch, and nobody for a first answer: its import may take the processor."""
        self._wanted.set()

    def _run(self) -> None:
        try:
            import core.samples

            core.samples.list_samples()[0].load()
            # After every run of a page Streamlit looks through all objects for garbage: without those that stay for good,
            # a fifth of a second becomes nothing.
            gc.freeze()
            self.reading.set()
            _import_for_answers()
            gc.freeze()
            self.answers.set()
            self._wanted.wait(_PATIENCE)
            from core.reading.guard import GUARD

            GUARD.warm_up()
            import core.explaining.explanation
            import core.inside.filters

            gc.collect()
            gc.freeze()
            self.network.set()
            if self._serves:
                _resume_worklist()
        except Exception:  # whatever it is, the waiting page must be told before the thread ends
            self.problem.set()
            raise


def _resume_worklist() -> None:
    """Cases that still waited when the server ended are answered now; where there is no database, a page says so."""
    from core.errors import RadLensError

    with suppress(RadLensError):
        background().begin()


def _import_for_answers() -> None:
    """What a first answer needs beside its model."""
    for name in ("core.models.loading", "core.overlay", "core.reading.doctor", "core.confidence.conformal"):
        import_module(name)
    from core.analysis import software_versions
    from core.engines.onnx_engine import runtime_version

    software_versions()
    runtime_version()


@st.cache_resource
def start_up() -> StartUp:
    """The one start-up of this server."""
    return StartUp()


@st.cache_resource
def catalogue() -> "Catalogue":
    """The models there are, read once a server."""
    from core.models.catalogue import read_catalogue

    return read_catalogue()


def forget_catalogue() -> None:
    """Read the models' folders again: one was added."""
    catalogue.clear()


@st.cache_resource(max_entries=3, show_spinner=False)
def model(model_id: str) -> "Model":
    """A loaded and tested model, shared by all sessions: nothing of theirs is ever stored on it.

    Its fast engine is proved against torch, or made, once torch is there.
    """
    from core.models.loading import load_model

    loaded = load_model(model_id)
    folder = catalogue().folders[loaded.card.id]
    threading.Thread(target=_speed_up, args=(loaded, folder), name="radlens-engine-proof", daemon=True).start()
    return loaded


# One at a time, so that proofs leave processors to the readers.
_PROVING = threading.Lock()


def _speed_up(model: "Model", folder: "Path") -> None:
    started = start_up()
    started.network.wait()
    from core.models.exports import speed_up

    with _PROVING:
        speed_up(model, folder)


@st.cache_resource(show_spinner=False)
def settings() -> "Settings":
    """What this deployment has settled about reviews; needs no database.

    Raises ConfigurationError.
    """
    from core.reviews.settings import settings_from

    return settings_from(os.environ)


@st.cache_resource(show_spinner=False)
def reviews() -> "Reviews":
    """The one store of this server; when it could not be opened, it is tried again at the next call.

    Raises StoreError, ConfigurationError.
    """
    from core.reviews.opening import open_reviews

    return open_reviews()


@st.cache_resource(show_spinner=False)
def case_files() -> "CaseFiles":
    """Where the files of this server's cases are.

    Raises StoreError, ConfigurationError.
    """
    from core.reviews.keeping import CaseFiles

    return CaseFiles(reviews().store, settings().held_mib << 20)


@st.cache_resource(show_spinner=False)
def background() -> "Background":
    """What goes through this server's worklist; it stands still until it is told to begin.

    Raises StoreError, ConfigurationError.
    """
    from core.reviews.background import Background, after_readers

    def cards() -> "Iterable[ModelCard]":
        # Asked anew each time: models may come.
        return catalogue().cards.values()

    return Background(reviews(), case_files(), cards, model, after_readers(queue()))


@st.cache_resource
def queue() -> "FairQueue":
    """The one queue of this server, in which all readers wait their turn."""
    from core.engines.queue import FairQueue

    return FairQueue()


def runner() -> "Run":
    """How this reader's analyses run: through the queue."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return queue().run_for(context.session_id if context else "")


@st.cache_resource(scope="session", max_entries=2, show_spinner=False)
def pixels(digest: str, case: str, frame: int, source: str, _scan: "Scan") -> bytes:
    """The message that brings a scan to the browser, kept for this session only."""
    from dashboard.packing import pixels_message

    return pixels_message(_scan, case, frame, source)


def preview_png(data: bytes) -> bytes | None:
    """A quick small picture of a large JPEG 2000 film as PNG, or None. Not cached: the film itself follows."""
    from core.reading import read_preview

    preview = read_preview(data)
    if preview is None:
        return None
    from core.overlay import encode_png, to_eight_bits
    from core.windowing import display_grey

    return encode_png(to_eight_bits(display_grey(preview)))


def forget_session() -> None:
    """Drop what this session computed from its scans."""
    pixels.clear()
    analysis.clear()
    explanation.clear()
    recording.clear()
    glance.clear()
    contributions.clear()
    altered_analysis.clear()


@st.cache_resource(scope="session", max_entries=4, show_spinner=False)
def analysis(digest: str, frame: int, weights_sha256: str, _scan: "Scan", _model: "Model") -> "Analysis":
    """One forward pass with the outputs of every convolution, kept for this session only."""
    from core.analysis import analyse

    return analyse(_model, _scan, frame, layers=_model.convolutions, run=runner())


@st.cache_resource(scope="session", max_entries=16, show_spinner=False)
def explanation(
    digest: str, weights_sha256: str, question: "Question", _scan: "Scan", _model: "Model"
) -> "Explanation":
    """Heatmaps by another method, from one forward pass, kept for this session only."""
    from core.explaining.explanation import explain

    return explain(_model, _scan, **question.arguments)


# A recording holds every value of every layer: of the case in front only.
@st.cache_resource(scope="session", max_entries=1, show_spinner=False)
def recording(digest: str, frame: int, weights_sha256: str, _scan: "Scan", _model: "Model") -> "Recording":
    """Every value that every layer of the unfused network puts out, kept for this session only."""
    from core.inside.recording import record

    return record(_model, _scan, frame)


@st.cache_resource(scope="session", max_entries=1, show_spinner=False)
def glance(
    digest: str, frame: int, weights_sha256: str, _recording: "Recording", _model: "Model"
) -> "tuple[Block, ...]":
    """All layers in blocks, from the same recording."""
    from core.inside.glance import at_a_glance

    return at_a_glance(_recording, _model.network)


@st.cache_resource(scope="session", max_entries=8, show_spinner=False)
def contributions(
    digest: str, frame: int, weights_sha256: str, layer: str, _scan: "Scan", _model: "Model"
) -> "FloatArray":
    """What each channel of a layer adds to each label, (labels, channels)."""
    from core.inside.contributions import contributions_of

    return contributions_of(_model, _scan, frame, layer)


@st.cache_resource(scope="session", max_entries=4, show_spinner=False)
def altered_analysis(
    digest: str,
    frame: int,
    weights_sha256: str,
    changed: str,
    _changes: "Mapping[str, Change]",
    _scan: "Scan",
    _model: "Model",
) -> "Analysis":
    """The answer of a copy of the network with changed maps, kept for this session only; ``changed`` says which."""
    from core.analysis import analyse
    from core.inside.altering import altered

    return analyse(altered(_model, _changes), _scan, frame)


@st.cache_resource(max_entries=3, show_spinner=False)
def passports(model_id: str, weights_sha256: str) -> "Passports | None":
    """Which held-out pictures fire each filter of a model, where that was measured."""
    from core.inside.passports import read_passports

    return read_passports(catalogue().folders[model_id], weights_sha256)
