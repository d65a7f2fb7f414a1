"""A review as a report: JSON, HTML and PDF made from one content, so that the three cannot differ.

The content comes from the stored record only; the picture is what was drawn when the report was asked for, if the scan is still
there, and the content names its hash. Until it is signed a report is a DRAFT. What readers typed is shown literally: nothing in
it is taken for markup.
"""

import html
import unicodedata
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from core.confidence.words import percent
from core.reviews.record import NetworkAnswer, Read, Review
from core.reviews.report_picture import ReportPicture
from core.reviews.store import Case

NOT_A_DEVICE = "Research and teaching software, not a medical device: nothing here is a diagnosis."
_NO_ANSWER = "The network gave no answer"
_NOT_YET = "No answer of a network is part of this record"
NO_PICTURE = "The scan was not open when this report was made, so there is no picture."
SCORES = (
    "Scores are the network's own, from 0 to 1; calibrated is the share of pictures like the model's data with such a score that "
    "have the label. Neither is a probability of disease in this patient."
)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReportRow(_Record):
    """One label: the network's score in words, its threshold and what that means, both reads, the reader's decision."""

    code: str
    words: str
    score: str
    threshold: str
    calibrated: str
    meaning: str
    first: str
    second: str
    decision: str


class ReportContent(_Record):
    """All that a report says; what the JSON holds, and what HTML and PDF set."""

    title: str
    state: str
    case: str
    digest: str
    facts: dict[str, str]
    reader: str
    authenticated: bool
    opened_at: str
    first_at: str
    second_at: str
    signed_at: str
    version: int
    record_sha256: str
    model: str
    weights_sha256: str
    withheld: str
    rows: tuple[ReportRow, ...]
    first_comment: str
    second_comment: str
    reason: str
    thresholds: tuple[str, ...]
    verdicts: tuple[str, ...]
    limits: tuple[str, ...]
    picture: str
    picture_sha256: str
    disclaimer: str = NOT_A_DEVICE


def report_of(
    review: Review,
    case: Case,
    *,
    words: Mapping[str, str],
    thresholds: Sequence[str] = (),
    limits: Sequence[str] = (),
    verdicts: Sequence[str] = (),
    picture: ReportPicture | None = None,
) -> ReportContent:
    """What a report of this review says.

    ``words`` are the labels' plain words by code, ``thresholds`` sentences on what they were chosen for, ``limits`` the
    model's, ``verdicts`` the doctor's on the file.
    """
    answer = review.answer
    reader = review.reader
    return ReportContent(
        title="Review of a scan",
        state="Signed" if review.stage == "signed" else "DRAFT, not signed",
        case=case.pseudonym,
        digest=case.digest,
        facts={name: str(value) for name, value in case.facts.items()},
        reader=reader.name if reader.is_authenticated else f"{reader.name} (not authenticated)",
        authenticated=reader.is_authenticated,
        opened_at=_time(review.opened_at),
        first_at=_time(review.first_at),
        second_at=_time(review.second_at),
        signed_at=_time(review.at) if review.stage == "signed" else "",
        version=review.version,
        record_sha256=review.sha256,
        model=f"{answer.model_id} {answer.model_version}" if answer else _NO_ANSWER if review.withheld else _NOT_YET,
        weights_sha256=answer.weights_sha256 if answer else "",
        withheld=review.withheld,
        rows=tuple(_row(code, review, words) for code in _codes(review)),
        first_comment=review.first.comment if review.first else "",
        second_comment=review.second.read.comment if review.second else "",
        reason=review.second.reason if review.second else "",
        thresholds=(SCORES, *thresholds) if answer else (),
        verdicts=tuple(verdicts),
        limits=tuple(limits),
        picture=picture.caption if picture else NO_PICTURE,
        picture_sha256=picture.sha256 if picture else "",
    )


def as_json(content: ReportContent) -> bytes:
    """The report as JSON."""
    return content.model_dump_json(indent=1).encode()


def as_html(content: ReportContent, picture: bytes | None = None) -> bytes:
    """The report as one HTML file that asks nothing of any server; ``picture`` is a PNG."""
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in TABLE_HEADS)
    rows = "".join(
        "<tr>" + "".join(f"<td><bdi>{_safe(cell)}</bdi></td>" for cell in cells(row)) + "</tr>" for row in content.rows
    )
    facts = "".join(f"<dt>{_safe(n)}</dt><dd><bdi>{_safe(v)}</bdi></dd>" for n, v in particulars(content))
    texts = "".join(
        f"<h2>{_safe(title)}</h2><p class=said><bdi>{_safe(text)}</bdi></p>" for title, text in texts_of(content)
    )
    caption = _safe(content.picture)
    shown = (
        f'<img alt="{caption}" src="data:image/png;base64,{b64encode(picture).decode()}"><p class=caption>{caption}</p>'
        if picture
        else f"<p class=caption>{caption}</p>"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>RadLens report</title>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<style>{_STYLE}</style><body><p class=notice>{_safe(content.disclaimer)}</p>"
        f"<h1>{_safe(content.title)}</h1><p class=state>{_safe(content.state)}</p><dl>{facts}</dl>{shown}"
        f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{texts}</body></html>"
    ).encode()


