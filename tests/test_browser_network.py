"""Network and Bench as a person meets them: a click in a picture moves the numbers, and the numbers add up."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.browser import launched, served

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLOW = 120_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 1400, "height": 1400})
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    yield found
    found.close()


_READ_SUM = """(table) => {
  const terms = [...table.querySelectorAll("tr[data-logit-term]")];
  const total = table.querySelector("tr[data-logit-total]");
  const last = (row) => row.querySelector("td:last-child").innerText;
  return [terms.map((row) => Number(row.dataset.logitTerm)), Number(total.dataset.logitTotal), terms.map(last), last(total)];
}"""


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("+", ""))


def click_at(picture: Locator, x: float, y: float) -> None:
    """A click in shares of the picture's width and height."""
    expect(picture.locator("img")).to_be_visible()
    area = picture.bounding_box()
    assert area is not None
    picture.click(position={"x": x * area["width"], "y": y * area["height"]})


def test_a_clicked_pixel_is_followed_and_its_terms_sum_to_the_logit(page: Page, address: str) -> None:
    page.goto(f"{address}/network?view=pixel")
    row, column = page.get_by_label("Row", exact=True), page.get_by_label("Column", exact=True)
    expect(row).to_be_visible()
    click_at(page.locator(".frame").first, 0.3, 0.6)
    # The network's last maps have 32 x 32 cells over a square film.
    expect(row).to_have_value("19")
    expect(column).to_have_value("9")
    table = page.locator("table", has=page.locator("tr[data-logit-total]"))
    # All at once: the page may be drawing the table anew.
    exact, logit, shown, total = table.evaluate(_READ_SUM)
    # Three digits of each summand are shown.
    assert sum(number(text) for text in shown) == pytest.approx(number(total), abs=0.01)
    assert sum(exact) == pytest.approx(logit, abs=1e-4)
    said = page.get_by_text(re.compile("with a logit of")).first.inner_text()
    found = re.search(r"logit of (−?[\d.]+): ([<>]? ?[\d.]+)", said)
    assert found is not None
    assert number(found[1]) == pytest.approx(logit, abs=0.005)


def test_a_click_on_a_layer_enters_it_and_one_on_a_tile_chooses_its_map(page: Page, address: str) -> None:
    page.goto(f"{address}/network")
    page.locator("summary", has_text="blocks.0").click()
    page.locator('button[data-layer="blocks.0.conv1"]').click()
    expect(page.get_by_text("out of blocks.0.conv1").first).to_be_visible()
    # 40 maps in rows of 8: the fourth of the second row is map 11.
    click_at(page.locator(".frame").first, 3.5 / 8, 1.5 / 5)
    expect(page.get_by_text("Map 11 over the scan").first).to_be_visible()
    page.locator(".frame").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Map 12 over the scan").first).to_be_visible()


def test_a_click_moves_the_kernels_window(page: Page, address: str) -> None:
    page.goto(f"{address}/bench?view=kernel")
    title = page.get_by_text(re.compile("The window for row")).first
    expect(title).to_be_visible()
    # In the middle of the lower edge of 224 x 224 pixels; a click is as fine as the screen's own pixels.
    click_at(page.locator(".frame").first, 0.5, 0.995)
    expect(title).to_have_text(re.compile(r"The window for row 22[23], column 11[0-3]"))
    before, _, column = title.inner_text().rpartition(" ")
    page.get_by_role("button", name="Back").click()
    expect(title).to_have_text(f"{before} {int(column) - 1}")
