"""``python -m core verify``: one changed row among a thousand is found, and a bundle is replayed."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.analysis import analyse
from core.models.loading import load_model
from core.reading.decoding import decode_scan
from core.reviews.audit import append
from core.reviews.bundle import Evidence, write_bundle
from core.reviews.database import Database
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import NewCase, Store
from core.samples import film_to_dicom
from core.simulation import simulate_film
from tests.networks import publish, seeded

ANNA = Reader(name="Anna")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILM = film_to_dicom(simulate_film(5, "mass", rows=96, columns=80))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with one review and a thousand events, that RADLENS_DATABASE names."""
    path = tmp_path / "reviews.db"
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    store = Store(database)
    case = store.add_case(NewCase("ab" * 32, "upload"), ANNA)
    store.commit_first_read(case.id, ANNA, Read(findings={"mass": Finding(mark="present")}), NOW)
    with database.writing() as session:
        for number in range(998):
            append(session, ANNA, "case viewed", case_id=case.id, study=case.digest, detail={"look": number})
    database.close()
    return path


def tampered(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("audit", "reviews"):
            for act in ("values", "rows"):
                connection.execute(f"DROP TRIGGER {table}_keeps_{act}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def test_a_whole_trail_holds_and_names_its_head(path: Path) -> None:
    result = run("--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (found["holds"], found["events"], found["reviews"], found["broken"]) == (True, 1000, 1, [])
    with sqlite3.connect(path) as connection:
        (last,) = connection.execute("SELECT sha256 FROM audit WHERE number = 1000").fetchone()
    assert found["head"] == {"event": 1000, "sha256": last}
    words = run()
    assert "The audit trail holds: 1000 events, 1 versions of reviews." in words.stdout
    assert f"Last event: 1000 {last}" in words.stdout


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["UPDATE audit SET reader = 'Bo' WHERE number = 617"], "Event 617 was changed"),
        (["DELETE FROM audit WHERE number = 617"], "Events 617 to 617 are missing"),
        (["DELETE FROM audit WHERE number = 1000"], "should end with event 1000"),
        (
            [
                "UPDATE audit SET number = -1 WHERE number = 617",
                "UPDATE audit SET number = 617 WHERE number = 618",
                "UPDATE audit SET number = 618 WHERE number = -1",
            ],
            "Event 617 does not follow",
        ),
        (
            ["UPDATE reviews SET content = replace(content, 'present', 'absent')"],
            "The review that event 2 tells of was",
        ),
        (["DELETE FROM reviews"], "The review that event 2 tells of is missing"),
    ],
    ids=["edited", "deleted", "cut off", "reordered", "review edited", "review deleted"],
)
def test_one_row_of_a_thousand_is_found(path: Path, statements: list[str], words: str) -> None:
    tampered(path, *statements)
    result = run()
    assert result.exit_code == 1
    assert "does NOT hold" in result.stdout
    assert words in result.stdout


def test_a_trail_that_breaks_everywhere_is_told_in_short(path: Path) -> None:
    tampered(path, "UPDATE audit SET reader = 'Bo'")
    result = run()
    assert result.exit_code == 1
    assert "And 982 more places." in result.stdout
    assert len(result.stdout.splitlines()) < 30


def test_no_database_is_no_trail_that_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "none.db"
    for url in (f"sqlite:///{missing}", "mysql://somewhere/else", "no url at all"):
        monkeypatch.setenv("RADLENS_DATABASE", url)
        result = run()
        assert result.exit_code == 1
        assert len(result.output.split(".")) <= 3
    assert not missing.exists()


@pytest.fixture
def bundle(model_folder: Path, no_shipped_models: None) -> dict[str, bytes]:
    """A bundle with the scan in it and one without."""
    publish(model_folder)
    scan = decode_scan(FILM)
    analysis = analyse(load_model("tiny"), scan)
    made = {}
    for name, file in (("with", FILM), ("without", None)):
        evidence = Evidence(
            scan=scan,
            analysis=analysis,
            thresholds={},
            case={"pseudonym": "K7QD-2M9F"},
            reviews=[],
            events=[],
            file=file,
        )
        made[name] = write_bundle(evidence)
    return made


def test_a_bundle_is_replayed(bundle: dict[str, bytes], tmp_path: Path) -> None:
    path, scan = tmp_path / "evidence.zip", tmp_path / "film.dcm"
    path.write_bytes(bundle["with"])
    result = run(path)
    assert (result.exit_code, result.stdout.strip()) == (0, "The same, bit for bit.")
    path.write_bytes(bundle["without"])
    result = run(path)
    assert result.exit_code == 1
    assert "name the file beside it" in result.stdout
    scan.write_bytes(FILM)
    assert run(path, "--scan", scan).exit_code == 0
    scan.write_bytes(film_to_dicom(simulate_film(6, "mass", rows=96, columns=80)))
    result = run(path, "--scan", scan, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differs"] == ["the file is another than the one that was read"]


def test_a_flipped_byte_and_other_weights_are_said(
    bundle: dict[str, bytes], tmp_path: Path, model_folder: Path
) -> None:
    path = tmp_path / "evidence.zip"
    flipped = bytearray(bundle["with"])
    flipped[bundle["with"].index(FILM) + len(FILM) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    result = run(path)
    assert result.exit_code == 1
    assert "cut short or changed" in result.output
    path.write_bytes(bundle["with"])
    publish(model_folder, seeded("compact-resnet", seed=9))
    result = run(path)
    assert result.exit_code == 1
    assert "other weights today" in result.stdout


def test_wrong_usage_is_said_in_a_sentence(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    assert (run(other).exit_code, "no evidence bundle" in run(other).output) == (1, True)
    assert run(tmp_path / "missing.zip").exit_code == 2
    assert run("--scan", other).exit_code == 2
