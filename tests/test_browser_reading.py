"""Read first, as a person does it: before the commit nothing of the network's answer reaches the browser; no text is lost."""

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect, sync_playwright

from core.analysis import analyse
from core.confidence.calibration import calibrated
from core.confidence.words import frequency
from core.models.catalogue import read_catalogue
from core.models.loading import load_model
from core.reading.decoding import decode_scan
from core.samples import film_to_dicom
from core.simulation import simulate_film
from tests.browser import launched, served
from tests.test_browser_review import ANSWER, see, settle, upload

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLOW = 120_000
MODEL = "chest-xray-adult"
FILM = film_to_dicom(simulate_film(77, "pneumothorax", rows=512, columns=512))
LOCKED_SECONDS = 30


@dataclass
class Wire:
    """All that came over the websocket."""

    frames: list[bytes] = field(default_factory=list)

    def listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda body: self.frames.append(body if isinstance(body, bytes) else body.encode()))

    @property
    def bytes(self) -> bytes:
        return b"\0\0".join(self.frames)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading") / "reviews.db"


@pytest.fixture(scope="module")
def address(database: Path) -> Iterator[str]:
    with served(RADLENS_DATABASE=f"sqlite:///{database}") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def page(browser: Browser, address: str, wire: Wire) -> Iterator[Page]:
    """An unread film in front of a reader of this test's own."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    found = context.new_page()
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    # The CT is answered by nobody: nothing of another film's answer is on the wire.
    found.goto(f"{address}/?sample=ct")
    see(found, "No answer for this scan")
    found.on("websocket", wire.listen)
    found.reload()
    see(found, "No answer for this scan")
    yield found
    context.close()


def read_as(page: Page, name: str) -> None:
    upload(page, "film.dcm", FILM)
    see(page, "Say who you are")
    asked = page.locator(".st-key-reading-panel").get_by_role("textbox", name="Your name")
    asked.fill(name)
    asked.press("Enter")
    see(page, "What do you see?")
    settle(page)


def row(page: Page, number: int) -> Locator:
    return page.locator(f".st-key-reading-row-{number}")


def press(page: Page, number: int, word: str) -> None:
    row(page, number).get_by_text(word, exact=True).click()
    settle(page)


def maps_of(frames: bytes) -> list[bytes]:
    """The values of every heatmap message, one run of float32 a label."""
    found, at = [], frames.find(b'"kind": "maps"')
    while at >= 0:
        start = frames.rfind(b"{", 0, at)
        size = struct.unpack("<I", frames[start - 4 : start])[0]
        header = json.loads(frames[start : start + size])
        place = header["sections"]["maps"]
        body = frames[start + size + place["offset"] :][: place["length"]]
        each = len(body) // len(header["labels"])
        found += [body[i : i + each] for i in range(0, len(body), each)]
        at = frames.find(b'"kind": "maps"', at + 1)
    return found


def test_nothing_of_the_answer_is_sent_before_the_read_is_committed(page: Page, wire: Wire) -> None:
    model = load_model(MODEL)
    prediction = analyse(model, decode_scan(FILM), 0).prediction
    intervals = calibrated(read_catalogue().card(MODEL), prediction).intervals
    spoken = [frequency(interval.value) for interval in intervals.values()]
    assert len(spoken) == 9
    read_as(page, "Clara")
    press(page, 8, "present")
    press(page, 8, "4")
    page.get_by_role("button", name="Everything else absent").click()
    see(page, "Draft saved.")
    settle(page)
    for other in ("Network", "Bench", "Lesson"):
        page.get_by_role("link", name=other, exact=True).click()
        see(page, "You have not read this case yet")
        settle(page)
    page.get_by_role("link", name="Read it on Review").click()
    see(page, "What do you see?")
    settle(page)
    before, seen = wire.bytes, page.content()
    assert b"film.dcm" in before
    assert maps_of(before) == []
    assert [words for words in spoken if words.encode() in before or words in seen] == []
    assert not page.locator(ANSWER).count()
    page.get_by_role("button", name="Commit my read").click()
    expect(page.locator(ANSWER)).to_have_count(9)
    see(page, "evidence for, in log-odds")
    settle(page)
    after, seen = wire.bytes, page.content().replace("&nbsp;", " ").replace("\xa0", " ")
    assert [words for words in spoken if words not in seen] == []
    maps = maps_of(after)
    assert len(maps) >= 9
    assert [one for one in maps if one in before or one[:32] in before] == []
    values = [struct.pack(kind, score) for score in prediction.scores.values() for kind in ("<f", "<d")]
    assert [value for value in values if value in before] == []


def test_what_is_typed_survives_a_reload_and_the_name_is_all_the_browser_keeps(page: Page) -> None:
    read_as(page, "Dora")
    press(page, 0, "present")
    # Typed and never left: no click, no key that would send it.
    page.get_by_role("textbox", name="Comment").press_sequentially("Compare with last year.")
    see(page, "Draft saved.")
    page.wait_for_timeout(2500)
    page.reload()
    see(page, "No answer for this scan")
    see(page, "Dora")
    kept = page.evaluate("Object.entries(localStorage).filter(([key]) => key.startsWith('radlens'))")
    assert kept == [["radlens-reader", "Dora"]]
    upload(page, "film.dcm", FILM)
    see(page, "What do you see?")
    expect(page.get_by_role("textbox", name="Comment")).to_have_value("Compare with last year.")
    expect(row(page, 0).get_by_role("radio", name="present")).to_be_checked()


def test_a_database_that_is_locked_for_half_a_minute_ends_in_a_saved_text(
    page: Page, database: Path, told: Callable[[str], None]
) -> None:
    read_as(page, "Eva")
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    locked = time.monotonic()
    page.get_by_role("textbox", name="Comment").press_sequentially("Typed while another wrote.")
    see(page, "The database is busy")
    slowest = 0.0
    for mark in ("present", "absent", "can't tell"):
        begun = time.monotonic()
        row(page, 1).get_by_text(mark, exact=True).click()
        expect(row(page, 1).get_by_role("radio", name=mark)).to_be_checked()
        slowest = max(slowest, time.monotonic() - begun)
    page.wait_for_timeout(max(0, 1000 * (LOCKED_SECONDS - (time.monotonic() - locked))))
    expect(page.get_by_role("textbox", name="Comment")).to_have_value("Typed while another wrote.")
    other.execute("ROLLBACK")
    freed = time.monotonic()
    see(page, "Draft saved.")
    told(
        f"database locked for {freed - locked:.0f} s: saved {time.monotonic() - freed:.1f} s after it was free; "
        f"a mark meanwhile took at most {slowest:.1f} s"
    )
    expect(page.get_by_role("textbox", name="Comment")).to_have_value("Typed while another wrote.")
    (content,) = other.execute("SELECT content FROM drafts WHERE reader = 'Eva'").fetchone()
    other.close()
    assert json.loads(content)["values"]["comment"] == "Typed while another wrote."
