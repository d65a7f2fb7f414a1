"""Reports and agreement: the three forms say the same, whatever was typed; kappa against scikit-learn."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader
from sklearn.metrics import cohen_kappa_score

from core.reviews.agreement import agreement_of, as_csv, kappa
from core.reviews.record import Decision, Finding, Mark, NetworkAnswer, Read, Reader, Review, SecondRead
from core.reviews.report import ReportContent, as_html, as_json, report_of, visible
from core.reviews.report_pdf import as_pdf
from core.reviews.store import Case

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANSWER = NetworkAnswer(
    model_id="tiny", model_version="1.2", weights_sha256="ab" * 32, frame=0,
    scores={"mass": 0.73, "nodule": 0.004}, thresholds={"mass": 0.41, "nodule": 0.2},
)  # fmt: skip
NASTY = "=cmd|'/C calc'!A0 <script>alert(1)</script> & \u202egnorw\u202c **bold** 肺炎 \U0001f9ec"


def case(identifier: str = "c1") -> Case:
    return Case(identifier, "K7QD-2M9F", "cd" * 32, "", "upload", NOW, "Anna", {"Modality": "DX"}, None, has_file=False)


def read(mark: Mark, comment: str = "") -> Read:
    return Read(findings={"mass": Finding(mark=mark, confidence=4)}, comment=comment)


def review(stage: str = "signed", comment: str = "Opacity at left.") -> Review:
    second = SecondRead(
        decisions={"mass": "change", "nodule": "reject"}, read=read("present", comment), reason="seen now"
    )
    return Review(
        case_id="c1", reader=Reader(name="Anna"), version=3, stage=stage, at=NOW, opened_at=NOW,  # type: ignore[arg-type]
        first=read("absent"), first_at=NOW, answer=ANSWER, second=second, second_at=NOW,
    )  # fmt: skip


def content(one: Review | None = None) -> ReportContent:
    return report_of(
        one or review(), case(), words={"mass": "Mass (3 cm or larger)", "nodule": "Nodule"}, limits=["Small set."],
        verdicts=["The file was compressed with loss."], thresholds=["Mass: sensitivity 0.84 (0.62 to 0.94)."],
    )  # fmt: skip


def pdf_text(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)


class _Texts(HTMLParser):
    """The texts of a page, those of its style left out, and the names of its elements."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.texts.append(data)


def numbers(text: str) -> list[str]:
    """The scores and thresholds of a report's table, in reading order."""
    return re.findall(r"(?:[<>] )?\b0\.\d\d\b", text)


def test_the_three_forms_hold_the_same_numbers_and_marks() -> None:
    said = content()
    from_json = json.loads(as_json(said))
    wanted = [number for row in from_json["rows"] for number in (row["score"], row["threshold"])]
    assert wanted == ["0.73", "0.41", "< 0.01", "0.20"]
    from_html = "\n".join(_Texts(as_html(said)).texts)
    from_pdf = pdf_text(as_pdf(said))
    wanted += ["0.84", "0.62", "0.94"]
    assert numbers(from_html) == wanted
    assert numbers(from_pdf) == wanted
    for text in ("K7QD-2M9F", "Anna (not authenticated)", "tiny 1.2", "Signed", "not a medical device", "ab" * 32):
        assert text in from_html
        assert text in from_pdf.replace("\n", " ") or text in from_pdf.replace("\n", "")
    assert from_json["record_sha256"] == review().sha256


def test_an_unsigned_report_is_a_draft_in_every_form() -> None:
    said = content(review("second read"))
    assert said.signed_at == ""
    for text in (as_json(said).decode(), as_html(said).decode(), pdf_text(as_pdf(said))):
        assert "DRAFT" in text
    assert "DRAFT" not in pdf_text(as_pdf(content()))


def test_what_was_typed_is_text_in_every_form() -> None:
    said = content(review(comment=NASTY))
    page = _Texts(as_html(said))
    assert not {"script", "strong", "b", "iframe"} & set(page.tags)
    shown = visible(NASTY)
    assert "[U+202E]gnorw[U+202C]" in shown
    assert shown in "".join(page.texts)
    assert json.loads(as_json(said))["second_comment"] == NASTY
    set_in_pdf = pdf_text(as_pdf(said)).replace("\n", " ")
    assert "<script>alert(1)</script>" in set_in_pdf
    assert "**bold**" in set_in_pdf
    assert "[U+202E]gnorw" in set_in_pdf


def test_a_character_without_a_font_is_a_box_and_never_silently_gone() -> None:
    # The gene's emoji is in neither DejaVu nor the Chinese fonts.
    said = content(review(comment="left \U0001f9ec apex"))
    assert "left \u25a1 apex" in pdf_text(as_pdf(said))
    assert "have no font on this machine" in pdf_text(as_pdf(said))
    assert "left \U0001f9ec apex" in as_html(said).decode()
    assert "have no font" not in pdf_text(as_pdf(content()))


def test_a_hundred_thousand_characters_fit() -> None:
    said = content(review("second read", comment="word " * 20_000))
    pages = PdfReader(BytesIO(as_pdf(said))).pages
    assert len(pages) > 10
    assert sum(page.extract_text().count("word") for page in pages) == 20_000
    assert all("DRAFT" in page.extract_text() for page in pages)
    assert as_html(said).count(b"word") == 20_000


