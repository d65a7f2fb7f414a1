"""What stands where something was erased: blur, mean, neighbours; everything else stays."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from core.errors import ConfigurationError
from core.explaining.erase import BLUR, blurred, content_of, filled
from core.preprocessing import Letterbox

SIZE = 48


def region(top: int, left: int, side: int) -> torch.Tensor:
    found = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    found[top : top + side, left : left + side] = True
    return found


@pytest.mark.parametrize("fill", ["blur", "mean", "neighbour"])
@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_region_changes_and_never_the_bars(fill: str, channels: int) -> None:
    picture, box = torch.randn(1, channels, SIZE, SIZE), Letterbox.fit(40, 80, SIZE)
    content, erased = content_of(box), region(8, 20, 12)
    got = filled(picture, content, erased, fill)  # type: ignore[arg-type]
    changed = (got != picture).any(1)[0]
    assert not changed[~(erased & content)].any()
    assert changed[erased & content].float().mean() > 0.9


def test_the_mean_is_that_of_each_channel_of_the_picture() -> None:
    picture, content = torch.randn(1, 3, SIZE, SIZE), content_of(Letterbox.fit(40, 80, SIZE))
    got = filled(picture, content, region(20, 20, 4), "mean")
    for channel in range(3):
        assert float(got[0, channel, 21, 21]) == pytest.approx(float(picture[0, channel][content].mean()), abs=1e-6)


def test_neighbours_are_continued() -> None:
    ramp = torch.linspace(-1, 1, SIZE).expand(1, 1, SIZE, SIZE).clone()
    spot = ramp.clone()
    spot[..., 20:26, 20:26] = 3.0
    got = filled(spot, torch.ones(SIZE, SIZE, dtype=torch.bool), region(20, 20, 6), "neighbour")
    assert float((got - ramp).abs().max()) < 0.2


def test_the_blur_is_gaussian_and_takes_nothing_from_the_bars() -> None:
    even = torch.full((1, 1, SIZE, SIZE), 0.7)
    content = content_of(Letterbox.fit(40, 80, SIZE))
    even[..., ~content] = -2.0
    assert torch.allclose(blurred(even, content), even, atol=1e-5)
    picture = torch.randn(1, 1, SIZE, SIZE)
    whole = torch.ones(SIZE, SIZE, dtype=torch.bool)
    options = {"sigma": BLUR * SIZE, "mode": "constant", "truncate": 3.0}
    expected = ndimage.gaussian_filter(picture[0, 0].double().numpy(), **options)
    expected /= ndimage.gaussian_filter(np.ones((SIZE, SIZE)), **options)
    assert np.allclose(blurred(picture, whole)[0, 0].numpy(), expected, atol=1e-5)


def test_a_fill_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="blur, mean, neighbour"):
        filled(torch.zeros(1, 1, 8, 8), torch.ones(8, 8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool), "red")  # type: ignore[arg-type]
