"""A checked network -> a card to fill in, or a model of the catalogue."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import ModelRejected
from core.models.card import Label, ModelCard, Scope
from core.models.catalogue import CARD_FILE, PLACEHOLDER, WEIGHTS_FILE, own_folder, read_catalogue, sentence_of
from core.models.checking import CompatibilityReport

_NOT_MEASURED = "No figures: nobody has measured this model with RadLens."
_COLOURS = "The colour scale was set on five synthetic pictures; evidence on real ones may be stronger or weaker."
_BOXES = "Boxes are shown from a score of 0.5 on: nobody has measured which score to trust."
_UNTRAINED = "The last layer looks untrained: then its scores mean nothing."


@dataclass(frozen=True, slots=True)
class Description:
    """What a person says of a model: ``labels`` in the order of the outputs, for one logit the negative one first."""

    title: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    intended_use: str = "Trying the model out. Not for patients."
    licence: str = "Not stated."
    mean: float | None = None
    std: float | None = None


def draft_card(report: CompatibilityReport) -> dict[str, Any]:
    """The card as JSON with all that was found out; what a person must fill in begins with ``FILL IN``."""
    labels = tuple(f"{PLACEHOLDER}: label of output {number}" for number in range(label_count(report)))
    description = Description(
        title=f"{PLACEHOLDER}: a title",
        labels=labels,
        modalities=(f"{PLACEHOLDER}: DX, CR, CT, MR, US ...",),
        body_parts=(f"{PLACEHOLDER}: CHEST, BREAST ...",),
        intended_use=f"{PLACEHOLDER}: what it is for",
        licence=f"{PLACEHOLDER}: the weights' licence",
    )
    return _card(report, description, "fill-in-an-id").model_dump(mode="json")


def label_count(report: CompatibilityReport) -> int:
    """How many labels the network's outputs need: one logit stands for two."""
    return 2 if report.head == "logit" else report.outputs


def add_model(report: CompatibilityReport, description: Description) -> ModelCard:
    """Put the model into the catalogue, in the first folder of RADLENS_MODELS or the user's own.

    It is read only when it is chosen by hand: nobody has measured it. Raises ModelRejected when it fails its self-test, when
    something is not filled in, or when the catalogue has a model of that name already.
    """
    if report.problem:
        raise ModelRejected(report.problem)
    card = _card(report, description, _named(description.title))
    if card.id in read_catalogue().cards:
        raise ModelRejected(f"The catalogue has a model {card.id!r} already; choose another title.")
    publish(card, report.weights, own_folder() / card.id)
    return card


def publish(card: ModelCard, weights: bytes, folder: Path) -> None:
    """Write a model's folder: whole, or not at all.

    Raises ModelRejected when it cannot be written.
    """
    with _written(folder) as unfinished:
        (unfinished / WEIGHTS_FILE).write_bytes(weights)
        (unfinished / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one, which takes its name once it is full."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder.parent) as name:
            yield Path(name)
            shutil.copytree(name, folder)
    except OSError as exc:
        raise ModelRejected(
            "The model's folder cannot be written or is there already; choose another title, or free the place."
        ) from exc


def _card(report: CompatibilityReport, description: Description, identifier: str) -> ModelCard:
    wanted = label_count(report)
    if len(description.labels) != wanted:
        raise ModelRejected(f"The network's answers need {wanted} labels, one a line; {len(description.labels)} came.")
    labels = tuple(Label(code=_code(words, number), words=words) for number, words in enumerate(description.labels))
    spec = report.input.model_dump()
    spec |= {name: value for name in ("mean", "std") if (value := getattr(description, name)) is not None}
    limits = (
        _NOT_MEASURED,
        _BOXES if report.task == "detection" else _COLOURS,
        *((_UNTRAINED,) if report.untrained else ()),
    )
    try:
        return ModelCard(
            id=identifier,
            version="1.0.0",
            title=description.title,
            task=report.task,
            architecture=report.architecture,
            head=report.head,
            labels=labels,
            headline=labels[-1].code if report.head == "logit" else labels[0].code,
            input=spec,  # type: ignore[arg-type]
            scope=Scope(modalities=description.modalities, body_parts=description.body_parts, by_hand_only=True),
            target_layer=report.layer,
            evidence_limit=report.evidence_limit,
            weights_sha256=report.sha256,
            reference_logits=_references(report, description),
            intended_use=description.intended_use,
            limits=limits,
            licence=description.licence,
        )
    except ValidationError as exc:
        raise ModelRejected(f"The model cannot be described so; {sentence_of(exc)}.") from exc


def _references(report: CompatibilityReport, description: Description) -> tuple[tuple[float, ...], ...]:
    """The answers to the reference pictures hold for the mean and standard deviation that these were made with."""
    same = (description.mean in (None, report.input.mean)) and (description.std in (None, report.input.std))
    return report.reference_logits if same else ()


def _named(title: str) -> str:
    name = _plain(title)[:64]
    if not name:
        raise ModelRejected("The model needs a title of letters or digits.")
    return name


def _code(words: str, number: int) -> str:
    """The label's code: its words without those in brackets."""
    return _plain(words.partition("(")[0])[:64] or f"output-{number}"


def _plain(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
