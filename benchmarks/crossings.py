"""Whether one reader ever sees another's: eight sessions in a real Chromium, fifty uploads each, interleaved.

``python -m benchmarks.crossings [--sessions 8] [--uploads 50]``

Every upload is a simulated film of its own. What each session shows of it (grey at fixed pixels, colours under the heatmap,
printed scores) is compared with what all films must show, computed here; it must be its own film's. Of every tenth a second
read is kept, and the report made from the store must hold that film's digest and scores. In the end the audit trail of each
reader must name their own films and no others. Uploads of a round are started in all sessions before the first is looked at.

Exit status 1 when anything crossed, or nothing was shown.
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.interleaved import machine, table, use_one_thread
from core.analysis import analyse
from core.confidence.calibration import calibrated
from core.confidence.words import frequency
from core.foremost import foremost_label
from core.models.loading import Model, load_model
from core.overlay import blend, to_eight_bits
from core.reading.decoding import decode_scan
from core.reviews.database import Database
from core.reviews.report import report_of
from core.reviews.store import Store
from core.samples import film_to_dicom
from core.simulation import FINDINGS, simulate_film
from core.windowing import display_grey
from tests.browser import launched, served

MODEL = "chest-xray-adult"
SIDE = 256
EVERY = 10
OPACITY = 0.6
_SLOW = 120_000
_MOMENT = 2_000
_TRIES = 5
# (column, row) of a film at which sessions are asked for what they show.
PLACES = tuple((x, y) for y in range(28, SIDE, 40) for x in range(28, SIDE, 40))
Colours = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film's file and what a session must show of it; ``held_back``: nothing but the picture."""

    data: bytes = field(repr=False)
    digest: str
    grey: Colours = field(repr=False)
    heat: Colours = field(repr=False)
    spoken: tuple[str, ...]
    scores: dict[str, float]
    held_back: bool


@dataclass(slots=True)
class Found:
    """How many of each kind of thing were compared, and how many were another's."""

    compared: Counter[str] = field(default_factory=Counter)
    crossed: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, *, own: bool) -> None:
        """One comparison."""
        self.compared[what] += 1
        self.crossed[what] += not own


def film_of(number: int, model: Model) -> Film:
    """A film that no other is, and its answer by the same model."""
    finding = (*FINDINGS, None)[number % (len(FINDINGS) + 1)]
    data = film_to_dicom(simulate_film(2_000_000 + number, finding, rows=SIDE, columns=SIDE))
    scan = decode_scan(data)
    analysis = analyse(model, scan)
    grey = display_grey(scan)
    code = foremost_label(model.card, analysis.prediction.scores)
    heatmap = analysis.heatmap(code)
    evidence = analysis.letterbox.to_scan_grid(heatmap.evidence, SIDE, SIDE)
    spoken = tuple(frequency(score) for score in calibrated(model.card, analysis.prediction).scores.values())
    held_back = bool(analysis.novelty and analysis.novelty.reason)
    shown = to_eight_bits(grey)
    return Film(
        data,
        scan.digest,
        _at_places(shown),
        _at_places(blend(grey, evidence, limit=heatmap.limit, opacity=OPACITY)),
        spoken,
        dict(analysis.prediction.scores),
        held_back,
    )


def _at_places(picture: npt.NDArray[np.uint8]) -> Colours:
    return np.array([picture[y, x] for x, y in PLACES], np.float64)


class Session:
    """One reader in a browser context of their own."""

    def __init__(self, browser: Browser, address: str, name: str) -> None:
        self.page: Page = browser.new_context(viewport={"width": 1300, "height": 900}).new_page()
        self.page.set_default_timeout(_SLOW)
        self.name = name
        self.page.goto(f"{address}/?sample=ct")
        asked = self.page.get_by_role("textbox", name="Your name").first
        asked.fill(name)
        asked.press("Enter")
        expect(self.page.get_by_text("not authenticated").first).to_be_visible(timeout=_SLOW)
        self._rest()

    def upload(self, name: str, data: bytes) -> None:
        """Hand a file over; what becomes of it is not waited for."""
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        self.page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]

    def wait_for(self, name: str, *, answered: bool) -> None:
        """Until the page speaks of this file, and has come to rest."""
        expect(self.page.get_by_text(name, exact=True).first).to_be_visible(timeout=_SLOW)
        self._rest()
        expect(self.page.locator('.radlens-viewer[data-ready="true"]')).to_have_count(1, timeout=_SLOW)
        if answered:
            expect(self.page.locator("tr[data-label]").first).to_be_visible(timeout=_SLOW)
        self._rest()
        self.page.wait_for_function("globalThis.radlens?.viewer", timeout=_SLOW)

    def seen(self, *, opacity: float) -> Colours:
        """What is drawn at the fixed places."""
        script = f"""() => {{ radlens.viewer.setOpacity({opacity});
            return {[list(place) for place in PLACES]}.map(([x, y]) => radlens.viewer.pixel(x, y)); }}"""
        return np.array(self.page.evaluate(script), np.float64)

    def spoken(self) -> str:
        """The table of scores, as text."""
        return " ".join(self.page.locator("tr[data-label]").all_inner_texts())

    def keep_second_read(self) -> None:
        """Agree with the first label, and keep that."""
        self.page.locator(".st-key-reading-row-0").get_by_text("agree", exact=True).click()
        self._rest()
        sign = self.page.get_by_role("button", name="Sign").first
        for _ in range(_TRIES):
            # A store that is still opening the case asks for another press.
            self.page.get_by_role("button", name="Keep second read").click()
            self._rest()
            if sign.is_visible():
                return
        expect(sign).to_be_visible(timeout=_SLOW)

    def _rest(self) -> None:
        resting = self.page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
        self.page.wait_for_timeout(150)
        expect(resting).to_be_visible(timeout=_SLOW)


