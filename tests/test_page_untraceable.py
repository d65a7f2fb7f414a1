"""Every page with a real network that cannot be traced: it is answered, and what needs a graph says so in a sentence."""

import re
from pathlib import Path

import pytest

from core.engines.candidates import candidate_layers
from core.errors import NOT_FOLLOWED
from dashboard import cache
from tests.networks import publish, seeded
from tests.test_page_network import opened
from tests.test_pages import html, words

ARCHITECTURE = "timm/tf_efficientnetv2_b0"


@pytest.fixture(autouse=True)
def only(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    """No model but this one."""
    network = seeded(ARCHITECTURE, size=64)
    layer = candidate_layers(network, channels=1, size=64)[0].name
    publish(model_folder, network, architecture=ARCHITECTURE, target_layer=layer)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)


def test_review_answers_with_a_heatmap() -> None:
    app = opened("review")
    assert re.findall(r'data-label="(\w+)"', html(app)) == ["abnormal", "mass"]


@pytest.mark.parametrize("view", ["glance", "maps", "filters", "pixel"])
def test_every_view_of_the_network_stands(view: str) -> None:
    app = opened("network", view=view)
    # What one cell sees, and one pixel's way, cannot be told without a graph.
    assert ("depends on the picture" in words(app)) == (view in ("glance", "pixel"))


@pytest.mark.parametrize("view", ["kernel", "activation", "softmax", "ablation", "looksfor"])
def test_every_bench_stands(view: str) -> None:
    opened("bench", view=view)


@pytest.mark.parametrize("step", range(1, 11))
def test_every_step_of_the_lesson_stands(step: int) -> None:
    app = opened("lesson", step=str(step))
    # A map before and after its activation, how far cells see, and the last sum need the graph.
    assert (NOT_FOLLOWED in words(app)) == (step in (6, 7, 9))
