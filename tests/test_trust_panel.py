"""The checks of a heatmap on the page: parts as they come, verdicts in words."""

import time

import pytest
from streamlit.testing.v1 import AppTest

from core.models.loading import Model, prepare
from core.samples import simulated_scan
from core.scan import Scan
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

    _follow(st.session_state["run"], "log-odds")


def shown(run: TrustRun) -> AppTest:
    app = AppTest.from_function(page, default_timeout=60)
    app.session_state["run"] = run
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
    text = html(shown(run))
    words = {"green": "Holds", "amber": "With care", "red": "Fails", "not available": "Not known"}
    for verdict in (*(part.verdict for part in run.card.parts), run.card.verdict):
        assert f'data-verdict="{verdict}"' in text
        assert f"<strong>{words[verdict]}</strong>" in text
    for part in run.card.parts:
        assert part.advice.replace("'", "&#x27;") in text
    assert "Does the answer hang on the marked places?" in text


def test_a_problem_is_said_and_a_stopped_run_ends_soon(model: Model, scan: Scan) -> None:
    wrong = finished(TrustRun(model, scan, 0, "flu"))
    assert wrong.card is None
    assert "'flu'" in "".join(str(element.value) for element in shown(wrong).text)
    run = TrustRun(model, scan, 0, "mass")
    run.cancel()
    finished(run)
    assert run.card is None
    assert run.problem == ""
    assert len(run.parts) < 6
