"""The command line's contract: one JSON object a frame, statuses, exit statuses, files of explain."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.models.catalogue import read_catalogue
from core.records import loaded_model
from core.samples import film_to_dicom, list_samples
from core.simulation import simulate_film
from tests.files import bundled, dicom_bytes, png_bytes
from tests.networks import publish

KEYS = {"file", "series", "frame", "digest", "model", "weights", "status", "reason", "scores", "logits", "left_out"}


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


def records(result: Result) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(set(record) == KEYS for record in found)
    return found


def test_a_fitting_scan_is_read_by_the_model_that_auto_chose_and_says_so(film: Path) -> None:
    result = run("predict", film, "--json")
    (record,) = records(result)
    assert result.exit_code == 0
    assert (record["file"], record["frame"], record["status"], record["model"]) == (str(film), 0, "ok", "tiny")
    assert "chosen by modality DX and body part CHEST" in record["reason"]
    assert len(record["digest"]) == len(record["weights"]) == 64
    for label, score in record["scores"].items():
        assert score == pytest.approx(1 / (1 + np.exp(-record["logits"][label])), abs=1e-6)
        assert label == label.lower()


def test_a_picture_without_tags_is_withheld_with_the_choice_and_read_when_a_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(png_bytes(np.tile(np.arange(40, dtype=np.uint8), (40, 1))))
    (withheld,) = records(run("predict", path, "--json"))
    assert (withheld["status"], withheld["model"], withheld["scores"], withheld["logits"]) == ("withheld", None, {}, {})
    assert "tiny" in withheld["reason"]
    (read,) = records(run("predict", path, "--model", "TINY", "--json"))
    assert read["status"] == "ok"
    assert set(read["scores"]) == {"abnormal", "mass"}


def test_a_refused_file_hides_no_other_and_sets_the_exit_status(film: Path, tmp_path: Path) -> None:
    report, missing = tmp_path / "report.dcm", tmp_path / "missing.dcm"
    report.write_bytes(bundled("reportsi.dcm"))
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("predict", report, missing, empty, film, "--json")
    assert result.exit_code == 1
    assert [r["status"] for r in records(result)] == ["refused", "refused", "refused", "ok"]
    assert "structured report" in records(result)[0]["reason"]
    assert all(r["digest"] is None and r["frame"] is None for r in records(result)[:3])


def test_the_path_comes_back_as_it_was_typed(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(film.parent)
    typed = f".//{film.name}"
    (record,) = records(run("predict", typed, "--json"))
    assert (record["file"], record["status"]) == (typed, "ok")


def test_a_multi_frame_file_gives_one_record_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "cine.dcm"
    path.write_bytes(dicom_bytes(np.random.default_rng(0).integers(0, 255, (3, 40, 40)).astype(np.uint8)))
    found = records(run("predict", path, "--model", "tiny", "--json"))
    assert [r["frame"] for r in found] == [0, 1, 2]
    assert len({json.dumps(r["logits"]) for r in found}) == 3


def test_without_json_a_table_names_scan_status_and_scores(film: Path) -> None:
    result = run("predict", film)
    assert result.exit_code == 0
    assert "ok" in result.stdout
    assert "abnormal" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict",),
        ("predict", "x.dcm", "--model", "enormous"),
        ("explain", "{film}", "--model", "tiny", "--label", "fracture"),
        ("explain", "{film}", "--model", "tiny", "--label", "mass", "--frame", "7"),
        ("explain", "{film}", "--model", "tiny", "--label", "mass", "--method", "magic"),
        ("train", "{film}.toml"),
        ("evaluate", "--model", "tiny", "--data", "{film}"),
    ],
)
def test_wrong_usage_is_exit_status_2_without_a_traceback(film: Path, arguments: tuple[str, ...]) -> None:
    result = run(*(a.replace("{film}", str(film)) for a in arguments))
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_explain_writes_the_overlay_and_the_signed_evidence_on_the_scans_grid(film: Path, tmp_path: Path) -> None:
    png, npy = tmp_path / "heat.png", tmp_path / "heat.npy"
    result = run("explain", film, "--label", "MASS", "--out", png, "--npy", npy)
    assert result.exit_code == 0
    evidence = np.load(npy)
    assert evidence.shape == (96, 80)
    assert evidence.dtype == np.float32
    with Image.open(png) as picture:
        assert picture.size == (80, 96)
    (record,) = records(run("predict", film, "--json"))
    assert f"score {record['scores']['mass']:.3f}" in result.output.replace("\n", " ")


def test_explain_takes_any_method_layer_and_a_label_to_compare_with(film: Path, tmp_path: Path) -> None:
    signed, positive, versus = (tmp_path / f"{name}.npy" for name in ("signed", "positive", "versus"))
    assert run("explain", film, "--label", "mass", "--npy", signed).exit_code == 0
    gradcam = run("explain", film, "--label", "mass", "--method", "gradcam", "--npy", positive)
    assert "tiny gradcam mass: score" in " ".join(gradcam.output.split())
    # Bilinear in between, so that only places far from a change of sign are the same.
    assert float(np.load(positive).min()) == 0
    assert float(np.load(positive).max()) == pytest.approx(float(np.load(signed).max()), rel=0.05)
    result = run(
        "explain", film, "--label", "mass", "--against", "abnormal", "--layer", "blocks.2.conv1", "--npy", versus
    )
    told = " ".join(result.output.split())
    assert "evidence mass, not abnormal" in told
    assert "strongest place of this scan" in told
    assert np.load(versus).shape == (96, 80)
    assert run("explain", film, "--label", "mass", "--layer", "nowhere").exit_code == 2
    assert run("explain", film, "--label", "mass", "--against", "fracture").exit_code == 2


def test_explain_computes_for_a_scan_that_no_model_fits_when_one_is_named(tmp_path: Path) -> None:
    path, npy = tmp_path / "ct.dcm", tmp_path / "ct.npy"
    path.write_bytes(bundled("CT_small.dcm"))
    assert run("explain", path, "--label", "mass", "--npy", npy).exit_code == 2
    assert run("explain", path, "--model", "tiny", "--label", "mass", "--npy", npy).exit_code == 0
    assert np.load(npy).shape == (128, 128)


def test_explain_of_an_unreadable_file_is_exit_status_1(tmp_path: Path) -> None:
    path = tmp_path / "text.dcm"
    path.write_text("not a scan")
    assert run("explain", path, "--label", "mass").exit_code == 1


def test_evaluate_prints_the_figures_of_any_folder_with_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    lines = ["file,label,split"]
    for index in range(12):
        (folder / f"{index}.png").write_bytes(png_bytes(np.full((40, 40), 20 * index, np.uint8)))
        lines.append(f"{index}.png,{'abnormal' if index % 2 else 'no_finding'},test")
    (folder / "index.csv").write_text("\n".join(lines))
    result = run("evaluate", "--model", "tiny", "--data", folder, "--split", "test", "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["images"] == 12
    assert figures["labels"]["abnormal"]["positives"] == 6
    # "mass" is neither a class of this set nor listed: nothing is known of it.
    assert not any(figures["labels"]["mass"].values())
    assert (figures["kind"], figures["probes"]) == ("held-out", None)
    assert run("evaluate", "--model", "tiny", "--data", folder, "--split", "none").exit_code == 2
    # Nothing is written unless it is asked for.
    known = read_catalogue()
    assert known.card("tiny").evaluations == ()
    asked = (
        "evaluate",
        "--model",
        "tiny",
        "--data",
        folder,
        "--split",
        "test",
        "--name",
        "Greys",
        "--probes",
        "--card",
    )
    shown = run(*asked)
    assert shown.exit_code == 0
    (written,) = read_catalogue().card("tiny").evaluations
    assert written.data == "Greys"
    assert written.probes is not None
    assert written.probes.images == 12
    # Every second picture is abnormal, each brighter than the one before: 6 + 5 + ... + 1 of 36 pairs.
    assert written.probes.labels["abnormal"].brightness is not None
    assert written.probes.labels["abnormal"].brightness.value == pytest.approx(21 / 36)
    readme = (known.folders["tiny"] / "README.md").read_text()
    assert "## Figures: Greys, test (12 pictures)" in shown.stdout
    assert "## Figures: Greys, test (12 pictures)" in readme


def test_evaluate_takes_the_class_from_the_column_that_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    lines = ["file,label,split,subtype"]
    for index in range(4):
        (folder / f"{index}.png").write_bytes(png_bytes(np.full((40, 40), 50 * index, np.uint8)))
        lines.append(f"{index}.png,x,val,{'mass' if index else 'normal'}")
    (folder / "index.csv").write_text("\n".join(lines))
    result = run("evaluate", "--model", "tiny", "--data", folder, "--column", "subtype", "--json")
    assert json.loads(result.stdout)["labels"]["mass"]["positives"] == 3


def test_samples_are_written_as_files_that_open(tmp_path: Path) -> None:
    assert run("samples", "--out", tmp_path / "samples").exit_code == 0
    written = sorted((tmp_path / "samples").glob("*.dcm"))
    assert len(written) == len(list_samples())
    statuses = {r["status"] for path in written for r in records(run("predict", path, "--json"))}
    assert statuses == {"ok", "withheld"}


def ct_slice(number: int) -> bytes:
    """A slice whose every pixel is its place, with a mark at the patient's right front."""
    pixels = np.full((12, 10), 100 * number, np.int16)
    pixels[0, 0] = 1000
    return dicom_bytes(
        pixels,
        Modality="CT",
        SeriesInstanceUID="1.2.3",
        SOPInstanceUID=f"1.2.3.{number}",
        ImagePositionPatient=[0, 0, 2.5 * number],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[0.8, 0.6],
        WindowCenter=500,
        WindowWidth=1001,
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "deeper").mkdir(parents=True)
    for name, number in (("c", 0), ("a", 2), ("deeper/b", 1)):
        (folder / name).write_bytes(ct_slice(number))
    (folder / "readme.txt").write_text("hello")
    return folder


