"""Which regions matter, where they lie in words, and what the browser says that the reader marked."""

import time
from typing import Any

import numpy as np
import pytest

from core.errors import RadLensError, Stopped
from core.explaining.perturbation import Watch
from core.explaining.regions import CELLS, regions_that_matter
from core.explaining.zones import zone_at
from core.reading.decoding import decode_scan
from core.scan import Scan
from core.windowing import display_grey
from dashboard.marked import marked_by
from dashboard.watched_run import WatchedRun
from tests.files import dicom_bytes
from tests.test_asking import bright_model, bright_scan, logits_by_hand


def film() -> Scan:
    """The scan with the bright patch at its lower left as a film: the patient's right."""
    grey = np.rint(255 * display_grey(bright_scan(), 0)).astype(np.uint8)
    return decode_scan(dicom_bytes(grey, PatientOrientation=["L", "F"], WindowCenter=128, WindowWidth=256))


def test_the_region_with_the_finding_matters_and_is_named_by_the_patients_sides() -> None:
    found = regions_that_matter(bright_model(), film(), fill="mean")
    zone, fall = found.strongest("mass")
    assert zone == "right lower zone"
    grey = display_grey(film(), 0).astype(np.float64)
    assert fall == pytest.approx(logits_by_hand(grey)[1] + 3, abs=0.05)
    said = found.sentence("mass", "Mass")
    assert said == f"Erasing the {zone} lowers Mass by {fall:.2f} (log-odds), more than any other region."
    plain = regions_that_matter(bright_model(), bright_scan(), fill="mean")
    assert plain.strongest("mass")[0] == "lower left of the picture"
    assert np.allclose(plain.falls["mass"], found.falls["mass"], atol=0.05)


def test_one_place_counts_what_erasing_that_square_does() -> None:
    found = regions_that_matter(bright_model(), bright_scan(), fill="mean")
    grey = display_grey(bright_scan(), 0).astype(np.float64)
    # Row 4, column 0 of 6: the square two cells wide around the cell's middle, in pixels of 64.
    rows, columns = slice(round(3.5 * 64 / 6), round(5.5 * 64 / 6)), slice(0, round(1.5 * 64 / 6))
    erased = grey.copy()
    erased[rows, columns] = grey.mean()
    for index, code in enumerate(("abnormal", "mass")):
        expected = logits_by_hand(grey)[index] - logits_by_hand(erased)[index]
        assert found.falls[code][4, 0] == pytest.approx(expected, abs=1e-3)


def test_places_on_the_bars_count_nothing() -> None:
    wide = decode_scan(dicom_bytes(np.random.default_rng(0).integers(0, 4095, (20, 80)).astype(np.uint16)))
    found = regions_that_matter(bright_model(), wide)
    on_picture = np.array([bool(zone) for zone in found.zones]).reshape(CELLS, CELLS)
    assert on_picture.any(1).tolist() == [False, False, True, True, False, False]
    assert (found.falls["abnormal"][[0, 1, 4, 5]] == 0).all()


def test_it_tells_how_far_it_is_and_stops() -> None:
    steps: list[tuple[int, int]] = []
    regions_that_matter(bright_model(), bright_scan(), watch=Watch(lambda done, total: steps.append((done, total))))
    assert (steps[0], steps[-1]) == ((0, CELLS**2), (CELLS**2, CELLS**2))
    with pytest.raises(Stopped):
        regions_that_matter(bright_model(), bright_scan(), watch=Watch(cancelled=lambda: True))


@pytest.mark.parametrize(
    ("row", "column", "orientation", "words"),
    [
        (0.9, 0.1, ("L", "F"), "right lower zone"),
        (0.1, 0.9, ("L", "F"), "left upper zone"),
        (0.5, 0.5, ("L", "F"), "central middle zone"),
        (0.1, 0.5, ("P", "F"), "upper middle zone"),
        (0.1, 0.1, ("L", "P"), "right front zone"),
        (0.5, 0.9, ("LA", "FP"), "left middle zone"),
        (0.1, 0.9, ("R", "H"), "right lower zone"),
        (0.1, 0.9, None, "upper right of the picture"),
        (0.5, 0.5, None, "centre of the picture"),
        (1.0, 1.0, None, "lower right of the picture"),
    ],
)
def test_a_zone_is_named_by_the_patients_own_sides(
    row: float, column: float, orientation: tuple[str, str] | None, words: str
) -> None:
    assert zone_at(row, column, orientation) == words


MARK = {"frame": 0, "number": 7, "rows": 3, "columns": 4, "runs": [1, 2, 8, 1]}


def test_a_mark_of_the_viewer_becomes_a_region() -> None:
    marked = marked_by(MARK)
    assert marked is not None
    assert marked.region.astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert marked == marked_by({**MARK, "number": 7.0})
    assert marked != marked_by({**MARK, "number": 8})


@pytest.mark.parametrize(
    "value",
    [
        None, "runs", [1, 2], {}, {**MARK, "runs": []}, {**MARK, "runs": [1]}, {**MARK, "runs": "1,2"}, {**MARK, "rows": 0},
        {**MARK, "rows": 10**6, "columns": 10**6}, {**MARK, "runs": [1, -2]}, {**MARK, "runs": [1, float("nan")]},
        {**MARK, "frame": float("inf")}, {**MARK, "columns": True}, {**MARK, "number": 1.5}, {**MARK, "runs": [1, None]},
    ],
)  # fmt: skip
def test_what_is_no_mark_is_none(value: Any) -> None:
    assert marked_by(value) is None


def test_a_run_beyond_the_grid_is_cut_off() -> None:
    marked = marked_by({**MARK, "runs": [10, 10**9, 10**12, 5]})
    assert marked is not None
    assert marked.region.sum() == 2


def finished(run: "WatchedRun[Any]") -> "WatchedRun[Any]":
    until = time.monotonic() + 60
    while run.running and time.monotonic() < until:
        time.sleep(0.01)
    assert not run.running
    return run


def test_work_in_the_background_ends_with_a_result_a_sentence_or_nothing() -> None:
    def counted(watch: Watch) -> int:
        watch.step(1, 2)
        return 5

    def refused(watch: Watch) -> int:
        raise RadLensError("It cannot be done.")

    def endless(watch: Watch) -> int:
        while True:
            watch.step(0, 1)

    run = finished(WatchedRun("count", counted))
    assert (run.result, run.problem, run.share) == (5, "", 0.5)
    wrong = finished(WatchedRun("refuse", refused))
    assert (wrong.result, wrong.problem) == (None, "It cannot be done.")
    stopped = WatchedRun("endless", endless)
    stopped.cancel()
    finished(stopped)
    assert (stopped.result, stopped.problem) == (None, "")
