"""Sample cases: nothing fetched, simulated ones say so, every one opens."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from core.cache_folder import CACHE_VARIABLE, kept_or_made
from core.reading import read_scan
from core.samples import Sample, film_to_dicom, find_sample, list_samples
from core.simulation import simulate_film
from core.windowing import display_grey


@pytest.mark.parametrize("sample", list_samples(), ids=lambda sample: sample.id)
def test_every_sample_opens_without_a_network(sample: Sample) -> None:
    scan = read_scan(sample.load())
    assert scan.modality in {"DX", "CT", "MR", "US"}
    assert float(np.ptp(display_grey(scan))) > 0.5


def test_the_first_sample_is_a_simulated_chest_film_and_says_so() -> None:
    first = list_samples()[0]
    assert first.simulated
    assert "Simulated" in first.title
    scan = read_scan(first.load())
    assert (scan.modality, scan.body_part, scan.view, scan.geometry.orientation) == ("DX", "CHEST", "PA", ("L", "F"))


def test_sample_ids_are_unique_and_an_unknown_one_is_none() -> None:
    ids = [sample.id for sample in list_samples()]
    assert len(set(ids)) == len(ids)
    assert find_sample(ids[-1]) == list_samples()[-1]
    assert find_sample("none") is None


def test_a_film_in_dicom_keeps_its_pixels_and_names_no_person() -> None:
    film = simulate_film(3, "nodule", rows=64, columns=80)
    data = film_to_dicom(film)
    assert (read_scan(data).stored[0] == film.pixels).all()
    assert np.allclose(display_grey(read_scan(data)), film.pixels / 4095, atol=1e-6)
    dataset = dcmread(BytesIO(data))
    assert "SIMULATED" in dataset.ImageType
    assert str(dataset.PatientName) == "SIMULATED^FILM"


def test_a_drawn_film_is_kept_and_one_that_was_damaged_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    made = iter((b"first", b"second", b"third"))
    assert kept_or_made("films/a", lambda: next(made)) == b"first"
    assert kept_or_made("films/a", lambda: next(made)) == b"first"
    assert kept_or_made("films/b", lambda: next(made)) == b"second"
    (kept,) = (tmp_path / "films").glob("a")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert kept_or_made("films/a", lambda: next(made)) == b"third"
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["a", "b"]


def test_where_nothing_can_be_kept_a_film_is_drawn_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert kept_or_made("films/a", lambda: b"film") == b"film"


def test_what_is_kept_is_the_film_that_the_seed_gives() -> None:
    first = list_samples()[0]
    expected = simulate_film(9, "pneumothorax", rows=768, columns=768, side="left").pixels
    assert (read_scan(first.load()).stored[0] == expected).all()