def compare(session: Session, own: int, films: list[Film], found: Found) -> None:
    """What a session shows, against what every film must show."""
    film = films[own]
    found.note("picture", own=_nearest(session.seen(opacity=0.0), [one.grey for one in films]) == own)
    if film.held_back:
        found.note("held back", own=not session.page.locator("tr[data-label]").count())
        return
    found.note("heat", own=_nearest(session.seen(opacity=OPACITY), [one.heat for one in films]) == own)
    said = session.spoken()
    found.note("scores", own=all(words in said for words in film.spoken))


def _nearest(seen: Colours, expected: list[Colours]) -> int:
    return int(np.argmin([np.abs(seen - one).mean() for one in expected]))


def check_store(url: str, owners: dict[str, set[str]], reviewed: dict[str, Film], found: Found) -> None:
    """Reports and the audit trail, out of the store."""
    database = Database(url)
    store = Store(database)
    digests = {case.id: case for case in store.cases()}
    for review in store.reviews():
        case = digests[review.case_id]
        film = reviewed[case.digest]
        report = report_of(review, case, words={})
        same = review.answer is not None and review.answer.scores == film.scores and report.digest == film.digest
        found.note("report", own=same and case.digest in owners[review.reader.name])
    for name, own in owners.items():
        viewed = {e["study"] for e in store.events() if e["event"] == "case viewed" and e["reader"] == name}
        found.note("audit", own=viewed == own)
        if viewed != own:
            print(f"  {name}: {len(viewed - own)} views of others' films, {len(own - viewed)} own views missing")
    found.note("audit chain", own=store.verify().holds)
    database.close()


def main() -> int:
    """Print the table; 1 when anything crossed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--uploads", type=int, default=50)
    options = parser.parse_args()
    use_one_thread()
    print(machine(), flush=True)
    model = load_model(MODEL)
    films = [film_of(number, model) for number in range(options.sessions * options.uploads)]
    print(f"{len(films)} films, {sum(film.held_back for film in films)} held back by the novelty gate", flush=True)
    found = Found()
    with tempfile.TemporaryDirectory(prefix="radlens-crossings-") as folder:
        url = f"sqlite:///{Path(folder) / 'reviews.db'}"
        settings = {"RADLENS_DATABASE": url, "RADLENS_READ_FIRST": "0"}
        with served(**settings) as address, sync_playwright() as playwright, launched(playwright) as browser:
            sessions = [Session(browser, address, f"Reader {number}") for number in range(options.sessions)]
            reviewed = _rounds(sessions, films, options.uploads, found)
            for session in sessions:
                # What is noted beside the page is written a moment later.
                session.page.wait_for_timeout(_MOMENT)
                session.page.context.close()
        owners = {
            session.name: {film.digest for film in films[number :: options.sessions]}
            for number, session in enumerate(sessions)
        }
        check_store(url, owners, reviewed, found)
    rows = [(what, str(count), str(found.crossed[what])) for what, count in found.compared.items()]
    print("\n" + table(("what", "compared", "another's"), rows), flush=True)
    return 1 if found.crossed.total() or found.compared["picture"] != len(films) else 0


def _rounds(sessions: list[Session], films: list[Film], uploads: int, found: Found) -> dict[str, Film]:
    """All uploads, a round at a time; the films of which a second read was kept."""
    reviewed = {}
    for turn in range(uploads):
        mine = [turn * len(sessions) + number for number in range(len(sessions))]
        for session, own in zip(sessions, mine, strict=True):
            session.upload(f"film-{own:04d}.dcm", films[own].data)
        for session, own in zip(sessions, mine, strict=True):
            session.wait_for(f"film-{own:04d}.dcm", answered=not films[own].held_back)
            compare(session, own, films, found)
        if turn % EVERY == 0:
            for session, own in zip(sessions, mine, strict=True):
                if not films[own].held_back:
                    session.keep_second_read()
                    reviewed[films[own].digest] = films[own]
        if (turn + 1) % EVERY == 0:
            print(f"  {turn + 1} rounds; crossed: {found.crossed.total()}", flush=True)
    return reviewed


if __name__ == "__main__":
    sys.exit(main())
