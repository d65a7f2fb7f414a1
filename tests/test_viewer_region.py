"""Marking a place in the viewer, in a real Chromium: what the reader paints is what Python hears of."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Page, expect

from core.preprocessing import Letterbox
from dashboard.marked import Marked, marked_by
from dashboard.packing import asked_message, asker_message, hold_message
from tests.test_viewer_script import act, browser, canvas, mount, page, scan_of, settle, site, to_canvas
from tests.viewer_page import FOLDER, ViewerSite, maps_message, pixels_message, texts

__all__ = ["browser", "page", "site"]
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# Small enough for one cell of the grid a pixel.
ROWS, COLUMNS = 60, 100
BLUE = (0x5C, 0xB3, 0xE4)


def opened(page: Page, site: ViewerSite, rows: int = ROWS, columns: int = COLUMNS, *, answered: bool = True) -> None:
    evidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    maps = maps_message("a1", evidence, Letterbox.fit(rows, columns, 64)) if answered else hold_message("a1")
    mount(page, site, pixels_message(scan_of(np.full((rows, columns), 100, np.uint8))), maps)


def ask(page: Page, site: ViewerSite) -> None:
    """As the panel does when it opens."""
    site.answers["/asker.js"] = (FOLDER / "js_asker.js").read_bytes()
    site.answers["/ask"] = asker_message("a1")
    page.evaluate("""async () => {
        const asker = (await import("/asker.js")).default;
        const data = new Uint8Array(await (await fetch("/ask")).arrayBuffer());
        const setStateValue = (name, value) => globalThis.reports.push([name, value]);
        globalThis.leaveAsker = asker({data, parentElement: document.body, setStateValue});
    }""")
    settle(page)


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Through points (column, row) of the picture."""
    places = [page.evaluate("(point) => radlens.viewer.toPage(point)", point) for point in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    settle(page)


def reported(page: Page) -> Any:
    return page.evaluate("globalThis.reports.filter(([name]) => name === 'region').at(-1)?.[1]")


def marked(page: Page) -> Marked:
    found = marked_by(reported(page))
    assert found is not None
    return found


def box(rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    region = np.zeros((ROWS, COLUMNS), np.bool_)
    region[rows, columns] = True
    return region


def test_the_tools_are_there_only_while_somebody_listens_and_the_answer_is_known(page: Page, site: ViewerSite) -> None:
    opened(page, site, answered=False)
    ask(page, site)
    bar = page.locator(".ask-bar")
    expect(bar).to_be_hidden()
    site.answers["/maps"] = maps_message("a1", np.ones((4, 4), np.float32), Letterbox.fit(ROWS, COLUMNS, 64))
    page.evaluate("sendMessage('/maps')")
    expect(bar).to_be_visible()
    page.locator("[data-tool=brush]").click()
    expect(page.locator("[data-tool=brush]")).to_have_attribute("aria-pressed", "true")
    page.evaluate("globalThis.leaveAsker()")
    settle(page)
    expect(bar).to_be_hidden()
    expect(page.locator("[data-tool=window]")).to_have_attribute("aria-pressed", "true")
    page.locator(".single .drawing").press("e")
    drag(page, (20, 20), (40, 40))
    assert reported(page) is None


def test_a_box_is_told_cell_by_cell_and_drawn_where_it_is(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    ask(page, site)
    page.locator("[data-tool=box]").click()
    drag(page, (60.2, 39.9), (20.1, 10.2))
    found = marked(page)
    assert found.frame == 0
    assert np.array_equal(found.region, box(slice(10, 40), slice(20, 60)))
    layer = canvas(page, ".single .drawing")
    x, y = to_canvas(page, (40.5, 20.5))
    assert np.abs(layer[y, x, :3].astype(int) - BLUE).max() <= 4
    assert 100 < layer[y, x, 3] < 150
    x, y = to_canvas(page, (70.5, 20.5))
    assert layer[y, x, 3] == 0


def test_a_second_stroke_is_added_and_clearing_takes_all_away(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    ask(page, site)
    page.locator("[data-tool=box]").click()
    drag(page, (10, 10), (20, 20))
    first = marked(page)
    drag(page, (30, 30), (40, 40))
    both = marked(page)
    assert np.array_equal(both.region, box(slice(10, 20), slice(10, 20)) | box(slice(30, 40), slice(30, 40)))
    assert both.number > first.number
    page.locator(".single .drawing").press("Delete")
    settle(page)
    assert reported(page) is None
    expect(page.locator("[data-do=clearRegion]")).to_be_disabled()


def test_the_brush_paints_a_round_stroke_of_its_width(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    ask(page, site)
    page.locator("[data-tool=brush]").click()
    page.locator("input.brush").fill("20")
    drag(page, (30, 30), (70, 30))
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    far = np.hypot(x - np.clip(x, 30, 70), y - 30)
    region = marked(page).region
    assert region[far < 9].all()
    assert not region[far > 11].any()


@pytest.mark.parametrize("turn", ["rotateRight", "flipHorizontal"])
def test_a_turned_picture_is_marked_at_the_same_place(page: Page, site: ViewerSite, turn: str) -> None:
    opened(page, site)
    ask(page, site)
    act(page, turn)
    page.locator("[data-tool=box]").click()
    drag(page, (60.3, 10.2), (80.2, 30.3))
    assert np.array_equal(marked(page).region, box(slice(10, 30), slice(60, 80)))


def test_a_large_picture_is_marked_on_a_coarse_grid(page: Page, site: ViewerSite) -> None:
    opened(page, site, 300, 600)
    ask(page, site)
    page.locator("[data-tool=box]").click()
    drag(page, (150, 0), (450, 150))
    region = marked(page).region
    assert region.shape == (64, 128)
    assert region[:32, 32:96].all()
    assert region.sum() == 32 * 64


def test_the_keyboard_alone_can_mark_a_place(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    ask(page, site)
    drawing = page.locator(".single .drawing")
    drawing.press("x")
    drawing.press("Enter")
    for key in ("ArrowRight",) * 12 + ("ArrowDown",) * 9:
        drawing.press(f"Shift+{key}")
    drawing.press("Enter")
    settle(page)
    boxed = marked(page).region
    rows, columns = np.flatnonzero(boxed.any(1)), np.flatnonzero(boxed.any(0))
    assert boxed.sum() == len(rows) * len(columns) > 20
    assert (rows[0], columns[0]) == (ROWS // 2, COLUMNS // 2)
    drawing.press("Delete")
    drawing.press("e")
    drawing.press(".")
    drawing.press("Enter")
    settle(page)
    assert marked(page).region.sum() > 4


def test_what_became_of_the_scores_stands_at_the_picture_once_it_belongs_to_the_mark(
    page: Page, site: ViewerSite
) -> None:
    opened(page, site)
    ask(page, site)
    line = page.locator(".asked")
    expect(line).to_have_text(texts()["viewer.ask_hint"])
    page.locator("[data-tool=box]").click()
    drag(page, (10, 10), (30, 30))
    expect(line).to_have_text(texts()["viewer.asking"])
    site.answers["/asked"] = asked_message("a1", marked(page).number, "Without it: Mass 0.83 → 0.21")
    page.evaluate("sendMessage('/asked')")
    expect(line).to_have_text("Without it: Mass 0.83 → 0.21")
    drag(page, (50, 10), (60, 30))
    expect(line).to_have_text(texts()["viewer.asking"])


def test_a_panel_that_opens_later_hears_of_the_mark_once(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    ask(page, site)
    page.locator("[data-tool=box]").click()
    drag(page, (10, 10), (20, 20))
    region = marked(page).region
    page.evaluate("globalThis.leaveAsker()")
    page.evaluate("globalThis.reports.length = 0")
    ask(page, site)
    assert np.array_equal(marked(page).region, region)
    ask(page, site)
    assert page.evaluate("globalThis.reports.filter(([name]) => name === 'region').length") == 1
