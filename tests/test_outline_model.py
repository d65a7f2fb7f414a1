"""The outlining model that RadLens ships, on made-up ultrasound pictures whose dark ellipse we placed."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from core.analysis import Analysis, analyse
from core.metrics import peak_in_mask
from core.models.loading import Model, load_model
from core.overlap import dice
from core.scan import Geometry, Scan

ID = "breast-lesion-segmentation"
ROWS, COLUMNS = 300, 400
SPACING = (0.1, 0.1)
PLACES = ((120, 130), (150, 260))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ID)


def ellipse(row: int, column: int) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    inside: npt.NDArray[np.bool_] = ((y - row) / 45) ** 2 + ((x - column) / 68) ** 2 < 1
    return inside


def ultrasound(row: int, column: int) -> Scan:
    """Layered speckle that darkens with depth, and a dark ellipse with a soft edge."""
    random = np.random.default_rng(row)
    y = np.linspace(0, 1, ROWS)[:, None]
    speckle = cv2.GaussianBlur(random.rayleigh(0.6, (ROWS, COLUMNS)), (0, 0), 1.2)
    tissue = (1 - 0.5 * y) * (0.5 + 0.12 * np.sin(13 * y)) * speckle
    soft = cv2.GaussianBlur(ellipse(row, column).astype(np.float64), (0, 0), 4)
    grey = np.clip(330 * tissue * (1 - 0.82 * soft), 0, 255).astype(np.uint8)
    return Scan(
        grey[None], f"{row:064x}", "PNG", geometry=Geometry(spacing_mm=SPACING), modality="US", body_part="BREAST"
    )


@pytest.fixture(scope="module")
def found(model: Model) -> dict[tuple[int, int], Analysis]:
    return {place: analyse(model, ultrasound(*place)) for place in PLACES}


def test_its_card_says_what_was_measured(model: Model) -> None:
    card = model.card
    evaluation = card.evaluations[0]
    assert card.task == "segmentation"
    assert evaluation.segmentation is not None
    assert evaluation.segmentation.overlap.dice.value >= 0.65
    assert set(evaluation.segmentation.classes) == {"benign", "malignant"}
    assert evaluation.segmentation.false_masks is not None
    assert evaluation.weights_sha256 == card.weights_sha256
    assert sum(value.numel() * value.element_size() for value in model.network.state_dict().values()) <= 10_000_000
    assert len(card.reference_logits) == 5


@pytest.mark.parametrize("place", PLACES)
def test_an_ellipse_that_we_placed_is_outlined_and_the_map_points_into_it(
    found: dict[tuple[int, int], Analysis], place: tuple[int, int]
) -> None:
    analysis, truth = found[place], ellipse(*place)
    mask = analysis.masks["lesion"]
    assert dice(mask.on_scan_grid(), truth) > 0.8
    # The area of an ellipse, in mm^2.
    assert mask.area_mm2 == pytest.approx(np.pi * 45 * 68 * 0.01, rel=0.3)
    heatmap = analysis.heatmaps["lesion"]
    assert min(heatmap.evidence.shape) >= 14
    assert heatmap.outcome is None
    assert peak_in_mask(analysis.on_scan_grid("lesion"), truth)


def test_the_outline_moves_with_the_ellipse(found: dict[tuple[int, int], Analysis]) -> None:
    centres = [np.argwhere(found[place].masks["lesion"].on_scan_grid()).mean(0) for place in PLACES]
    assert centres[1] - centres[0] == pytest.approx(np.subtract(PLACES[1], PLACES[0]), abs=8)
