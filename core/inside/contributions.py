"""What each channel of a layer adds to an answer, and for which label it speaks."""

import numpy as np
import torch

from core.analysis import FloatArray
from core.explaining.methods import gradients_of
from core.explaining.targets import targets_of
from core.masks import masks_of
from core.models.loading import Model
from core.preprocessing import to_model_input
from core.scan import Scan


def contributions_of(model: Model, scan: Scan, frame: int, layer: str) -> FloatArray:
    """What each channel of a layer adds to each label's logit, (labels, channels): sum over its map of gradient x value.

    Exact before pooling and a linear layer; elsewhere a first-order estimate (gradient x activation, Shrikumar et al. 2017,
    arXiv 1704.02685, channel by channel). Softmax: to the logit less the mean of all.
    Raises UnknownLayer.
    """
    card = model.card
    network = model.plain if layer == card.target_layer else model.plain.at(layer)
    entry = to_model_input(scan, frame, card.input)
    one_pass = network.run(entry.tensor)
    outlined = None
    if card.task == "segmentation":
        masks = masks_of(card, one_pass.logits, entry.letterbox, None)
        outlined = torch.from_numpy(np.stack([mask.outlined for mask in masks.values()]))
    gradients = gradients_of(network, one_pass, targets_of(card.head, card.outputs, outlined))
    with torch.inference_mode():
        found: FloatArray = (gradients * one_pass.target).sum((-2, -1)).numpy()
    return found
