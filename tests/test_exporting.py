"""What leaves of a review: the picture beside the record, three forms with the same numbers, every export in the trail."""

import hashlib
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from core.analysis import Analysis, analyse
from core.errors import ReviewRejected
from core.models.loading import Model, prepare
from core.overlay import scale_colours
from core.reading.decoding import decode_scan
from core.reviews.bundle import verify_bundle
from core.reviews.database import Database
from core.reviews.exporting import KINDS, Opened, exported, report
from core.reviews.record import Finding, NetworkAnswer, Read, Reader, Region, SecondRead
from core.reviews.report import NO_PICTURE
from core.reviews.report_picture import report_picture
from core.reviews.store import Case, NewCase, Store
from core.samples import film_to_dicom
from core.scan import Geometry
from core.simulation import simulate_film
from tests.networks import card, seeded
from tests.test_reports import _Texts, numbers, pdf_text

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILE = film_to_dicom(simulate_film(3, "mass", rows=96, columns=80))
SCAN = decode_scan(FILE)
REGION = Region(frame=0, top=24, left=20, height=48, width=40)
YELLOW = (255, 214, 10)


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def analysis(model: Model) -> Analysis:
    return analyse(model, SCAN)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database(f"sqlite:///{tmp_path / 'reviews.db'}"))


@pytest.fixture
def case(store: Store) -> Case:
    return store.add_case(NewCase(SCAN.digest, "upload", {"Modality": "DX"}), ANNA)


def opened(model: Model, analysis: Analysis, file: bytes | None = None) -> Opened:
    return Opened(SCAN, 0, model.card, analysis, "mass", file)


def reviewed(store: Store, case: Case, analysis: Analysis, weights: str = "") -> None:
    read = Read(findings={"mass": Finding(mark="present", regions=(REGION,))})
    store.commit_first_read(case.id, ANNA, read, NOW)
    answer = NetworkAnswer(
        model_id="tiny", model_version="1.0.0", weights_sha256=weights or analysis.weights_sha256, frame=0,
        scores=dict(analysis.prediction.scores), thresholds={"mass": 0.4},
    )  # fmt: skip
    store.keep_second_read(case.id, ANNA, SecondRead(decisions={"mass": "agree"}, read=read), answer, opened_at=NOW)


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def test_the_picture_shows_the_scan_the_reader_s_box_and_the_scale(model: Model, analysis: Analysis) -> None:
    made = report_picture(SCAN, 0, (REGION,), analysis=analysis, card=model.card, label="mass")
    picture = pixels(made.png)
    rows, columns = 620, round(620 * 80 / 96)
    assert picture.shape[1] == 2 * columns + 20
    left = picture[34 : 34 + rows, :columns]
    box = np.argwhere((left == YELLOW).all(-1))
    scale = rows / 96
    assert box.min(0) == pytest.approx([REGION.top * scale, REGION.left * scale], abs=2)
    assert box.max(0) == pytest.approx([72 * scale, 60 * scale], abs=2)
    # Away from the box the left panel is grey; it is the film: bright abdomen, dark corner.
    assert np.ptp(left[:100].astype(int), axis=-1).max() == 0
    bar = picture[34 + rows + 20, -columns:]
    ends = np.rint(scale_colours(np.array([[0.0, 1.0]], np.float32), "for")[0] * 255)
    assert np.abs(bar[[0, -1]] - ends).max() <= 1
    unit = analysis.heatmap("mass").unit
    for words in ("Yellow boxes", "Mass (3 cm or larger)", unit, "against it is not drawn"):
        assert words in made.caption


def test_the_heat_is_on_the_right_panel_only_and_where_the_evidence_is(model: Model, analysis: Analysis) -> None:
    heatmap = analysis.heatmap("mass")
    evidence = np.zeros_like(heatmap.evidence)
    evidence[0, 0] = heatmap.limit
    placed = replace(analysis, heatmaps={**analysis.heatmaps, "mass": replace(heatmap, evidence=evidence)})
    picture = pixels(report_picture(SCAN, 0, analysis=placed, card=model.card, label="mass").png)[34 : 34 + 620]
    columns = (picture.shape[1] - 20) // 2
    assert np.ptp(picture[:, :columns].astype(int), axis=-1).max() == 0
    coloured = np.argwhere(np.ptp(picture[:, -columns:].astype(int), axis=-1) > 8)
    assert len(coloured)
    assert coloured.max(0)[0] < 310
    assert coloured.max(0)[1] < columns / 2 + 60


def test_pixels_that_are_not_square_are_drawn_as_they_lie() -> None:
    wide = replace(SCAN, geometry=Geometry(spacing_mm=(1.0, 3.0)))
    height, width = pixels(report_picture(wide, 0).png).shape[:2]
    assert width == 620
    assert height - 34 == round(620 * 96 / 240)


