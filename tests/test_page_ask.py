"""The panels that ask the heatmap and compare two, without a browser: what they show, and when they are not there."""

import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.explaining.asking import ask
from core.explaining.comparing import Side, compare
from core.explaining.explanation import explain
from core.models.loading import prepare
from core.samples import simulated_scan
from dashboard.ask_table import regions_png, scores_in_a_line
from dashboard.packing import asked_message, asker_message
from dashboard.texts import t
from dashboard.viewer.comparison import comparison_message
from tests.files import bundled
from tests.networks import card, seeded
from tests.test_asking import at_patch, bright_model, bright_scan
from tests.test_packing import opened as unpack
from tests.test_pages import html, messages, opened, tiny, upload, words

__all__ = ["tiny"]
WORDS = {"abnormal": "Any abnormality", "mass": "Mass (3 cm or larger)"}


def test_without_an_answer_there_is_nobody_to_ask() -> None:
    app = opened()
    titles = [t("ask.title"), t("compare.title")]
    assert [one.label for one in app.expander if one.label in titles] == titles
    assert messages(app, "ask") == []
    upload(app, "ct.dcm", bundled("CT_small.dcm"))
    assert not [one.label for one in app.expander if one.label in titles]


def page() -> None:
    import streamlit as st

    from dashboard.ask_table import change_table

    change_table(*st.session_state["asked"])


def test_every_label_stands_in_the_table_before_and_after_in_numbers_and_words() -> None:
    asked = ask(bright_model(), bright_scan(), 0, at_patch(), "mean")
    app = AppTest.from_function(page)
    app.session_state["asked"] = (asked, WORDS)
    app.run()
    assert not app.exception
    table = html(app)
    assert table.index('data-change="mass"') < table.index('data-change="abnormal"')
    mass = asked.changes["mass"]
    assert f"−{abs(mass.change):.2f}: falls, more than elsewhere" in table
    assert f"→ {mass.score_after:.2f}" in table
    assert f"{abs(asked.changes['abnormal'].change):.2f}: stays as it is" in table
    line = scores_in_a_line(asked, WORDS)
    assert line.startswith("Without it: Mass ")
    assert "3 cm" not in line


def test_messages_to_the_viewer_name_the_case_and_the_mark() -> None:
    assert unpack(asker_message("abc"))[0] == {"kind": "ask", "id": "abc", "unanswered": False, "sections": {}}
    assert unpack(asker_message("abc", unanswered=True))[0]["unanswered"]
    header, _ = unpack(asked_message("abc", 7, "Without it"))
    assert (header["kind"], header["number"], header["text"]) == ("asked", 7, "Without it")


def test_the_comparison_goes_to_the_browser_as_two_maps_their_difference_and_one_picture() -> None:
    import numpy as np

    model, scan = prepare(card(), seeded("compact-resnet")), simulated_scan(3, "mass", rows=96, columns=80)[0]
    maps = [explain(model, scan, method=method) for method in ("evidence", "layercam")]
    sides = Side(maps[0].heatmaps["mass"], maps[0].letterbox), Side(maps[1].heatmaps["mass"], maps[1].letterbox)
    found = compare(*sides)
    header, sections = unpack(comparison_message(scan, 0, sides, ("One", "Two"), found))
    assert (header["rows"], header["columns"]) == (96, 80)
    assert len(sections["grey"]) == 96 * 80
    for name, side in zip(("first", "second"), sides, strict=True):
        sent = np.frombuffer(sections[name], "<f4").reshape(header["maps"][name]["rows"], -1)
        assert np.array_equal(sent, side.heatmap.evidence)
        assert header["maps"][name]["limit"] == side.heatmap.limit
        assert not header["maps"][name]["signed"]
    sent = np.frombuffer(sections["difference"], "<f4").reshape(header["maps"]["difference"]["rows"], -1)
    assert np.array_equal(sent, found.difference)
    assert header["maps"]["difference"]["limit"] == 1


def test_the_picture_of_the_regions_is_coloured_where_erasing_lowers_the_answer() -> None:
    from io import BytesIO

    import numpy as np
    from PIL import Image

    from core.explaining.regions import regions_that_matter

    found = regions_that_matter(bright_model(), bright_scan(), fill="mean")
    picture = np.asarray(Image.open(BytesIO(regions_png(bright_scan(), found, "mass")))).astype(int)
    colour = picture.max(2) - picture.min(2)
    assert colour[45:55, 9:19].mean() > 40
    assert colour[:20, 40:].max() <= 2


def shown_comparison() -> AppTest:
    app = AppTest.from_function(compared, default_timeout=60)
    app.run()
    assert not app.exception
    return app


def compared() -> None:
    import streamlit as st

    from core.analysis import analyse
    from core.models.loading import prepare
    from core.samples import simulated_scan
    from dashboard import compare_panel
    from dashboard.answer import Answer
    from tests.networks import card, seeded

    if "answer" not in st.session_state:
        model, scan = prepare(card(), seeded("compact-resnet")), simulated_scan(3, "mass", rows=96, columns=80)[0]
        st.session_state["answer"] = scan, Answer(model, analyse(model, scan))
    scan, answer = st.session_state["answer"]
    picked = compare_panel._choices(scan, answer)
    if picked is not None:
        sides = [compare_panel._side(scan, 0, one) for one in picked]
        if all(sides):
            compare_panel._show(scan, 0, picked, tuple(sides))  # type: ignore[arg-type]


def chooser(app: AppTest, key: str) -> Any:
    return next(box for box in app.selectbox if box.label == t(key))


def test_methods_labels_layers_and_models_can_be_compared() -> None:
    app = shown_comparison()
    (header,) = messages(app, "compare")
    assert "LayerCAM" in header["maps"]["second"]["title"]
    chooser(app, "compare.second").set_value("evidence").run()
    assert "The two maps are the same everywhere." in words(app)
    app.radio[0].set_value("labels").run()
    (header,) = messages(app, "compare")
    assert header["maps"]["first"]["title"].startswith("Any abnormality")
    assert header["maps"]["second"]["title"].startswith("Mass")
    assert header["maps"]["first"]["signed"]
    app.radio[0].set_value("layers").run()
    chooser(app, "compare.second").set_value("blocks.1.conv1").run()
    (header,) = messages(app, "compare")
    assert header["maps"]["second"]["rows"] > header["maps"]["first"]["rows"]
    assert "blocks.1.conv1" in header["maps"]["second"]["title"]
    app.radio[0].set_value("models").run()
    assert t("compare.one_only") in words(app)


def test_a_slow_method_is_compared_once_its_button_was_pressed() -> None:
    app = shown_comparison()
    chooser(app, "compare.second").set_value("occlusion").run()
    assert messages(app, "compare") == []
    next(one for one in app.button if one.label == t("compare.start", title="Occlusion")).click().run()
    end = time.monotonic() + 60
    while not messages(app, "compare"):
        assert time.monotonic() < end
        time.sleep(0.2)
        app.run()
    assert not app.exception
    assert "Occlusion" in messages(app, "compare")[0]["maps"]["second"]["title"]


@pytest.fixture(autouse=True)
def _one_model(tiny: None) -> None:
    """The models of these pages are the tiny one alone."""
