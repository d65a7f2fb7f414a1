"""The doctor: what is odd about a file, said plainly before a model sees it.

``examine`` turns the signs of a Scan, those of its header (``header_signs``) among them, into Verdicts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.reading.header_signs import not_square
from core.reading.header_values import Signs
from core.reading.verdict_words import UNKNOWN, WORDS, Severity

if TYPE_CHECKING:
    from core.models.card import ModelCard
    from core.scan import Scan


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding: ``sentence`` is what was found, ``advice`` what to do. A "block" means that no prediction is shown."""

    code: str
    severity: Severity
    name: str
    sentence: str
    advice: str


_GRAVITY: tuple[Severity, ...] = ("block", "warn", "note")


def examine(scan: "Scan", card: "ModelCard | None" = None) -> tuple[Verdict, ...]:
    """The verdicts on a scan, and on whether ``card`` was made for it: the gravest first, then by code."""
    verdicts = {code: _verdict(code, detail) for code, detail in {**_scan_signs(scan), **scan.signs}.items()}
    if card is not None:
        verdicts |= {v.code: v for v in _card_verdicts(scan, card)}
    elif "no-tags" in verdicts:
        verdicts["no-tags"] = replace(verdicts["no-tags"], severity="note")
    for silent in _silent(set(verdicts), card):
        verdicts.pop(silent, None)
    return tuple(sorted(verdicts.values(), key=lambda v: (_GRAVITY.index(v.severity), v.code)))


def blocking(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The first verdict for which no prediction may be shown, or None."""
    return next((verdict for verdict in verdicts if verdict.severity == "block"), None)


def _scan_signs(scan: "Scan") -> Signs:
    """What can be told from the scan itself, whatever format it came in."""
    signs: Signs = {"constant": ""} if _is_constant(scan) else {}
    if scan.modality is None:
        signs["no-tags"] = ""
    if scan.geometry.orientation is None and scan.source_format != "DICOM":
        signs["orientation-unknown"] = ""
    row, column = scan.geometry.spacing_mm or (1.0, 1.0)
    return signs | (not_square(row / column) if row > 0 and column > 0 else {})


def _is_constant(scan: "Scan") -> bool:
    """Whether all pixels are the same; most scans answer after the first frame."""
    if not scan.stored.size:
        return True
    first = scan.stored[0, 0, 0]
    return all(bool((frame == first).all()) for frame in scan.stored)


def _card_verdicts(scan: "Scan", card: "ModelCard") -> Iterator[Verdict]:
    """What does not fit the model; ``scope.mismatch`` decides, so that this and the withheld prediction agree."""
    from core.models.scope import fits, mismatch

    if reason := mismatch(card, scan):
        verdict = _verdict("teaching-model" if fits(card, scan) else _mismatch_code(scan, card), "")
        yield replace(verdict, sentence=reason)
    elif card.scope.views and not scan.view:
        yield _verdict("view-unknown", "")
    if min(scan.shape) * 2 < card.input.size:
        yield _verdict("small-picture", f"{scan.shape[1]} x {scan.shape[0]}")


def _mismatch_code(scan: "Scan", card: "ModelCard") -> str:
    from core.models.scope import age_mismatch

    if scan.modality is None:
        return "no-tags"
    if scan.modality not in card.scope.modalities:
        return "wrong-modality"
    if scan.body_part is None:
        return "body-part-unknown"
    if not any(part in scan.body_part for part in card.scope.body_parts):
        return "wrong-body-part"
    return "wrong-age" if age_mismatch(card, scan) else "wrong-view"


def _asks_for_age(card: "ModelCard") -> bool:
    return card.scope.ages is not None


_SAID_BETTER: Mapping[str, set[str]] = {
    "derived": {"secondary-capture", "screen-save", "reformatted", "projection", "localizer", "not-intensities"},
    "burned-in-unknown": {"not-intensities"},
    "orientation-unknown": {"orientation-missing"},
    "view-missing": {"view-unknown", "wrong-view"},
    "child": {"wrong-age"},
    "age-unknown": {"wrong-age"},
}


def _silent(codes: set[str], card: "ModelCard | None") -> Iterator[str]:
    """Verdicts that another one already says better, and an unknown age that matters to no model here."""
    yield from (code for code, better in _SAID_BETTER.items() if better & codes)
    if card is None or not _asks_for_age(card):
        yield "age-unknown"


# What may stand in a sentence: nothing that Markdown or HTML would take for markup.
_PLAIN = re.compile(r"[A-Za-z0-9 .,-]{1,24}")
_SIGN = re.compile(r"[a-z0-9-]{1,32}")
_OPTIONAL = re.compile(r" \([^()]*\{detail\}[^()]*\)")


def _verdict(code: str, detail: str) -> Verdict:
    """The words for a sign: those for this very detail, else for the code, else a plain note, so that nothing is lost."""
    plain = code if _SIGN.fullmatch(code) else "other"
    words = WORDS.get(f"{plain}:{detail}") or WORDS.get(plain) or UNKNOWN
    severity, name, sentence, advice = words
    sentence = sentence if _PLAIN.fullmatch(detail) else _OPTIONAL.sub("", sentence)
    return Verdict(plain, severity, name, sentence.format(code=plain, detail=detail), advice)
