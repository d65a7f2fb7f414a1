"""Choosing a heatmap on the Review page: fast ones at once, slow ones when asked for, the pixels sent once."""

import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.explaining.registry import METHODS
from dashboard import cache
from dashboard.texts import t
from tests.networks import publish
from tests.test_pages import messages, opened, words


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)


def chooser(app: AppTest, key: str) -> Any:
    return next(box for box in app.selectbox if box.label == t(key))


def maps_header(app: AppTest) -> dict[str, Any]:
    (header,) = messages(app, "maps")
    return header


def pixel_bytes(app: AppTest) -> list[bytes]:
    elements = [element.proto for element in app.get("bidi_component")]
    return [proto.bytes for proto in elements if b'"kind": "pixels"' in proto.bytes[:2000]]


def test_every_method_is_offered_the_evidence_map_first_and_the_slow_ones_last() -> None:
    app = opened()
    offered = chooser(app, "explain.method").options
    assert offered[0] == "Evidence map"
    assert len(offered) == len(METHODS)
    slow = [title.endswith("slower") for title in offered]
    assert slow == sorted(slow)
    assert "Ablation-CAM" in offered[: slow.index(True)]
    assert maps_header(app)["method"] is None


def test_another_method_changes_the_maps_and_not_the_pixels() -> None:
    app = opened()
    before = pixel_bytes(app)
    chooser(app, "explain.method").set_value("layercam").run()
    assert not app.exception
    header = maps_header(app)
    assert header["method"] == "LayerCAM"
    assert header["per_scan"]
    assert header["unit"] == "positive gradient times activation"
    assert t("explain.per_scan") in words(app)
    assert len(before) == 1
    assert pixel_bytes(app) == before


def test_a_layer_and_a_label_to_compare_with_can_be_chosen() -> None:
    app = opened()
    coarse = maps_header(app)
    assert "blocks.5.relu_1 (default" in chooser(app, "explain.layer").options[0]
    chooser(app, "explain.layer").set_value("blocks.1.conv1").run()
    fine = maps_header(app)
    assert fine["rows"] > coarse["rows"]
    assert fine["labels"][0]["layer"] == "blocks.1.conv1"
    chooser(app, "explain.layer").set_value("blocks.5.relu_1").run()
    chooser(app, "explain.against").set_value("mass").run()
    header = maps_header(app)
    assert header["method"] == "Evidence map (against Mass (3 cm or larger))"
    assert "compared with" in header["labels"][1]["outcome"]
    # Cells and bias sum to the difference of the two logits.
    assert header["labels"][0]["whole"] == pytest.approx(coarse["labels"][0]["whole"] - coarse["labels"][1]["whole"])


def test_a_slow_method_starts_when_asked_for_and_can_be_stopped() -> None:
    app = opened()
    chooser(app, "explain.method").set_value("rise").run()
    assert maps_header(app)["method"] is None
    button(app, "Compute RISE").click().run()
    button(app, t("explain.stop")).click().run()
    finished(app)
    assert t("explain.stopped") in words(app)
    assert maps_header(app)["method"] is None
    chooser(app, "explain.method").set_value("fem").run()
    button(app, "Compute FEM").click().run()
    finished(app)
    assert not app.exception
    assert maps_header(app)["method"] == "FEM"
    assert "does not depend on the label" in words(app)


def button(app: AppTest, label: str) -> Any:
    return next(button for button in app.button if button.label == label)


def finished(app: AppTest) -> None:
    end = time.monotonic() + 60
    while any(one.label == t("explain.stop") for one in app.button):
        assert time.monotonic() < end
        time.sleep(0.2)
        app.run()
