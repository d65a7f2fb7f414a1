"""A small real detector that finds bright squares: torchvision's SSDlite whose last layer is fitted here, all else random."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.models.architectures import build_network

SIDE, CELL, BOX = 320, 16, 64
_LABELS, _ANCHORS = 2, 6
# The logit of a cell that holds a square, and of one that does not.
_YES, _NO = 6.0, -6.0


def picture(*centres: tuple[int, int], seed: int = 0) -> npt.NDArray[np.float32]:
    """Grey 0..1, (320, 320): dim noise, and a bright square of 64 x 64 around the middle of each cell (row, column)."""
    grey = np.random.default_rng(seed).uniform(0.14, 0.16, (SIDE, SIDE)).astype(np.float32)
    for row, column in centres:
        x, y, width, height = box_of(row, column)
        grey[y : y + height, x : x + width] = 0.9
    return grey


def box_of(row: int, column: int) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the square around the middle of a cell of 16 x 16 pixels."""
    return CELL * column + CELL // 2 - BOX // 2, CELL * row + CELL // 2 - BOX // 2, BOX, BOX


@cache
def bright_square_detector() -> Any:
    """The first label is a bright square, the second one is nothing: its boxes never reach a score."""
    torch.manual_seed(0)
    network: Any = build_network("ssdlite320_mobilenet_v3_large", channels=3, labels=_LABELS)
    places = [_centres(seed) for seed in range(12)]
    pictures = torch.stack([_tensor(_learnt(centres, seed)) for seed, centres in enumerate(places)])
    _settle(network, pictures)
    classes, boxes = network.head.classification_head, network.head.regression_head
    with torch.no_grad():
        inner, last = classes.module_list[0]
        features = inner(network.backbone(pictures)["0"])
        weights = _fitted(features, places)
        for level, (_, final) in enumerate(classes.module_list):
            final.weight.mul_(1e-4)
            final.bias.fill_(-9.0).view(_ANCHORS, _LABELS + 1)[:, 0] = 9.0
            if level == 0:
                # Of the first anchor, the square of 64 x 64: the label's logit against a background of 0.
                final.weight.view(_ANCHORS, _LABELS + 1, -1)[0, :2] = torch.stack([0 * weights[:-1], weights[:-1]])
                final.bias.view(_ANCHORS, _LABELS + 1)[0, :2] = torch.tensor([0.0, float(weights[-1])])
        for _, final in boxes.module_list:
            final.weight.mul_(1e-4)
            final.bias.zero_()
    assert last.weight.shape[0] == _ANCHORS * (_LABELS + 1)
    return network.eval().requires_grad_(False)


def _centres(seed: int) -> list[tuple[int, int]]:
    """One square in the upper half, or one in each half."""
    random = np.random.default_rng(seed)
    return [(int(random.integers(*rows)), int(random.integers(4, 16))) for rows in ((4, 9), (11, 16))[: 1 + seed % 2]]


def _learnt(centres: list[tuple[int, int]], seed: int) -> npt.NDArray[np.float32]:
    """A third each without bars, with bars above and below, and on both sides; some as soft as a scan that was halved."""
    barred = _barred(picture(*centres, seed=seed), seed % 3)
    soft = cv2.GaussianBlur(barred, (3, 3), 0.6) if seed % 4 > 1 else barred
    return np.asarray(soft, np.float32)


def _barred(grey: npt.NDArray[np.float32], kind: int) -> npt.NDArray[np.float32]:
    """With a letterbox's black bars above and below, on both sides, or without."""
    bar = 40 if kind else 0
    grey = grey if kind == 1 else grey.T
    grey[:bar], grey[SIDE - bar :] = 0, 0
    return grey if kind == 1 else grey.T


def _tensor(grey: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy((grey - 0.5) / 0.25)[None].expand(3, -1, -1)


def _settle(network: Any, pictures: torch.Tensor) -> None:
    """Batch norms as after a step of training, so that no layer is dead."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    network.train()
    with torch.no_grad():
        features = network.backbone(pictures)
        network.head(list(features.values()))
    for norm in norms:
        norm.momentum = 0.03
    network.eval()


def _fitted(features: torch.Tensor, places: list[list[tuple[int, int]]]) -> torch.Tensor:
    """Ridge regression from a cell's features to the logit, the intercept last."""
    wanted = torch.full((len(places), *features.shape[-2:]), _NO)
    for index, centres in enumerate(places):
        for row, column in centres:
            wanted[index, row, column] = _YES
    cells = features.permute(0, 2, 3, 1).flatten(0, 2).double()
    cells = torch.cat([cells, torch.ones(len(cells), 1, dtype=torch.float64)], 1)
    weight = torch.where(wanted.flatten() > 0, 100.0, 1.0).double()
    gram = cells.T @ (cells * weight[:, None]) + 10 * torch.eye(cells.shape[1], dtype=torch.float64)
    solved: torch.Tensor = torch.linalg.solve(gram, cells.T @ (weight * wanted.flatten().double()))
    return solved.float()
