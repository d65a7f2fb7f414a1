"""What there is to say of the open case: a model's answer, or the sentence that says why there is none."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import NoFittingModel, RadLensError
from dashboard import cache, state

if TYPE_CHECKING:
    from core.analysis import Analysis
    from core.confidence.novelty import Novelty
    from core.models.card import ModelCard
    from core.models.loading import Model
    from core.scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A model's analysis of one frame; ``warning`` says why the model was not made for the scan, if it was not.

    ``despite``: why the novelty gate had held it back, where the reader asked to see it all the same.
    """

    model: "Model" = field(repr=False)
    analysis: "Analysis" = field(repr=False)
    warning: str | None = None
    despite: str | None = None

    @property
    def foremost_label(self) -> str:
        """The class of the highest score; of labels that go together, the one furthest above its threshold in log-odds.

        The headline where none is above.
        """
        from core.foremost import foremost_label

        return foremost_label(self.model.card, self.analysis.prediction.scores)


@dataclass(frozen=True, slots=True)
class Withheld:
    """No answer is shown: no model was made for this scan (``choices`` can be tried by hand), or none can be.

    ``held_back``: there is an answer of ``by``, but its novelty gate holds it back until the reader asks for it.
    """

    reason: str
    choices: "tuple[ModelCard, ...]"
    held_back: "Novelty | None" = None
    by: "ModelCard | None" = None


@dataclass(frozen=True, slots=True)
class Unread:
    """The reader speaks first: ``by`` will answer, but has not been asked. ``warning`` as with an answer."""

    by: "ModelCard"
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The model is missing or rejected, or its answer is not a number."""

    reason: str


def card_for(scan: "Scan") -> "tuple[ModelCard, str | None]":
    """The card that reads this scan, and why it does not fit when the reader chose it all the same.

    Raises NoFittingModel.
    """
    from core.models.scope import choose_model, mismatch

    cards = cache.catalogue().cards
    chosen = state.model_by_hand(scan.digest)
    if chosen in cards:
        return cards[chosen], mismatch(cards[chosen], scan)
    return choose_model(cards.values(), scan), None


def readers(scan: "Scan") -> "tuple[ModelCard, ...]":
    """The models to choose from for a scan that one of them reads: that one and all whose tags fit, for teaching last.

    Where a hand chose and no tags fit, all there are.
    """
    from core.models.scope import fits

    try:
        reader, _ = card_for(scan)
    except NoFittingModel:
        return ()
    ranked = sorted(cache.catalogue().cards.values(), key=lambda c: (c.scope.by_hand_only, c.task != "classification"))
    fitting = {card.id for card in ranked if fits(card, scan)}
    return tuple(card for card in ranked if not fitting or card.id in fitting | {reader.id})


def answer_for(scan: "Scan", frame: int) -> Answer | Withheld | Failed:
    """The answer for a frame, from the cache where it is known."""
    asked = unread(scan)
    if isinstance(asked, Withheld):
        return asked
    card = asked.by
    try:
        model = cache.model(card.id)
        analysis = cache.analysis(scan.digest, frame, card.weights_sha256, scan, model)
    except RadLensError as exc:
        return Failed(str(exc))
    reason = analysis.novelty.reason if analysis.novelty else None
    if reason and not state.chosen(state.choice(state.SHOWN_ANYWAY, card.weights_sha256), otherwise=False):
        return Withheld(reason, (), analysis.novelty, card)
    return Answer(model, analysis, asked.warning, reason)


def unread(scan: "Scan") -> Unread | Withheld:
    """Which model will answer, or why none will; told by the file alone, no network is asked."""
    from core.reading.doctor import blocking, examine

    try:
        card, warning = card_for(scan)
    except NoFittingModel as exc:
        # Models for teaching come last.
        choices = sorted(cache.catalogue().cards.values(), key=lambda card: card.scope.by_hand_only)
        return Withheld(str(exc), tuple(choices))
    if verdict := blocking(examine(scan, card)):
        return Withheld(f"{verdict.sentence} {verdict.advice}", ())
    return Unread(card, warning)
