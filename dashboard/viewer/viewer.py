"""The scan in the interactive viewer. Pixels and heatmaps are two messages, so that a reading can hold one back."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import cache as kept
from dashboard import state
from dashboard.frames import address
from dashboard.packing import hold_message, maps_message, shown_shape
from dashboard.places import place_entries
from dashboard.texts import t

if TYPE_CHECKING:
    from core.scan import Scan
    from dashboard.answer import Answer

_FOLDER = Path(__file__).parent
# A case's own name among the browser's messages.
_ID_LENGTH = 24


def show_pixels(case: state.Case) -> None:
    """Draw the scan in front. It goes first: the picture must not wait for the network.

    All that the reader does to it happens in the browser; only the slice they come to rest on is told.
    """
    scan = case.scan
    if scan is None:
        return
    name = case_id(case)
    key = f"viewer-{name}"
    first = state.first_frame(scan.frame_count)
    source = address(case.offer, str(st.get_option("server.baseUrlPath"))) if case.offer else ""
    _picture()(
        key=key,
        data=kept.pixels(scan.digest, name, first, source, scan),
        default={"frame": first},
        on_frame_change=lambda: state.follow_viewer(key),
    )
    if (shown := shown_shape(scan)) != scan.shape:
        st.caption(
            t("review.reduced", rows=shown[0], columns=shown[1], all_rows=scan.shape[0], all_columns=scan.shape[1])
        )


def show_maps(case: state.Case, answer: "Answer | None", score_texts: dict[str, str]) -> None:
    """Lay the heatmaps of the frame that was answered over the picture; without an answer, take them away."""
    name = case_id(case)
    scan = case.scan
    message = hold_message(name) if answer is None or scan is None else _maps(name, answer, score_texts, scan)
    send(message, f"maps-{name}")


def send(message: bytes, key: str) -> None:
    """One more message to the viewer that is open."""
    _messenger()(key=key, data=message)


def case_id(case: state.Case) -> str:
    """The name by which the browser knows the case."""
    return case.key[:_ID_LENGTH]


def _maps(name: str, answer: "Answer", score_texts: dict[str, str], scan: "Scan") -> bytes:
    places = place_entries(answer, scan, shown_shape(scan))
    return maps_message(answer.analysis, answer.model.card, name, answer.foremost_label, score_texts, places)


@cache
def _picture() -> Any:
    """The viewer's element. Its script is one module, put together from the files of ``js`` in the order of their names."""
    script = "\n".join(path.read_text("utf-8") for path in sorted((_FOLDER / "js").glob("*.js")))
    html, css = ((_FOLDER / f"viewer.{kind}").read_text("utf-8") for kind in ("html", "css"))
    return st.components.v2.component("radlens_viewer", html=html, css=css, js=script)


@cache
def _messenger() -> Any:
    """An element without a face that hands bytes to the viewer."""
    return st.components.v2.component("radlens_message", js=(_FOLDER / "js_message.js").read_text("utf-8"))
