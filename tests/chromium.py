"""The Chromium that the browser tests drive. ``python -m tests.chromium`` says which, or exits with 1."""

import os
import shutil
import sys
from pathlib import Path

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of RADLENS_CHROMIUM, of an installed Chromium or of Playwright's own; None where there is none."""
    named = os.environ.get("RADLENS_CHROMIUM")
    if named:
        return named
    installed = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return installed or _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


if __name__ == "__main__":
    found = find_chromium()
    sys.stdout.write(f"Chromium for the browser tests: {found or 'none'}\n")
    sys.exit(0 if found else 1)
