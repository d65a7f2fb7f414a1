"""A model that outlines, on the pages and on the command line: chosen by the reader, its size in words, nothing outlined said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from core.__main__ import app as command_line
from core.analysis import analyse
from core.models.catalogue import read_catalogue
from core.models.loading import load_model
from core.models.scope import choose_model
from core.overlay import OUTLINE_COLOUR, outlined
from core.reading.decoding import decode_scan
from core.reading.doctor import examine
from dashboard import cache
from tests.files import dicom_bytes
from tests.networks import card, publish
from tests.outline_networks import SIZE, publish_outline
from tests.test_pages import html, messages, opened, upload, words

pytestmark = pytest.mark.usefixtures("revealed")
BREAST: dict[str, Any] = {"Modality": "US", "BodyPartExamined": "BREAST"}
SCOPE = {"modalities": ("US",), "body_parts": ("BREAST",)}


@pytest.fixture(autouse=True)
def models(model_folder: Path, no_shipped_models: None, clean_caches: None) -> Path:
    """One model that answers and one that outlines, both for breast ultrasound; the latter comes first by its name."""
    publish(model_folder, id="z-lesion-type", title="Lesion type", scope=SCOPE)
    publish_outline(model_folder, id="a-lesion-outline", title="Lesion outline")
    return model_folder


def ultrasound(**tags: Any) -> bytes:
    pixels = np.random.default_rng(4).integers(0, 255, (96, 128)).astype(np.uint8)
    return dicom_bytes(pixels, **{**BREAST, **tags})


def page_of(data: bytes) -> AppTest:
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)
    return upload(opened(), "us.dcm", data)


def reader(app: AppTest) -> Any:
    return next(box for box in app.selectbox if box.label == "Read by")


def test_the_model_that_answers_comes_first_whatever_the_names() -> None:
    scan = decode_scan(ultrasound())
    cards = read_catalogue().cards
    assert list(cards) == ["a-lesion-outline", "z-lesion-type"]
    assert choose_model(cards.values(), scan).id == "z-lesion-type"


def test_the_reader_changes_to_the_outline_and_back() -> None:
    app = page_of(ultrasound(PixelSpacing=[0.2, 0.5]))
    assert not app.exception
    assert "Lesion type 1.0.0" in html(app)
    assert "masks" not in messages(app, "maps")[0]
    app = reader(app).select("a-lesion-outline").run()
    assert not app.exception
    assert "Lesion outline 1.0.0" in html(app)
    assert html(app).count("data-label=") == 1
    mask = analyse(load_model("a-lesion-outline"), decode_scan(ultrasound(PixelSpacing=[0.2, 0.5]))).masks["lesion"]
    assert f"{100 * mask.share:.1f} %" in html(app)
    assert f"{mask.share * 96 * 128 * 0.1:.0f} mm²" in html(app)
    header = messages(app, "maps")[0]
    assert header["masks"] == {"rows": SIZE, "columns": SIZE}
    assert header["sections"]["masks"]["length"] == 4 * SIZE * SIZE
    assert header["labels"][0]["outline"]["threshold"] == 0.5
    assert header["labels"][0]["method"] == "seg-gradcam"
    assert "was not made for" not in words(app)
    app = reader(app).select("z-lesion-type").run()
    assert "Lesion type 1.0.0" in html(app)
    assert "masks" not in messages(app, "maps")[0]


def test_the_page_says_how_well_the_model_outlines_and_how_often_it_makes_something_up(models: Path) -> None:
    interval = {"value": 0.71, "low": 0.6, "high": 0.8}
    overlap = {"pictures": 40, "dice": interval, "median_dice": 0.8, "iou": interval}
    known = read_catalogue().cards["a-lesion-outline"]
    segmentation = {"overlap": overlap, "missed": 3, "normals": 20, "false_masks": {**interval, "value": 0.35}}
    measured = {"data": "d", "split": "val", "images": 60, "labels": {}, "segmentation": segmentation}
    path = models / known.id / "card.json"
    stated = json.loads(path.read_text())
    measured["weights_sha256"] = stated["weights_sha256"]
    path.write_text(json.dumps({**stated, "evaluations": [measured]}))
    cache.catalogue.clear()
    app = reader(page_of(ultrasound())).select("a-lesion-outline").run()
    assert "mean Dice of 0.71 (0.60 to 0.80, 40 pictures)" in words(app)
    assert "In 35% of 20 held-out pictures without a lesion something was outlined" in words(app)


def test_without_spacing_the_area_is_called_unknown() -> None:
    app = reader(page_of(ultrasound())).select("a-lesion-outline").run()
    assert "no pixel spacing" in html(app)
    assert "mm²" not in html(app)


def test_nothing_outlined_is_said_and_never_called_normal(models: Path) -> None:
    publish_outline(models, id="a-lesion-outline", title="Lesion outline", threshold=0.999)
    cache.catalogue.clear()
    app = reader(page_of(ultrasound())).select("a-lesion-outline").run()
    assert "nothing outlined" in html(app)
    assert "does not mean that nothing is there" in words(app)
    assert "0.0 %" not in html(app)
    assert not app.success
    label = messages(app, "maps")[0]["labels"][0]
    assert label["outline"]["size"] is None
    assert "Nothing is outlined" in label["outcome"]


def test_one_fitting_model_leaves_no_choice() -> None:
    app = page_of(dicom_bytes(np.random.default_rng(0).integers(0, 4000, (80, 80)).astype(np.uint16)))
    assert "Read by" not in [box.label for box in app.selectbox]


def test_predict_tells_the_outlines_size(tmp_path: Path) -> None:
    path = tmp_path / "us.dcm"
    path.write_bytes(ultrasound(PixelSpacing=[0.2, 0.5]))
    auto = CliRunner().invoke(command_line, ["predict", str(path), "--json"])
    assert json.loads(auto.stdout)["model"] == "z-lesion-type"
    assert "outlines" not in json.loads(auto.stdout)
    done = CliRunner().invoke(command_line, ["predict", str(path), "--model", "a-lesion-outline", "--json"])
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    found = record["outlines"]["lesion"]
    assert found["area_mm2"] == pytest.approx(found["share"] * 96 * 128 * 0.1)
    assert found["threshold"] == 0.5
    assert 0 <= record["scores"]["lesion"] <= 1


def test_explain_draws_the_outline_and_writes_it(tmp_path: Path) -> None:
    path, png, npy, mask = (tmp_path / name for name in ("us.dcm", "out.png", "heat.npy", "mask.npy"))
    path.write_bytes(ultrasound())
    files = ["--out", str(png), "--npy", str(npy), "--mask", str(mask)]
    done = CliRunner().invoke(
        command_line, ["explain", str(path), "--label", "LESION", "--model", "a-lesion-outline", *files]
    )
    assert done.exit_code == 0, done.output
    assert "seg-gradcam lesion" in " ".join(done.output.split())
    inside, picture = np.load(mask), np.asarray(Image.open(png))
    assert inside.dtype == np.bool_
    assert inside.shape == np.load(npy).shape == picture.shape[:2] == (96, 128)
    line = (picture == OUTLINE_COLOUR).all(-1)
    assert line.any()
    assert inside[line].all()
    refused = CliRunner().invoke(
        command_line, ["explain", str(path), "--label", "mass", "--mask", str(mask), "--model", "z-lesion-type"]
    )
    assert refused.exit_code == 2
    assert "draws no outline" in refused.output


def test_a_line_runs_along_the_inside_of_the_masks_edge() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[10:20, 15:40] = True
    mask[13:17, 20:30] = False
    drawn = outlined(np.zeros((40, 60, 3), np.uint8), mask)
    line = (drawn == OUTLINE_COLOUR).all(-1)
    expected = mask.copy()
    expected[11:19, 16:39] = False
    assert line[expected].all()
    assert not line[~mask].any() or line[~mask].sum() <= 2 * (4 + 10)
    assert not line[:9].any()


def test_a_model_for_teaching_has_a_verdict_of_its_own() -> None:
    scan = decode_scan(ultrasound())
    teaching = card(title="A lesson", scope={**SCOPE, "by_hand_only": True})
    (verdict,) = [v for v in examine(scan, teaching) if v.severity == "warn" and "lesson" in v.sentence]
    assert verdict.code == "teaching-model"
    other = card(title="A lesson", scope={"modalities": ("US",), "body_parts": ("LIVER",), "by_hand_only": True})
    assert "wrong-body-part" in {v.code for v in examine(scan, other)}
