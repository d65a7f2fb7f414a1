"""The dashboard as a person meets it: a real server, a real Chromium, the shipped model."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.models.catalogue import read_catalogue
from core.samples import film_to_dicom
from core.simulation import simulate_film
from tests.browser import launched, served
from tests.files import bundled, dicom_bytes, png_bytes

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ANSWER = "tr[data-label]"
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
def requests() -> list[str]:
    """The addresses that the page asked for."""
    return []


@pytest.fixture
def page(browser: Browser, requests: list[str]) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 1400, "height": 1000})
    found.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    found.on("request", lambda request: requests.append(request.url))
    yield found
    found.close()


def upload(page: Page, name: str, data: bytes) -> None:
    settle(page)
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )


def see(page: Page, text: str) -> None:
    """The text stands on the page, once or more: while a page changes its old and its new half may both be there."""
    expect(page.get_by_text(text).first).to_be_visible()


def settle(page: Page) -> None:
    """Wait until the server has finished this page's run: the table stands before the picture is drawn."""
    page.wait_for_timeout(500)
    expect(page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_visible()
    page.wait_for_timeout(500)


def shown(page: Page) -> np.ndarray:
    """The scan's picture as the browser got it, RGB."""
    settle(page)
    picture = page.locator("[data-testid=stImage] img").first
    expect(picture).to_be_visible()
    source = picture.get_attribute("src")
    assert source is not None
    body = page.request.get(page.url.split("/?")[0].rstrip("/") + source if source.startswith("/") else source).body()
    return np.asarray(Image.open(BytesIO(body)).convert("RGB")).astype(np.float64)


def test_the_first_page_shows_picture_score_and_heatmap_with_no_click(
    page: Page, address: str, requests: list[str]
) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    see(page, "Simulated film")
    see(page, "not a medical device")
    see(page, "the same scale for every scan")
    picture = shown(page)
    colourful = np.abs(picture[..., 0] - picture[..., 2]) > 40
    assert 0.002 < colourful.mean() < 0.7
    outside = [
        url for url in requests if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
    ]
    assert outside == []


def test_a_chest_film_is_shown_upright_and_as_bright_as_stored(page: Page, address: str) -> None:
    film = simulate_film(77, None, rows=512, columns=512)
    page.goto(f"{address}/?sample=mr")
    see(page, "No answer for this scan")
    upload(page, "film.dcm", film_to_dicom(film))
    see(page, "film.dcm")
    expect(page.locator(ANSWER)).to_have_count(9)
    page.get_by_role("slider").first.focus()
    page.keyboard.press("Home")
    expect(page.get_by_test_id("stSliderThumbValue")).to_have_text("0 %")
    grey = shown(page)
    assert grey.shape[:2] == (512, 512)
    assert np.abs(grey[..., 0] - film.pixels / 4095 * 255).max() <= 1
    see(page, "Left edge of the picture: patient's right. Top edge: head.")


def test_a_ct_slice_is_shown_in_its_window_and_answered_by_nobody(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    upload(page, "slice.dcm", bundled("CT_small.dcm"))
    see(page, "No answer for this scan")
    see(page, "The scan is CT")
    expect(page.locator(ANSWER)).to_have_count(0)
    see(page, "Left edge of the picture: patient's right. Top edge: front.")
    # The menu speaks of this scan's window, not of the film's that was open before.
    expect(page.get_by_role("combobox", name="Window")).to_have_value("automatic (-38 / 1646)")
    grey = shown(page)
    # Air beside the head is black, the skull white: the window runs from air to bone.
    assert grey[:20, :20].mean() < 20
    assert grey.max() > 230


def test_an_ultrasound_picture_keeps_its_colours_and_its_frames(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    upload(page, "heart.dcm", bundled("examples_ybr_color.dcm"))
    see(page, "frame 1 of 30")
    see(page, "The scan is US")
    see(page, "Orientation unknown")


def test_a_refused_file_leaves_nothing_of_the_former_case_but_the_notes(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    notes = page.get_by_role("textbox", name="Your notes")
    notes.fill("Compare with last year.")
    notes.blur()
    upload(page, "report.dcm", bundled("reportsi.dcm"))
    see(page, "This file cannot be opened")
    see(page, "structured report")
    expect(page.locator(ANSWER)).to_have_count(0)
    expect(page.locator("[data-testid=stImage] img")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Your notes")).to_have_value("Compare with last year.")
    assert "Traceback" not in page.content()


def test_a_name_that_holds_markup_fires_no_request_and_no_style(page: Page, address: str, requests: list[str]) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    name = "![a](http://127.0.0.1:9/a.png) <img src='http://127.0.0.1:9/b.png'> :red[BENIGN].dcm"
    data = dicom_bytes(np.zeros((32, 32), np.uint8), Modality="MR", PatientName="<img src='http://127.0.0.1:9/c.png'>")
    upload(page, name, data)
    see(page, ":red[BENIGN]")
    assert not [url for url in requests if "127.0.0.1:9/" in url]


def test_a_picture_without_tags_is_withheld_and_read_by_hand(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    film = (simulate_film(5, "cardiomegaly", rows=300, columns=260).pixels >> 4).astype(np.uint8)
    upload(page, "film.png", png_bytes(film))
    see(page, "has no DICOM modality tag")
    page.get_by_role("button", name="Read it with this model all the same").click()
    expect(page.locator(ANSWER)).to_have_count(9)
    see(page, "Chosen by hand")


def test_the_network_page_shows_maps_filters_and_numbers(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/network")
    see(page, "Look at one")
    see(page, "24 maps of 128 x 128 from stem.0")
    expect(page.locator("[data-testid=stImage] img")).to_have_count(3)
    settle(page)
    page.get_by_role("combobox", name="Convolution").click()
    page.get_by_role("option", name="blocks.5.conv2").click()
    see(page, "192 maps of 16 x 16 from blocks.5.conv2")
    page.screenshot(path=tmp_path / "network.png")


def test_what_the_reader_chose_stays_when_the_page_changes(page: Page, address: str) -> None:
    limit = f"{read_catalogue().card('chest-xray-adult').evidence_limit:.2g}"
    scale = f"-{limit} to {limit} log-odds a cell"
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9)
    settle(page)
    page.get_by_role("combobox", name="Heatmap for").click()
    page.get_by_role("option", name="Cardiomegaly").click()
    see(page, "Heatmap for Cardiomegaly")
    settle(page)
    page.get_by_role("combobox", name="Heatmap shows").click()
    page.get_by_role("option", name="for and against").click()
    see(page, scale)
    page.get_by_role("link", name="Network").click()
    see(page, "Look at one")
    page.get_by_role("link", name="Review").click()
    see(page, "Heatmap for Cardiomegaly")
    see(page, scale)


@pytest.mark.parametrize(("width", "scheme"), [(1024, "dark"), (1800, "light")])
def test_nothing_spills_out_of_a_narrow_or_a_wide_window(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    expect(page.locator(ANSWER)).to_have_count(9, timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()
