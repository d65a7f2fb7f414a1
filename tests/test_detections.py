"""A detector as own model, from weights to boxes on the scan, with a real one that finds planted bright squares."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save

from core.analysis import Analysis, analyse
from core.detections import SHOWN_FROM, findings_as_places, shown
from core.errors import ModelRejected, NoHeatmap
from core.explaining.altered import alterable
from core.explaining.explanation import explain
from core.explaining.places import ScanBox
from core.explaining.trust import trust
from core.free_response import overlaps
from core.metrics import wilson
from core.models.architectures import build_network, build_outline
from core.models.card import InputSpec, Label, ModelCard, OperatingPoint
from core.models.checking import Wishes, check_weights
from core.models.detector_test import reference_answers
from core.models.loading import Model, load_model, prepare
from core.models.recognising import fit_of, fitting
from core.models.registering import Description, add_model
from core.reading.decoding import decode_scan
from core.records import label_places, place_records
from core.scan import Scan
from tests.detector_networks import BOX, SIDE, box_of, bright_square_detector, picture
from tests.files import dicom_bytes
from tests.networks import card, publish

LABELS = (Label(code="square", words="Bright square"), Label(code="nothing", words="Nothing"))
SPEC = InputSpec(channels=3, size=SIDE, mean=0.5, std=0.25)


def detector_card(**changes: Any) -> ModelCard:
    return card(**{
        "id": "squares", "task": "detection", "architecture": "ssdlite320_mobilenet_v3_large", "labels": LABELS,
        "headline": "square", "input": SPEC, "target_layer": "", **changes,
    })  # fmt: skip


def published(folder: Path, **changes: Any) -> ModelCard:
    """The detector's folder as in the catalogue."""
    stated = detector_card(**changes)
    fields = {name: getattr(stated, name) for name in type(stated).model_fields if name != "weights_sha256"}
    return publish(folder, bright_square_detector(), **fields)


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(detector_card(), bright_square_detector())


def scan_of(grey: npt.NDArray[np.float32], **changes: Any) -> Scan:
    stated = {"WindowCenter": 2048, "WindowWidth": 4096, "PixelSpacing": [0.5, 0.25], **changes}
    return decode_scan(dicom_bytes(np.rint(grey * 4095).astype(np.uint16), **stated))


def wide_scan() -> Scan:
    """480 x 640, letterboxed to half its size: two squares of the model's 64 x 64 pixels, of 128 x 128 here."""
    square = picture((6, 5), (13, 13))
    return scan_of(np.repeat(np.repeat(square, 2, 0), 2, 1)[80:560])


@pytest.fixture(scope="module")
def found(model: Model) -> Analysis:
    return analyse(model, wide_scan())


def test_boxes_lie_where_the_squares_were_planted_once_each(found: Analysis, model: Model) -> None:
    boxes = shown(found, model.card)["square"]
    planted = [(2 * x, 2 * y - 80, 2 * BOX, 2 * BOX) for x, y, _, _ in (box_of(6, 5), box_of(13, 13))]
    assert len(boxes) == len(planted)
    assert [one.score for one in boxes] == sorted((one.score for one in boxes), reverse=True)
    for where in planted:
        assert max(overlaps(one.box, where)[1] for one in boxes) > 0.95
    assert shown(found, model.card)["nothing"] == ()


def test_a_labels_score_is_that_of_its_best_box(found: Analysis, model: Model) -> None:
    best = max(one.score for one in found.detections["square"])
    scores, logits = found.prediction.scores, found.prediction.logits
    assert scores["square"] == best > SHOWN_FROM > scores["nothing"]
    assert 1 / (1 + np.exp(-logits["square"])) == pytest.approx(best)
    empty = analyse(model, scan_of(picture()))
    assert empty.prediction.scores["square"] < SHOWN_FROM
    assert findings_as_places(empty, model.card) == {"square": (), "nothing": ()}


def test_boxes_are_shown_from_the_operating_point_on(found: Analysis, model: Model) -> None:
    scores = [one.score for one in shown(found, model.card)["square"]]
    between = sum(scores) / 2
    point = OperatingPoint(
        threshold=between, rule="r", sensitivity=wilson(1, 2), specificity=wilson(1, 2), positives=2, negatives=2,
        split="val", weights_sha256="0" * 64,
    )  # fmt: skip
    assert len(scores) == 2
    assert len(shown(found, detector_card(thresholds={"square": point}))["square"]) == 1


def test_a_detector_has_no_heatmap_and_says_so(found: Analysis, model: Model) -> None:
    heatmap = found.heatmap("square")
    assert "A detector shows boxes" in str(heatmap.outcome)
    assert not heatmap.evidence.any()
    scan = wide_scan()
    for ask in (
        lambda: explain(model, scan),
        lambda: trust(model, scan, 0, "square"),
        lambda: alterable(model, scan, 0),
    ):
        with pytest.raises(NoHeatmap, match="A detector shows boxes"):
            ask()
    with pytest.raises(NoHeatmap):
        _ = model.fast


