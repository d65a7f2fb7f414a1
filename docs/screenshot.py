"""Draws the pictures of the README: starts the dashboard, opens it in Chromium, takes the Review and the Network page.

Run with ``make screenshot``.
"""

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser import launched, served

FOLDER = Path(__file__).parent
SIZE = {"width": 1400, "height": 1000}


def main() -> None:
    """Take both pictures."""
    with served() as address, sync_playwright() as playwright, launched(playwright) as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="dark")  # type: ignore[arg-type]
        page.goto(address)
        _take(page, "tr[data-label]", "review.png")
        page.goto(f"{address}/network?view=maps")
        _take(page, "text=over the scan", "network.png")


def _take(page: Page, ready: str, name: str) -> None:
    page.locator(ready).first.wait_for(timeout=120_000)
    page.wait_for_timeout(2_000)
    page.screenshot(path=FOLDER / name)
    print(f"docs/{name}")


if __name__ == "__main__":
    main()
