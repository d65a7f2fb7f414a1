"""The tour without a browser: six stops by address, nothing of the reader's lost, and the planted error is still one."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.analysis import analyse
from core.errors import NoFittingModel, ScanError
from core.models.catalogue import read_catalogue
from core.models.loading import load_model
from core.models.scope import choose_model
from core.reading import read_scan
from core.simulation import simulate_film
from core.windowing import display_grey
from dashboard import cache
from dashboard.answer import Answer
from dashboard.demo import cases
from dashboard.demo.error import is_missed, peak_is_inside
from tests.networks import publish, seeded
from tests.test_pages import html, opened, words

DEFAULT = "chest-xray-adult"
STOPS = 6


@pytest.fixture
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)


def place(app: AppTest) -> str:
    """What the bar at the top says."""
    return next(bar.proto.text for bar in app.get("progress") if bar.proto.text.startswith("Stop"))


def sent(app: AppTest, kind: str) -> int:
    """How many messages of that kind go to the viewer."""
    return sum(f'"kind": "{kind}"'.encode() in element.proto.bytes for element in app.get("bidi_component"))


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("stop", range(1, STOPS + 1))
def test_every_stop_has_its_address_from_the_root_on_and_stands(stop: int) -> None:
    app = opened(demo=str(stop))
    assert not app.exception
    assert place(app).startswith(f"Stop {stop} of {STOPS}")
    assert app.query_params["demo"] == str(stop)
    # No upload and no list of samples: nothing that could take the tour's case away.
    assert len(app.get("file_uploader")) == 0
    assert "not a medical device" in words(app)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("stop", ["0", "7", "x", "-1", "2.5", "٣", "9" * 5000])
def test_an_address_that_names_no_stop_is_said_and_opens_the_first(stop: str) -> None:
    app = opened(demo=stop)
    assert not app.exception
    assert "The tour has 6 stops" in words(app)
    assert place(app).startswith("Stop 1 of 6")


@pytest.mark.usefixtures("tiny")
def test_next_back_and_start_again_lead_through_all_of_it() -> None:
    app = opened(demo="1")
    for stop in range(2, STOPS + 1):
        press(app, "Next")
        assert not app.exception
        assert place(app).startswith(f"Stop {stop} of 6")
        assert app.query_params["demo"] == str(stop)
    assert next(button for button in app.button if button.label == "Next").disabled
    press(app, "Back")
    assert place(app).startswith("Stop 5 of 6")
    press(app, "Next")
    assert "data-label" not in html(app)
    press(app, "Let the network speak")
    assert "data-label" in html(app)
    press(app, "Start again")
    assert place(app).startswith("Stop 1 of 6")
    for _ in range(STOPS - 1):
        press(app, "Next")
    # The last film is unread again.
    assert any(button.label == "Let the network speak" for button in app.button)
    assert "data-label" not in html(app)


@pytest.mark.usefixtures("tiny")
def test_the_last_film_keeps_its_heatmap_back_until_it_is_asked_for() -> None:
    app = opened(demo="6")
    assert (sent(app, "hold"), sent(app, "maps")) == (1, 0)
    press(app, "Let the network speak")
    assert (sent(app, "hold"), sent(app, "maps")) == (0, 1)


@pytest.mark.usefixtures("model_folder", "no_shipped_models", "clean_caches")
def test_without_any_model_every_stop_still_stands_and_says_why() -> None:
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)
    for stop in range(1, STOPS + 1):
        app = opened(demo=str(stop))
        assert not app.exception
        assert place(app).startswith(f"Stop {stop} of 6")


@pytest.mark.usefixtures("clean_caches")
def test_a_model_that_calls_the_last_film_is_not_said_to_miss_it(model_folder: Path, no_shipped_models: None) -> None:
    # Evidence does not count against a bias of 9: every label is called on every film.
    network = seeded("compact-resnet")
    network.state_dict()["fc.bias"].fill_(9.0)
    publish(model_folder, network)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)
    app = press(opened(demo="6"), "Let the network speak")
    assert not app.exception
    assert "does not make this error" in words(app)
    assert "misses it" not in words(app)


def both_cases() -> None:
    """A reader's case with a choice and a running check, then the tour, then back."""
    import streamlit as st

    from dashboard import state
    from dashboard.demo import cases

    class Running:
        ended = False

        def cancel(self) -> None:
            self.ended = True

    state.open_sample("sim-mass")
    state.choose_model_by_hand("digest", "some-model")
    before, run = state.current_case(), Running()
    key, of_trust = state.choice(state.LAYER, "maps"), state.choice("trust_run", "question")
    state.choose(key, "stem.0")
    state.choose(of_trust, run)
    state.put_aside()
    assert state.current_case() is None
    assert state.chosen(key, None) is None
    assert state.model_by_hand("digest") is None
    state.show_case(cases.film())
    mine, tours = state.choice(state.LAYER, "maps"), Running()
    state.choose(mine, "blocks.0")
    state.choose(state.choice("trust_run", "another"), tours)
    state.put_aside()
    assert state.current_case() is cases.film()
    state.take_back()
    state.take_back()
    assert state.current_case() is before
    assert (state.chosen(key, None), state.chosen(mine, None)) == ("stem.0", None)
    assert state.model_by_hand("digest") == "some-model"
    assert state.former_case() is None
    assert (run.ended, tours.ended) == (False, True)
    st.text("all of it")


