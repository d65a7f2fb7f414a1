"""Which models there are: a folder each, with card.json and weights.safetensors."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from core.errors import ModelRejected, UnknownModel
from core.models.card import ModelCard

MODELS_VARIABLE = "RADLENS_MODELS"
SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "models"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``cards`` by model id, ``folders`` where each lies, and ``problems``: folder name -> why its card is not offered."""

    cards: dict[str, ModelCard]
    folders: dict[str, Path]
    problems: dict[str, str]

    def card(self, model_id: str) -> ModelCard:
        """The card of that id, matched without case.

        Raises UnknownModel naming those there are.
        """
        if model_id.lower() in self.cards:
            return self.cards[model_id.lower()]
        known = ", ".join(self.cards) or "none"
        raise UnknownModel(f"There is no model {model_id!r}; the catalogue holds: {known}.")


def read_catalogue() -> Catalogue:
    """All models shipped with RadLens and those in the folders of RADLENS_MODELS (separated as in PATH)."""
    extra = [Path(part) for part in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if part]
    cards: dict[str, ModelCard] = {}
    folders: dict[str, Path] = {}
    problems: dict[str, str] = {}
    for root in (SHIPPED, *extra):
        for path in sorted(root.glob("*/card.json")):
            try:
                card = read_card(path)
            except ModelRejected as exc:
                problems[path.parent.name] = str(exc)
                continue
            cards[card.id], folders[card.id] = card, path.parent
    return Catalogue(cards, folders, problems)


def read_card(path: Path) -> ModelCard:
    """The card of a file.

    Raises ModelRejected naming the first field that is missing, unknown or contradictory.
    """
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ModelRejected("The model's card cannot be opened; restore card.json.") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole card"
        raise ModelRejected(f"The model's card is wrong at {where}: {first['msg']}.") from exc
