"""The benches: kernels and pooling against torch, softmax and activations by hand, altered networks."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.analysis import analyse
from core.errors import ConfigurationError, UnknownLayer
from core.inside.activations import ACTIVATIONS, softmax
from core.inside.altering import Change, altered
from core.inside.contributions import contributions_of
from core.inside.convolution import KERNELS, Sliding, convolve, gabor, kernel_text, parse_kernel, pool, window_step
from core.inside.filters import frequency_response
from core.inside.glance import at_a_glance
from core.inside.recording import record
from core.models.loading import Model, prepare
from core.samples import simulated_scan
from core.scan import Scan
from tests.networks import card, seeded

_PICTURE = np.random.default_rng(5).random((23, 31)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulated_scan(1, rows=96, columns=64)[0]


@pytest.mark.parametrize("sliding", [Sliding(), Sliding(2, 1), Sliding(3, 4, 2), Sliding(1, 0, 3)])
@pytest.mark.parametrize("name", ["edges", "sobel_down", "gaussian", "gabor_slanted"])
def test_a_kernel_of_ones_own_is_torchs_conv2d(name: str, sliding: Sliding) -> None:
    kernel = KERNELS[name]
    wanted = functional.conv2d(
        torch.from_numpy(_PICTURE)[None, None].double(), torch.from_numpy(kernel)[None, None], torch.tensor([0.25]).double(),
        stride=sliding.stride, padding=sliding.padding, dilation=sliding.dilation,
    )[0, 0].numpy()  # fmt: skip
    found = convolve(_PICTURE, kernel, sliding, 0.25)
    assert np.allclose(found, wanted, atol=1e-5)
    assert found.shape == tuple(sliding.size(side, len(kernel)) for side in _PICTURE.shape)
    step = window_step(_PICTURE, kernel, sliding, found.shape[0] - 1, 2, 0.25)
    assert step.value == pytest.approx(wanted[-1, 2], abs=1e-5)
    assert (step.top, step.left) == (
        (found.shape[0] - 1) * sliding.stride - sliding.padding,
        2 * sliding.stride - sliding.padding,
    )


@pytest.mark.parametrize("sliding", [Sliding(2), Sliding(2, 1), Sliding(1, 1)])
def test_pooling_is_torchs(sliding: Sliding) -> None:
    picture = torch.from_numpy(_PICTURE)[None, None] - 0.5
    largest = functional.max_pool2d(picture, 3, sliding.stride, sliding.padding)[0, 0].numpy()
    smallest = -functional.max_pool2d(-picture, 3, sliding.stride, sliding.padding)[0, 0].numpy()
    mean = functional.avg_pool2d(picture, 3, sliding.stride, sliding.padding)[0, 0].numpy()
    own = picture[0, 0].numpy()
    assert np.array_equal(pool(own, "max", 3, sliding), largest)
    assert np.array_equal(pool(own, "min", 3, sliding), smallest)
    assert np.allclose(pool(own, "average", 3, sliding), mean, atol=1e-6)


def test_the_output_size_with_its_numbers() -> None:
    # (28 + 2 x 1 - 2 x (3 - 1) - 1) / 2 = 12.5, rounded down to 12, and one more.
    assert Sliding(2, 1, 2).formula(28, 3) == "floor((28 + 2 x 1 - 2 x (3 - 1) - 1) / 2) + 1 = 13"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sliding(0), "stride of 1 to 64"),
        (lambda: Sliding(1).size(5, 7), "does not fit"),
        (lambda: convolve(_PICTURE, KERNELS["gaussian"], Sliding(1, 0, 16)), "does not fit"),
        (lambda: window_step(_PICTURE, KERNELS["edges"], Sliding(), 21, 0), "21 x 29 values"),
        (lambda: pool(_PICTURE, "max", 2, Sliding(1, 2)), "at most half"),
        (lambda: parse_kernel("1 2 x"), "made of numbers"),
        (lambda: parse_kernel(""), "this is nothing"),
        (lambda: parse_kernel("1 2\n3 4"), "this is 2 x 2"),
        (lambda: parse_kernel("1 2 3\n4 5\n6 7 8"), "this is 3 x 2 or 3"),
        (lambda: parse_kernel("nan 0 0\n0 1 0\n0 0 0"), "must be finite"),
        (lambda: parse_kernel("1e9"), "at most a million"),
        (lambda: softmax([1.0, math.nan]), "finite logits"),
        (lambda: softmax([1.0, 2.0], 0.0), "temperature above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_said(make: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make()  # type: ignore[operator]


def test_a_typed_kernel_and_its_text() -> None:
    kernel = parse_kernel("0, -1, 0; -1 5 -1\n0 -1 0")
    assert np.array_equal(kernel, KERNELS["sharpen"])
    assert np.array_equal(parse_kernel(kernel_text(kernel)), kernel)


def test_kernels_do_what_their_names_say() -> None:
    assert KERNELS["gaussian"].sum() == pytest.approx(1)
    assert all(abs(KERNELS[name].sum()) < 1e-12 for name in ("edges", "sobel_across", "gabor_upright"))
    # Upright stripes excite the upright wave and leave the lying one cold.
    stripes = np.tile(np.cos(2 * np.pi * np.arange(32) / 4), (32, 1)).astype(np.float32)
    upright, lying = (np.abs(convolve(stripes, gabor(7, degrees), Sliding())).max() for degrees in (0, 90))
    assert upright > 20 * lying


def test_the_response_of_a_mean_is_highest_where_nothing_changes() -> None:
    response = frequency_response(np.full((3, 3), 1 / 9, np.float32))
    assert response[16, 16] == response.max() == pytest.approx(1)
    # Along one axis the transform of three ones in a row: |1 + 2 cos(2 pi f)| / 3.
    assert response[16, 16 + 5] == pytest.approx(abs(1 + 2 * math.cos(2 * math.pi * 5 / 33)) / 3, abs=1e-6)


def test_softmax_and_activations_by_hand() -> None:
    assert softmax([0.0, math.log(3)]) == pytest.approx((0.25, 0.75))
    assert softmax([0.0, math.log(9)], 2.0) == pytest.approx((0.25, 0.75))
    assert softmax([1000.0, 0.0]) == pytest.approx((1, 0))
    points = torch.linspace(-8, 8, 33, dtype=torch.float64)
    torchs = {
        "ReLU": torch.relu, "ReLU6": functional.relu6, "hardswish": functional.hardswish, "SiLU": functional.silu,
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "GELU": functional.gelu, "leaky ReLU": functional.leaky_relu,
        "ELU": functional.elu, "hard sigmoid": functional.hardsigmoid,
    }  # fmt: skip
    assert torchs.keys() == ACTIVATIONS.keys()
    for name, function in torchs.items():
        own = [ACTIVATIONS[name](float(x)) for x in points]
        assert own == pytest.approx(function(points).tolist(), abs=1e-12), name


def test_a_silenced_channel_takes_its_own_contribution_with_it(model: Model, scan: Scan) -> None:
    target = model.card.target_layer
    plain = analyse(model, scan, layers=[target])
    silent = analyse(altered(model, {"blocks.5.conv2": Change(frozenset())}), scan, layers=[target])
    assert silent.prediction.logits == pytest.approx(dict(plain.prediction.logits), abs=1e-5)
    # The last stage's second convolution feeds a sum: silence it altogether, and the shortcut alone is left.
    every = Change(frozenset(range(192)))
    left = analyse(altered(model, {"blocks.5.conv2": every}), scan, layers=["blocks.4.relu_1", target])
    assert np.allclose(left.activations[target], left.activations["blocks.4.relu_1"])


def test_readers_of_the_network_never_see_an_altered_one(model: Model, scan: Scan) -> None:
    before = analyse(model, scan)
    changed = analyse(altered(model, {"stem.0": Change(frozenset(range(12)))}), scan)
    after = analyse(model, scan)
    assert dict(changed.prediction.logits) != dict(before.prediction.logits)
    assert dict(after.prediction.logits) == dict(before.prediction.logits)
    assert np.array_equal(after.heatmap("mass").evidence, before.heatmap("mass").evidence)
    assert altered(model, {}) is model


def test_swapping_twice_is_not_swapping(model: Model, scan: Scan) -> None:
    once = analyse(altered(model, {"stem.0": Change(swapped=((0, 5),))}), scan)
    twice = analyse(altered(model, {"stem.0": Change(swapped=((0, 5), (5, 0)))}), scan)
    plain = analyse(altered(model, {"stem.0": Change()}), scan)
    assert dict(once.prediction.logits) != dict(plain.prediction.logits)
    assert dict(twice.prediction.logits) == dict(plain.prediction.logits)


def test_filters_that_do_not_exist_cannot_be_silenced(model: Model) -> None:
    with pytest.raises(UnknownLayer, match="24 filters"):
        altered(model, {"stem.0": Change(frozenset({24}))})
    with pytest.raises(UnknownLayer, match="belong to convolutions"):
        altered(model, {"blocks.0.relu": Change(frozenset({0}))})
    with pytest.raises(UnknownLayer, match="no layer"):
        altered(model, {"nowhere": Change()})


def test_contributions_before_the_linear_layer_add_up_to_the_logit(model: Model, scan: Scan) -> None:
    found = contributions_of(model, scan, 0, model.card.target_layer)
    logits = analyse(model, scan).prediction.logits
    biases = np.asarray(model.network.state_dict()["fc.bias"])
    assert (found.sum(1) + biases).tolist() == pytest.approx(list(logits.values()), abs=1e-4)


def test_the_network_at_a_glance(model: Model, scan: Scan) -> None:
    blocks = at_a_glance(record(model, scan), model.network)
    layers = {layer.name: layer for block in blocks for layer in block.layers}
    assert sum(block.parameters for block in blocks) == sum(p.numel() for p in model.network.parameters())
    assert sum(block.share for block in blocks) == pytest.approx(1)
    # 32 x 32 places x 24 filters x 25 weights.
    assert layers["stem.0"].multiplications == 32 * 32 * 24 * 25
    assert layers["stem.0"].words == "convolution 5 x 5, stride 2"
    kinds = {block.name: block.kind for block in blocks}
    assert kinds["blocks.3"] == "residual"
    assert kinds["stem"] == "plain"
    assert layers["blocks.3.add"].reads == ("blocks.3.bn2", "blocks.3.shortcut")
    mean = layers["stem.2"].mean
    assert mean is not None
    assert np.allclose(mean, analyse(model, scan, layers=["stem.2"]).activations["stem.2"].mean(0), atol=1e-6)
