"""Which models there are: a folder each, with card.json and weights.safetensors."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from core.errors import ModelRejected, UnknownModel
from core.models.card import ModelCard

MODELS_VARIABLE = "RADLENS_MODELS"
CARD_FILE, WEIGHTS_FILE = "card.json", "weights.safetensors"
# What a drafted card says where a person must fill something in.
PLACEHOLDER = "FILL IN"
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
    """All models shipped with RadLens, those in the folders of RADLENS_MODELS (separated as in PATH) and the user's own."""
    cards: dict[str, ModelCard] = {}
    folders: dict[str, Path] = {}
    problems: dict[str, str] = {}
    for root in dict.fromkeys((SHIPPED, *_named_folders(), _home_folder())):
        for path in sorted(root.glob(f"[!.]*/{CARD_FILE}")):
            try:
                card = read_card(path)
            except ModelRejected as exc:
                problems[path.parent.name] = str(exc)
                continue
            cards[card.id], folders[card.id] = card, path.parent
    return Catalogue(cards, folders, problems)


def own_folder() -> Path:
    """Where a user's own models are put: the first folder of RADLENS_MODELS, else one in the user's data folder."""
    return next(iter(_named_folders()), _home_folder())


def _named_folders() -> list[Path]:
    return [Path(part) for part in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if part]


def _home_folder() -> Path:
    """In the data folder of the XDG base directory specification."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "radlens" / "models"


def read_card(path: Path) -> ModelCard:
    """The card of a file.

    Raises ModelRejected naming the first field that is missing, unknown or contradictory.
    """
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ModelRejected("The model's card cannot be opened; restore card.json.") from exc
    except ValidationError as exc:
        raise ModelRejected(f"The model's card is wrong at {sentence_of(exc)}.") from exc
    unfilled = [name for name, value in card.model_dump(mode="json").items() if PLACEHOLDER in json.dumps(value)]
    if unfilled:
        raise ModelRejected(f"The model's card is not filled in yet: {', '.join(unfilled)}.")
    return card


def sentence_of(error: ValidationError) -> str:
    """The first thing wrong: where, and what."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole card"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
