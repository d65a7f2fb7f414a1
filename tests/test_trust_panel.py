"""The checks of a heatmap on the page: parts as they come, verdicts in words."""

import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.analysis import analyse
from core.models.loading import Model, prepare
from core.preprocessing import Letterbox
from core.samples import simulated_scan
from core.scan import Scan
from dashboard.answer import Answer
from dashboard.trust_panel import _Drawing
from dashboard.trust_run import TrustRun
from tests.networks import card, seeded


@pytest.fixture
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture
def scan() -> Scan:
    return simulated_scan(3, "mass", rows=96, columns=96)[0]


def finished(run: TrustRun) -> TrustRun:
    until = time.monotonic() + 120
    while run.running and time.monotonic() < until:
        time.sleep(0.02)
    assert not run.running
    return run


def page() -> None:
    import streamlit as st

    from dashboard.trust_panel import _follow

    _follow(*st.session_state["shown"])


def shown(run: TrustRun, model: Model, scan: Scan) -> AppTest:
    app = AppTest.from_function(page, default_timeout=60)
    answer = Answer(model, analyse(model, scan))
    app.session_state["shown"] = run, answer, _Drawing(scan, 0, answer.analysis.letterbox)
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_a_run_gives_every_part_and_then_the_card(model: Model, scan: Scan) -> None:
    run = finished(TrustRun(model, scan, 0, "mass"))
    assert run.card is not None
    assert tuple(run.parts) == run.card.parts
    assert run.problem == ""


def test_each_part_stands_on_the_page_with_its_verdict_as_a_word(model: Model, scan: Scan) -> None:
    run = finished(TrustRun(model, scan, 0, "mass"))
    assert run.card is not None
    text = html(shown(run, model, scan))
    words = {"green": "Holds", "amber": "With care", "red": "Fails", "not available": "Not known"}
    for verdict in (*(part.verdict for part in run.card.parts), run.card.verdict):
        assert f'data-verdict="{verdict}"' in text
        assert f"<strong>{words[verdict]}</strong>" in text
    for part in run.card.parts:
        assert part.advice.replace("'", "&#x27;") in text
    assert "Does the answer hang on the marked places?" in text


def test_the_other_methods_maps_stand_beside_each_other_with_their_likeness(model: Model, scan: Scan) -> None:
    run = finished(TrustRun(model, scan, 0, "mass"))
    assert run.card is not None
    part = run.card.part("agreement")
    assert len(part.maps) > 1
    page_ = shown(run, model, scan)
    pictures = [image for element in page_.get("image") for image in element.proto.imgs]
    assert [picture.caption.rsplit(" ", 1)[1] for picture in pictures] == [f"{part.likeness[n]:.2f}" for n in part.maps]


def test_a_small_map_is_brightest_where_its_cell_is(scan: Scan) -> None:
    values = np.zeros((4, 4), np.float32)
    values[0, 3] = 1
    drawing = _Drawing(scan, 0, Letterbox.fit(*scan.shape, 64))
    rgb = np.asarray(Image.open(BytesIO(drawing.png(values))).convert("RGB")).astype(int)
    redder = rgb[..., 0] - rgb[..., 2]
    row, column = np.unravel_index(int(redder.argmax()), redder.shape)
    assert row < rgb.shape[0] / 4
    assert column > rgb.shape[1] * 3 / 4


def test_a_problem_is_said_and_a_stopped_run_ends_soon(model: Model, scan: Scan) -> None:
    wrong = finished(TrustRun(model, scan, 0, "flu"))
    assert wrong.card is None
    assert "'flu'" in "".join(str(element.value) for element in shown(wrong, model, scan).text)
    run = TrustRun(model, scan, 0, "mass")
    run.cancel()
    finished(run)
    assert run.card is None
    assert run.problem == ""
    assert len(run.parts) < 6
