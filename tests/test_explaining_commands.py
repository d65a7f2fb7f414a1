"""``python -m core trust | ask | shortcuts``: one object with every part, and exit statuses that say what went wrong."""

import json
import math
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.explaining import erase
from core.explaining.trust import PARTS
from core.explaining_commands import Fill
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


def test_asking_without_a_box_of_pixels_tells_every_label_before_and_after(film: Path) -> None:
    record = json.loads(run("ask", film, "--box", "20,10,30,25", "--fill", "mean", "--json").stdout)
    assert list(record["labels"]) == ["abnormal", "mass"]
    assert record["share"] == pytest.approx(30 * 25 / (96 * 80), rel=0.05)
    assert (record["model"], record["fill"], record["unit"]) == ("tiny", "mean", "log-odds")
    for label in record["labels"].values():
        assert label["change"] == pytest.approx(label["logit"][1] - label["logit"][0])
        scores = [1 / (1 + math.exp(-logit)) for logit in label["logit"]]
        assert label["score"] == pytest.approx(scores, abs=1e-5)
    told = run("ask", film, "--box", "20,10,30,25")
    assert told.exit_code == 0
    assert "mass" in told.stdout
    assert get_args(erase.Fill) == tuple(Fill)


def test_a_box_that_is_none_is_wrong_usage(film: Path) -> None:
    for box in ("1,2,3", "a,b,c,d", "0,0,0,0", "500,500,4,4", "nan,0,1,1"):
        assert run("ask", film, "--box", box).exit_code == 2, box
    assert run("ask", film, "--box", "1,1,9,9", "--fill", "glue").exit_code == 2


def test_the_shortcut_scan_tells_every_place_and_whether_an_answer_leans_on_it(tmp_path: Path) -> None:
    film = tmp_path / "film.dcm"
    film.write_bytes(film_to_dicom(simulate_film(9, "mass", rows=256, columns=256)))
    record = json.loads(run("shortcuts", film, "--json").stdout)
    names = {spot["name"] for spot in record["spots"]}
    assert {"the upper left corner of the picture", "the border of the picture"} <= names
    assert record["alarm"] == any(spot["leaning"] for spot in record["spots"])
    # The simulated film carries an R at the patient's right.
    assert any("bright mark at the upper left" in name for name in names)
    assert record["sentence"] in " ".join(run("shortcuts", film).stdout.split())
