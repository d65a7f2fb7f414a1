"""Marks in the viewer as answers of an element of their own: a mark runs that element's part of the page again, no more."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.marked import Marked, marked_by
from dashboard.packing import asked_message, asker_message
from dashboard.viewer.viewer import case_id, send


def marked_place(case: state.Case, *, unanswered: bool = False) -> Marked | None:
    """The place that the reader marked; while this stands on the page, the viewer offers the tools to mark one.

    ``unanswered``: also where no network has answered.
    """
    name = case_id(case)
    answered = _asker()(
        key=f"asker-{name}",
        data=asker_message(name, unanswered=unanswered),
        default={"region": None},
        on_region_change=lambda: None,
    )
    return marked_by(answered.region)


def say_beside_picture(case: state.Case, number: int, text: str) -> None:
    """What became of the answer without the mark of that number, in one line at the picture."""
    name = case_id(case)
    send(asked_message(name, number, text), f"asked-{name}")


@cache
def _asker() -> Any:
    """An element without a face."""
    script = (Path(__file__).parent / "js_asker.js").read_text("utf-8")
    return st.components.v2.component("radlens_asker", js=script)
