"""Curves from logs written here: whole, cut off, from other versions; the picture is looked at pixel by pixel."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core.__main__ import app
from core.errors import ConfigurationError
from core.models.card import Evaluation, LabelFigures
from core.models.card_fields import Interval
from core.models.place_card import FrocPoint, PlaceFigures
from core.training.curves import Curves, draw_free_response_png, draw_png, read_curves


def line(epoch: int, **changes: Any) -> str:
    return json.dumps(
        {
            "epoch": epoch, "train_loss": 1 / (epoch + 1), "box_loss": 0.5, "validation_loss": 0.9 - 0.1 * epoch,
            "validation_auroc": {"mass": 0.5 + 0.1 * epoch, "nodule": 0.6}, "seconds": 3.0, **changes,
        }
    )  # fmt: skip


def log_of(folder: Path, *lines: str) -> Path:
    (folder / "training.jsonl").write_text("\n".join(lines))
    return folder / "training.jsonl"


def test_losses_and_scores_by_epoch_and_nothing_else(tmp_path: Path) -> None:
    found = read_curves(log_of(tmp_path, line(0), line(1), line(2)))
    assert found.epochs == (0, 1, 2)
    assert list(found.losses) == ["train", "box", "validation"]
    assert list(found.losses["train"]) == [1, 1 / 2, 1 / 3]
    assert list(found.scores) == ["mass", "nodule"]
    assert found.scores["mass"] == pytest.approx((0.5, 0.6, 0.7))


def test_a_training_that_was_killed_and_gone_on_with_counts_as_it_was_last(tmp_path: Path) -> None:
    cut = line(2)[:30]
    found = read_curves(
        log_of(tmp_path, line(0), line(1, train_loss=9), cut, "", line(1, train_loss=7), line(2), "[1]", '{"note": 1}')
    )
    assert found.epochs == (0, 1, 2)
    assert found.losses["train"][1] == 7


def test_missing_and_further_figures_are_taken_as_they_come(tmp_path: Path) -> None:
    dice = json.dumps({"epoch": 1, "train_loss": 0.4, "validation_dice": 0.61, "validation_words": "good"})
    odd = '{"epoch": 2, "train_loss": NaN, "validation_auroc": {"mass": null}}'
    found = read_curves(log_of(tmp_path, line(0, focal_loss=0.3), dice, odd))
    assert found.losses["focal"][0] == 0.3
    assert found.scores["dice"][1] == 0.61
    assert [math.isnan(value) for value in found.losses["train"]] == [False, False, True]
    assert [math.isnan(value) for value in found.scores["mass"]] == [False, True, True]
    assert "words" not in found.scores


@pytest.mark.parametrize("lines", [(), ("no json", '{"epoch": "1"}', '{"epoch": true}', '{"epoch": -1}')])
def test_a_log_without_an_epoch_is_refused(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="no record of an epoch"):
        read_curves(log_of(tmp_path, *lines))
    with pytest.raises(ConfigurationError, match=r"no training\.jsonl"):
        read_curves(tmp_path / "elsewhere" / "training.jsonl")


def coloured(path: Path) -> int:
    """How many pixels of a picture are neither grey nor white."""
    with Image.open(path) as picture:
        assert picture.size == (1000, 420)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.ptp(pixels, 2) > 60).sum())


def test_the_picture_shows_a_line_for_each_column(tmp_path: Path) -> None:
    log = log_of(tmp_path, *(line(epoch) for epoch in range(5)))
    draw_png(read_curves(log), tmp_path / "all.png")
    log_of(tmp_path, *(line(epoch, validation_auroc={}) for epoch in range(5)))
    draw_png(read_curves(log), tmp_path / "losses.png")
    assert coloured(tmp_path / "all.png") > coloured(tmp_path / "losses.png") + 300 > 1000
    # A single epoch is seen too, beside the legend.
    for name, value in (("one", 0.5), ("none", math.nan)):
        draw_png(Curves((0,), {"train": (value,)}, {"mass": (value,)}), tmp_path / f"{name}.png")
    assert coloured(tmp_path / "one.png") > coloured(tmp_path / "none.png") + 30


def test_the_command_draws_beside_the_log(tmp_path: Path) -> None:
    log_of(tmp_path, line(0), line(1))
    run = CliRunner()
    assert run.invoke(app, ["curves", str(tmp_path)]).exit_code == 0
    assert coloured(tmp_path / "training.png") > 500
    assert run.invoke(app, ["curves", str(tmp_path), "--out", str(tmp_path / "b.png")]).exit_code == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "training.png").read_bytes()
    refused = run.invoke(app, ["curves", str(tmp_path / "nothing")])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_the_free_response_roc_is_drawn_where_places_were_measured(tmp_path: Path) -> None:
    share = Interval(value=0.6, low=0.4, high=0.8)
    places = PlaceFigures(
        findings=5, pictures=9, at={"0.5": share}, mean=share,
        curve=(FrocPoint(threshold=1, false_places=0.25, sensitivity=0.6),),
    )  # fmt: skip
    found = LabelFigures(positives=5, negatives=4, auroc=None, places=places)
    stated = Evaluation(data="d", split="val", images=9, labels={"mass": found}, weights_sha256="0" * 64)
    assert draw_free_response_png(stated, tmp_path / "froc.png")
    with Image.open(tmp_path / "froc.png") as drawn:
        assert drawn.size == (700, 500)
    without = stated.model_copy(update={"labels": {"mass": found.model_copy(update={"places": None})}})
    assert not draw_free_response_png(without, tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()
