"""The only file with st.cache_*, and with what is loaded in the background. Keys are digests, never pixels."""

import threading
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.explaining.explanation import Explanation
    from core.models.catalogue import Catalogue
    from core.models.loading import Model
    from core.scan import Scan
    from dashboard.explanation_run import Question


class StartUp:
    """What takes seconds, done in a thread that ``begin`` starts once the first page stands, so that it waits for nothing.

    ``reading`` is set when files can be opened, ``network`` when networks can run, ``problem`` when an import failed.
    """

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.network = threading.Event()
        self.problem = threading.Event()
        self._begun = threading.Lock()

    def begin(self) -> None:
        """Start, if nobody has yet."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._run, name="radlens-start-up", daemon=True).start()

    def _run(self) -> None:
        try:
            import core.samples

            # The first sample is drawn before torch's import competes for the processor.
            core.samples.list_samples()[0].load()
            self.reading.set()
            from core.reading.guard import GUARD

            GUARD.warm_up()
            import core.analysis
            import core.inside.filters

            self.network.set()
        except Exception:  # whatever it is, the waiting page must be told before the thread ends
            self.problem.set()
            raise


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
    """A loaded and tested model, shared by all sessions: nothing is ever stored on it."""
    from core.models.loading import load_model

    return load_model(model_id)


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


@st.cache_resource(scope="session", max_entries=4, show_spinner=False)
def analysis(digest: str, frame: int, weights_sha256: str, _scan: "Scan", _model: "Model") -> "Analysis":
    """One forward pass with the outputs of every convolution, kept for this session only."""
    from core.analysis import analyse
    from core.inside.feature_maps import convolution_layers

    layers = [layer.name for layer in convolution_layers(_model.network)]
    return analyse(_model, _scan, frame, layers=layers)


@st.cache_resource(scope="session", max_entries=16, show_spinner=False)
def explanation(
    digest: str, weights_sha256: str, question: "Question", _scan: "Scan", _model: "Model"
) -> "Explanation":
    """Heatmaps by another method, from one forward pass, kept for this session only."""
    from core.explaining.explanation import explain

    return explain(_model, _scan, **question.arguments)
