"""What leaves the program of one reader's review: report (PDF, HTML, JSON) or evidence bundle, each export in the audit trail.

All of it is made from the stored record; what is open on the page adds the picture, the doctor's verdicts and the maps, and only
where it is what the record speaks of: the same file, frame and weights.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from core.analysis import Analysis
from core.errors import ReviewRejected
from core.models.card import ModelCard, OperatingPoint
from core.reading.doctor import examine
from core.reviews.bundle import Evidence, write_bundle
from core.reviews.record import Reader, Review
from core.reviews.report import ReportContent, as_html, as_json, report_of
from core.reviews.report_pdf import as_pdf
from core.reviews.report_picture import ReportPicture, report_picture
from core.reviews.store import Case, Store
from core.scan import Scan

Kind = Literal["pdf", "html", "json", "bundle"]
KINDS: tuple[Kind, ...] = ("pdf", "html", "json", "bundle")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What is open of a case when an export is asked for: ``label`` is the one whose evidence is drawn.

    ``file`` goes into the bundle where it is given; without it a replay needs the file beside the bundle.
    """

    scan: Scan = field(repr=False)
    frame: int = 0
    card: ModelCard | None = field(default=None, repr=False)
    analysis: Analysis | None = field(default=None, repr=False)
    label: str = ""
    file: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A report in its three forms, made from one content and one picture."""

    content: ReportContent
    picture: ReportPicture | None

    def form(self, kind: Literal["pdf", "html", "json"]) -> bytes:
        """The report as PDF, HTML or JSON."""
        if kind == "json":
            return as_json(self.content)
        png = self.picture.png if self.picture else None
        return as_pdf(self.content, png) if kind == "pdf" else as_html(self.content, png)


def exported(store: Store, case_id: str, by: Reader, kind: Kind, opened: Opened | None) -> bytes:
    """The file that leaves, after the audit trail knows its kind and hash.

    Raises ReviewRejected when the reader has no review of this case, another scan is open, or a bundle is asked for without
    one; StoreError when the trail cannot be written, and then nothing leaves.
    """
    made = (
        evidence_of(store, case_id, by, opened) if kind == "bundle" else report(store, case_id, by, opened).form(kind)
    )
    detail = {"kind": kind, "sha256": hashlib.sha256(made).hexdigest()}
    store.record(by, "exported", case_id=case_id, detail=detail)
    return made


def report(store: Store, case_id: str, by: Reader, opened: Opened | None) -> Report:
    """The report of the reader's own review as it stands now.

    Raises ReviewRejected when there is none, or another scan is open.
    """
    case, review = _own(store, case_id, by, opened)
    return _report(case, review, opened)


def evidence_of(store: Store, case_id: str, by: Reader, opened: Opened | None) -> bytes:
    """The evidence bundle of the reader's own review.

    Raises ReviewRejected when there is none, no scan is open, or another one.
    """
    case, review = _own(store, case_id, by, opened)
    if opened is None:
        raise ReviewRejected("An evidence bundle is made from the scan itself; open the case's file again first.")
    made = _report(case, review, opened)
    reports: dict[str, bytes] = {kind: made.form(kind) for kind in ("pdf", "html", "json")}
    known: dict[str, Any] = {
        "pseudonym": case.pseudonym, "digest": case.digest, "origin": case.origin, "facts": dict(case.facts),
        "added_at": case.added_at.isoformat(),
    }  # fmt: skip
    return write_bundle(
        Evidence(
            scan=opened.scan,
            analysis=opened.analysis if _speaks_of(review, opened) else None,
            thresholds=review.answer.thresholds if review.answer else {},
            case=known,
            reviews=[one for one in store.reviews(case_id) if one.reader.name == by.name],
            events=store.events(case_id),
            reports=reports,
            file=opened.file,
        )
    )


def _own(store: Store, case_id: str, by: Reader, opened: Opened | None) -> tuple[Case, Review]:
    case, review = store.case(case_id), store.review(case_id, by)
    if review is None:
        raise ReviewRejected("There is no review of yours on this case yet; commit your read first.")
    if opened is not None and opened.scan.digest != case.digest:
        raise ReviewRejected("The scan that is open is not the one of this case; open the case again.")
    return case, review


def _report(case: Case, review: Review, opened: Opened | None) -> Report:
    card = opened.card if opened else None
    answered = card is not None and review.answer is not None and card.weights_sha256 == review.answer.weights_sha256
    picture = None if opened is None else _picture(review, opened)
    content = report_of(
        review,
        case,
        words={label.code: label.words for label in card.labels} if card else {},
        thresholds=_threshold_words(card) if card and answered else (),
        limits=card.limits if card and answered else (),
        verdicts=_verdicts(opened) if opened else (),
        picture=picture,
    )
    return Report(content, picture)


def _picture(review: Review, opened: Opened) -> ReportPicture:
    regions = [
        region for finding in (review.final.findings if review.final else {}).values() for region in finding.regions
    ]
    frame = review.answer.frame if review.answer else opened.frame
    if _speaks_of(review, opened):
        return report_picture(
            opened.scan, frame, regions, analysis=opened.analysis, card=opened.card, label=opened.label
        )
    return report_picture(opened.scan, frame, regions)


def _speaks_of(review: Review, opened: Opened) -> bool:
    """Whether the open analysis is the one that the record holds."""
    answer, analysis, card = review.answer, opened.analysis, opened.card
    if answer is None or analysis is None or card is None or analysis.scan_digest != opened.scan.digest:
        return False
    same = (analysis.frame, analysis.weights_sha256) == (answer.frame, answer.weights_sha256)
    return same and card.weights_sha256 == answer.weights_sha256


def _verdicts(opened: Opened) -> tuple[str, ...]:
    return tuple(f"{one.name}: {one.sentence} {one.advice}" for one in examine(opened.scan, opened.card))


def _threshold_words(card: ModelCard) -> tuple[str, ...]:
    return tuple(
        f"{label.words}: {_point_words(card.thresholds[label.code])}"
        for label in card.labels
        if label.code in card.thresholds
    )


def _point_words(point: OperatingPoint) -> str:
    found, clear = point.sensitivity, point.specificity
    return (
        f"{point.rule}. On {point.positives} pictures with it and {point.negatives} without: sensitivity {found.value:.2f} "
        f"({found.low:.2f} to {found.high:.2f}), specificity {clear.value:.2f} ({clear.low:.2f} to {clear.high:.2f})."
    )
