"""How long a reader waits: from the start of ``streamlit run`` to the first page, ours against a hello page.

    python -m benchmarks.page_ready
    python -m benchmarks.page_ready --rounds 11 --no-browser

First table: from the start of the process to the end of the first script run, as the server itself reports it over its
websocket (the ForwardMsg ``script_finished``), for RadLens and for a page with nothing but ``st.write("hello")``. Fresh
processes in turn, the order changing, both with RadLens' Streamlit configuration; wall time, ratio within each round.

Second table, in Chromium: from the start of the process until the picture of the first sample is drawn, and until the
score table stands beside it. Third: what these seconds go to, each step alone in a fresh process.

Exit status 1 when RadLens' first script run takes more than 1.3 times as long as the hello page's, or the score table of
the first case, with its heatmaps, takes more than 3 s from the start of the process.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks.interleaved import compare, machine, order, quartiles, table
from core.models.catalogue import read_catalogue
from tests.chromium import ARGUMENTS, find_chromium

ROOT = Path(__file__).resolve().parents[1]
TARGET, SECONDS = 1.3, 3.0
PATIENCE = 120.0
_POLL = 0.005
PICTURE, TABLE = ".radlens-viewer[data-ready='true']", "table tr[data-label]"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens between the start and the score table: ``code`` is timed, ``before`` is not."""

    name: str
    before: str
    code: str


_CASE = """
from core.models.catalogue import read_catalogue
from tests.chromium import ARGUMENTS, find_chromium
from core.samples import list_samples
from core.reading import read_scan
import core.analysis, core.models.loading, core.models.scope
sample = list_samples()[0]
"""
_MODEL = """
scan = read_scan(sample.load())
card = core.models.scope.choose_model(read_catalogue().cards.values(), scan)
"""
_LOADED = """
model = core.models.loading.load_model(card.id)
layers = model.convolutions
"""
STEPS = (
    Step("import streamlit", "", "import streamlit, streamlit.web.bootstrap"),
    Step("import the pages", "import streamlit", "import dashboard.pages.review, dashboard.pages.network"),
    Step("import core.samples", "import streamlit", "import core.samples"),
    Step("import what an answer needs", "import streamlit, core.samples", "import core.analysis, core.models.loading"),
    Step("import onnxruntime", "import streamlit, core.samples", "import onnxruntime"),
    Step("draw the first sample", _CASE, "sample.load()"),
    Step("read it", _CASE + "data = sample.load()", "read_scan(data)"),
    Step(
        "load the model, its engine against torch's answers", _CASE + _MODEL, "core.models.loading.load_model(card.id)"
    ),
    Step("analyse, all convolutions", _CASE + _MODEL + _LOADED, "core.analysis.analyse(model, scan, layers=layers)"),
    Step(
        "afterwards: import torch and what explains", _CASE, "import core.explaining.explanation, core.inside.filters"
    ),
)


@contextmanager
def serving(script: Path) -> Iterator[int]:
    """A fresh ``streamlit run`` on a free port of this machine; yields the port at once, ends the process afterwards."""
    port = _free_port()
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        _end(process)


def seconds_to_first_script(script: Path) -> float:
    """From the start of the process until the server says that the first run of the script is finished."""
    begin = time.perf_counter()
    with serving(script) as port, _connected(port, begin) as connection:
        connection.send(BackMsg(rerun_script=ClientState()).SerializeToString())
        while True:
            data = connection.recv(timeout=PATIENCE)
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            if message.WhichOneof("type") == "script_finished":
                taken = time.perf_counter() - begin
                if message.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY:
                    raise RuntimeError(f"{script.name} did not finish: status {message.script_finished}.")
                return taken


def seconds_in_browser(browser: Browser) -> tuple[float, float]:
    """From the start of the process until the first picture is drawn, and until the score table is there."""
    page = browser.new_page()
    begin = time.perf_counter()
    with serving(ROOT / "streamlit_app.py") as port:
        _wait_for_port(port, begin)
        page.goto(f"http://127.0.0.1:{port}", wait_until="commit")
        page.locator(PICTURE).first.wait_for(timeout=1000 * PATIENCE)
        picture = time.perf_counter() - begin
        page.locator(TABLE).first.wait_for(timeout=1000 * PATIENCE)
        scores = time.perf_counter() - begin
        page.close()
    return picture, scores


