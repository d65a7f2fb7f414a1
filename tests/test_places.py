"""Places against maps whose regions are known: found again on the scan's own grid, by scipy, and by numbers set by hand."""

import json
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.path import Path as Polygon
from pydantic import ValidationError
from scipy import ndimage

from core.analysis import Analysis, Heatmap, Prediction
from core.errors import ConfigurationError, UnknownLabel
from core.explaining.places import Place, ScanBox, places_of, regions_of
from core.metrics import wilson
from core.models.card import ModelCard, OperatingPoint
from core.models.place_card import PlaceThreshold
from core.preprocessing import Letterbox
from core.reading.decoding import decode_scan
from core.records import label_places
from core.scan import Geometry
from tests.files import dicom_bytes
from tests.networks import card

SIZE = 64


def tuned(threshold: float = 1.0, *, point: float | None = 0.5, **changes: Any) -> ModelCard:
    place = PlaceThreshold(
        threshold=threshold, rule="r", sensitivity=wilson(1, 2), false_places=wilson(1, 2), findings=2, pictures=4,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    called = OperatingPoint(
        threshold=point or 0, rule="r", sensitivity=wilson(1, 2), specificity=wilson(1, 2), positives=2, negatives=2,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    return card(place_thresholds={"mass": place}, thresholds={"mass": called} if point else {}, **changes)


def analysed(evidence: npt.NDArray[Any], box: Letterbox, *, score: float = 0.9, **heatmap: Any) -> Analysis:
    stated = {
        "label": "mass", "evidence": evidence.astype(np.float32), "unit": "log-odds", "bias": 0.0, "limit": 1.0,
        "method": "evidence", "layer": card().target_layer, **heatmap,
    }  # fmt: skip
    scores = {"abnormal": 0.1, "mass": score}
    return Analysis(
        "d", 0, "tiny", "1", "0" * 64, Prediction(scores, scores),
        {"mass": Heatmap(**stated), "abnormal": Heatmap(**{**stated, "label": "abnormal"})},
        box, MappingProxyType({}), MappingProxyType({}),
    )  # fmt: skip


def two_hills() -> npt.NDArray[np.float32]:
    """A strong and a weak hill on a grid of 8 x 8, both above 1."""
    evidence = np.full((8, 8), -0.5, np.float32)
    evidence[2, 2], evidence[5:7, 5] = 4, 2
    return evidence


def edges(place: Place) -> tuple[float, float, float, float]:
    box = place.box
    return box.top, box.left, box.top + box.height, box.left + box.width


@pytest.mark.parametrize(
    ("rows", "columns", "crop"), [(128, 128, False), (90, 140, False), (200, 90, False), (150, 100, True)]
)
def test_boxes_are_those_of_the_evidence_on_the_scans_own_grid(rows: int, columns: int, *, crop: bool) -> None:
    box = Letterbox.fit(rows, columns, SIZE, crop=crop)
    analysis = analysed(two_hills(), box)
    places = places_of(analysis, tuned(), "mass")
    on_scan = analysis.on_scan_grid("mass") >= 1
    expected = [(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(ndimage.label(on_scan)[0])]
    assert len(places) == len(expected) == 2
    assert [place.peak for place in places] == sorted((place.peak for place in places), reverse=True)
    # A pixel of the model's square is this many of the scan.
    step = max(rows / box.height, columns / box.width)
    for found, known in zip(sorted(map(edges, places)), sorted(expected), strict=True):
        assert found == pytest.approx(known, abs=1.01 * step)


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (180, 300)])
def test_the_contour_encloses_the_region_and_lies_within_its_box(rows: int, columns: int) -> None:
    analysis = analysed(two_hills(), Letterbox.fit(rows, columns, SIZE))
    strong, _ = places_of(analysis, tuned(), "mass")
    regions, _ = ndimage.label(analysis.on_scan_grid("mass") >= 1)
    row, column = (int(v) for v in (strong.box.top + strong.box.height / 2, strong.box.left + strong.box.width / 2))
    region = regions == regions[row, column]
    centres = np.stack(np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij"), -1).reshape(-1, 2)
    inside = Polygon([*strong.contour, strong.contour[0]]).contains_points(centres).reshape(rows, columns)
    assert (inside & region).sum() / (inside | region).sum() > 0.93
    top, left, bottom, right = edges(strong)
    corners = np.array(strong.contour)
    # Between pixels the line may pass the outermost ones by half of one of the square's.
    step = max(rows, columns) / SIZE
    assert (corners >= np.array([top, left]) - 0.6 * step).all()
    assert (corners <= np.array([bottom, right]) + 0.6 * step).all()


def test_a_map_that_is_the_same_everywhere_is_one_place_over_the_whole_picture() -> None:
    analysis = analysed(np.full((8, 8), 2.0), Letterbox.fit(90, 160, SIZE))
    (place,) = places_of(analysis, tuned(), "mass")
    assert edges(place) == pytest.approx((0, 0, 90, 160))
    # The content is 36 of the square's 64 rows: so many of the 8 x 8 cells of 2 each.
    assert place.total == pytest.approx(2 * 64 * 36 / 64)
    assert (place.peak, place.share) == (2, 1)


def test_evidence_on_the_letterboxs_bars_is_no_place() -> None:
    evidence = np.zeros((8, 8))
    evidence[0], evidence[7], evidence[4, 4] = 9, 9, 3
    (place,) = places_of(analysed(evidence, Letterbox.fit(32, 128, SIZE)), tuned(), "mass")
    assert place.peak == pytest.approx(3, abs=0.4)


def test_the_share_is_that_of_the_positive_evidence() -> None:
    # Far apart and away from the edges each cell's evidence keeps its sum when interpolated.
    evidence = np.zeros((16, 16))
    evidence[3, 3], evidence[11, 11], evidence[3, 11] = 6, 2, -8
    (strong,) = places_of(analysed(evidence, Letterbox.fit(SIZE, SIZE, SIZE)), tuned(2.5), "mass")
    (all_of_it, _) = places_of(analysed(evidence, Letterbox.fit(SIZE, SIZE, SIZE)), tuned(1e-3), "mass")
    assert all_of_it.total == pytest.approx(6, rel=0.01)
    assert all_of_it.share == pytest.approx(6 / 8, rel=0.01)
    assert 0 < strong.total < all_of_it.total


def test_only_labels_that_are_called_have_places_unless_asked_for() -> None:
    below = analysed(two_hills(), Letterbox.fit(80, 80, SIZE), score=0.49)
    assert places_of(below, tuned(), "mass") == ()
    assert len(places_of(below, tuned(), "mass", below=True)) == 2
    assert len(places_of(below, tuned(point=None), "mass")) == 2
    assert len(places_of(analysed(two_hills(), below.letterbox, score=0.5), tuned(), "MASS")) == 2


@pytest.mark.parametrize(
    "other", [{"method": "gradcam"}, {"layer": "stem"}, {"against": "abnormal"}, {"absent": "Nothing."}]
)
def test_no_places_where_the_threshold_was_not_tuned(other: dict[str, Any]) -> None:
    box = Letterbox.fit(80, 80, SIZE)
    assert places_of(analysed(two_hills(), box, **other), tuned(), "mass") == ()
    assert places_of(analysed(two_hills(), box), tuned(), "abnormal") == ()
    assert places_of(analysed(two_hills(), box), card(), "mass") == ()
    assert places_of(analysed(-np.abs(two_hills()), box), tuned(), "mass") == ()
    with pytest.raises(UnknownLabel):
        places_of(analysed(two_hills(), box), tuned(), "nodule")


def test_a_place_of_one_pixel_still_has_a_contour() -> None:
    evidence = two_hills()
    (place,) = places_of(analysed(evidence, Letterbox.fit(SIZE, SIZE, SIZE)), tuned(3.2), "mass")
    assert len(place.contour) >= 3
    assert place.box.height <= 4


def test_size_and_zone_follow_the_files_own_spacing_and_sides() -> None:
    box = ScanBox(top=60, left=70, height=20, width=10)
    frontal = Geometry(spacing_mm=(0.5, 0.2), orientation=("L", "F"))
    assert box.size_mm(frontal) == pytest.approx((2.0, 10.0))
    assert box.zone(frontal, (100, 100)) == "left lower zone"
    assert box.zone(Geometry(), (100, 100)) == "lower right of the picture"
    assert box.size_mm(Geometry()) is None
    assert box.xywh == (70, 60, 10, 20)


def test_a_record_says_box_zone_size_evidence_and_contour_and_goes_through_json() -> None:
    scan = decode_scan(dicom_bytes(np.zeros((128, 128), np.uint16), PixelSpacing=[1.0, 2.0]))
    analysis = analysed(two_hills(), Letterbox.fit(128, 128, SIZE))
    told = json.loads(json.dumps(label_places(analysis, tuned(), "mass", scan), allow_nan=False))
    places = places_of(analysis, tuned(), "mass")
    assert (told["place_threshold"], told["operating_point"], told["score"]) == (1.0, 0.5, 0.9)
    assert "not a detector" in told["note"]
    for record, known in zip(told["places"], places, strict=True):
        assert (record["left"], record["top"], record["width"], record["height"]) == known.box.xywh
        assert record["size_mm"] == [2 * known.box.width, known.box.height]
        assert (record["peak"], record["share"]) == (known.peak, known.share)
        assert len(record["contour"]) == len(known.contour)
    assert told["places"][0]["zone"] == "upper left of the picture"
    with pytest.raises(ConfigurationError, match="draws no places for abnormal; it does for: mass"):
        label_places(analysis, tuned(), "abnormal", scan)


def test_regions_are_scipys() -> None:
    mask = np.random.default_rng(0).uniform(size=(60, 80)) > 0.62
    expected = ndimage.find_objects(ndimage.label(mask)[0])
    as_numbers = {(r.start, r.stop, c.start, c.stop) for r, c in regions_of(mask)}
    assert as_numbers == {(r.start, r.stop, c.start, c.stop) for r, c in expected}
    assert len(regions_of(mask)) == len(expected)


def test_place_thresholds_of_other_weights_or_of_no_label_are_refused() -> None:
    place = tuned().place_thresholds["mass"]
    with pytest.raises(ValidationError, match="measured with other weights"):
        card(place_thresholds={"mass": place.model_copy(update={"weights_sha256": "1" * 64})})
    with pytest.raises(ValidationError, match="labels that do not exist"):
        card(place_thresholds={"nodule": place})


def test_a_peak_that_just_reaches_the_threshold_has_its_own_pixels_as_contour() -> None:
    # A film of a real session had such a peak: nothing between the pixels reached the threshold, and the page broke off.
    evidence = np.full((8, 8), -0.5, np.float32)
    # No two neighbours are alike, so that one pixel alone is the highest.
    evidence[2, 5], evidence[2, 4], evidence[1, 5] = 4, 1, 0.5
    analysis = analysed(evidence, Letterbox.fit(SIZE, SIZE, SIZE))
    peak = places_of(analysis, tuned(), "mass")[0].peak
    (place,) = places_of(analysis, tuned(peak), "mass")
    top, left, bottom, right = edges(place)
    assert 2 / 8 < top / SIZE < bottom / SIZE < 3 / 8
    assert len(place.contour) >= 3
    rows, columns = zip(*place.contour, strict=True)
    drawn = min(rows), min(columns), max(rows), max(columns)
    assert drawn == pytest.approx((top, left, bottom, right), abs=1)
