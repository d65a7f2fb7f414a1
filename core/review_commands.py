"""The command about reviews: ``python -m core verify``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.console import REFUSED, USAGE_ERROR, JsonOption, fail, output
from core.errors import StoreError

if TYPE_CHECKING:
    from core.reviews.audit import Verdict
    from core.reviews.bundle import BundleVerdict

# Of a trail that breaks everywhere, the first places say enough.
_MOST_SHOWN = 20
_LARGEST_FILE = 2 << 30


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("verify")(verify)


def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="An evidence bundle; without it, the audit trail of RADLENS_DATABASE is checked."),
    ] = None,
    scan: Annotated[
        Path | None, typer.Option("--scan", help="The scan (a file or a zip), where the bundle does not hold it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the audit trail, or replay an evidence bundle. Exit status 0: it holds, or is the same; 1: not; 2: wrong usage.

    Keep the number and hash of the last event elsewhere: who may write the whole database could write a whole new trail.
    """
    if bundle is None and scan is not None:
        fail("A scan is compared with an evidence bundle; name the bundle first.", USAGE_ERROR)
    if bundle is None:
        _tell_trail(_trail(), as_json=as_json)
    else:
        _tell_bundle(_replayed(bundle, scan), as_json=as_json)


def _trail() -> "Verdict":
    from core.reviews.database import Database, database_url
    from core.reviews.store import Store

    try:
        _must_be_there(database_url())
        return Store(Database(database_url())).verify()
    except StoreError as exc:
        fail(str(exc), REFUSED)


def _must_be_there(url: str) -> None:
    """Opening would make an empty database where there is none, and call it whole."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return
    if parsed.get_backend_name() == "sqlite" and not (parsed.database and Path(parsed.database).is_file()):
        raise StoreError(
            "There is no database of reviews there yet; set RADLENS_DATABASE to the one that RadLens uses."
        )


def _replayed(bundle: Path, scan: Path | None) -> "BundleVerdict":
    from core.models.loading import load_model
    from core.reading import read_study
    from core.reviews.bundle import verify_bundle

    data, scan_file = _bytes_of(bundle), None if scan is None else _bytes_of(scan)
    try:
        return verify_bundle(data, load_model, lambda file: read_study([("scan", file)]).scans, scan_file)
    except StoreError as exc:
        fail(str(exc), REFUSED)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            fail(f"{path.name} is larger than 2 GB; it is not read.", USAGE_ERROR)
        return path.read_bytes()
    except OSError:
        fail(f"{path.name} cannot be opened; check that it exists and may be read.", USAGE_ERROR)


def _tell_trail(found: "Verdict", *, as_json: bool) -> None:
    number, sha256 = found.head
    if as_json:
        broken = [{"event": one.number, "reason": one.sentence} for one in found.broken]
        record = {"holds": found.holds, "events": found.events, "reviews": found.reviews, "broken": broken}
        typer.echo(json.dumps({**record, "head": {"event": number, "sha256": sha256}}))
    else:
        kept = f"{found.events} events, {found.reviews} versions of reviews"
        _say(f"{'The audit trail holds' if found.holds else 'The audit trail does NOT hold'}: {kept}.")
        for one in found.broken[:_MOST_SHOWN]:
            _say(one.sentence)
        if len(found.broken) > _MOST_SHOWN:
            _say(f"And {len(found.broken) - _MOST_SHOWN} more places.")
        _say(f"Last event: {number} {sha256}")
    raise typer.Exit(0 if found.holds else REFUSED)


def _tell_bundle(found: "BundleVerdict", *, as_json: bool) -> None:
    if as_json:
        record = {"same": found.is_same, "whole": found.is_whole, "entries": found.entries, "sentence": found.sentence}
        told = {"damaged": found.damaged, "differs": found.differs, "not_replayed": found.not_replayed}
        typer.echo(json.dumps({**record, **told}))
    else:
        _say(found.sentence)
    raise typer.Exit(0 if found.is_same else REFUSED)


def _say(sentence: str) -> None:
    output.print(sentence, markup=False, highlight=False, soft_wrap=True)
