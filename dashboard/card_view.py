"""One model's card on a page: what it can do, what is known to go wrong, the figures, how it was trained."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ConfigurationError
from core.training.curves import LOG_FILE, read_curves
from dashboard.charts import epochs_spec
from dashboard.confidence_panel import confidence_panel
from dashboard.figures import evaluation_figures, headline, headline_evaluation, tiles
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.models.card import ModelCard, TrainingFacts


def card_view(card: "ModelCard", folder: Path | None = None) -> None:
    """The card, and with its ``folder`` the curves of its training."""
    st.header(literal(f"{card.title} {card.version}"))
    _first_words(card)
    st.markdown(f"**{t('model.intended')}.** {literal(card.intended_use)}")
    st.subheader(t("model.limits"))
    limits = [*card.limits, *(f"{label.words}: {label.limits}" for label in card.labels if label.limits)]
    st.markdown("\n".join(f"- {literal(limit)}" for limit in limits))
    st.subheader(t("model.figures_title"))
    for index, evaluation in enumerate(card.evaluations):
        name = t("model.figures", data=evaluation.data, split=evaluation.split, images=evaluation.images)
        with st.expander(literal(name), expanded=index == 0):
            evaluation_figures(card, evaluation)
    if not card.evaluations:
        st.info(t("model.no_figures"))
    confidence_panel(card)
    st.subheader(t("model.training"))
    training(card.training, folder)
    with st.expander(t("model.card")):
        st.json(card.model_dump(mode="json"), expanded=1)


def _first_words(card: "ModelCard") -> None:
    """What to know in ten seconds: one figure in words, three numbers, and the shortcuts that were found."""
    from core.models.card_text import probe_notes

    evaluation = headline_evaluation(card)
    if evaluation is None:
        return
    st.markdown(f"#### {headline(card, evaluation)}")
    tiles(card, evaluation)
    notes = [note for one in card.evaluations if one.probes for note in probe_notes(one.probes)]
    if notes:
        st.warning("\n".join([t("model.shortcuts"), *(f"- {literal(note)}" for note in notes)]))


def training(facts: "TrainingFacts | None", folder: Path | None) -> None:
    """How the weights were made, and the curves of the log in the model's folder, where there is one."""
    if facts is not None:
        words = {"epochs": facts.epochs, "minutes": f"{facts.minutes:g}", "device": facts.device}
        simulated = t("model.training_simulated", count=facts.simulated_images) if facts.simulated_images else ""
        images = {"images": facts.images, "patients": facts.patients, "simulated": simulated}
        st.markdown(literal(t("model.training_words", data=facts.data, **words, **images)))
    try:
        curves = read_curves(folder / LOG_FILE) if folder else None
    except ConfigurationError:
        curves = None
    if curves is None:
        st.info(t("model.no_log"))
        return
    charts = (
        (t("model.curve_loss"), curves.losses, None),
        (t("model.curve_score"), curves.scores, [0.0, 1.0]),
    )
    for column, (title, columns, limits) in zip(st.columns(2), charts, strict=True):
        if columns:
            spec = epochs_spec(curves.epochs, columns, (t("model.axis_epoch"), title), limits)
            column.vega_lite_chart(spec=spec, alt=title)
