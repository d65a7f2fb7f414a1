"""Model card: what the models are, were trained on, score, and must not be used for."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import NoFittingModel
from dashboard import cache, state
from dashboard.answer import card_for
from dashboard.texts import t
from dashboard.widgets import error_box

if TYPE_CHECKING:
    from core.models.card import ClassFigures, Evaluation, LabelFigures, ModelCard


def render() -> None:
    """The page."""
    catalogue = cache.catalogue()
    for folder, reason in catalogue.problems.items():
        error_box(t("missing.title"), t("model.problem", folder=folder, reason=reason))
    if not catalogue.cards:
        st.info(t("model.none"))
        return
    # Models for teaching come last; the one that reads the open case stands first.
    read_by = _reader()
    ranked = sorted(catalogue.cards.values(), key=lambda card: (card.id != read_by, card.scope.by_hand_only))
    names = {card.title: card for card in ranked}
    chosen = st.selectbox(t("banner.model"), list(names)) if len(names) > 1 else next(iter(names))
    _card(names[chosen])


def _reader() -> str | None:
    """The id of the model that reads the open case, if one does."""
    case = state.current_case()
    if case is None or case.scan is None:
        return None
    try:
        return card_for(case.scan)[0].id
    except NoFittingModel:
        return None


def _card(card: "ModelCard") -> None:
    st.header(f"{card.title} {card.version}")
    st.markdown(f"**{t('model.intended')}.** {card.intended_use}")
    st.subheader(t("model.limits"))
    st.markdown("\n".join(f"- {limit}" for limit in card.limits))
    for evaluation in card.evaluations:
        st.subheader(t("model.figures", data=evaluation.data, split=evaluation.split, images=evaluation.images))
        st.table(_figures(evaluation))
        if evaluation.classes is not None:
            _classes(evaluation.classes, list(evaluation.labels))
    with st.expander(t("model.card")):
        st.json(card.model_dump(mode="json"), expanded=1)


def _classes(figures: "ClassFigures", codes: list[str]) -> None:
    """Accuracy, and what was answered for what."""
    area = t("model.too_few") if figures.macro_auroc is None else f"{figures.macro_auroc:.3f}"
    accuracy = figures.accuracy
    interval = f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})"
    st.markdown(t("model.classes", accuracy=interval, area=area, error=f"{figures.calibration_error:.3f}"))
    rows = [
        {t("model.column_truth"): code} | {other: str(count) for other, count in zip(codes, row, strict=True)}
        for code, row in zip(codes, figures.confusion, strict=True)
    ]
    st.table(rows)


def _figures(evaluation: "Evaluation") -> list[dict[str, str]]:
    return [_row(code, figures) for code, figures in evaluation.labels.items()]


def _row(code: str, figures: "LabelFigures") -> dict[str, str]:
    area = figures.auroc
    pointing = figures.pointing_game
    return {
        t("model.column_label"): code,
        t("model.column_cases"): f"{figures.positives} / {figures.negatives}",
        t("model.column_auroc"): f"{area.value:.2f} ({area.low:.2f} to {area.high:.2f})"
        if area
        else t("model.too_few"),
        t("model.column_pointing"): "" if pointing is None else f"{pointing:.2f} of {figures.boxes} boxes",
    }
