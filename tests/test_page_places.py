"""Findings as places on the Review page, without a browser: in words, for a classifier and for a detector."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from streamlit.testing.v1 import AppTest

from core.analysis import analyse
from core.detections import findings_as_places
from core.explaining.places import Place, ScanBox
from core.metrics import wilson
from core.models.card import ModelCard
from core.models.loading import load_model
from core.models.place_card import PlaceThreshold
from core.reading.decoding import decode_scan
from core.scan import Scan
from dashboard import cache
from dashboard.places import places_in_words
from dashboard.texts import texts
from tests.detector_networks import box_of, picture
from tests.files import dicom_bytes
from tests.networks import publish
from tests.test_detections import published
from tests.test_pages import messages, opened, upload, words

pytestmark = pytest.mark.usefixtures("revealed")


def scan(**tags: Any) -> Scan:
    return decode_scan(dicom_bytes(np.zeros((300, 300), np.uint16), **tags))


def place(left: float, top: float, peak: float = 1.0) -> Place:
    return Place("mass", ScanBox(top, left, 40, 62), (), peak, 1.0, 0.5)


def test_places_are_told_with_zone_and_size_the_first_three_of_many() -> None:
    spaced = scan(PixelSpacing=[1.0, 1.0], PatientOrientation=["L", "F"])
    assert places_in_words([place(220, 230)], spaced) == "1 place, left lower zone, 62 x 40 mm"
    four = [place(220, 230), place(10, 10), place(10, 230), place(130, 130)]
    told = places_in_words(four, spaced)
    assert told.startswith("4 places: left lower zone, 62 x 40 mm; right upper zone")
    assert told.endswith("; and 1 more")
    assert places_in_words([place(220, 230)], scan()) == "1 place, lower right of the picture"


@pytest.fixture
def folder(model_folder: Path, no_shipped_models: None, clean_caches: None) -> Path:
    return model_folder


def page_of(data: bytes) -> AppTest:
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)
    return upload(opened(), "film.dcm", data)


def chest(grey: npt.NDArray[np.float32]) -> bytes:
    return dicom_bytes(
        np.rint(grey * 4095).astype(np.uint16), Modality="DX", BodyPartExamined="CHEST", WindowCenter=2048,
        WindowWidth=4096, PixelSpacing=[0.5, 0.5], PatientOrientation=["L", "F"], PatientAge="050Y",
    )  # fmt: skip


def entries(app: AppTest) -> dict[str, Any]:
    (header,) = messages(app, "maps")
    return {label["code"]: label["places"] for label in header["labels"]}


def test_a_detectors_boxes_are_on_the_page_and_nothing_is_asked_of_a_heatmap(folder: Path) -> None:
    published(folder)
    app = page_of(chest(picture((13, 13))))
    assert not app.exception
    said = words(app)
    assert "**Bright square**: 1 place, left lower zone, 32 x 32 mm, score " in said
    assert texts()["places.boxes_caption"] in said
    assert texts()["places.no_heatmap"] in said
    assert "Heatmap" not in {box.label for box in app.selectbox}
    found = entries(app)
    x, y, width, height = box_of(13, 13)
    assert found["square"]["list"][0]["box"] == pytest.approx([x, y, width, height], abs=2)
    assert "Drawn by a detector" in found["square"]["words"]
    assert found["nothing"]["list"] == []


def tuned(threshold: float) -> dict[str, Any]:
    stated = PlaceThreshold(
        threshold=threshold, rule="r", sensitivity=wilson(1, 2), false_places=wilson(1, 2), findings=2, pictures=4,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    return {"mass": stated}


def published_classifier(folder: Path, threshold: float) -> ModelCard:
    """With a place threshold of the weights that it has."""
    card = publish(folder)
    place = tuned(threshold)["mass"].model_copy(update={"weights_sha256": card.weights_sha256})
    stated = card.model_copy(update={"place_thresholds": {"mass": place}})
    (folder / card.id / "card.json").write_text(stated.model_dump_json())
    return stated


@pytest.mark.parametrize(("threshold", "some"), [(1e-9, True), (1e9, False)])
def test_a_classifiers_places_are_on_the_page_and_called_what_they_are(
    folder: Path, threshold: float, *, some: bool
) -> None:
    card = published_classifier(folder, threshold)
    data = chest(picture((13, 13)))
    app = page_of(data)
    assert not app.exception
    said, found = words(app), entries(app)
    assert "it is not a detector" in said
    scan = decode_scan(data)
    expected = findings_as_places(analyse(load_model(card.id), scan), card)["mass"]
    assert [one["box"] for one in found["mass"]["list"]] == [pytest.approx(p.box.xywh, abs=0.01) for p in expected]
    assert bool(expected) == some
    if some:
        assert f"**Mass**: {places_in_words(expected, scan)}" in said
    else:
        assert texts()["places.none"] in said
    assert found["abnormal"] is None