@pytest.fixture
def archive(study: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as files:
        for file in study.rglob("*"):
            if file.is_file():
                files.write(file, file.relative_to(study))
    return path


@pytest.mark.parametrize("kind", ["study", "archive"])
def test_a_folder_and_a_zip_are_one_study(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    result = run("predict", path, "--json")
    found = records(result)
    assert result.exit_code == 0
    assert [(r["file"], r["series"], r["frame"]) for r in found] == [(str(path), 0, frame) for frame in range(3)]
    assert {r["status"] for r in found} == {"withheld"}
    assert [left["name"] for left in found[0]["left_out"]] == ["readme.txt"]
    named = records(run("predict", path, "--json", "--model", "tiny"))
    assert {r["status"] for r in named} == {"ok"}


def test_show_gives_the_displayed_grey_and_how_it_came_about(study: Path, tmp_path: Path) -> None:
    npy = tmp_path / "pixels.npy"
    result = run("show", study, "--npy", npy, "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert (shown["status"], shown["frames"], shown["rows"], shown["columns"]) == ("ok", 3, 12, 10)
    assert (shown["spacing_mm"], shown["slice_spacing_mm"]) == ([0.8, 0.6], 2.5)
    assert (shown["orientation"], shown["slice_direction"], shown["unit"]) == (["L", "P"], "H", "HU")
    assert [step["step"] for step in shown["history"]] == ["stored", "rescale", "window", "polarity"]
    grey = np.load(npy)
    assert (grey.shape, grey.dtype) == ((3, 12, 10), np.float32)
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), here (x + 0.5) / 1000.
    assert grey[:, 5, 5].tolist() == pytest.approx([0.0005, 0.1005, 0.2005], abs=1e-6)
    assert (grey[:, 0, 0] == 1).all()
    one = run("show", study, "--npy", npy, "--frame", 2, "--json")
    assert json.loads(one.stdout)["frame"] == 2
    assert np.load(npy).shape == (12, 10)


def test_show_says_what_the_model_makes_of_a_fitting_film(film: Path) -> None:
    shown = json.loads(run("show", film, "--json").stdout)
    steps = {step["step"]: step for step in shown["history"]}
    assert steps["crop"]["seen"] == "100 % of the picture"
    assert (steps["resize"]["from"], steps["resize"]["to"]) == ("80 x 96", "53 x 64")
    assert steps["tensor"]["shape"] == "1 x 1 x 64 x 64"
    assert {"code", "severity", "name", "sentence", "advice"} == set(shown["verdicts"][0])


def test_show_refuses_what_is_no_scan(tmp_path: Path, film: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("hello")
    result = run("show", path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (1, "refused")
    assert run("show", film, "--frame", 7).exit_code == 2
    assert run("show", film, "--series", 1).exit_code == 2


def test_a_block_of_the_doctor_withholds_the_answer_even_of_a_named_model(tmp_path: Path) -> None:
    path = tmp_path / "dose.dcm"
    path.write_bytes(bundled("rtdose_1frame.dcm"))
    (record,) = records(run("predict", path, "--model", "tiny", "--json"))
    assert (record["status"], record["model"], record["scores"]) == ("withheld", "tiny", {})
