"""The tour as a presenter gives it: from the root's address to the planted error, then back to one's own case."""

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import launched, served

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLOW = 180_000
# What stands on a stop once all of it is there.
READY = {
    1: "tr[data-label='pneumothorax']",
    2: "[data-verdict] >> nth=6",
    3: "text=What they add up to",
    4: "[data-icons]",
    5: "text=No answer >> nth=2",
    6: "text=Let the network speak",
}


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
    found = browser.new_page(viewport={"width": 1600, "height": 1000})
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    yield found
    found.close()


def test_the_whole_tour_from_a_server_that_has_just_started(
    page: Page, address: str, told: Callable[[str], None]
) -> None:
    begun = time.monotonic()
    page.goto(f"{address}/?demo=1")
    for stop in range(1, 7):
        expect(page.get_by_text(f"Stop {stop} of 6")).to_be_visible()
        stands = time.monotonic() - begun
        page.locator(READY[stop]).wait_for()
        told(f"tour, stop {stop}: stands after {stands:.1f} s, all of it after {time.monotonic() - begun:.1f} s")
        expect(page).to_have_url(f"{address}/demo?demo={stop}")
        begun = time.monotonic()
        if stop < 6:
            page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Let the network speak").click()
    expect(page.get_by_text("The network misses it.")).to_be_visible()
    told(f"tour, the answer on the last film: after {time.monotonic() - begun:.1f} s")
    expect(page.get_by_text("does glow at the right place")).to_be_visible()
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_text("Stop 1 of 6")).to_be_visible()


def test_in_a_hurry_and_back_to_ones_own_case(page: Page, address: str) -> None:
    page.goto(f"{address}/?sample=sim-effusion")
    expect(page.get_by_text("Simulated film: effusion, left").first).to_be_visible()
    expect(page.locator("tr[data-label]")).to_have_count(9)
    page.get_by_role("link", name="Tour").click()
    expect(page.get_by_text("Stop 1 of 6")).to_be_visible()
    # Nothing is waited for: whatever is still at work must not stand in the way.
    page.get_by_role("button", name="Next").dblclick()
    expect(page.get_by_text("Stop 2 of 6")).to_be_visible()
    for stop in (3, 4, 5, 6):
        page.keyboard.press("PageDown")
        expect(page.get_by_text(f"Stop {stop} of 6")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Stop 5 of 6")).to_be_visible()
    page.keyboard.press("PageUp")
    expect(page.get_by_text("Stop 4 of 6")).to_be_visible()
    expect(page.get_by_test_id("stFileUploaderDropzone")).to_have_count(0)
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_text("Simulated film: effusion, left").first).to_be_visible()
    expect(page.locator("tr[data-label]")).to_have_count(9)
    assert "demo" not in page.url
    page.get_by_role("link", name="Tour").click()
    expect(page.get_by_text("Stop 4 of 6")).to_be_visible()