def seconds_of_step(step: Step) -> float:
    """One step alone in a fresh process."""
    code = f"import time\n{step.before}\nbegin = time.perf_counter()\n{step.code}\nprint(time.perf_counter() - begin)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"The step {step.name!r} failed:\n{run.stderr}")
    return float(run.stdout.split()[-1])


def first_script_table(rounds: int) -> float:
    """Print the first table; returns the ratio of RadLens to the hello page."""
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text('import streamlit as st\n\nst.write("hello")\n', encoding="utf-8")
        scripts = {"hello page": hello, "RadLens": ROOT / "streamlit_app.py"}
        for script in scripts.values():  # fills the disk cache and __pycache__
            seconds_to_first_script(script)
        samples: dict[str, dict[int, float]] = {name: {} for name in scripts}
        for number in range(rounds):
            for name in order(list(scripts), number):
                samples[name][number] = seconds_to_first_script(scripts[name])
    timings = compare(samples)
    heads = ("until the first script run is finished", "rounds", "s", "x hello page", "quartiles")
    print("\n" + table(heads, [timing.cells(2) for timing in timings]), flush=True)
    return timings[1].ratio


def further_tables(rounds: int) -> float | None:
    """Print the second and third table, or why there are none; returns the seconds until the score table."""
    chromium = find_chromium()
    if chromium is None or not read_catalogue().cards:
        print("\nThe other tables need a Chromium and an installed model; one of them is missing.")
        return None
    seconds = browser_table(max(1, rounds), chromium)
    step_table(3)
    return seconds


def browser_table(rounds: int, chromium: str) -> float:
    """Print the second table; returns the median of the seconds until the score table."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        times = [seconds_in_browser(browser) for _ in range(rounds)]
        browser.close()
    rows = []
    for name, values in zip(("picture of the first sample", "score table"), zip(*times, strict=True), strict=True):
        low, middle, high = quartiles(values)
        rows.append((name, str(rounds), f"{middle:.2f}", f"{low:.2f}-{high:.2f}"))
    print("\n" + table(("in Chromium, until", "rounds", "s", "quartiles"), rows), flush=True)
    return statistics.median(scores for _, scores in times)


def step_table(rounds: int) -> None:
    """Print the third table."""
    rows = []
    for step in STEPS:
        values = [seconds_of_step(step) for _ in range(rounds)]
        rows.append((step.name, str(rounds), f"{statistics.median(values):.2f}"))
    print("\n" + table(("each step alone, in a fresh process", "runs", "s"), rows), flush=True)


def main() -> int:
    """Print the tables; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-browser", action="store_true", help="leave the tables of the browser and the steps out")
    options = parser.parse_args()
    print(f"{machine()}; wall time, {options.rounds} interleaved rounds of fresh processes", flush=True)
    ratio = first_script_table(options.rounds)
    seconds = None if options.no_browser else further_tables(options.rounds // 2)
    is_met = ratio <= TARGET
    print(f"\nTarget, first script run <= {TARGET} x hello page: {'met' if is_met else 'missed'} ({ratio:.2f})")
    if seconds is not None:
        is_quick = seconds <= SECONDS
        print(f"Target, first case analysed <= {SECONDS:g} s: {'met' if is_quick else 'missed'} ({seconds:.2f} s)")
        is_met &= is_quick
    return 0 if is_met else 1


def _connected(port: int, begin: float) -> ClientConnection:
    """The server's websocket, as soon as there is one."""
    while True:
        try:
            address = f"ws://127.0.0.1:{port}/_stcore/stream"
            return connect(address, subprotocols=[Subprotocol("streamlit")], max_size=None, proxy=None)
        except (OSError, InvalidStatus, InvalidMessage):
            _check_patience(begin)
            time.sleep(_POLL)


def _wait_for_port(port: int, begin: float) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        _check_patience(begin)
        time.sleep(_POLL)


def _check_patience(begin: float) -> None:
    if time.perf_counter() - begin > PATIENCE:
        raise TimeoutError(f"The server did not answer within {PATIENCE:.0f} s.") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
