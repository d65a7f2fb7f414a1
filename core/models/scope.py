"""Whether a model was made for a scan, by the file's own tags."""

from collections.abc import Iterable

from core.errors import NoFittingModel
from core.models.card import ModelCard
from core.scan import Scan


def mismatch(card: ModelCard, scan: Scan) -> str | None:
    """Why this model was not made for this scan, in one sentence, or None when its tags fit."""
    teaching = f"{card.title} is for teaching; it reads a scan only when it is chosen by hand."
    return _unlike(card, scan) or (teaching if card.scope.by_hand_only else None)


def _unlike(card: ModelCard, scan: Scan) -> str | None:
    scope = card.scope
    if scan.modality is None:
        return "The file does not say what it shows (it has no DICOM modality tag)."
    if scan.modality not in scope.modalities:
        return f"The scan is {scan.modality}; {card.title} was made for {_either(scope.modalities)}."
    if scan.body_part is None:
        return "The file does not say which body part it shows."
    if not any(part in scan.body_part for part in scope.body_parts):
        return f"The scan shows {scan.body_part}; {card.title} was made for {_either(scope.body_parts)}."
    if scan.view and scope.views and scan.view not in scope.views:
        return f"The view is {scan.view}; {card.title} was made for {_either(scope.views)}."
    return None


def choose_model(cards: Iterable[ModelCard], scan: Scan) -> ModelCard:
    """The first model made for this scan.

    Raises NoFittingModel with the reason and the choice of models.
    """
    candidates = tuple(cards)
    for card in candidates:
        if mismatch(card, scan) is None:
            return card
    choice = ", ".join(card.id for card in candidates) or "none"
    reason = mismatch(candidates[0], scan) if len(candidates) == 1 else _what_it_is(scan)
    raise NoFittingModel(f"{reason} Choose a model by hand if you know better: {choice}.")


def _what_it_is(scan: Scan) -> str:
    if scan.modality is None:
        return "The file does not say what it shows (it has no DICOM modality tag)."
    return f"No model was made for {scan.modality} of {scan.body_part or 'an unnamed body part'}."


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(words)
