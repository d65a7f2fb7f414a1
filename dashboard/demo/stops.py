"""What each stop of the tour shows: the product's own panels, on the tour's own cases, computed while one looks."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.answer import Answer, answer_for
from dashboard.demo import cases
from dashboard.demo.error import error
from dashboard.demo.film import answered, film_beside, film_with_map
from dashboard.figures import headline, headline_evaluation, tiles
from dashboard.inside.glance import sees_words
from dashboard.inside.opening import Inside, label_words, open_inside
from dashboard.inside.walk import heat_png
from dashboard.score_table import score_table
from dashboard.tables import term
from dashboard.texts import literal, t
from dashboard.threshold_panel import icon_array
from dashboard.trust_panel import trust_checks
from dashboard.widgets import error_box, wait_for_answer, wait_for_network

if TYPE_CHECKING:
    from core.models.card import ModelCard
    from core.scan import Scan

_SHOWN_MAPS, _MAPS_IN_A_ROW = 16, 4
_SHOWN_LIMITS = 4
# For the picture of 100 patients: more are ill than in screening, fewer than in the data.
_PREVALENCE = 0.1
_PICTURE = 320
_HATCHED = (
    f"width:{_PICTURE}px;height:{_PICTURE}px;max-width:100%;border-radius:.5rem;"
    "background:repeating-linear-gradient(45deg,rgba(127,127,127,.3) 0 8px,transparent 8px 16px)"
)


def review() -> None:
    """The viewer with the heatmap, and every label's score."""
    case = cases.film()
    left, right = film_beside(case)
    with right:
        answer = answered(case)
        if answer:
            score_table(answer)
    film_with_map(left, case, answer)
    # While the first stop is spoken about, the next ones load.
    cache.start_up().want_network()


def trust() -> None:
    """All checks of the heatmap, begun at once, each as it comes."""
    case = cases.film()
    left, right = film_beside(case)
    with right:
        answer = answered(case)
    film_with_map(left, case, answer)
    with right:
        if answer and case.scan and wait_for_network():
            trust_checks(case.scan, 0, answer, answer.foremost_label, at_once=True)


