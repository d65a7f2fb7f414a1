"""Findings as places in the viewer, in a real Chromium: where the boxes are drawn, the switch, the words."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Page, expect

from core.preprocessing import Letterbox
from tests.test_viewer_script import act, browser, canvas, mount, page, scan_of, settle, site, to_canvas
from tests.viewer_page import ViewerSite, maps_message, pixels_message, texts

__all__ = ["browser", "page", "site"]
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROWS, COLUMNS = 60, 100
LINE = (0xFF, 0x8D, 0xF2)
WORDS = "Mass: 1 place, left lower zone, 62 x 40 mm."
BOX = (20.0, 10.0, 40.0, 30.0)
# A triangle within the box.
CONTOUR = ((20, 40), (40, 10), (60, 40))
FOUND = {"list": [{"box": BOX, "contour": CONTOUR}], "words": WORDS}


def opened(page: Page, site: ViewerSite, places: dict[str, Any] | None = FOUND) -> None:
    scan = scan_of(np.full((ROWS, COLUMNS), 100, np.uint8))
    message = maps_message("a1", np.zeros((8, 8), np.float32), Letterbox.fit(ROWS, COLUMNS, 64), places=places)
    mount(page, site, pixels_message(scan), message)


def line(page: Page) -> npt.NDArray[np.bool_]:
    layer = canvas(page, ".single .drawing")
    return (np.abs(layer[..., :3].astype(int) - LINE).max(-1) < 12) & (layer[..., 3] > 200)


def is_drawn(page: Page, u: float, v: float) -> bool:
    drawn = line(page)
    x, y = to_canvas(page, (u, v))
    return bool(drawn[y - 2 : y + 3, x - 2 : x + 3].any())


def test_the_box_runs_along_its_four_edges_and_nowhere_else(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    drawn = line(page)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    for found, point in (((columns[0], rows[0]), (20, 10)), ((columns[-1], rows[-1]), (60, 40))):
        assert np.abs(np.array(found) - to_canvas(page, point)).max() <= 2
    assert all(is_drawn(page, *at) for at in ((20, 25), (60, 25), (40, 10), (40, 40)))
    assert not is_drawn(page, 40, 25)


def test_the_box_turns_and_zooms_with_the_picture(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    act(page, "rotateRight")
    page.evaluate("radlens.viewer.zoomTo(radlens.viewer.state().zoom * 1.3)")
    settle(page)
    assert all(is_drawn(page, *at) for at in ((20, 25), (60, 25), (40, 10), (40, 40)))
    assert not is_drawn(page, 40, 25)


def test_contours_take_the_place_of_boxes_when_chosen(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    page.get_by_role("button", name=texts()["viewer.more"]).click()
    page.get_by_label(texts()["viewer.place_contours"]).check()
    settle(page)
    assert is_drawn(page, 30, 25)
    assert not is_drawn(page, 20, 25)
    page.get_by_label(texts()["viewer.place_boxes"]).check()
    settle(page)
    assert is_drawn(page, 20, 25)


def test_the_switch_and_its_key_take_boxes_and_words_away(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    expect(page.locator(".place-legend")).to_contain_text(WORDS)
    assert WORDS in str(page.locator(".single .drawing").get_attribute("aria-label"))
    button = page.get_by_role("button", name=texts()["viewer.places"])
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    settle(page)
    assert not line(page).any()
    expect(page.locator(".place-legend")).to_be_hidden()
    page.locator(".single .drawing").focus()
    page.keyboard.press("t")
    settle(page)
    assert is_drawn(page, 20, 25)
    expect(button).to_have_attribute("aria-pressed", "true")


def test_without_a_place_the_words_say_so_and_nothing_is_drawn(page: Page, site: ViewerSite) -> None:
    opened(page, site, {"list": [], "words": "Mass: no places are drawn."})
    assert not line(page).any()
    expect(page.locator(".place-legend")).to_contain_text("no places are drawn")
    expect(page.locator(".place-legend .swatch")).to_be_hidden()


def test_a_model_that_draws_no_places_has_no_switch_for_them(page: Page, site: ViewerSite) -> None:
    opened(page, site, None)
    expect(page.locator("[data-do=places]")).to_be_hidden()
    expect(page.locator(".place-legend")).to_be_hidden()
    page.get_by_role("button", name=texts()["viewer.more"]).click()
    expect(page.locator(".places-only")).to_be_hidden()


def test_several_places_are_numbered(page: Page, site: ViewerSite) -> None:
    two = [*FOUND["list"], {"box": (70.0, 10.0, 20.0, 20.0), "contour": ()}]
    opened(page, site, {"list": two, "words": "Mass: 2 places."})
    x, y = to_canvas(page, (21, 11))
    numbered = int(line(page)[y : y + 24, x : x + 18].sum())
    opened(page, site)
    assert numbered > int(line(page)[y : y + 24, x : x + 18].sum())


def test_the_exported_picture_carries_the_places_and_their_words(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    heights = []
    for _ in range(2):
        data = page.evaluate("radlens.viewer.exported()")
        size = "async (d) => { const i = new Image(); i.src = d; await i.decode(); return i.height }"
        heights.append(page.evaluate(size, data))
        act(page, "places")
    assert heights[0] > heights[1]
