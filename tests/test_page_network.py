"""The Network page without a browser: every view of a real network, orders and scales, bad addresses, numbers that add up."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import cache
from dashboard.pointing.picture import point_of
from tests.networks import publish, seeded
from tests.test_pages import html, words

APP = str(Path(__file__).resolve().parents[1] / "streamlit_app.py")
PAGE = """
import streamlit as st
from dashboard import state
from dashboard.pages import {page}
from dashboard.widgets import open_panel
state.keep_choices()
open_panel()
{page}.render()
"""


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)


def opened(page: str = "network", **parameters: str) -> AppTest:
    app = AppTest.from_string(PAGE.format(page=page), default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def terms(app: AppTest, name: str) -> tuple[list[float], float]:
    """The exact summands and the sum of a table."""
    page = html(app)
    total = re.search(rf'data-{name}-total="([^"]+)"', page)
    assert total is not None
    return [float(value) for value in re.findall(rf'data-{name}-term="([^"]+)"', page)], float(total[1])


def test_the_page_says_which_case_and_which_model_it_speaks_of() -> None:
    app = opened(view="glance")
    assert "Simulated film: pneumothorax, left" in html(app)
    assert "Tiny chest model 1.0.0" in html(app)
    assert "learnt numbers" in words(app)


def test_maps_in_every_order_and_scale() -> None:
    app = opened(view="maps")
    layer = next(one for one in app.selectbox if one.label == "Layer")
    layer.set_value("stem.2").run()
    for label, options in (("Order", ("strength", "variance", "contribution")), ("Colour scale", ("layer", "network"))):
        for option in options:
            next(one for one in app.selectbox if one.label == label).set_value(option).run()
            assert not app.exception
    assert "24 maps of 32 x 32 out of stem.2" in words(app)
    assert "One scale for all layers" in words(app)
    assert "Adds to" in html(app)


def test_dead_and_alike_maps_are_named(model_folder: Path) -> None:
    network = seeded("compact-resnet")
    norm, convolution = network.stem[1], network.stem[0]
    norm.weight[3] = norm.bias[3] = 0.0
    for part in (convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        part[9] = part[4]
    published = publish(model_folder, network)
    cache.forget_catalogue()
    cache.model.clear()
    app = opened(view="maps", layer="stem.1")
    assert published.weights_sha256[:8] in html(app)
    assert "Dead here, the same everywhere (1): 3." in words(app)
    assert "Say the same (1 pairs): 4 = 9." in words(app)


@pytest.mark.parametrize("view", ["maps", "filters"])
def test_a_layer_that_does_not_exist_is_one_sentence(view: str) -> None:
    app = opened(view=view, layer="nowhere")
    assert "a layer that this network does not have" in words(app)
    assert "Tiny chest model" in html(app)
    assert len(app.get("bidi_component")) > 0


def test_a_layer_without_maps_is_one_sentence() -> None:
    assert "nothing to show here" in words(opened(view="maps", layer="fc"))


def test_an_unknown_view_shows_the_first() -> None:
    assert "learnt numbers" in words(opened(view="kitchen"))


def test_a_filter_shows_its_weights_and_its_passport() -> None:
    app = opened(view="filters")
    next(one for one in app.selectbox if one.label == "Filter").set_value(7).run()
    assert not app.exception
    page = words(app)
    assert "Passport of filter 7" in page
    assert "Weights for input map 0" in page
    assert "Not measured for this model" in page
    # Both labels before and after.
    assert page.count("data-changed=") == 2


def test_a_pixel_is_followed_to_the_logit() -> None:
    app = opened(view="pixel")
    summands, total = terms(app, "logit")
    assert sum(summands) == pytest.approx(total, abs=1e-9)
    # 192 channels: six alone, the others together, the bias.
    assert len(summands) == 8
    logit = re.search(r"with a logit of (−?[\d.]+)", html(app))
    assert logit is not None
    assert float(logit[1].replace("−", "-")) == pytest.approx(total, rel=0.01)
    count = int(next(one for one in app.slider if "Step" in one.label).max)
    kinds = set()
    for step in range(1, count + 1):
        next(one for one in app.slider if "Step" in one.label).set_value(step).run()
        assert not app.exception
        kinds |= set(re.findall(r"Step \d+ of \d+: (\w+)", words(app)))
        differs = re.search(r"differs by ([\de.-]+)\.", words(app))
        assert differs is not None
        assert float(differs[1]) < 1e-4
    assert {"convolution", "normalisation", "activation", "addition", "global", "linear"} <= kinds


def test_buttons_walk_and_a_layers_value_can_be_the_end() -> None:
    app = opened(view="pixel")
    next(one for one in app.button if one.label == "On").click().run()
    assert "Step 2 of" in words(app)
    next(one for one in app.radio if one.label == "Where the walk ends").set_value("layer").run()
    next(one for one in app.selectbox if one.label == "Layer").set_value("stem.2").run()
    assert not app.exception
    assert "of 3:" in words(app)
    next(one for one in app.number_input if one.label == "Row").set_value(31).run()
    assert not app.exception


def test_of_what_a_browser_says_only_points_count() -> None:
    assert point_of({"x": 0.5, "y": 2}) == (0.5, 1 - 1e-9)
    for wrong in (None, 3, {}, {"x": "1", "y": 0}, {"x": float("nan"), "y": 0}, {"x": 1}):
        assert point_of(wrong) is None


def test_a_closed_case_leaves_no_recording() -> None:
    app = opened(view="maps")
    next(one for one in app.button if one.label == "Close the case").click().run()
    assert not app.exception
    assert "Upload a scan or choose a sample case" in words(app)
    # What keeps the reader's name in the browser belongs to no case.
    assert [element.key for element in app.get("bidi_component")] == ["name-keeper"]