def test_the_picture_is_the_one_that_was_handed_over() -> None:
    stream = BytesIO()
    Image.fromarray(np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)).save(stream, "PNG")
    pdf = PdfReader(BytesIO(as_pdf(content(), stream.getvalue())))
    (image,) = pdf.pages[0].images
    assert image.image is not None
    assert image.image.size == (48, 64)
    assert as_html(content(), stream.getvalue()).count(b"data:image/png;base64,") == 1


def test_a_review_without_an_answer_says_why() -> None:
    one = Review(
        case_id="c1", reader=Reader(name="Bo", how_known="oidc"), version=1, stage="first read", at=NOW, opened_at=NOW,
        first=read("present"), first_at=NOW, withheld="No model was made for this scan.",
    )  # fmt: skip
    said = content(one)
    assert said.reader == "Bo"
    assert "No model was made for this scan." in pdf_text(as_pdf(said)).replace("\n", " ")
    assert said.rows[0].score == ""


@pytest.mark.parametrize("seed", range(3))
def test_kappa_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.random(60) < 0.4
    second = np.where(rng.random(60) < 0.75, first, ~first)
    found = kappa({str(i): [(bool(a), bool(b))] for i, (a, b) in enumerate(zip(first, second, strict=True))})
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.low is not None
    assert found.high is not None
    assert found.low < cohen_kappa_score(first, second) < found.high


def test_kappa_says_nothing_of_few_pairs_or_of_one_answer_only() -> None:
    assert kappa({"a": [(True, True)] * 9}).value is None
    assert kappa({"a": [(True, True)] * 20}).value is None
    assert kappa({}).pairs == 0


def scripted(case_id: str, first: Mark, after: Mark, score: float, reader: str = "Anna") -> Review:
    answer = ANSWER.model_copy(update={"scores": {"mass": score}, "thresholds": {"mass": 0.5}})
    decision: Decision = "agree" if (score >= 0.5) == (after == "present") else "reject"
    second = SecondRead(decisions={"mass": decision}, read=read(after), reason="because")
    return Review(
        case_id=case_id, reader=Reader(name=reader), version=2, stage="second read", at=NOW,
        opened_at=NOW.replace(second=0), first=read(first), first_at=NOW, answer=answer, second=second, second_at=NOW,
    )  # fmt: skip


def test_changes_of_mind_are_counted_both_ways() -> None:
    reviews = [
        scripted("helped", "absent", "present", 0.9),  # truth: there, the network is right
        scripted("misled", "absent", "present", 0.9),  # truth: not there, the network is wrong
        scripted("firm", "present", "present", 0.1),  # truth: there, the network is wrong
        scripted("both wrong", "present", "present", 0.9),  # truth: not there
    ]
    truths = {name: {"mass": name in ("helped", "firm")} for name in ("helped", "misled", "firm", "both wrong")}
    found = agreement_of(reviews, truths)
    changes = found.changes
    assert (changes.to_right, changes.to_wrong, changes.kept_right, changes.kept_wrong) == (1, 1, 1, 1)
    # Wrong for a reader who was right: misled and firm. Right for one who was wrong: helped.
    assert (changes.followed, changes.tempted) == (1, 2)
    assert (changes.corrected, changes.correctable) == (1, 1)
    assert changes.judged == 4
    assert (found.overrides, found.answers) == (1, 4)
    assert found.override_rate == 0.25
    assert found.seconds_to_decision == (5.0,) * 4
    assert found.with_network_before.agreed == 1
    assert found.with_network_after.agreed == 3


def test_only_the_latest_version_of_a_review_counts() -> None:
    former = scripted("a", "absent", "absent", 0.9)
    later = scripted("a", "absent", "present", 0.9).model_copy(update={"version": 3})
    assert agreement_of([later, former], {}).overrides == 0
    assert agreement_of([later, former], {}).reviews == 1
    two = agreement_of([later, scripted("a", "absent", "present", 0.9, reader="Bo")], {})
    assert (two.between_readers.pairs, two.between_readers.agreed) == (1, 1)


def test_readers_are_compared_two_by_two() -> None:
    # Three readers of one case are three pairs: of two yes and one no, one pair agrees.
    marks: tuple[Mark, ...] = ("present", "present", "absent")
    reviews = [scripted("a", mark, mark, 0.9, reader) for mark, reader in zip(marks, "ABC", strict=True)]
    found = agreement_of(reviews, {}).between_readers
    assert (found.pairs, found.agreed) == (3, 1)


def test_the_figures_leave_as_csv_with_what_they_are_of() -> None:
    reviews = [scripted("a", "absent", "present", 0.9), scripted("b", "present", "present", 0.1)]
    found = agreement_of(reviews, {"a": {"mass": True}, "b": {"mass": True}})
    lines = [line.split(",") for line in as_csv(found).splitlines()]
    table = {line[0]: line[1:] for line in lines}
    assert lines[0] == ["figure", "value", "low", "high", "of"]
    assert table["kappa with network before"] == ["", "", "", "2"]
    assert table["agreed with network after"] == ["1", "", "", "2"]
    assert table["to right"] == ["1", "", "", "2"]
    assert table["right answers taken"] == ["1", "", "", "1"]
    assert [line[1] for line in lines if line[0] == "seconds to decision"] == ["5.0", "5.0"]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Pairs drawn with a known kappa: both sides say yes half the time and agree in 80 %, so kappa is 0.6."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(80):
        first = rng.random(60) < 0.5
        second = np.where(rng.random(60) < 0.8, first, ~first)
        found = kappa({str(i): [(bool(a), bool(b))] for i, (a, b) in enumerate(zip(first, second, strict=True))})
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 0.6 < found.high
    assert covered >= 70
