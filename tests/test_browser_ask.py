"""Ask the heatmap as a person does: a real server, a real Chromium, the shipped model, a lesion whose place is known."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.simulation import simulate_film
from tests.browser import launched, served
from tests.test_browser_review import settle, viewer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLOW = 180_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 1400, "height": 1000})
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    found.goto(f"{address}/?sample=sim-pneumothorax")
    expect(found.locator("tr[data-label]")).to_have_count(9)
    expect(found.get_by_text("network is loading")).to_have_count(0)
    settle(found)
    yield found
    found.close()


def paint_over_the_lesion(page: Page) -> None:
    """Strokes through the rows of the box in which the film's lesion was drawn."""
    left, top, width, height = simulate_film(9, "pneumothorax", rows=768, columns=768, side="left").box_xywh or (0,) * 4
    ends = [(left + 0.15 * width, left + 0.85 * width), (left + 0.85 * width, left + 0.15 * width)]
    path = [(x, y) for i, y in enumerate(np.linspace(top, top + height, 7)) for x in ends[i % 2]]
    places = [page.evaluate("(point) => radlens.viewer.toPage(point)", list(point)) for point in path]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def change_of(page: Page, label: str) -> float:
    return float(page.locator(f'tr[data-change="{label}"]').get_attribute("data-by") or "nan")


def test_painting_over_the_lesion_lowers_its_score_and_leaves_the_page_as_it_is(
    page: Page, told: Callable[[str], None]
) -> None:
    expect(page.locator(".ask-bar")).to_be_hidden()
    page.get_by_text("Ask the heatmap: what if").click()
    page.locator('[data-tool="brush"]').click()
    settle(page)
    before = page.evaluate("radlens.viewer.drawTimes().length")
    page.locator("input.brush").fill("14")
    paint_over_the_lesion(page)
    started = page.evaluate("performance.now()")
    expect(page.locator(".asked")).to_contain_text("Without it:")
    took = page.evaluate("performance.now()") - started
    told(f"erase and ask, end of the stroke to scores in Chromium: {took:.0f} ms")
    expect(page.locator("tr[data-change]")).to_have_count(9)
    assert change_of(page, "pneumothorax") < -1
    first = page.locator("tr[data-change]").first
    expect(first).to_have_attribute("data-change", "pneumothorax")
    expect(first).to_contain_text("more than elsewhere")
    # The viewer was not told anything new about the picture: no pixel was resampled or coloured again.
    assert page.evaluate("radlens.viewer.drawTimes().length") - before <= 2
    expect(page.locator("tr[data-label]")).to_have_count(9)
    page.locator('[data-do="clearRegion"]').click()
    expect(page.locator("tr[data-change]")).to_have_count(0)
    expect(viewer(page)).to_have_count(1)


def test_regions_and_shortcuts_are_told_on_demand(page: Page) -> None:
    page.get_by_text("Ask the heatmap: what if").click()
    settle(page)
    page.get_by_role("button", name="Erase every region in turn").click()
    expect(page.get_by_text("Erasing the left").first).to_be_visible()
    page.get_by_role("button", name="Erase corners, border, markers").click()
    expect(page.locator("[data-shortcut]")).to_have_attribute("data-shortcut", "False")
    expect(page.get_by_text("Erasing the left").first).to_be_visible()


def test_two_heatmaps_stand_side_by_side_and_share_a_crosshair(page: Page) -> None:
    page.get_by_text("Compare two heatmaps").click()
    expect(page.locator('.radlens-compare[data-ready="true"]')).to_have_count(1)
    settle(page)
    panes = page.locator(".radlens-compare .pane")
    expect(panes).to_have_count(3)
    panes.first.scroll_into_view_if_needed()
    box = panes.first.locator(".drawing").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.45 * box["height"])
    for pane in panes.all():
        expect(pane.locator(".value")).not_to_be_empty()
    expect(panes.first.locator(".value")).to_contain_text("log-odds")
    page.get_by_text("methods", exact=True).first.scroll_into_view_if_needed()
    page.get_by_label("Second", exact=True).click()
    page.get_by_role("option", name="Evidence map", exact=True).click()
    expect(page.get_by_text("The two maps are the same everywhere.")).to_be_visible()