def test_records_of_boxes_carry_score_size_and_zone(found: Analysis, model: Model) -> None:
    scan = wide_scan()
    records = place_records(found, model.card, scan)["square"]
    first = min(records, key=lambda record: float(record["left"]))
    assert (first["width"], first["height"]) == pytest.approx((128, 128), abs=4)
    # 0.5 mm between rows, 0.25 between columns.
    assert first["size_mm"] == pytest.approx((32, 64), abs=2)
    assert first["zone"] == "upper left of the picture"
    assert 0.5 < first["score"] <= 1
    assert "contour" not in first
    told = label_places(found, model.card, "square", scan)
    assert len(told["places"]) == 2
    assert told["place_threshold"] is None


def test_a_box_that_reaches_over_the_edge_is_cut_at_it(model: Model) -> None:
    cut = analyse(model, scan_of(picture((6, 5))[:, 64:]))
    for one in cut.detections["square"]:
        box = one.box
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= SIDE - 64
        assert box.top + box.height <= SIDE
    assert isinstance(cut.detections["square"][0].box, ScanBox)


# Cards


def test_a_detectors_card_must_fit_its_task() -> None:
    with pytest.raises(ValidationError, match="head sigmoid"):
        detector_card(head="softmax")
    with pytest.raises(ValidationError, match="mask_threshold is for models"):
        detector_card(mask_threshold={"value": 0.5, "rule": "r", "split": "val", "weights_sha256": "0" * 64})


# Loading and self-test


def test_a_published_detector_is_loaded_with_the_answers_on_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = bright_square_detector()
    references = reference_answers(network, SPEC, 2)
    published(tmp_path, reference_logits=references)
    monkeypatch.setenv("RADLENS_MODELS", str(tmp_path))
    loaded = load_model("squares")
    again = shown(analyse(loaded, wide_scan()), loaded.card)["square"]
    assert len(again) == 2
    assert loaded.convolutions == ()
    wrong = [list(row) for row in references]
    wrong[0][0] += 0.5
    published(tmp_path, reference_logits=wrong)
    with pytest.raises(ModelRejected, match="reference pictures are not those on its card"):
        load_model("squares")


class Mirrored(torch.nn.Module):
    """A backbone that sees the picture the wrong way round."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.inner = backbone

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.inner(pictures.flip(-1))


class Blind(torch.nn.Module):
    """A backbone that sees nothing."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.inner = backbone

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.inner(torch.zeros_like(pictures))


@pytest.mark.parametrize(("kind", "sentence"), [(Mirrored, "wrong place"), (Blind, "same answer to every picture")])
def test_a_detector_that_looks_elsewhere_or_nowhere_fails_its_self_test(kind: Any, sentence: str) -> None:
    network = bright_square_detector()
    backbone = network.backbone
    try:
        network.backbone = kind(backbone)
        with pytest.raises(ModelRejected, match=sentence):
            prepare(detector_card(), network)
    finally:
        network.backbone = backbone


def test_boxes_that_are_no_numbers_fail_the_self_test() -> None:
    network = bright_square_detector()
    bias = network.head.regression_head.module_list[0][1].bias
    kept = bias.clone()
    try:
        bias.fill_(float("nan"))
        with pytest.raises(ModelRejected, match="finite numbers"):
            prepare(detector_card(), network)
    finally:
        bias.copy_(kept)


# Recognising


@pytest.mark.parametrize(
    "name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn"]
)
@pytest.mark.parametrize("labels", [1, 5])
def test_detectors_are_recognised_by_their_tensors(name: str, labels: int) -> None:
    tensors = dict(build_outline(name, channels=3, labels=labels).state_dict())
    fits = {fit.architecture: fit for fit in fitting(tensors)}
    assert (fits[name].channels, fits[name].outputs) == (3, labels)
    assert all("fpn" in other for other in fits)
    missing = {key: value for key, value in tensors.items() if "backbone.body" not in key}
    assert fitting(missing) == ()
    with pytest.raises(ModelRejected, match="lacks backbone"):
        fit_of(name, missing)


def test_weights_of_a_detector_are_checked_and_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_MODELS", str(tmp_path))
    network = bright_square_detector()
    # As torchvision's frozen batch norms save them: without counters.
    weights = {n: v.clone() for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    report = check_weights(save(weights), Wishes(size=SIDE))
    assert (report.task, report.architecture, report.outputs) == ("detection", "ssdlite320_mobilenet_v3_large", 2)
    assert (report.problem, report.layers, report.input.channels) == (None, (), 3)
    rows = dict(report.rows())
    assert rows["outputs"] == "boxes with scores, for labels: 2; no heatmap"
    assert "heatmap at" not in rows
    described = Description("Squares", ("Bright square", "Nothing"), ("DX",), ("CHEST",), mean=0.5, std=0.25)
    added = add_model(report, described)
    assert (added.task, added.head, added.target_layer) == ("detection", "sigmoid", "")
    assert any("score of 0.5" in limit for limit in added.limits)
    loaded = load_model(added.id)
    assert len(shown(analyse(loaded, wide_scan()), loaded.card)["bright-square"]) == 2


def test_a_detector_takes_three_channels() -> None:
    with pytest.raises(ModelRejected, match="takes 3 channels"):
        build_network("fcos_resnet50_fpn", channels=1, labels=2)
