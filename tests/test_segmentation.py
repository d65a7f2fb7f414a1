"""Outlines: the network, Seg-Grad-CAM against the written-out formula, masks and their areas, readers side by side."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from core.analysis import analyse
from core.engines.cutting import CutNetwork
from core.engines.tracing import fuse, trace
from core.errors import ModelRejected
from core.explaining.seg_gradcam import evidence_of_masks
from core.masks import masks_of, presence_logits
from core.models.architectures import build_network
from core.models.loading import Model, prepare
from core.models.self_test import reference_logits
from core.preprocessing import Letterbox
from core.scan import Geometry, Scan
from tests.networks import card, seeded
from tests.outline_networks import SIZE, TARGET, outline_card, outline_network


def outline_model(**changes: Any) -> Model:
    return prepare(outline_card(**changes), outline_network())


def ultrasound(rows: int = 60, columns: int = 90, spacing: tuple[float, float] | None = None, seed: int = 0) -> Scan:
    random = np.random.default_rng(seed)
    stored = random.integers(0, 255, (1, rows, columns)).astype(np.uint8)
    return Scan(stored, f"{seed:064x}", "PNG", geometry=Geometry(spacing_mm=spacing), modality="US", body_part="BREAST")


def full_autograd(network: Any, picture: torch.Tensor, outlined: torch.Tensor, label: int) -> torch.Tensor:
    """Seg-Grad-CAM as in the paper, through the whole network, over the number of outlined pixels, before the ReLU."""
    kept: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    network.requires_grad_(True)
    handle = network.blocks[5].register_forward_hook(keep)
    network(picture)[0, label][outlined].sum().backward()
    handle.remove()
    (activations,) = kept
    assert activations.grad is not None
    alphas = activations.grad[0].sum((1, 2)) / activations[0, 0].numel()
    network.zero_grad()
    network.requires_grad_(False)
    total = torch.zeros(activations.shape[2:])
    for alpha, activation in zip(alphas, activations[0].detach(), strict=True):
        total += alpha * activation / int(outlined.sum())
    return total


def test_the_network_answers_every_pixel_and_keeps_the_size_it_promises() -> None:
    network = build_network("compact-unet", channels=1, labels=1)
    assert network(torch.randn(2, 1, 224, 224)).shape == (2, 1, 224, 224)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2_500_000
    bytes_of_weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert bytes_of_weights <= 10_000_000
    target = CutNetwork(fuse(trace(network)), TARGET).run(torch.randn(1, 1, 224, 224)).target
    assert min(target.shape[1:]) >= 14


@pytest.mark.parametrize("fused", [False, True])
def test_the_traced_network_answers_as_the_network_itself(*, fused: bool) -> None:
    network = outline_network(labels=2)
    traced = fuse(trace(network)) if fused else trace(network)
    picture = torch.randn(1, 1, SIZE, SIZE)
    assert torch.allclose(CutNetwork(traced, TARGET).run(picture).logits, network(picture)[0], atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_seg_grad_cam_equals_the_formula_through_the_whole_network(*, fused: bool) -> None:
    network = outline_network(labels=2)
    picture = torch.randn(1, 1, SIZE, SIZE)
    outlined = network(picture)[0] >= 0.1
    assert outlined.any((1, 2)).all()
    assert not outlined.all()
    cut = CutNetwork(fuse(trace(network)) if fused else trace(network), TARGET)
    got = evidence_of_masks(cut, cut.run(picture), outlined)
    assert got.bias is None
    for label in range(2):
        expected = full_autograd(network, picture, outlined[label], label)
        scale = float(expected.abs().max())
        assert scale > 0
        assert float(np.abs(got.maps[label] - expected.numpy()).max()) <= 1e-4 * scale
    assert not np.allclose(got.maps[0], got.maps[1], atol=1e-2 * float(np.abs(got.maps).max()))


def test_the_map_is_a_first_order_change_of_the_outlines_mean_logit() -> None:
    """Where the activations of one channel shrink a little everywhere, the mean logit changes as the map says."""
    network = outline_network()
    picture = torch.randn(1, 1, SIZE, SIZE)
    cut = CutNetwork(trace(network), TARGET)
    one_pass = cut.run(picture)
    outlined = one_pass.logits >= 0
    activations = one_pass.target.clone().double()
    tail = cut.tail.double()
    crossings = [value.clone().double() for value in one_pass.crossings]

    def mean_logit(target: torch.Tensor) -> float:
        with torch.no_grad():
            return float(tail(target[None], *crossings)[0][0][outlined].mean())

    step, alphas = 1e-5, []
    for channel in range(12):
        raised = activations.clone()
        raised[channel] += step
        # The mean gradient over the grid is the change when every cell rises by the same, over the number of cells.
        alphas.append((mean_logit(raised) - mean_logit(activations)) / step / activations[0].numel())
    tail.float()
    leaf = one_pass.target.clone()[None].requires_grad_(True)
    mean = cut.tail(leaf, *(value.clone() for value in one_pass.crossings))[0][0][outlined].mean()
    (gradient,) = torch.autograd.grad(mean, leaf)
    assert np.allclose(gradient[0, :12].mean((1, 2)), alphas, atol=1e-3 * float(gradient.abs().max()))


def test_what_is_not_outlined_has_no_map_and_says_so() -> None:
    model = outline_model(threshold=0.999)
    analysis = analyse(model, ultrasound())
    heatmap, mask = analysis.heatmaps["lesion"], analysis.masks["lesion"]
    assert mask.share == 0
    assert not mask.outlined.any()
    assert not mask.on_scan_grid().any()
    assert not heatmap.evidence.any()
    assert heatmap.outcome == mask.outcome
    assert "does not mean that nothing is there" in str(heatmap.outcome)


def test_the_analysis_holds_the_outline_its_area_and_a_map_of_it() -> None:
    scan = ultrasound(60, 90, spacing=(0.2, 0.5))
    analysis = analyse(outline_model(), scan)
    mask, heatmap = analysis.masks["lesion"], analysis.heatmaps["lesion"]
    assert heatmap.method == "seg-gradcam"
    assert heatmap.unit == "first-order change of the outline's mean logit"
    assert heatmap.bias is None
    on_scan = mask.on_scan_grid()
    assert on_scan.shape == scan.shape
    pixels = sum(int(value) for value in on_scan.reshape(-1))
    assert 0 < pixels < 60 * 90
    assert mask.share == pytest.approx(pixels / 5400)
    assert mask.area_mm2 == pytest.approx(pixels * 0.1)
    assert analyse(outline_model(), ultrasound()).masks["lesion"].area_mm2 is None


def test_the_letterboxs_bars_are_never_outlined() -> None:
    box = Letterbox.fit(32, 64, SIZE)
    masks = masks_of(outline_card(), torch.full((1, SIZE, SIZE), 9.0), box, None)
    outlined = masks["lesion"].outlined
    assert not outlined[:16].any()
    assert not outlined[48:].any()
    assert outlined[16:48].all()
    assert masks["lesion"].share == 1.0


def test_the_outline_lies_on_the_scan_where_the_network_put_it() -> None:
    """A block of the square's middle is the same block of the picture: 32 x 64 in a square of 64 lies 16 lower."""
    logits = torch.full((1, SIZE, SIZE), -9.0)
    logits[0, 24:32, 8:24] = 9.0
    mask = masks_of(outline_card(), logits, Letterbox.fit(32, 64, SIZE), None)["lesion"]
    rows, columns = np.nonzero(mask.on_scan_grid())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 8, 23)
    doubled = mask.on_scan_grid(64, 128)
    rows, columns = np.nonzero(doubled)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 31, 16, 47)


