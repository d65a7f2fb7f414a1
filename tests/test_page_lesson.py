"""The lesson and the live training without a browser: each step by its address, real numbers, a course that can be stopped."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.inside.convolution import KERNELS
from dashboard import cache
from dashboard.lesson.steps import STEPS
from tests.networks import publish
from tests.test_page_network import opened
from tests.test_pages import html, words


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)


def place(app: AppTest) -> str:
    """What the bar above the step says."""
    (bar,) = app.get("progress")
    said: str = bar.proto.text
    return said


def lesson(step: str) -> AppTest:
    return opened("lesson", step=step)


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_every_step_has_its_address_and_stands(step: int) -> None:
    app = lesson(str(step))
    assert not app.exception
    assert place(app) == f"Step {step} of 10"


def test_next_and_back_move_the_address_too() -> None:
    app = lesson("4")
    next(button for button in app.button if button.label == "Next").click().run()
    assert place(app) == "Step 5 of 10"
    assert app.query_params["step"] == "5"
    next(button for button in app.button if button.label == "Back").click().run()
    assert place(app) == "Step 4 of 10"


@pytest.mark.parametrize("step", ["0", "11", "x", "-1", "4.5", "٣", pytest.param("9" * 5000, id="long")])
def test_an_address_that_names_no_step_is_said_and_opens_the_first(step: str) -> None:
    app = lesson(step)
    assert not app.exception
    assert "There are 10 steps" in words(app)
    assert place(app) == "Step 1 of 10"


def test_the_kernels_arithmetic_adds_up() -> None:
    shown = html(lesson("4"))
    tables = re.findall(r"<table.*?</table>", shown, re.DOTALL)
    cells = [
        np.array([float(cell.replace("−", "-")) for cell in re.findall(r">([−0-9.]+)</td>", table)]) for table in tables
    ]
    patch, kernel, products = (values.reshape(3, 3) for values in cells[-3:])
    assert np.array_equal(kernel, KERNELS["sobel_across"])
    assert np.array_equal(products, patch * kernel)
    found = re.search(r'data-window="([^"]+)"', shown)
    assert found is not None
    assert float(found[1]) == pytest.approx(float((patch * kernel).sum()))


def test_the_network_learns_and_the_run_is_kept() -> None:
    app = opened("bench", view="training")
    for label, value in (("Filters of the first layer", 4), ("Filters of the second layer", 4)):
        next(one for one in app.select_slider if one.label == label).set_value(value).run()
    next(one for one in app.slider if one.label == "Epochs").set_value(1).run()
    next(button for button in app.button if button.label == "Train").click().run(timeout=60)
    for _ in range(120):
        if app.dataframe:
            break
        time.sleep(0.5)
        app.run(timeout=60)
    assert not app.exception
    (run,) = app.dataframe[0].value.to_dict("records")
    # By hand: 4 x 9 + 4, 4 x 4 x 9 + 4, 4 x 25 x 2 + 2.
    assert run["Parameters"] == 40 + 148 + 202
    assert run["Epochs"] == 1
    assert {metric.label for metric in app.metric} == {"Loss", "Accuracy", "Epoch"}
