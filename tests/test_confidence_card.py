"""From a folder of pictures to the card and back: calibrate, confidence, the card's text, and weights that were swapped."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core.__main__ import app
from core.confidence.assessment import assess
from core.confidence.gathering import Source, calibrate_novelty, calibrate_scores, with_novelty
from core.confidence.held_out import read_held_out
from core.confidence.novelty import NOVELTY_FILE
from core.confidence.words import frequency, percent
from core.errors import ConfigurationError
from core.models.card import ModelCard
from core.models.catalogue import read_card
from core.models.confidence_text import confidence_text
from core.models.loading import load_model
from core.reading.decoding import decode_scan
from core.training.publishing import write_card
from tests.confidences import card_of
from tests.files import png_bytes
from tests.networks import publish

pytestmark = pytest.mark.usefixtures("no_shipped_models")


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """Bright and dark blobs, 60 to train and 60 held out, with sex; labels follow brightness, not always."""
    folder, random = tmp_path / "greys", np.random.default_rng(0)
    folder.mkdir()
    y, x = np.mgrid[0:64, 0:64] / 64
    with (folder / "index.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "split", "sex"])
        for number in range(120):
            bright = number % 2
            centre = random.uniform(0.3, 0.7, 2)
            blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 0.06)
            picture = (60 + 90 * bright + 80 * blob + random.normal(0, 3, blob.shape)).clip(0, 255).astype(np.uint8)
            (folder / f"{number}.png").write_bytes(png_bytes(picture))
            split = "train" if number < 60 else "val"
            rows.writerow([f"{number}.png", "abnormal" if bright else "mass", split, "F" if number % 3 else "M"])
    return folder


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to see that all is there, not to measure anything."""
    for name, count in {"_REFITS": 3, "_OTHERS": 4, "_TRAINED": 60, "_TRAINED_OTHERWISE": 20, "_HELD_OUT": 60}.items():
        monkeypatch.setattr(f"core.confidence.gathering.{name}", count)


def lines(card: ModelCard, count: int = 300) -> str:
    """Out-of-fold scores as cross-validate writes them, some with subgroups, some truths unknown."""
    random, found = np.random.default_rng(2), []
    for number in range(count):
        scores = random.beta(2, 3, len(card.labels))
        truths = {
            code: None if number % 50 == 0 else int(random.random() < score)
            for code, score in zip(card.label_codes, scores, strict=True)
        }
        line = {"fold": number % 3, "group": number, "truths": truths}
        line["scores"] = dict(zip(card.label_codes, scores.tolist(), strict=True))
        if number % 2:
            line["subgroups"] = {"sex": "female"}
        found.append(json.dumps(line))
    return "\n".join(found) + "\n"


def test_out_of_fold_lines_are_read_with_and_without_subgroups(tmp_path: Path) -> None:
    card = card_of("sigmoid", 2)
    (tmp_path / "scores.jsonl").write_text(lines(card))
    found = read_held_out(tmp_path / "scores.jsonl", card)
    assert (len(found), found.networks) == (300, 3)
    assert np.isnan(found.truths[0]).all()
    assert found.subgroups[1] == {"sex": "female"}
    assert found.subgroups[0] == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("label-0", "label-7"),
        lambda text: text.replace('"fold": 0', '"fold": "a"'),
        lambda text: text[:-40],
        lambda _: "",
        lambda text: text.replace('"label-0": 0.', '"label-0": 7.', 1),
        lambda text: text.replace('"scores": {"label-0": 0.', '"scores": {"label-0": NaN, "x": 0.', 1),
    ],
)
def test_lines_that_are_damaged_are_refused(tmp_path: Path, damage: "object") -> None:
    card = card_of("sigmoid", 2)
    (tmp_path / "scores.jsonl").write_text(damage(lines(card)))  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match="cross-validate again"):
        read_held_out(tmp_path / "scores.jsonl", card)


