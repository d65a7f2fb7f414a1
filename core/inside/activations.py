"""Activations and softmax as plain functions of numbers, with their formulas in words."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtr

from core.errors import ConfigurationError


def softmax(logits: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """e^(z_i / T) over the sum of all: shares that sum to 1 (Bridle 1990); T above 1 evens them out (Guo et al. 2017).

    Raises ConfigurationError when a number is not finite or the temperature is not above 0.
    """
    if not (temperature > 0 and math.isfinite(temperature) and all(math.isfinite(z) for z in logits)):
        raise ConfigurationError("Softmax needs finite logits and a temperature above 0.")
    # Less the largest, which changes no share: e to a large power has no finite value.
    powers = [math.exp((z - max(logits)) / temperature) for z in logits]
    return tuple(power / sum(powers) for power in powers)


def _sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x)) if x >= 0 else float(np.exp(x) / (1 + np.exp(x)))


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "ReLU": lambda x: max(0.0, x),
    "ReLU6": lambda x: min(max(0.0, x), 6.0),
    "hardswish": lambda x: x * min(max(0.0, x + 3), 6.0) / 6,
    "SiLU": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
    "tanh": lambda x: float(np.tanh(x)),
    "GELU": lambda x: x * float(ndtr(x)),
    "leaky ReLU": lambda x: x if x >= 0 else 0.01 * x,
    "ELU": lambda x: x if x >= 0 else float(np.expm1(x)),
    "hard sigmoid": lambda x: min(max(0.0, x + 3), 6.0) / 6,
}
ACTIVATION_FORMULAS = {
    "ReLU": "max(0, value)",
    "ReLU6": "max(0, value), at most 6",
    "hardswish": "value x (value + 3, between 0 and 6) / 6",
    "SiLU": "value / (1 + e^-value)",
    "sigmoid": "1 / (1 + e^-value)",
    "tanh": "(e^value - e^-value) / (e^value + e^-value)",
    "GELU": "value x the normal distribution's share below it",
    "leaky ReLU": "value, or a hundredth of it below 0",
    "ELU": "value, or e^value - 1 below 0",
    "hard sigmoid": "(value + 3, between 0 and 6) / 6",
}
