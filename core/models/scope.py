"""Whether a model was made for a scan, by the file's own tags."""

from collections.abc import Iterable

from core.errors import NoFittingModel
from core.models.card import ModelCard
from core.scan import Scan

# From this age on a patient has no sign "child" (core.reading.header_signs).
_ADULT = 18


def fits(card: ModelCard, scan: Scan) -> bool:
    """Whether the scan's tags are those that the model was made for; models for teaching count."""
    return _unlike(card, scan) is None


def mismatch(card: ModelCard, scan: Scan) -> str | None:
    """Why this model was not made for this scan, in one sentence, or None when its tags fit."""
    why = "is for teaching" if card.evaluations else "has no figures: nobody has measured it"
    by_hand = f"{card.title} {why}; it reads a scan only when it is chosen by hand."
    return _unlike(card, scan) or (by_hand if card.scope.by_hand_only else None)


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
    return age_mismatch(card, scan)


def age_mismatch(card: ModelCard, scan: Scan) -> str | None:
    """Why the patient's age does not fit, or None; a model for adults does not ask for an age that is not given."""
    if card.scope.ages is None:
        return None
    youngest, oldest = card.scope.ages
    made = f"{card.title} was made for patients of {youngest} to {oldest} years"
    if oldest >= _ADULT:
        made = f"{card.title} was made for patients of {youngest} years or more"
    if "child" in scan.signs:
        years = scan.signs["child"]
        fit = years.isdigit() and youngest <= int(years) <= oldest
        return None if fit else f"The patient is {years} years old; {made}."
    if oldest >= _ADULT:
        return None
    given = "The file does not give the patient's age" if "age-unknown" in scan.signs else "The patient is an adult"
    return f"{given}; {made}."


def choose_model(cards: Iterable[ModelCard], scan: Scan) -> ModelCard:
    """The first model made for this scan; one that answers the whole picture before one that outlines.

    Raises NoFittingModel with the reason and the choice of models.
    """
    candidates = sorted(cards, key=lambda card: card.task != "classification")
    for card in candidates:
        if mismatch(card, scan) is None:
            return card
    choice = ", ".join(card.id for card in candidates) or "none"
    reason = mismatch(candidates[0], scan) if len(candidates) == 1 else _what_it_is(scan)
    raise NoFittingModel(f"{reason} Choose a model by hand if you know better: {choice}.")


def _what_it_is(scan: Scan) -> str:
    if scan.modality is None:
        return "The file does not say what it shows (it has no DICOM modality tag)."
    patient = f" of a patient of {scan.signs['child']} years" if "child" in scan.signs else ""
    return f"No model was made for {scan.modality} of {scan.body_part or 'an unnamed body part'}{patient}."


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(words)
