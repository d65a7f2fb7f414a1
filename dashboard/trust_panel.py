"""Can this heatmap be trusted? The checks of one label's evidence map, on demand, each with its verdict in words."""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.explaining.registry import find_method
from dashboard import state
from dashboard.answer import Answer
from dashboard.charts import curves_spec
from dashboard.texts import t
from dashboard.trust_run import TrustRun

if TYPE_CHECKING:
    from core.explaining.trust_verdicts import Map, Part, Verdict
    from core.preprocessing import Letterbox
    from core.scan import Scan

_LOOK_SECONDS = 0.5
# Small maps: pixels on the longer side, and how many stand side by side.
_SMALL, _IN_A_ROW = 192, 3
# Colour, sign and word say the same, so that colour is never needed; the colours read on light and on dark grounds.
_SIGNS: "dict[Verdict, tuple[str, str, str]]" = {
    "green": ("#2e9e5b", "✓", "trust.green"),
    "amber": ("#c98a00", "!", "trust.amber"),
    "red": ("#d64545", "✕", "trust.red"),
    "not available": ("#888888", "–", "trust.not_available"),
}
_TITLES = {
    "faithfulness": "trust.faithfulness",
    "learnt": "trust.learnt",
    "repeatability": "trust.repeatability",
    "agreement": "trust.agreement",
    "body": "trust.body",
    "sum": "trust.sum",
}


def trust_panel(scan: "Scan", frame: int, answer: Answer) -> None:
    """Folded away until asked for: nothing is computed before its button is pressed."""
    with st.expander(t("trust.title"), on_change="rerun") as panel:
        if not panel.open:
            return
        st.caption(t("trust.caption"))
        trust_checks(scan, frame, answer, _label_choice(answer))


def trust_checks(scan: "Scan", frame: int, answer: Answer, label: str, *, at_once: bool = False) -> None:
    """The checks of a label's evidence map as they come, begun by a button or ``at_once``; what was stopped, by the button."""
    key = (answer.model.card.weights_sha256, str(frame), label)
    run = state.trust_run(key)
    if run is None or (not run.running and run.card is None and not run.problem):
        if run is not None:
            st.caption(t("trust.stopped"))
        begun = at_once and run is None
        if not begun and not st.button(t("trust.start"), help=t("trust.start_help"), icon=":material/fact_check:"):
            return
        state.keep_trust_run(key, TrustRun(answer.model, scan, frame, label))
        st.rerun()
    _follow(run, answer, _Drawing(scan, frame, answer.analysis.letterbox))


def _label_choice(answer: Answer) -> str:
    card = answer.model.card
    words = {label.code: label.words for label in card.labels}
    key = state.choice(state.TRUST_LABEL, card.id)
    state.prefer(key, answer.foremost_label)
    chosen: str = st.selectbox(t("trust.label"), list(words), format_func=lambda code: words[code], key=key)
    return chosen


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What small maps are drawn over."""

    scan: "Scan"
    frame: int
    letterbox: "Letterbox"

    def png(self, values: "Map") -> bytes:
        """A map (h, w) over the scan, as a small picture; its own strongest place takes the end of the scale."""
        import numpy as np

        from core.overlay import blend, encode_png, resize
        from core.windowing import display_grey

        scale = min(1.0, _SMALL / max(self.scan.shape))
        rows, columns = (max(1, round(side * scale)) for side in self.scan.shape)
        picture = resize(display_grey(self.scan, self.frame), rows, columns)
        evidence = self.letterbox.to_scan_grid(np.asarray(values, np.float32), rows, columns)
        return encode_png(blend(picture, evidence, limit=max(float(np.abs(values).max()), 1e-12)))


def _follow(run: TrustRun, answer: Answer, drawing: _Drawing) -> None:
    """The parts that are there; looks again by itself while more are to come."""
    running = run.running

    @st.fragment(run_every=_LOOK_SECONDS if running else None)
    def parts() -> None:
        if run.card is not None:
            st.html(_badge(run.card.verdict, run.card.sentence, ""))
        elif run.running:
            total = len(_TITLES)
            st.progress(len(run.parts) / total, t("trust.progress", done=len(run.parts), total=total))
            st.button(t("trust.stop"), on_click=run.cancel)
        elif run.problem:
            st.text(run.problem)
        for part in list(run.parts):
            _part(part, answer, drawing)
        if running and not run.running:
            # The page stops looking.
            st.rerun()

    parts()


def _part(part: "Part", answer: Answer, drawing: _Drawing) -> None:
    st.html(_badge(part.verdict, t(_TITLES[part.name]), f"{part.found} {part.advice}"))
    if part.curves is not None:
        axes = (t("trust.share"), t("trust.answer"))
        names = (t("trust.by_map"), t("trust.by_chance"))
        for column, title, own, chance in zip(
            st.columns(2),
            (t("trust.deletion"), t("trust.insertion")),
            (part.curves.deletion, part.curves.insertion),
            (part.curves.random_deletion, part.curves.random_insertion),
            strict=True,
        ):
            spec = curves_spec(part.curves.shares, own, chance, names, axes)
            column.caption(title)
            column.vega_lite_chart(spec=spec, alt=title)
        st.caption(t("trust.curves", unit=answer.model.card.evidence_unit))
    if part.maps:
        _small_maps(part, drawing)


def _small_maps(part: "Part", drawing: _Drawing) -> None:
    """The other methods' maps side by side, each with its likeness to this one."""
    columns = st.columns(_IN_A_ROW)
    for index, (name, values) in enumerate(part.maps.items()):
        likeness = part.likeness.get(name)
        shown = t(
            "trust.small_map", title=find_method(name).title, likeness="–" if likeness is None else f"{likeness:.2f}"
        )
        columns[index % _IN_A_ROW].image(drawing.png(values), caption=shown, output_format="PNG", width="stretch")
    st.caption(t("trust.small_maps"))


def _badge(verdict: "Verdict", title: str, words: str) -> str:
    """A sign in a circle, the verdict as a word, and what it is about."""
    colour, sign, key = _SIGNS[verdict]
    circle = (
        f"display:inline-flex;flex:none;align-items:center;justify-content:center;width:1.5rem;height:1.5rem;"
        f"border-radius:50%;background:{colour};color:#fff;font-weight:700"
    )
    body = (
        f'<div style="font-size:.88rem;opacity:.85;overflow-wrap:anywhere">{html.escape(words)}</div>' if words else ""
    )
    return (
        f'<div style="display:flex;gap:.6rem;align-items:flex-start" data-verdict="{html.escape(verdict)}">'
        f'<span aria-hidden="true" style="{circle}">{sign}</span>'
        f'<div style="min-width:0"><strong>{html.escape(t(key))}</strong> · {html.escape(title)}{body}</div></div>'
    )