def test_three_forms_say_the_same_numbers_and_name_the_picture(
    store: Store, case: Case, model: Model, analysis: Analysis
) -> None:
    reviewed(store, case, analysis)
    assert [one.version for one in store.reviews()] == [1, 2]
    assert store.latest_reviews() == (store.review(case.id, ANNA),)
    made = report(store, case.id, ANNA, opened(model, analysis))
    assert made.picture is not None
    said = json.loads(made.form("json"))
    assert said["picture_sha256"] == hashlib.sha256(made.picture.png).hexdigest()
    page, pdf = made.form("html"), made.form("pdf")
    texts = "\n".join(_Texts(page).texts)
    wanted = [number for row in said["rows"] for number in (row["score"], row["threshold"]) if number]
    assert len(wanted) == 3
    assert numbers(texts) == numbers(pdf_text(pdf)) == wanted
    for text in (said["picture_sha256"], "DRAFT, not signed", "Untrained."):
        assert text in texts
        assert text in pdf_text(pdf)
    (image,) = PdfReader(BytesIO(pdf)).pages[0].images
    assert image.image is not None
    assert np.array_equal(np.asarray(image.image.convert("RGB")), pixels(made.picture.png))


def test_what_is_open_and_is_not_what_was_recorded_stays_out(
    store: Store, case: Case, model: Model, analysis: Analysis
) -> None:
    reviewed(store, case, analysis, weights="1" * 64)
    made = report(store, case.id, ANNA, opened(model, analysis))
    assert made.picture is not None
    assert "evidence" not in made.picture.caption
    assert made.content.limits == ()
    bundle = exported(store, case.id, ANNA, "bundle", opened(model, analysis))
    with zipfile.ZipFile(BytesIO(bundle)) as entries:
        assert "analysis.json" not in entries.namelist()
    other = decode_scan(film_to_dicom(simulate_film(4, rows=96, columns=80)))
    with pytest.raises(ReviewRejected, match="not the one of this case"):
        report(store, case.id, ANNA, Opened(other))


def test_without_the_scan_the_report_says_so_and_there_is_no_bundle(
    store: Store, case: Case, analysis: Analysis
) -> None:
    reviewed(store, case, analysis)
    made = report(store, case.id, ANNA, None)
    assert made.content.picture == NO_PICTURE
    assert NO_PICTURE in pdf_text(made.form("pdf")).replace("\n", " ")
    with pytest.raises(ReviewRejected, match="open the case's file again"):
        exported(store, case.id, ANNA, "bundle", None)


def test_every_export_is_in_the_trail_with_its_hash(store: Store, case: Case, model: Model, analysis: Analysis) -> None:
    reviewed(store, case, analysis)
    hashes = []
    for kind in KINDS:
        made = exported(store, case.id, ANNA, kind, opened(model, analysis))
        hashes.append((kind, hashlib.sha256(made).hexdigest()))
    told = [one["detail"] for one in store.events(case.id) if one["event"] == "exported"]
    assert [(one["kind"], one["sha256"]) for one in told] == hashes
    assert store.verify().holds


def test_only_one_s_own_review_leaves(store: Store, case: Case, model: Model, analysis: Analysis) -> None:
    reviewed(store, case, analysis)
    with pytest.raises(ReviewRejected, match="no review of yours"):
        exported(store, case.id, BO, "pdf", opened(model, analysis))
    assert not [one for one in store.events(case.id) if one["event"] == "exported"]
    store.commit_first_read(case.id, BO, Read(comment="Bo's secret"), NOW)
    bundle = exported(store, case.id, ANNA, "bundle", opened(model, analysis))
    assert b"Bo's secret" not in bundle


def test_the_bundle_replays_and_holds_the_scan_only_when_asked(
    store: Store, case: Case, model: Model, analysis: Analysis
) -> None:
    reviewed(store, case, analysis)
    without = exported(store, case.id, ANNA, "bundle", opened(model, analysis))
    assert FILE not in without
    found = verify_bundle(without, lambda _id: model, lambda data: (decode_scan(data),), FILE)
    assert found.sentence == "The same, bit for bit."
    complete = exported(store, case.id, ANNA, "bundle", opened(model, analysis, FILE))
    assert verify_bundle(complete, lambda _id: model, lambda data: (decode_scan(data),)).is_same
    with zipfile.ZipFile(BytesIO(complete)) as entries:
        assert json.loads(entries.read("report.json"))["case"] == case.pseudonym
        assert entries.read("report.pdf").startswith(b"%PDF")
        assert len(entries.read("reviews.jsonl").splitlines()) == 2


def test_a_first_read_alone_says_that_no_answer_is_part_of_it(
    store: Store, case: Case, model: Model, analysis: Analysis
) -> None:
    store.commit_first_read(case.id, ANNA, Read(findings={"mass": Finding(mark="absent")}), NOW)
    made = report(store, case.id, ANNA, opened(model, analysis))
    assert made.picture is not None
    assert "evidence" not in made.picture.caption
    assert "No answer of a network is part of this record" in made.form("html").decode()
    score = f"{analysis.prediction.scores['mass']:.2f}"
    assert score not in made.form("json").decode()
