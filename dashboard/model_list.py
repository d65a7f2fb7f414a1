"""The catalogue on a page: a line a model, then the card of the chosen one."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import NoFittingModel
from core.models.catalogue import WEIGHTS_FILE
from dashboard import cache, state
from dashboard.answer import card_for
from dashboard.card_view import card_view
from dashboard.figures import headline_evaluation
from dashboard.texts import literal, t
from dashboard.widgets import error_box, wait_for_network

if TYPE_CHECKING:
    from core.models.card import ModelCard

_LABELS_SHOWN = 3
_MEGABYTE = 1_000_000


def model_list() -> None:
    """All models, those that cannot be used with the reason, and one card."""
    catalogue = cache.catalogue()
    for folder, reason in catalogue.problems.items():
        error_box(t("missing.title"), t("model.problem", folder=folder, reason=reason))
    if not catalogue.cards:
        st.info(t("model.none"))
        return
    # Models to be chosen by hand come last; the one that reads the open case stands first.
    read_by = _reader()
    ranked = sorted(catalogue.cards.values(), key=lambda card: (card.id != read_by, card.scope.by_hand_only))
    st.table([_line(card, catalogue.folders[card.id], card.id == read_by) for card in ranked])
    titles = {card.id: card.title for card in ranked}
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    chosen = left.selectbox(t("models.show"), list(titles), format_func=lambda identifier: titles[identifier])
    card = catalogue.cards[chosen]
    with right:
        _read_with(card, read_by)
    card_view(card, catalogue.folders[card.id])


def _line(card: "ModelCard", folder: Path, reads: bool) -> dict[str, str]:  # noqa: FBT001 - a cell of the line
    scope = card.scope
    words = [label.words.partition(" (")[0] for label in card.labels]
    more = t("models.more", count=len(words) - _LABELS_SHOWN) if len(words) > _LABELS_SHOWN else ""
    title = f"**{literal(card.title)}**" + (f" {t('models.reads_case')}" if reads else "")
    return {
        t("models.column_model"): title,
        t("models.column_for"): literal(f"{', '.join(scope.modalities)} · {', '.join(scope.body_parts).lower()}"),
        t("models.column_answers"): literal(", ".join(words[:_LABELS_SHOWN])) + more,
        t("models.column_size"): t("models.megabytes", size=_megabytes(folder)),
        t("models.column_figure"): _figure(card),
    }


def _megabytes(folder: Path) -> str:
    try:
        return f"{(folder / WEIGHTS_FILE).stat().st_size / _MEGABYTE:.1f}"
    except OSError:
        return "0"


def _figure(card: "ModelCard") -> str:
    """The headline's AUROC with its interval, or what there is instead."""
    evaluation = headline_evaluation(card)
    if evaluation is None:
        return t("models.not_measured")
    if evaluation.segmentation is not None:
        dice = evaluation.segmentation.overlap.dice
        return t("models.dice", value=f"{dice.value:.2f}", low=f"{dice.low:.2f}", high=f"{dice.high:.2f}")
    found = evaluation.labels.get(card.headline)
    if found is None or found.auroc is None:
        return t("model.too_few")
    area = found.auroc
    words = literal(next(label.words for label in card.labels if label.code == card.headline).partition(" (")[0])
    return t("models.auroc", label=words, value=f"{area.value:.2f}", low=f"{area.low:.2f}", high=f"{area.high:.2f}")


def _read_with(card: "ModelCard", read_by: str | None) -> None:
    """Read the open case with this model: only once it has loaded and shown that it works, else all stays as it is."""
    case = state.current_case()
    if case is None or case.scan is None or card.id == read_by:
        return
    if not st.button(t("models.read"), width="stretch") or not wait_for_network():
        return
    if problem := state.try_model_by_hand(case.scan.digest, card.id):
        error_box(t("models.inactive"), problem)
        return
    st.success(t("models.now_reads", title=literal(card.title)))


def _reader() -> str | None:
    """The id of the model that reads the open case, if one does."""
    case = state.current_case()
    if case is None or case.scan is None:
        return None
    try:
        return card_for(case.scan)[0].id
    except NoFittingModel:
        return None
