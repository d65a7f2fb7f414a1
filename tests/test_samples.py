"""Sample cases: nothing fetched, simulated ones say so, every one opens."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

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
