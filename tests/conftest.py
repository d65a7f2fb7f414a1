"""Tests run side by side: each process keeps to one thread, and what is cached in one test is gone in the next."""

import os
import shutil
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"
# What tests export for the fast engine is gone with them, also what a thread still writes when its test has ended.
os.environ["RADLENS_CACHE"] = tempfile.mkdtemp(prefix="radlens-tests-")
# Reviews and models of one's own never go to the home of whoever runs the tests.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="radlens-tests-data-")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MEASURED = "measured"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two processes of two threads each on two cores spend their time waiting for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models beside the shipped ones."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("RADLENS_MODELS", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


@pytest.fixture
def no_shipped_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue without the models that RadLens ships."""
    monkeypatch.setattr("core.models.catalogue.SHIPPED", tmp_path / "nothing")


@pytest.fixture
def revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads open with the answer shown; reading first has tests of its own (test_page_review, test_browser_reading)."""
    monkeypatch.setenv("RADLENS_READ_FIRST", "0")


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Keeps a measured figure for the end of the run's output."""
    return lambda line: record_property(MEASURED, line)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    for folder in ("RADLENS_CACHE", "XDG_DATA_HOME"):
        shutil.rmtree(os.environ[folder], ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured, also from the other processes."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [value for report in reports for name, value in report.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in dict.fromkeys(lines):
            terminalreporter.write_line(line)


@pytest.fixture
def clean_caches() -> Iterator[None]:
    """Streamlit's caches outlive an AppTest; the next test must not see them."""
    import streamlit as st

    st.cache_resource.clear()
    yield
    st.cache_resource.clear()