TABLE_HEADS = (
    "Label",
    "Network's score",
    "Threshold",
    "Calibrated",
    "Meaning",
    "First read",
    "Second read",
    "Decision",
)


def cells(row: ReportRow) -> tuple[str, ...]:
    """A row's cells in the order of ``TABLE_HEADS``."""
    return row.words, row.score, row.threshold, row.calibrated, row.meaning, row.first, row.second, row.decision


def particulars(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """What stands above the table: name and value, without those that are empty."""
    stated = (
        ("Case", content.case),
        *content.facts.items(),
        ("Reader", content.reader),
        ("Opened", content.opened_at),
        ("First read committed", content.first_at),
        ("Second read", content.second_at),
        ("Signed", content.signed_at),
        ("Model", content.model),
        ("Weights (SHA-256)", content.weights_sha256),
        ("Why there is no answer", content.withheld),
        ("File (SHA-256)", content.digest),
        ("Picture (SHA-256)", content.picture_sha256),
        ("Record", f"version {content.version}, SHA-256 {content.record_sha256}"),
    )
    return tuple((name, value) for name, value in stated if value)


def texts_of(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """What stands below the table: headline and text, without those that are empty."""
    stated = (
        ("Comment of the first read", content.first_comment),
        ("Comment of the second read", content.second_comment),
        ("Reason", content.reason),
        ("What scores and thresholds mean", "\n".join(content.thresholds)),
        ("About the file", "\n".join(content.verdicts)),
        ("Known limits of the model", "\n".join(content.limits)),
    )
    return tuple((title, text) for title, text in stated if text.strip())


def visible(text: str) -> str:
    """Text whose unseen characters are named, such as the marks that turn the direction of writing round: ``[U+202E]``."""
    shown = (
        c if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc", "Co", "Cs") else f"[U+{ord(c):04X}]"
        for c in text
    )
    return "".join(shown)


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _codes(review: Review) -> tuple[str, ...]:
    """All labels that the network or the reader spoke of, in that order."""
    found = dict.fromkeys(review.answer.scores if review.answer else ())
    for read in (review.first, review.second.read if review.second else None):
        found |= dict.fromkeys(read.findings if read else ())
    return tuple(found)


def _row(code: str, review: Review, words: Mapping[str, str]) -> ReportRow:
    score, threshold, meaning = _network(code, review.answer)
    return ReportRow(
        code=code,
        words=words.get(code, code),
        score=score,
        threshold=threshold,
        calibrated=_calibrated(code, review.answer),
        meaning=meaning,
        first=_mark(code, review.first),
        second=_mark(code, review.second.read if review.second else None),
        decision=review.second.decisions.get(code, "") if review.second else "",
    )


def _network(code: str, answer: NetworkAnswer | None) -> tuple[str, str, str]:
    if answer is None or code not in answer.scores:
        return "", "", ""
    score, threshold = answer.scores[code], answer.thresholds.get(code)
    shown = "< 0.01" if score < 0.01 else "> 0.99" if score > 0.99 else f"{score:.2f}"
    if threshold is None:
        return shown, "", "no threshold"
    return shown, f"{threshold:.2f}", "above the threshold" if score >= threshold else "below the threshold"


def _calibrated(code: str, answer: NetworkAnswer | None) -> str:
    """The score as a share of such pictures, as pages show it, and the share from which on the label is called."""
    if answer is None or code not in answer.scores:
        return ""
    if code not in answer.calibrated:
        return "uncalibrated"
    point = answer.calibrated_thresholds.get(code)
    share = percent(answer.calibrated[code])
    return share if point is None else f"{share}, called from {percent(point)}"


def _mark(code: str, read: Read | None) -> str:
    if read is None or code not in read.findings:
        return ""
    finding = read.findings[code]
    return finding.mark + (f" (confidence {finding.confidence} of 5)" if finding.confidence else "")


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2530}"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:1.2rem 0 .2rem}.state{font-weight:700}"
    ".notice{background:#eaeef2;padding:.5rem .8rem;border-radius:.3rem}.said{white-space:pre-wrap;overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.92rem}th,td{text-align:left;padding:.3rem .5rem;"
    "border-top:1px solid #cfd6dd;vertical-align:top}img{max-width:100%}.caption{font-size:.85rem;opacity:.8;margin:.2rem 0}"
    ".wide{overflow-x:auto}@media print{.said{break-inside:auto}tr{break-inside:avoid}}"
)