def test_the_score_is_the_best_window_of_a_lesions_size_not_the_brightest_pixel() -> None:
    box = Letterbox.fit(SIZE, SIZE, SIZE)
    speck, patch = (torch.full((1, SIZE, SIZE), -20.0) for _ in range(2))
    speck[0, 30, 30] = 20.0
    patch[0, 20:36, 20:36] = 20.0
    scores = [torch.sigmoid(presence_logits(masks_of(outline_card(), logits, box, None))) for logits in (speck, patch)]
    assert float(scores[0]) == pytest.approx(1 / 256, abs=1e-4)
    assert float(scores[1]) == pytest.approx(1.0, abs=1e-4)
    analysis = analyse(outline_model(), ultrasound())
    logit, score = analysis.prediction.logits["lesion"], analysis.prediction.scores["lesion"]
    assert score == pytest.approx(1 / (1 + np.exp(-logit)))


def test_below_the_least_score_nothing_is_outlined_and_the_reason_is_said() -> None:
    logits = torch.full((1, SIZE, SIZE), -20.0)
    logits[0, 20:28, 20:28] = 20.0
    box = Letterbox.fit(SIZE, SIZE, SIZE)
    rule = {"value": 0.5, "rule": "for tests", "split": "none", "weights_sha256": "0" * 64}
    drawn, held = (
        masks_of(outline_card(mask_threshold={**rule, "least_score": least}), logits, box, (1.0, 1.0))["lesion"]
        for least in (0.2, 0.3)
    )
    # A quarter of the 16 x 16 window.
    assert drawn.score == pytest.approx(0.25, abs=1e-6)
    assert drawn.outcome is None
    assert drawn.area_mm2 == 64
    assert int(drawn.outlined.sum()) == 64
    assert (held.share, held.area_mm2) == (0, 0)
    assert not held.outlined.any()
    assert not held.on_scan_grid().any()
    assert "score is below 0.3" in str(held.outcome)


