"""The kernels of a convolution, as numbers and as pictures."""

import numpy as np
from torch import nn

from core.analysis import FloatArray
from core.errors import UnknownLayer
from core.overlay import FEATURE_PALETTE, FILTER_PALETTE, encode_indexed_png, mosaic

_TILE = 35
_FREQUENCIES = 33


def kernels(network: nn.Module, layer: str) -> FloatArray:
    """The weights of a convolution of the unfused network, (outputs, inputs, rows, columns).

    Raises UnknownLayer when there is no convolution of that name.
    """
    module = dict(network.named_modules()).get(layer)
    if not isinstance(module, nn.Conv2d):
        raise UnknownLayer(f"The network has no convolution {layer!r}; choose one of its convolutions.")
    return module.weight.detach().numpy()


def kernels_png(weights: FloatArray, *, input_channel: int | None = None, columns: int = 8) -> bytes:
    """One tile a filter as an indexed PNG: zero is the middle of the scale, the same scale for all.

    ``input_channel`` None shows, for each filter, the input channel with the largest weights.
    """
    tiles = strongest_slices(weights) if input_channel is None else weights[:, input_channel]
    limit = max(float(np.abs(tiles).max()), 1e-12)
    indices = np.rint(128 + 127 * tiles / limit).astype(np.uint8)
    factor = max(1, _TILE // max(indices.shape[1:]))
    grid = mosaic(indices.repeat(factor, 1).repeat(factor, 2), columns, gap=3)
    return encode_indexed_png(grid, FILTER_PALETTE, clear_gaps=True)


def strongest_input(weights: FloatArray) -> int:
    """For one filter (inputs, rows, columns): the input channel with the largest sum of squares."""
    return int((weights**2).sum((1, 2)).argmax())


def strongest_slices(weights: FloatArray) -> FloatArray:
    """For each filter the (rows, columns) slice of the input channel with the largest sum of squares."""
    return np.stack([kernel[strongest_input(kernel)] for kernel in weights])


def frequency_response(kernel: FloatArray) -> FloatArray:
    """How strongly a kernel (rows, columns) answers to waves of every direction and width, (33, 33).

    The modulus of its Fourier transform; the middle is evenness (0 cycles a pixel), the edges half a cycle a pixel.
    """
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (_FREQUENCIES, _FREQUENCIES))))
    return np.asarray(spectrum, np.float32)


def response_png(kernel: FloatArray, *, side: int = 165) -> bytes:
    """The frequency response as an indexed PNG: dark is deaf to it, bright is its favourite."""
    response = frequency_response(kernel)
    indices = np.rint(255 * response / max(float(response.max()), 1e-12)).astype(np.uint8)
    factor = max(1, side // _FREQUENCIES)
    return encode_indexed_png(indices.repeat(factor, 0).repeat(factor, 1), FEATURE_PALETTE)