def test_what_the_reader_had_open_comes_back_as_it_was_and_of_the_tour_nothing_stays() -> None:
    app = AppTest.from_function(both_cases, default_timeout=60).run()
    assert not app.exception
    assert "all of it" in words(app)


def test_the_default_model_still_misses_the_planted_mass() -> None:
    planted = cases.planted()
    scan, model = planted.case.scan, load_model(DEFAULT)
    assert scan is not None
    analysis = analyse(model, scan)
    assert analysis.novelty is not None
    assert not analysis.novelty.outside
    points = {code: model.card.threshold(code) for code in model.card.label_codes}
    assert "mass" in points
    margins = {code: analysis.prediction.logits[code] - np.log(p / (1 - p)) for code, p in points.items() if p}
    # Clear of every operating point: no engine and no version of torch moves a logit so far.
    assert max(margins.values()) < -0.1
    answer = Answer(model, analysis)
    assert is_missed(answer)
    # The words say that the heatmap glows at the right place: its warmest cell, by its own arithmetic, is in the box.
    evidence = analysis.heatmap(answer.foremost_label).evidence
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    x, y, width, height = planted.box
    cell = 1 / evidence.shape[0]
    assert x <= (column + 0.5) * cell <= x + width
    assert y <= (row + 0.5) * cell <= y + height
    assert peak_is_inside(answer, planted.box)


def test_the_planted_mass_is_there_and_plain_to_see() -> None:
    scan = cases.planted().case.scan
    assert scan is not None
    rows, columns = scan.shape
    without = simulate_film(cases.PLANTED_SEED, rows=rows, columns=columns).pixels.astype(float)
    grey, x, y, width, height = display_grey(scan, 0), *cases.planted().box
    change = grey - without / 4095
    top, left = round(y * rows), round(x * columns)
    inside = np.zeros(grey.shape, bool)
    inside[top : top + round(height * rows), left : left + round(width * columns)] = True
    assert np.abs(change[~inside]).max() < 0.01
    # In the mass a good tenth of all greys brighter than the same patient's lung, over a ninth of the film's width.
    assert change[inside].max() > 0.1
    assert width > 0.11


def test_the_three_files_are_refused_each_for_its_own_reason_and_a_film_is_not() -> None:
    cards, model = read_catalogue().cards, load_model(DEFAULT)
    with pytest.raises(NoFittingModel, match="CT"):
        choose_model(cards.values(), cases.ct())
    letter, film = cases.letter(), cases.film().scan
    assert film is not None
    for scan, held_back in ((letter, True), (film, False)):
        assert choose_model(cards.values(), scan).id == DEFAULT
        novelty = analyse(model, scan).novelty
        assert novelty is not None
        assert novelty.outside is held_back
    with pytest.raises(ScanError):
        read_scan(cases.cut_file())
