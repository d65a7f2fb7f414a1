"""A running dashboard and a real Chromium, for the browser tests and the README's pictures."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from tests.chromium import ARGUMENTS, find_chromium

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60


@contextlib.contextmanager
def served(**settings: str) -> Iterator[str]:
    """The dashboard on a free port of 127.0.0.1 in a process of its own, with these variables set; ends with the block."""
    with serving(**settings) as (address, _):
        yield address


@contextlib.contextmanager
def serving(**settings: str) -> Iterator[tuple[str, int]]:
    """The same with the server's process id."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment() | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_healthy(address)
            yield address, server.pid
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """A headless Chromium."""
    browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
    try:
        yield browser
    finally:
        browser.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """The shipped models and the server's own threads, whatever the test process has set for itself."""
    return {name: value for name, value in os.environ.items() if name not in {"RADLENS_MODELS", "OMP_NUM_THREADS"}}


def _wait_until_healthy(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    message = f"the dashboard did not start within {START_SECONDS} s"
    raise TimeoutError(message)
