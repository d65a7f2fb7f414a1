"""Shortcut probes: what reaches the network, where evidence is counted, and sets that give their answer away."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.analysis import analyse
from core.models.card import LabelProbes, Probes, Scope
from core.models.card_fields import Interval
from core.models.card_text import evaluation_text, probe_notes
from core.models.loading import Model, prepare
from core.reading.decoding import decode_scan
from core.training.evaluation import cross_validated, figures
from core.training.measuring import measure
from core.training.probes import Probed, Prober
from tests.files import png_bytes
from tests.networks import card, seeded

Grey = npt.NDArray[np.uint8]
HEAD = Scope(modalities=("MR",), body_parts=("HEAD",))


@pytest.fixture(scope="module")
def chest() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def head() -> Model:
    return prepare(card(scope=HEAD), seeded("compact-resnet"))


def noise(seed: int, rows: int = 64, columns: int = 64) -> Grey:
    return np.random.default_rng(seed).integers(0, 200, (rows, columns)).astype(np.uint8)


def shuffled(picture: Grey, part: npt.NDArray[np.bool_]) -> Grey:
    """The same pixels at other places within a part: nothing else changes, and no mean."""
    changed = picture.copy()
    changed[part] = np.random.default_rng(9).permutation(picture[part])
    return changed


def probed(model: Model, picture: Grey, finding: npt.NDArray[np.bool_] | None = None) -> Probed:
    return asked(Prober(model), model, picture, finding)


def asked(prober: Prober, model: Model, picture: Grey, finding: npt.NDArray[np.bool_] | None = None) -> Probed:
    scan = decode_scan(png_bytes(picture))
    return prober(scan, analyse(model, scan), finding, 123)


def off_border(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """All but a tenth of the sides, counted in whole pixels."""
    part = np.zeros((rows, columns), np.bool_)
    high, wide = round(rows * 0.1), round(columns * 0.1)
    part[high : rows - high, wide : columns - wide] = True
    return part


@pytest.mark.parametrize("shape", [(64, 64), (64, 40), (40, 64)])
def test_from_the_border_alone_means_that_nothing_else_reaches_the_network(
    chest: Model, shape: tuple[int, int]
) -> None:
    picture, inside = noise(1, *shape), off_border(*shape)
    # A pixel is left to the resampling at the edge of the ring.
    core_part = inside & ~np.roll(~inside, (1, 1), (0, 1)) & ~np.roll(~inside, (-1, -1), (0, 1))
    former, changed = probed(chest, picture), probed(chest, shuffled(picture, core_part))
    assert changed.border_only == pytest.approx(former.border_only, abs=1e-6)
    edge = probed(chest, shuffled(picture, ~inside))
    assert abs(edge.border_only["mass"] - former.border_only["mass"]) > 1e-5


def lungs(side: int) -> npt.NDArray[np.bool_]:
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return np.logical_or(*((((x - c) / 0.19) ** 2 + ((y - 0.47) / 0.34) ** 2 <= 1) for c in (0.29, 0.71)))


def test_with_the_lungs_blanked_what_is_in_them_changes_nothing(chest: Model) -> None:
    picture, part = noise(2), lungs(64)
    former = probed(chest, picture)
    assert probed(chest, shuffled(picture, part)).region_blanked == pytest.approx(former.region_blanked, abs=1e-6)
    other = probed(chest, shuffled(picture, ~part))
    assert abs(other.region_blanked["mass"] - former.region_blanked["mass"]) > 1e-5
    assert former.region_area == pytest.approx(part.mean())
    assert former.inside_area == pytest.approx(0.64, abs=0.03)


def test_a_marked_finding_is_blanked_by_its_box_and_lends_it_to_pictures_without_one(head: Model) -> None:
    finding = np.zeros((64, 64), np.bool_)
    finding[[20, 29], [10, 40]] = True
    box = np.zeros_like(finding)
    box[20:30, 10:41] = True
    prober, picture = Prober(head), noise(3)
    assert prober.region_words == "an ellipse over the centre of the picture"
    marked = asked(prober, head, picture, finding)
    unmarked = asked(prober, head, shuffled(picture, box))
    assert unmarked.region_blanked == pytest.approx(marked.region_blanked, abs=1e-6)
    assert marked.region_area == unmarked.region_area == pytest.approx(box.mean())
    assert prober.region_words == "the box of the marked finding"
    # Alone, a picture without a marked finding loses its centre.
    assert probed(head, picture).region_area == pytest.approx(np.pi * 0.35**2, abs=0.01)


def test_file_size_and_brightness_are_those_of_the_file(chest: Model) -> None:
    found = probed(chest, np.tile(np.array([[41, 61]], np.uint8), (40, 30)))
    assert found.file_size == 123
    # The bars that make a 40 x 60 picture square do not count.
    assert found.brightness == pytest.approx(51 / 255, abs=1e-3)
    assert found.ring.shape == (20 * 20 - 16 * 16,)


def test_the_shares_of_evidence_are_those_of_the_cells_in_the_part(chest: Model) -> None:
    picture = noise(4)
    evidence = analyse(chest, decode_scan(png_bytes(picture))).heatmaps["mass"].evidence
    positive = np.kron(np.maximum(evidence, 0), np.ones((64 // evidence.shape[0],) * 2))
    y, x = (np.mgrid[:64, :64] + 0.5) / 64
    inside = (abs(x - 0.5) < 0.4) & (abs(y - 0.5) < 0.4)
    found = probed(chest, picture)
    assert found.inside["mass"] == pytest.approx(positive[inside].sum() / positive.sum(), abs=1e-4)
    assert found.in_region["mass"] == pytest.approx(positive[lungs(64)].sum() / positive.sum(), abs=1e-4)


def framed(folder: Path, frames: Sequence[int], labels: Sequence[str]) -> Path:
    """Pictures of noise with a frame of one grey each: the only thing that may speak for the label."""
    folder.mkdir()
    lines = ["file,label,split,patient_id"]
    for index, (grey, label) in enumerate(zip(frames, labels, strict=True)):
        picture = noise(index)
        picture[~off_border(64, 64)] = grey
        (folder / f"{index}.png").write_bytes(png_bytes(picture))
        lines.append(f"{index}.png,{label},val,{index}")
    (folder / "index.csv").write_text("\n".join(lines))
    return folder


def test_a_set_whose_border_tells_the_label_is_found_out(chest: Model, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = ["abnormal" if i % 2 else "no_finding" for i in range(40)]
    greys = [int(random.integers(150, 200) if label == "abnormal" else random.integers(0, 50)) for label in labels]
    told = figures(measure(chest, framed(tmp_path / "told", greys, labels), "val", probes=True), chest.card)
    assert told.probes is not None
    found = told.probes.labels["abnormal"]
    assert found.border_learnt is not None
    assert found.brightness is not None
    assert (found.border_learnt.value, found.brightness.value) == (1, 1)
    assert told.probes.labels["mass"] == LabelProbes(
        whole=None, file_size=None, brightness=None, border_only=None, region_blanked=None, evidence_inside=None,
        evidence_in_region=None,
    )  # fmt: skip
    text = evaluation_text(told)
    assert "The border alone tells abnormal (AUROC 1.00): the set can be told apart" in text
    random.shuffle(labels)
    fair = figures(measure(chest, framed(tmp_path / "fair", greys, labels), "val", probes=True), chest.card)
    assert fair.probes is not None
    learnt = fair.probes.labels["abnormal"].border_learnt
    assert learnt is not None
    assert learnt.low < 0.5
    assert "The border alone tells" not in evaluation_text(fair)


def test_small_numbers_that_speak_for_a_label_count_as_large_ones_would(chest: Model, tmp_path: Path) -> None:
    labels = ["no_finding"] * 8 + ["abnormal"] * 8
    folder = framed(tmp_path / "d", [100] * 16, labels)
    for index, label in enumerate(labels):
        # The file's end is padded: more bytes, the same picture.
        path = folder / f"{index}.png"
        path.write_bytes(png_bytes(noise(index)) + bytes(5000 if label == "no_finding" else 0))
    measured = measure(chest, folder, "val", probes=True)
    found = figures(measured, chest.card).probes
    assert found is not None
    assert found.labels["abnormal"].file_size == Interval(value=1, low=1, high=1)
    assert cross_validated([measured], chest.card).probes == found
    assert measure(chest, folder, "val").blanked is None


def area(value: float, low: float) -> Interval:
    return Interval(value=value, low=low, high=1)


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("border_only", "From the border alone the model still answers mass (AUROC 0.80)"),
        ("region_blanked", "With the lungs blanked out the model still answers mass (AUROC 0.80)"),
        ("file_size", "The size of the file alone tells mass (AUROC 0.80)"),
        ("brightness", "The mean brightness alone tells mass (AUROC 0.80)"),
        ("border_learnt", "The border alone tells mass (AUROC 0.80)"),
    ],
)
def test_only_what_a_probe_tells_is_said(probe: str, said: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys(LabelProbes.model_fields)

    def notes(interval: Interval | None) -> list[str]:
        labels = {"mass": LabelProbes(**{**nothing, probe: interval}), "nodule": LabelProbes(**nothing)}
        return probe_notes(
            Probes(images=9, border=0.1, region="the lungs", inside_area=0.64, region_area=0.4, labels=labels)
        )

    (note,) = notes(area(0.8, 0.6))
    assert note.startswith(said)
    # Close to chance, or perhaps only chance, or not known: nothing to say.
    assert notes(area(0.69, 0.6)) == notes(area(0.8, 0.49)) == notes(None) == []
