"""Ask the heatmap: mark a place on the picture and see every score without it; which regions matter; shortcuts."""

import html
from typing import TYPE_CHECKING, get_args

import streamlit as st

from core.errors import RadLensError
from dashboard import state
from dashboard.answer import Answer
from dashboard.ask_table import change_table, region_in_a_line, scores_in_a_line, shortcut_table
from dashboard.on_demand import network_is_there, on_demand
from dashboard.texts import t
from dashboard.viewer.asker import marked_place, say_beside_picture

if TYPE_CHECKING:
    from core.explaining.asking import Asked
    from core.explaining.erase import Fill
    from core.explaining.perturbation import Watch
    from core.explaining.regions import Regions
    from core.explaining.shortcuts import ShortcutScan
    from core.scan import Scan
    from dashboard.marked import Marked

_FILLS = {"blur": "ask.fill_blur", "mean": "ask.fill_mean", "neighbour": "ask.fill_neighbour"}


def ask_panel(case: state.Case, frame: int, answer: Answer) -> None:
    """Folded away until asked for; the tools to mark a place stand at the picture while it is open."""
    scan = case.scan
    with st.expander(t("ask.title"), on_change="rerun") as panel:
        if scan is None or not panel.open:
            return
        st.caption(t("ask.caption"))
        if not network_is_there():
            return
        _place(case, scan, frame, answer)
        st.divider()
        _regions(scan, frame, answer)
        st.divider()
        _shortcuts(scan, frame, answer)


@st.fragment
def _place(case: state.Case, scan: "Scan", frame: int, answer: Answer) -> None:
    """A mark in the viewer runs this part of the page again, and no other."""
    fill = _fill_choice()
    place = marked_place(case)
    if place is None or place.frame != frame:
        st.info(t("ask.how"), icon=":material/brush:")
        return
    try:
        asked = _asked(scan, place, fill, answer)
    except RadLensError as exc:
        say_beside_picture(case, place.number, str(exc))
        st.text(str(exc))
        return
    words, foremost = _words(answer), asked.foremost.label
    say_beside_picture(case, place.number, scores_in_a_line(asked, words))
    st.markdown(f"**{t('ask.erased', share=_percent(asked.share))}**")
    st.text(asked.sentence(foremost, words[foremost].partition(" (")[0]))
    change_table(asked, words)
    st.caption(t("ask.elsewhere" if asked.foremost.elsewhere else "ask.no_elsewhere", unit=asked.unit))


def _fill_choice() -> "Fill":
    from core.explaining.erase import Fill

    state.prefer(state.ASK_FILL, "blur")
    fill: Fill = st.radio(
        t("ask.fill"), get_args(Fill), format_func=lambda name: t(_FILLS[name]), key=state.ASK_FILL,
        horizontal=True, help=t("ask.fill_help"),
    )  # fmt: skip
    return fill


def _asked(scan: "Scan", place: "Marked", fill: "Fill", answer: Answer) -> "Asked":
    from core.explaining.asking import ask

    question = (answer.model.card.weights_sha256, place, fill)
    if (known := state.asked(question)) is not None:
        return known
    found = ask(answer.model, scan, place.frame, place.region, fill)
    state.keep_asked(question, found)
    return found


def _regions(scan: "Scan", frame: int, answer: Answer) -> None:
    """Which regions matter, on demand."""

    def work(watch: "Watch") -> "Regions":
        from core.explaining.regions import regions_that_matter

        return regions_that_matter(answer.model, scan, frame, watch=watch)

    st.markdown(f"**{t('ask.regions')}**")
    question = ("regions", answer.model.card.weights_sha256, str(frame))
    if (found := on_demand(question, t("ask.regions_start"), work)) is not None:
        _show_regions(scan, answer, found)


def _show_regions(scan: "Scan", answer: Answer, regions: "Regions") -> None:
    from dashboard.ask_table import regions_png

    words = _words(answer)
    key = state.choice(state.ASK_LABEL, answer.model.card.id)
    state.prefer(key, answer.foremost_label)
    chosen = st.selectbox(t("ask.label"), list(words), format_func=lambda code: words[code], key=key)
    left, right = st.columns([2, 3])
    left.image(regions_png(scan, regions, chosen), caption=t("ask.regions_picture"), output_format="PNG")
    with right:
        st.text(regions.sentence(chosen, words[chosen].partition(" (")[0]))
        st.caption(t("ask.regions_others"))
        st.text("\n".join(region_in_a_line(regions, code, words[code]) for code in words if code != chosen))
    st.caption(t("ask.regions_caption"))


def _shortcuts(scan: "Scan", frame: int, answer: Answer) -> None:
    """Whether an answer leans on what is no anatomy, on demand."""

    def work(watch: "Watch") -> "ShortcutScan":
        from core.explaining.shortcuts import find_shortcuts

        return find_shortcuts(answer.model, scan, frame, watch=watch)

    st.markdown(f"**{t('ask.shortcuts')}**")
    question = ("shortcuts", answer.model.card.weights_sha256, str(frame))
    if (found := on_demand(question, t("ask.shortcuts_start"), work)) is not None:
        _show_shortcuts(answer, found)


def _show_shortcuts(answer: Answer, found: "ShortcutScan") -> None:
    words = _words(answer)
    colour, sign, key = (
        ("#d64545", "✕", "ask.shortcut_found") if found.leaning else ("#2e9e5b", "✓", "ask.shortcut_none")
    )
    st.html(
        f'<div style="display:flex;gap:.6rem;align-items:flex-start" data-shortcut="{bool(found.leaning)}">'
        f'<span aria-hidden="true" style="display:inline-flex;flex:none;align-items:center;justify-content:center;width:1.5rem;'
        f'height:1.5rem;border-radius:50%;background:{colour};color:#fff;font-weight:700">{sign}</span>'
        f'<div style="min-width:0"><strong>{html.escape(t(key))}</strong>'
        f'<div style="font-size:.9rem">{html.escape(found.sentence(words))}</div></div></div>'
    )
    with st.expander(t("ask.shortcut_details", count=len(found.spots))):
        shortcut_table(found, words)
        st.caption(t("ask.shortcut_caption", unit=found.unit))


def _words(answer: Answer) -> dict[str, str]:
    return {label.code: label.words for label in answer.model.card.labels}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
