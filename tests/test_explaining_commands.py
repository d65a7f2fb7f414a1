"""``python -m core trust``: one object with every part, and exit statuses that say what went wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.explaining.trust import PARTS
from core.records import loaded_model
from core.samples import film_to_dicom
from core.simulation import simulate_film
from tests.networks import publish


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None) -> None:
    loaded_model.cache_clear()
    publish(model_folder)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.dcm"
    path.write_bytes(film_to_dicom(simulate_film(5, "mass", rows=96, columns=80)))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_every_part_is_told_with_its_number_and_an_untrained_network_fails(film: Path) -> None:
    told = [json.loads(run("trust", film, "--label", code, "--json").stdout) for code in ("abnormal", "MASS")]
    assert [record["label"] for record in told] == ["abnormal", "mass"]
    for record in told:
        assert set(record["parts"]) == set(PARTS)
        assert record["model"] == "tiny"
        assert all(part["found"] and part["advice"] for part in record["parts"].values())
    asked = [record for record in told if record["verdict"] != "not available"]
    assert asked
    for record in asked:
        assert record["verdict"] == record["parts"]["learnt"]["verdict"] == "red"
        curves = record["parts"]["faithfulness"]
        assert curves["shares"][0] == 0
        assert curves["shares"][-1] == 1
        assert len(curves["deletion"]) == len(curves["shares"]) == len(curves["random_deletion"][0])


def test_people_get_a_table_and_a_sentence(film: Path) -> None:
    result = run("trust", film, "--label", "mass", "--model", "tiny")
    assert result.exit_code == 0
    assert "tiny mass:" in " ".join(result.stdout.split())


def test_what_does_not_exist_is_wrong_usage_and_what_is_no_scan_is_refused(film: Path, tmp_path: Path) -> None:
    for wrong in (["--label", "flu"], ["--label", "mass", "--model", "nobody"], ["--label", "mass", "--frame", "7"],
                  ["--label", "mass", "--series", "3"]):  # fmt: skip
        assert run("trust", film, *wrong).exit_code == 2, wrong
    text = tmp_path / "notes.txt"
    text.write_text("no scan")
    assert run("trust", text, "--label", "mass").exit_code == 1