def network() -> None:
    """The way of the film through the network: maps of an early, a middle and the last layer, and the heatmap."""
    state.show_case(cases.film())
    inside = open_inside()
    if inside is None:
        return
    layers = [layer for block in inside.blocks for layer in block.layers]
    work = sum(layer.multiplications for layer in layers) / 1e6
    parameters = f"{sum(layer.parameters for layer in layers):,}"
    st.markdown(t("demo.network_facts", layers=len(layers), parameters=parameters, work=f"{work:,.0f}"))
    film_column, *columns, heat_column = st.columns(5)
    _film_seen(film_column, inside)
    convolutions = inside.model.convolutions
    shown = (convolutions[0], convolutions[len(convolutions) // 2], inside.card.target_layer)
    for column, layer in zip(columns, shown, strict=True):
        _maps(column, inside, layer)
    label = inside.answer.foremost_label
    heat = heat_png(inside, inside.answer.analysis, label)
    heat_column.image(
        heat, caption=t("demo.heat", label=label_words(inside)[label]), output_format="PNG", width="stretch"
    )


def card() -> None:
    """What the model's card says first: one figure in words, three numbers, 100 patients, limits."""
    answer = answered(cases.film())
    if answer is None:
        return
    found = answer.model.card
    st.subheader(literal(f"{found.title} {found.version}"), anchor=False)
    left, right = st.columns([3, 2], gap="large")
    with left:
        evaluation = headline_evaluation(found)
        if evaluation is None:
            st.info(t("model.no_figures"))
        else:
            st.markdown(f"**{headline(found, evaluation)}**")
            tiles(found, evaluation)
        _patients(found)
    with right:
        st.markdown(f"**{t('demo.limits')}**")
        st.markdown("\n".join(f"- {literal(limit)}" for limit in found.limits[:_SHOWN_LIMITS]))
        if len(found.limits) > _SHOWN_LIMITS:
            st.caption(t("demo.more_limits", count=len(found.limits) - _SHOWN_LIMITS))


def refusal() -> None:
    """Three files that get no answer, each for its own reason, in the sentences that the product says."""
    state.show_case(cases.film())
    if not wait_for_answer():
        return
    files: tuple[tuple[str, Callable[[], Scan | None], Callable[[], str | None]], ...] = (
        (t("demo.file_ct"), cases.ct, lambda: _withheld(cases.ct())),
        (t("demo.file_letter"), cases.letter, lambda: _withheld(cases.letter())),
        (t("demo.file_cut"), lambda: None, _unreadable),
    )
    for column, (name, scan, reason) in zip(st.columns(3, gap="large"), files, strict=True):
        with column:
            st.markdown(f"**{name}**")
            _small_picture(scan())
            with st.spinner(t("demo.trying")):
                said = reason()
            if said:
                error_box(t("demo.refused"), said)
            else:
                st.warning(t("demo.not_refused"), icon=":material/warning:")


def _film_seen(column: "st.delta_generator.DeltaGenerator", inside: Inside) -> None:
    from core.inside.convolution import grey_levels, grey_png

    picture = grey_png(grey_levels(inside.scan, inside.frame, _PICTURE))
    column.image(picture, caption=t("demo.film"), output_format="PNG", width="stretch")


def _maps(column: "st.delta_generator.DeltaGenerator", inside: Inside, layer: str) -> None:
    """A layer's strongest maps, and how much of the film one point of them sees."""
    from core.inside.feature_maps import grid_png, recorded_maps

    maps = recorded_maps(inside.recording, layer, order="strength").maps
    picture = grid_png(maps[:_SHOWN_MAPS], columns=_MAPS_IN_A_ROW)
    said = t("demo.maps", layer=layer, count=len(maps), size=f"{maps.shape[1]} x {maps.shape[2]}",
             sees=sees_words(inside.facts[layer]))  # fmt: skip
    column.image(picture, caption=said, output_format="PNG", width="stretch")


def _patients(found: "ModelCard") -> None:
    """100 patients at the card's own threshold, where its curve was measured."""
    from core.confidence.calibration import confidence_of
    from core.confidence.operating import outcome_at
    from core.confidence.predictive_values import PATIENTS, patients_like_these

    confidence, threshold = confidence_of(found), found.threshold(found.headline)
    roc = confidence.curves.get(found.headline) if confidence else None
    if roc is None or threshold is None:
        return
    icons = patients_like_these(outcome_at(roc, threshold), _PREVALENCE)
    st.markdown(t("demo.patients", ill=icons.hits + icons.misses, patients=PATIENTS))
    st.html(icon_array(icons, term(found, found.headline)))


def _withheld(scan: "Scan") -> str | None:
    """Why this scan gets no answer, or None where it gets one."""
    given = answer_for(scan, 0)
    return None if isinstance(given, Answer) else given.reason


def _unreadable() -> str | None:
    from core.errors import ScanError
    from core.reading import read_scan

    try:
        read_scan(cases.cut_file())
    except ScanError as exc:
        return str(exc)
    return None


def _small_picture(scan: "Scan | None") -> None:
    """What is in the file; of one that cannot be read, a hatched square of the same size."""
    from core.inside.convolution import grey_levels, grey_png

    if scan is None:
        st.html(f'<div style="{_HATCHED}"></div>')
        st.caption(t("demo.no_picture"))
    else:
        st.image(grey_png(grey_levels(scan, 0, _PICTURE)), output_format="PNG", width=_PICTURE)
        st.caption(t("demo.in_the_file"))


STOPS: dict[str, Callable[[], None]] = {
    "review": review,
    "trust": trust,
    "network": network,
    "card": card,
    "refusal": refusal,
    "error": error,
}
