"""The pictures that every network is asked before anybody uses it, always the same, made without torch."""

import numpy as np
import numpy.typing as npt

from core.models.card import InputSpec
from core.resizing import resized

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_COARSE = 8


def reference_array(spec: InputSpec) -> npt.NDArray[np.float32]:
    """Five normalised inputs (5, channels, size, size): smooth noise, and the same with a bright blob in each corner."""
    coarse = _drawn(spec.channels * _COARSE * _COARSE).reshape(spec.channels, _COARSE, _COARSE)
    noise = 0.2 + 0.4 * resized(coarse.transpose(1, 2, 0), spec.size, spec.size).transpose(2, 0, 1)
    pictures = np.stack([noise, *(np.clip(noise + _blob(spec.size, *corner), 0, 1) for corner in CORNERS)])
    return np.ascontiguousarray((pictures - np.float32(spec.mean)) / np.float32(spec.std), np.float32)


def _drawn(count: int) -> npt.NDArray[np.float32]:
    """Numbers from 0 to 1 as ``torch.rand`` draws them with the seed 0, which is what the cards' reference logits rest on.

    The Mersenne Twister (Matsumoto and Nishimura 1998), of each number its lower 24 bits.
    """
    # Its stream of numbers is frozen, which is what counts here.
    generator = np.random.RandomState(0)
    numbers = generator.randint(0, 2**32, count, np.uint32)
    return (numbers & 0xFFFFFF).astype(np.float32) / np.float32(1 << 24)


def _blob(size: int, down: int, right: int) -> npt.NDArray[np.float32]:
    """A soft bright spot in the middle of one quarter, (size, size)."""
    place = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    y, x = (np.exp(-(((place - np.float32(0.25 + 0.5 * side)) / np.float32(0.06)) ** 2)) for side in (down, right))
    return np.asarray(np.float32(0.6) * y[:, None] * x[None], np.float32)