@pytest.mark.usefixtures("few_pictures")
def test_calibrate_writes_all_of_it_and_another_weight_voids_it(model_folder: Path, greys: Path) -> None:
    publish(model_folder)
    (model_folder / "tiny" / "out-of-fold.jsonl").write_text(lines(read_card(model_folder / "tiny" / "card.json")))
    done = CliRunner().invoke(app, ["calibrate", "tiny", "--data", str(greys), "--name", "Greys"])
    assert done.exit_code == 0, done.output
    card = read_card(model_folder / "tiny" / "card.json")
    found = card.confidence
    assert found is not None
    assert (found.networks, found.pictures) == (3, 300)
    assert set(found.calibration) == set(found.sets) == set(found.curves) == set(card.label_codes)
    assert found.calibration["abnormal"].own is not None
    assert found.sets["abnormal"].levels[0].own_coverage is not None
    assert "female" in found.sets["abnormal"].levels[0].subgroups["sex"]
    assert found.novelty is not None
    assert set(found.novelty.looks) <= {"Any abnormality", "Mass (3 cm or larger)"}
    assert {"inverted", "noise", "text pages", "photographs"} <= set(found.novelty.others)
    assert "## Confidence" in (model_folder / "tiny" / "README.md").read_text()

    scan = decode_scan((greys / "70.png").read_bytes())
    told = assess(load_model("tiny"), scan, copies=0)
    assert set(told.calibrated.scores) == set(card.label_codes)
    assert told.novelty is not None
    assert all(0 < score < 1 for score in told.calibrated.scores.values())
    # Without tags and unlike all of them: both are said, and the headline is withheld.
    blank = assess(load_model("tiny"), decode_scan(png_bytes(np.zeros((64, 64), np.uint8))), copies=0)
    assert blank.withheld is not None
    assert {"The picture is one grey all over."} < set(blank.sentences)

    # The same card beside weights of which one number was changed: its own hash is another.
    other = publish(model_folder / "other", id="swapped")
    swapped = card.model_copy(update={"id": "swapped", "weights_sha256": "e" * 64, "evaluations": ()})
    assert other.weights_sha256 == card.weights_sha256
    assert "other weights" in confidence_text(swapped)
    assert card.confidence == found


@pytest.mark.usefixtures("few_pictures")
def test_one_weight_swapped_is_uncalibrated_and_it_is_said(model_folder: Path, greys: Path) -> None:
    publish(model_folder)
    model = load_model("tiny")
    source, folder = Source(greys, "Greys"), model_folder / "tiny"
    (folder / "out-of-fold.jsonl").write_text(lines(model.card))
    found = calibrate_scores(model, source, folder, lambda _: None)
    card = with_novelty(
        model.card.model_copy(update={"confidence": found}), calibrate_novelty(model, source, folder, lambda _: None)
    )
    write_card(card, folder)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "weights.safetensors")
    name = next(name for name in weights if weights[name].ndim == 4)
    weights[name][0, 0, 0, 0] += 0.5
    save_file(weights, folder / "weights.safetensors")
    import hashlib

    sha256 = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    # The hash of the card is brought up to date, the confidence in it is not: exactly what a hurried update would do.
    write_card(card.model_copy(update={"weights_sha256": sha256, "reference_logits": ()}), folder)
    told = assess(load_model("tiny"), decode_scan((greys / "70.png").read_bytes()), copies=0)
    assert told.novelty is None
    assert not told.calibrated.scores
    assert any("other weights" in sentence for sentence in told.sentences)
    assert set(told.sets.values()) == {None}
    assert told.row("abnormal")["calibrated"] == "uncalibrated"


@pytest.mark.usefixtures("few_pictures")
def test_without_out_of_fold_scores_the_held_out_split_is_used(model_folder: Path, greys: Path) -> None:
    publish(model_folder)
    found = calibrate_scores(load_model("tiny"), Source(greys, "Greys"), model_folder / "tiny", lambda _: None)
    assert (found.networks, found.pictures) == (1, 60)
    assert found.calibration["abnormal"].own is None
    assert not (model_folder / "tiny" / NOVELTY_FILE).exists()


def test_confidence_of_a_file_without_any(model_folder: Path, greys: Path) -> None:
    publish(model_folder)
    done = CliRunner().invoke(app, ["confidence", str(greys / "1.png"), "--model", "tiny", "--json", "--no-stability"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["calibrated"] == {}
    assert "no calibration" in record["uncalibrated"]
    assert record["novelty"] is None
    assert record["stability"] is None
    assert record["withheld"]
    done = CliRunner().invoke(app, ["confidence", str(greys / "1.png"), "--model", "tiny"])
    assert "no novelty gate" in " ".join(done.stdout.split())


def test_levels_that_are_none_and_files_that_are_none(model_folder: Path, greys: Path) -> None:
    publish(model_folder)
    assert (
        CliRunner().invoke(app, ["confidence", str(greys / "1.png"), "--model", "tiny", "--level", "0.7"]).exit_code
        == 2
    )
    assert CliRunner().invoke(app, ["confidence", str(greys / "index.csv"), "--model", "tiny"]).exit_code == 1
    assert CliRunner().invoke(app, ["calibrate", "nothing", "--data", str(greys)]).exit_code == 2


def test_words_never_say_certain() -> None:
    assert [percent(score) for score in (1e-9, 0.004, 0.37, 0.996, 1 - 1e-9)] == [
        "below 0.1 %", "0.4 %", "37 %", "99.6 %", "above 99.9 %",
    ]  # fmt: skip
    assert [frequency(score) for score in (1e-9, 0.004, 0.37, 0.9999)] == [
        "1 of 1000 such pictures", "4 of 1000 such pictures", "37 of 100 such pictures", "999 of 1000 such pictures",
    ]  # fmt: skip