def test_two_readers_on_one_network_never_get_each_others_outline() -> None:
    model = outline_model()
    scans = [ultrasound(seed=1), ultrasound(seed=2)]
    expected = [analyse(model, scan) for scan in scans]
    assert not np.array_equal(expected[0].masks["lesion"].outlined, expected[1].masks["lesion"].outlined)
    wrong: list[int] = []

    def read(reader: int) -> None:
        for _ in range(15):
            got = analyse(model, scans[reader])
            same_map = np.array_equal(got.heatmaps["lesion"].evidence, expected[reader].heatmaps["lesion"].evidence)
            same_mask = np.array_equal(got.masks["lesion"].probability, expected[reader].masks["lesion"].probability)
            wrong.extend([] if same_map and same_mask else [reader])

    threads = [threading.Thread(target=read, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    modules = [m for m in (*model.network.modules(), *model.fast.tail.modules()) if not list(m.children())]
    assert not any(module._forward_hooks or module._backward_hooks or module.training for module in modules)
    assert all(parameter.grad is None for module in modules for parameter in module.parameters())


def test_layers_of_an_outlining_network_are_its_own() -> None:
    model = outline_model()
    analysis = analyse(model, ultrasound(), layers=["stem.0", "up.2.conv2", "head"])
    assert analysis.activations["stem.0"].shape == (24, 32, 32)
    assert analysis.activations["up.2.conv2"].shape == (16, 32, 32)
    assert analysis.activations["head"].shape == (1, 32, 32)


def test_reference_answers_of_a_map_are_its_means() -> None:
    network, spec = outline_network(size=224), outline_card(224).input
    logits = reference_logits(network, spec)
    assert [len(row) for row in logits] == [1] * 5
    prepare(outline_card(224, reference_logits=logits), network)
    with torch.no_grad():
        network.head.bias += 0.1
    with pytest.raises(ModelRejected, match="not those on its card"):
        prepare(outline_card(224, reference_logits=logits), network)


class Mirrored(torch.nn.Module):
    """A network that looks at its picture in a mirror."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(torch.flip(x, [3]))
        return answer


def test_an_outlining_network_that_mirrors_its_picture_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="wrong place"):
        prepare(outline_card(224, target_layer=f"inner.{TARGET}"), Mirrored(outline_network(224)))


def test_a_task_that_the_network_does_not_do_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="one number for each label"):
        prepare(card(architecture="compact-unet"), outline_network(labels=2))
    with pytest.raises(ModelRejected, match="a map of logits"):
        prepare(outline_card(architecture="compact-resnet"), seeded("compact-resnet", labels=1))


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_threshold": None},
        {"head": "softmax"},
        {"task": "classification"},
        {"mask_threshold": {"value": 0.5, "rule": "r", "split": "val", "weights_sha256": "1" * 64}},
        {"mask_threshold": {"value": 0.0, "rule": "r", "split": "val", "weights_sha256": "0" * 64}},
    ],
)
def test_a_card_whose_task_and_threshold_contradict_each_other_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mask_threshold|other weights"):
        outline_card(**changes)
