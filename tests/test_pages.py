"""The pages without a browser: what stands on them for a good case, a refused one, one that no model fits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import cache
from tests.files import bundled, dicom_bytes, png_bytes
from tests.networks import publish

APP = str(Path(__file__).resolve().parents[1] / "streamlit_app.py")
CHEST: dict[str, Any] = {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None, revealed: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)


def opened(**parameters: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def upload(app: AppTest, name: str, data: bytes, *others: tuple[str, bytes]) -> AppTest:
    files = [(name, data), *others]
    app.file_uploader[0].set_value([(title, content, "application/octet-stream") for title, content in files])
    return app.run()


def words(app: AppTest) -> str:
    """All that stands on the page, as one text."""
    kinds = ("markdown", "text", "caption", "info", "warning", "error", "subheader", "title")
    return "\n".join(str(getattr(e, "value", "")) for kind in kinds for e in app.get(kind)) + "\n" + html(app)


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def messages(app: AppTest, kind: str) -> list[dict[str, Any]]:
    """The headers of what the page sends to the viewer, of one kind."""
    headers = []
    for element in app.get("bidi_component"):
        body = element.proto.bytes
        size = int.from_bytes(body[:4], "little")
        headers.append(json.loads(body[4 : 4 + size]))
    return [header for header in headers if header["kind"] == kind]


def pictures(app: AppTest) -> int:
    return len(messages(app, "pixels"))


def heatmaps(app: AppTest) -> int:
    return len(messages(app, "maps"))


def test_the_first_visit_opens_a_sample_already_analysed() -> None:
    app = opened()
    assert not app.exception
    assert "Simulated film: pneumothorax, left" in html(app)
    assert "Tiny chest model 1.0.0" in html(app)
    assert html(app).count("data-label=") == 2
    assert pictures(app) == heatmaps(app) == 1
    assert [label["code"] for label in messages(app, "maps")[0]["labels"]] == ["abnormal", "mass"]
    assert "not a medical device" in words(app)


def test_a_case_that_no_model_fits_shows_the_scan_and_the_reason() -> None:
    app = opened(sample="ct")
    assert "The scan is CT" in words(app)
    assert pictures(app) == 1
    assert heatmaps(app) == 0
    assert len(messages(app, "hold")) == 1
    assert "data-label" not in html(app)
    next(button for button in app.button if "all the same" in button.label).click().run()
    assert "data-label" in html(app)
    assert "Chosen by hand" in words(app)
    assert "The scan is CT" in words(app)


def test_an_upload_replaces_the_case_and_leaves_nothing_of_the_former() -> None:
    app = opened()
    film = dicom_bytes(
        np.random.default_rng(0).integers(0, 4095, (64, 64)).astype(np.uint16), BitsStored=12, HighBit=11, **CHEST
    )
    upload(app, "second film.dcm", film)
    assert not app.exception
    assert "second film.dcm" in html(app)
    assert "Simulated film" not in html(app)
    assert "data-label" in html(app)


def test_a_closed_case_leaves_an_empty_page_that_says_what_to_do() -> None:
    app = opened()
    next(button for button in app.button if button.label == "Close the case").click().run()
    assert not app.exception
    assert "Upload a scan or choose a sample case" in words(app)
    assert pictures(app) == 0
    assert "data-label" not in html(app)


BAD = {
    "empty.dcm": (b"", "empty"),
    "notes.dcm": (b"Dear colleague, please find enclosed", "text file"),
    "report.dcm": (bundled("reportsi.dcm"), "structured report"),
    "structure.dcm": (bundled("rtstruct.dcm"), "structure set"),
    "letter.pdf": (b"%PDF-1.7 ...", "PDF"),
    "study.zip": (b"PK\x03\x04" + bytes(60), "archive is damaged"),
    "cut.dcm": (bundled("MR_truncated.dcm"), "cannot be decoded"),
    "cut.png": (png_bytes(np.full((64, 64), 9, np.uint8))[:60], "damaged"),
    "nan.dcm": (dicom_bytes(np.full((8, 8), np.nan, np.float32)), "NaN"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_refused_file_leaves_no_old_result_but_the_readers_words(name: str) -> None:
    app = opened()
    by_label(app.text_input, "Your name").set_value("Anna").run()
    upload(app, "film.dcm", dicom_bytes(np.eye(64, dtype=np.uint16), **CHEST))
    app.text_area[0].set_value("Lower zone, ask for the lateral film.").run()
    data, reason = BAD[name]
    upload(app, name, data)
    assert not app.exception
    said = words(app)
    assert "cannot be opened" in said
    assert reason in said
    assert "Traceback" not in said
    assert "data-label" not in said
    assert pictures(app) == 0
    assert "Lower zone, ask for the lateral film." in said


def test_after_a_refused_file_the_next_good_one_opens() -> None:
    app = opened()
    upload(app, "notes.dcm", b"hello")
    upload(app, "mr.dcm", bundled("MR_small.dcm"))
    assert "The scan is MR" in words(app)
    assert pictures(app) == 1


def test_what_a_file_says_is_shown_literally() -> None:
    app = opened()
    name = "![x](http://127.0.0.1:9/beacon) <img src=x> :red[benign].dcm"
    upload(app, name, bundled("CT_small.dcm"))
    assert "&lt;img src=x&gt;" in html(app)
    assert "<img" not in html(app)
    assert not [m for m in app.markdown if "beacon" in m.value]


def test_a_missing_model_is_said_in_one_sentence(model_folder: Path) -> None:
    weights = model_folder / "tiny" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    app = opened()
    assert "not those its card speaks of" in words(app)
    assert "data-label" not in html(app)
    assert pictures(app) == 1


def test_without_any_model_the_scan_is_still_shown(model_folder: Path) -> None:
    (model_folder / "tiny" / "card.json").unlink()
    app = opened()
    assert "none" in words(app)
    assert pictures(app) == 1


def by_label(widgets: Any, label: str) -> Any:
    return next(widget for widget in widgets if widget.label == label)


def test_frames_of_a_cine_are_read_one_by_one() -> None:
    app = opened()
    frames = np.random.default_rng(2).integers(0, 255, (4, 48, 48)).astype(np.uint8)
    upload(app, "cine.dcm", dicom_bytes(frames, **CHEST))
    assert "frame 3 of 4" in html(app)
    assert messages(app, "pixels")[0]["frames"] == 4
    assert messages(app, "maps")[0]["frame"] == 2


def ct_slice(number: int, **tags: Any) -> tuple[str, bytes]:
    stated: dict[str, Any] = {
        "Modality": "CT", "SeriesInstanceUID": "1.2.3", "SOPInstanceUID": f"1.2.3.{number}",
        "ImagePositionPatient": [0, 0, 3 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1], "PatientID": "one",
    }  # fmt: skip
    pixels = np.full((16, 16), number, np.int16)
    pixels[0, 0] = -7
    return f"slice {number}.dcm", dicom_bytes(pixels, **{**stated, **tags})


def test_several_files_are_one_stack_in_the_order_of_their_places() -> None:
    app = opened()
    upload(app, *ct_slice(5), ct_slice(2), ct_slice(4), ct_slice(3), ("notes.txt", b"hello"))
    assert not app.exception
    header = messages(app, "pixels")[0]
    assert (header["frames"], header["slice_spacing"], header["slice_direction"]) == (4, 3, "H")
    assert "notes.txt" in words(app)


def test_files_of_two_patients_are_blocked() -> None:
    app = opened()
    upload(app, *ct_slice(1), ct_slice(2, PatientID="two"))
    assert "two patients" in words(app)
    assert pictures(app) == 0


def test_one_of_several_scans_is_chosen() -> None:
    app = opened()
    upload(app, "a.png", png_bytes(np.eye(20, dtype=np.uint8)), ("b.png", png_bytes(np.eye(30, dtype=np.uint8))))
    assert messages(app, "pixels")[0]["rows"] == 20
    choice = next(box for box in app.selectbox if "of 2" in box.label)
    choice.set_value(1).run()
    assert not app.exception
    assert messages(app, "pixels")[0]["rows"] == 30


def test_a_constant_picture_gets_no_answer() -> None:
    app = opened()
    upload(app, "flat.dcm", dicom_bytes(np.full((64, 64), 7, np.uint16), **CHEST))
    assert "No answer for this scan" in words(app)
    assert heatmaps(app) == 0


def test_what_the_viewer_says_a_map_sums_to_is_what_its_cells_sum_to(model_folder: Path) -> None:
    publish(model_folder, head="softmax")
    app = opened()
    element = next(e for e in app.get("bidi_component") if b'"kind": "maps"' in e.proto.bytes)
    body = element.proto.bytes
    size = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + size])
    place = header["sections"]["maps"]
    maps = np.frombuffer(body, "<f4", place["length"] // 4, 4 + size + place["offset"]).reshape(2, -1)
    for label, cells in zip(header["labels"], maps, strict=True):
        assert float(cells.sum()) + label["bias"] == pytest.approx(label["whole"], abs=1e-4)
    assert header["labels"][0]["whole"] == pytest.approx(-header["labels"][1]["whole"], abs=1e-5)
