"""The dashboard under a person's hands, in a real Chromium: how long a film and a volume take, and whether others wait.

``python -m benchmarks.served`` prints three tables: a large film from upload to picture; a CT volume as a zip, its scrolling
and the server's memory; and how long another session's click takes while hostile files are uploaded.
"""

import statistics
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from tests.browser import launched, serving
from tests.files import dicom_bytes
from tests.hostile import BOMBS

SLICES, SIDE = 300, 512
SLOW = 120_000
_MIB = 1 << 20
_IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def main() -> None:
    """All three, on one server."""
    console = Console()
    with (
        TemporaryDirectory() as folder,
        serving() as (address, server),
        sync_playwright() as playwright,
        launched(playwright) as browser,
    ):
        page = _opened(browser, address)
        _print(
            console,
            "A film of 2500 x 2048, 16 bits",
            [("upload to first paint, s", f"{_film(page, Path(folder)):.1f}")],
        )
        _print(
            console, f"A CT of {SLICES} slices of {SIDE} x {SIDE} as a zip", list(_volume(page, server, Path(folder)))
        )
        other = _opened(browser, address)
        _print(
            console,
            "Another session's click while hostile files are uploaded",
            list(_neighbour(page, other, Path(folder))),
        )


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(SLOW)
    page.goto(f"{address}/?sample=sim-normal")
    page.locator("tr[data-label]").first.wait_for()
    _settle(page)
    return page


def _settle(page: Page) -> None:
    page.wait_for_timeout(300)
    page.locator(_IDLE).wait_for()


def _upload(page: Page, folder: Path, name: str, data: bytes) -> None:
    """Through a file: Playwright takes no more than 50 MB from memory."""
    path = folder / name
    path.write_bytes(data)
    page.locator("input[type=file]").first.set_input_files(path)


def _film(page: Page, folder: Path) -> float:
    pixels = np.random.default_rng(0).normal(2000, 300, (2500, 2048)).astype(np.uint16)
    data = dicom_bytes(pixels, BodyPartExamined="CHEST", ViewPosition="PA", BitsStored=12, HighBit=11)
    shown = page.locator(".radlens-viewer").get_attribute("data-id")
    begun = time.perf_counter()
    _upload(page, folder, "film.dcm", data)
    page.locator(f'.radlens-viewer[data-ready="true"]:not([data-id="{shown}"])').wait_for()
    seconds = time.perf_counter() - begun
    _settle(page)
    return seconds


def _volume(page: Page, server: int, folder: Path) -> Iterator[tuple[str, str]]:
    data = ct_zip()
    volume = SLICES * SIDE * SIDE * 2
    before = _resident(server)
    begun = time.perf_counter()
    _upload(page, folder, "ct.zip", data)
    page.locator(f'.radlens-viewer[data-ready="true"][data-frame="{SLICES // 2}"]').wait_for()
    yield "upload to first slice, s", f"{time.perf_counter() - begun:.1f}"
    _settle(page)
    page.wait_for_timeout(5000)
    yield "the browser has every slice after, s", f"{time.perf_counter() - begun:.1f} at most"
    steps = _scroll(page)
    yield "scrolling, ms a slice: median, longest", f"{statistics.median(steps):.0f}, {max(steps):.0f}"
    grown = _resident(server) - before
    yield "server memory, in volumes", f"{grown / volume:.2f}"
    page.get_by_role("button", name="Close the case").click()
    _settle(page)
    page.wait_for_timeout(3000)
    yield "after closing the case, in volumes", f"{(_resident(server) - before) / volume:.2f}"


def ct_zip() -> bytes:
    """A noisy volume, its slices in disorder."""
    random = np.random.default_rng(0)
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as files:
        for number in random.permutation(SLICES):
            pixels = (random.normal(0, 30, (SIDE, SIDE)) + 1000 + number).astype(np.int16)
            stated = {
                "Modality": "CT", "SeriesInstanceUID": "1.2.3", "SOPInstanceUID": f"1.2.3.{number}",
                "ImagePositionPatient": [0, 0, 2.5 * float(number)], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.7, 0.7], "RescaleIntercept": -1024, "RescaleSlope": 1,
            }  # fmt: skip
            files.writestr(f"IM{number:04d}", dicom_bytes(pixels, **stated))  # type: ignore[arg-type]
    return archive.getvalue()


def _scroll(page: Page, steps: int = 60) -> list[float]:
    """How long the page takes from asking for the next slice to having drawn it."""
    script = f"""async () => {{
        const times = [];
        const start = radlens.viewer.state().view.frame;
        for (let i = 1; i <= {steps}; i++) {{
            const begun = performance.now();
            radlens.viewer.goTo(start + i);
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            times.push(performance.now() - begun);
        }}
        return times;
    }}"""
    found: list[float] = page.evaluate(script)
    return found


def _neighbour(hostile: Page, other: Page, folder: Path) -> Iterator[tuple[str, str]]:
    times: list[float] = []
    slowest: tuple[float, str] = (0.0, "")
    for name, bomb in BOMBS.items():
        data = bomb.make()
        if len(data) > 50 * _MIB:
            continue
        _upload(hostile, folder, "scan.dcm", data)
        for _ in range(3):
            seconds = _click(other)
            times.append(seconds)
            slowest = max(slowest, (seconds, name))
        _settle(hostile)
    ranked = sorted(times)
    yield "hostile files, clicks", f"{len(times) // 3}, {len(times)}"
    yield "median, s", f"{statistics.median(times):.2f}"
    yield "p95, s", f"{ranked[int(0.95 * (len(ranked) - 1))]:.2f}"
    yield "longest, s", f"{slowest[0]:.2f} ({slowest[1]})"


def _click(page: Page) -> float:
    """To the model's card and back to the picture: two runs of a page on the server; the time of the slower."""
    return max(
        _until(page, "Model card", '[data-testid="stDataFrame"], [data-testid="stTable"]'),
        _until(page, "Review", '.radlens-viewer[data-ready="true"]'),
    )


def _until(page: Page, link: str, sight: str) -> float:
    begun = time.perf_counter()
    page.get_by_role("link", name=link).click()
    page.locator(sight).first.wait_for()
    return time.perf_counter() - begun


def _resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def _print(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table("what", "measured", title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
