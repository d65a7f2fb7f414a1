"""A list of films as a reader meets it: many files at once, the network at work behind them, the next case on Review."""

import re
import struct
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, WebSocket, expect, sync_playwright

from core.reviews.opening import Reviews, open_reviews
from core.reviews.record import Reader
from core.samples import film_to_dicom
from core.simulation import simulate_film
from dashboard.texts import t
from tests.browser import launched, served

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ANNA = Reader(name="Anna")
SLOW = 120_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('worklist') / 'reviews.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADLENS_DATABASE", url)
        yield url


@pytest.fixture(scope="module")
def address(database: str) -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@pytest.fixture
def frames() -> list[bytes]:
    """What came over the websocket."""
    return []


@pytest.fixture
def page(browser: Browser, frames: list[bytes]) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 1500, "height": 1000})
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    found.on("websocket", lambda socket: listen(socket, frames))
    yield found
    found.close()


def listen(socket: WebSocket, frames: list[bytes]) -> None:
    socket.on("framereceived", lambda body: frames.append(body if isinstance(body, bytes) else body.encode()))


def films() -> list[bytes]:
    return [film_to_dicom(simulate_film(seed, "mass", rows=512, columns=512)) for seed in (21, 22, 23)]


def cells(page: Page, column: int) -> list[str]:
    """What stands in a column of the list, counted from 1."""
    grid = page.locator('[data-testid="stDataFrame"]')
    return grid.locator(f'td[role="gridcell"][aria-colindex="{column}"]').all_text_contents()


def test_films_are_added_analysed_and_read_one_after_the_other(
    page: Page, address: str, database: str, frames: list[bytes]
) -> None:
    page.goto(f"{address}/worklist")
    expect(page.get_by_text(t("worklist.who"))).to_be_visible()
    page.get_by_test_id("stMain").get_by_role("textbox").fill("Anna")
    page.keyboard.press("Enter")
    expect(page.get_by_text(t("worklist.empty"))).to_be_visible()
    given = [(f"film{number}.dcm", data) for number, data in enumerate(films())]
    files: list[FilePayload] = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        for name, data in [*given, ("broken.dcm", b"no scan at all")]
    ]
    page.get_by_test_id("stMain").locator("input[type=file]").set_input_files(files)
    expect(page.get_by_text(t("worklist.left_out", cases=3, count=1))).to_be_visible()
    expect(page.get_by_text(t("worklist.count", count=3, unread=3))).to_be_visible()
    reviews = open_reviews(database)
    wait_until_answered(page, reviews)
    expect(page.get_by_role("button", name=t("worklist.stop"))).to_have_count(0)
    expect(page.locator('[data-testid="stDataFrame"] td[role="gridcell"]').first).to_be_attached()
    assert cells(page, 4) == ["answered"] * 3
    assert cells(page, 7) == cells(page, 8) == ["–"] * 3
    no_score_came(page, frames, reviews)

    oldest = reviews.worklist.rows(ANNA, order="oldest")[0].case
    page.get_by_role("button", name=t("worklist.next")).click()
    expect(page.locator('.radlens-viewer[data-ready="true"]')).to_have_attribute("data-zoom", re.compile(r"^[0-9]"))
    expect(page.get_by_text(oldest.pseudonym).first).to_be_visible()
    expect(page.locator("tr[data-label]")).to_have_count(0)
    no_score_came(page, frames, reviews)


def wait_until_answered(page: Page, reviews: Reviews) -> None:
    for _ in range(SLOW // 200):
        if {row.answer for row in reviews.worklist.rows(ANNA)} == {"answered"}:
            return
        page.wait_for_timeout(200)
    raise AssertionError("the background did not answer all films")


def no_score_came(page: Page, frames: list[bytes], reviews: Reviews) -> None:
    """Neither the page nor the websocket holds a score of these films: as text of four digits, or as a number."""
    traffic, shown = b"".join(frames), page.content()
    scores = [score for given in reviews.worklist.given_scores() for score in given.scores.values()]
    assert len(scores) == 27
    for score in scores:
        assert f"{score:.4f}" not in shown
        assert f"{score:.4f}".encode() not in traffic
        assert struct.pack("<d", score) not in traffic
