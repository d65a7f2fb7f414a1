"""The Bench page without a browser: kernels, pooling, softmax, ablation with undo, pictures in the background."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.inside.convolution import grey_levels
from core.samples import list_samples
from dashboard import cache
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


def bench(view: str) -> AppTest:
    return opened("bench", view=view)


def field(app: AppTest, kind: str, label: str) -> object:
    return next(one for one in getattr(app, kind) if one.label == label)


def window(app: AppTest) -> float:
    found = re.search(r'data-window="([^"]+)"', html(app))
    assert found is not None
    return float(found[1])


def scan_levels() -> np.ndarray:
    from core.reading.decoding import decode_scan

    return grey_levels(decode_scan(list_samples()[0].load()), 0, 224)


def test_a_window_is_torchs_own_value() -> None:
    app = bench("kernel")
    field(app, "selectbox", "Kernel").set_value("sobel_across").run()  # type: ignore[attr-defined]
    for label, value in (("Stride", 2), ("Padding", 3), ("Dilation", 2), ("Row", 20), ("Column", 31)):
        field(app, "number_input", label).set_value(value).run()  # type: ignore[attr-defined]
        assert not app.exception
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None]
    picture = torch.from_numpy(scan_levels())[None, None]
    truth = torch.nn.functional.conv2d(picture, sobel, stride=2, padding=3, dilation=2)[0, 0]
    assert window(app) == pytest.approx(float(truth[20, 31]), abs=1e-3)
    assert f"= {truth.shape[0]}" in html(app)


def test_an_own_kernel_and_what_is_none() -> None:
    app = bench("kernel")
    next(one for one in app.button if one.label == "Change these numbers").click().run()
    field(app, "text_area", "Your kernel").set_value("0 0 0\n0 2 0\n0 0 0").run()  # type: ignore[attr-defined]
    field(app, "number_input", "Row").set_value(100).run()  # type: ignore[attr-defined]
    field(app, "number_input", "Column").set_value(90).run()  # type: ignore[attr-defined]
    assert window(app) == 2 * scan_levels()[100, 90]
    for bad, said in (("1 2 x", "made of numbers"), ("1 nan 1\n0 0 0\n1 1 1", "finite"), ("1 2\n3 4", "3 x 3")):
        field(app, "text_area", "Your kernel").set_value(bad).run()  # type: ignore[attr-defined]
        assert not app.exception
        assert said in words(app)
        assert field(app, "text_area", "Your kernel").value == bad  # type: ignore[attr-defined]


def test_a_window_larger_than_the_picture_is_one_sentence() -> None:
    app = bench("kernel")
    field(app, "selectbox", "Kernel").set_value("gaussian").run()  # type: ignore[attr-defined]
    field(app, "number_input", "Stride").set_value(64).run()  # type: ignore[attr-defined]
    assert not app.exception
    field(app, "number_input", "Padding").set_value(0).run()  # type: ignore[attr-defined]
    field(app, "number_input", "Dilation").set_value(16).run()  # type: ignore[attr-defined]
    assert not app.exception


def test_next_goes_window_by_window() -> None:
    app = bench("kernel")
    field(app, "number_input", "Row").set_value(0).run()  # type: ignore[attr-defined]
    field(app, "number_input", "Column").set_value(223).run()  # type: ignore[attr-defined]
    next(one for one in app.button if one.label == "On").click().run()
    assert "row 1, column 0" in words(app)
    next(one for one in app.button if one.label == "Back").click().run()
    assert "row 0, column 223" in words(app)


def test_a_learnt_kernel_is_the_networks() -> None:
    app = bench("kernel")
    field(app, "selectbox", "Kernel").set_value("learnt").run()  # type: ignore[attr-defined]
    assert not app.exception
    field(app, "number_input", "Filter").set_value(5).run()  # type: ignore[attr-defined]
    weight = cache.model("tiny").network.get_submodule("stem.0").weight[5, 0]  # type: ignore[index]
    assert f"{float(weight[0, 0]):.3f}".replace("-", "−")[:6] in html(app)


def test_pooling_tells_all_three_of_a_patch() -> None:
    app = bench("pooling")
    field(app, "number_input", "Row").set_value(10).run()  # type: ignore[attr-defined]
    field(app, "number_input", "Column").set_value(12).run()  # type: ignore[attr-defined]
    patch = scan_levels()[40:44, 48:52]
    for words_, value in (("largest", patch.max()), ("smallest", patch.min())):
        assert re.search(rf">{words_}</td>.*?>{value:.0f}<", html(app))
    field(app, "number_input", "Padding").set_value(9).run()  # type: ignore[attr-defined]
    assert not app.exception
    assert "at most half the window" in words(app)


def test_activations_draw_their_curves() -> None:
    app = bench("activation")
    for name in ("sigmoid", "tanh", "ReLU"):
        field(app, "radio", "Activation").set_value(name).run()  # type: ignore[attr-defined]
        assert not app.exception
    assert re.search(r"Values after</td>.*?>0 …", html(app))


def test_softmax_starts_at_the_networks_logits_and_sums_to_one() -> None:
    app = bench("softmax")
    shares = [float(value) for value in re.findall(r'data-share="([^"]+)"', html(app))]
    logits = [one.value for one in app.slider][:2]
    assert shares == pytest.approx((np.exp(logits) / np.exp(logits).sum()).tolist())
    field(app, "slider", "Temperature").set_value(10.0).run()  # type: ignore[attr-defined]
    even = [float(value) for value in re.findall(r'data-share="([^"]+)"', html(app))]
    assert sum(even) == pytest.approx(1)
    assert max(even) <= max(shares)
    next(one for one in app.button if "Back to" in one.label).click().run()
    assert [float(value) for value in re.findall(r'data-share="([^"]+)"', html(app))] == shares
    assert "answers each label on its own" in words(app)


def test_silencing_moves_the_answer_and_undo_gives_the_same_bits() -> None:
    app, other = bench("ablation"), bench("ablation")
    before = re.search(r"heatmaps: (\w{8}), the network's own", words(app))
    assert before is not None
    weights = {name: value.clone() for name, value in cache.model("tiny").network.state_dict().items()}
    app.multiselect[0].set_value([0, 1, 2, 3]).run()
    assert not app.exception
    assert "stem.0: 0, 1, 2, 3 silenced" in words(app)
    changed = re.search(r"heatmaps: (\w{8})\. The network's own is (\w{8})", words(app))
    assert changed is not None
    assert changed[2] == before[1]
    other.run()
    assert f"{before[1]}, the network's own" in words(other)
    assert all(torch.equal(weights[name], value) for name, value in cache.model("tiny").network.state_dict().items())
    next(one for one in app.button if one.label == "Undo all").click().run()
    assert f"{before[1]}, the network's own" in words(app)
    assert "Nothing is changed" in words(app)


def test_two_filters_change_places() -> None:
    app = bench("ablation")
    field(app, "selectbox", "Swap filter").set_value(1).run()  # type: ignore[attr-defined]
    assert "Nothing is changed" in words(app)
    field(app, "selectbox", "with filter").set_value(2).run()  # type: ignore[attr-defined]
    assert not app.exception
    assert "stem.0: 1 and 2 swapped" in words(app)


def test_a_picture_is_made_in_the_background_and_kept() -> None:
    app = bench("looksfor")
    next(one for one in app.select_slider if one.label == "Steps").set_value(32).run()
    next(one for one in app.button if one.label == "Make the picture").click().run()
    deadline = time.monotonic() + 60
    while "after every step" not in words(app) and "did not rise" not in words(app) and time.monotonic() < deadline:
        time.sleep(0.2)
        app.run()
    assert not app.exception
    assert "Activation maximisation" in words(app)
    # Another seed is another question.
    next(one for one in app.number_input if one.label == "Seed").set_value(1).run()
    assert any(one.label == "Make the picture" for one in app.button)
