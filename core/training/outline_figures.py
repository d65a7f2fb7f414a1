"""The figures of a model that outlines, measured through the same ``analyse`` as a reader's scan, on the scan's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from core.analysis import Analysis, analyse
from core.errors import ConfigurationError, ScanError
from core.metrics import energy_in_mask, iobb, peak_in_mask, wilson
from core.models.card import Evaluation, MaskThreshold, ModelCard, OverlapFigures, SegmentationFigures
from core.models.loading import Model, prepare
from core.models.self_test import reference_logits
from core.overlap import dice, intersection_over_union, mean_over_groups
from core.reading.decoding import decode_scan
from core.training.configuration import TrainingConfiguration
from core.training.data import Mask, Progress, Row, group_of, read_index
from core.training.evaluation import evidence_limit, figures
from core.training.measuring import Measured, Measurements, Placed
from core.training.outlines import mask_for

# What a mask's threshold and the least score are chosen from.
_THRESHOLDS = np.linspace(0.1, 0.9, 17)
_LEAST_SCORES = np.linspace(0.0, 0.95, 20)
_KEPT_LESIONS = 0.95


@dataclass(frozen=True, slots=True)
class Outlined:
    """One picture's outcome: its class and group, whether it has a lesion, how well the outlines agree.

    ``dice_at`` is the Dice at every threshold that could be chosen, whatever the score; ``empty`` whether nothing was
    outlined.
    """

    kind: str
    group: str
    lesion: bool
    dice: float
    iou: float
    dice_at: npt.NDArray[np.float64] = field(repr=False)
    score: float
    empty: bool


@dataclass(frozen=True, slots=True, eq=False)
class OutlineMeasurements:
    """A split as measured: ``whole`` the answers for whole pictures, ``outlined`` the outlines."""

    whole: Measurements
    outlined: tuple[Outlined, ...] = field(repr=False)


def measure_outlines(
    model: Model,
    folder: Path,
    split: str,
    *,
    data: str = "",
    column: str = "label",
    progress: Progress | None = None,
) -> OutlineMeasurements:
    """Every readable picture of a split that has a mask, analysed.

    Raises ConfigurationError when there is none, or when a mask has another size than its picture.
    """
    rows = [row for row in read_index(folder, column) if row["split"] == split]
    found = []
    for position, row in enumerate(rows):
        if example := _example(model, folder, row, column):
            found.append(example)
        if progress:
            progress(position + 1, len(rows))
    if not found:
        raise ConfigurationError(f"The split {split!r} holds no readable picture with a mask; it has {len(rows)} rows.")
    whole = Measurements(
        data or folder.name, split, tuple(measured for measured, _ in found), unreadable=len(rows) - len(found)
    )
    return OutlineMeasurements(whole, tuple(outlined for _, outlined in found))


def outline_evaluation(measured: OutlineMeasurements, card: ModelCard) -> Evaluation:
    """Agreement of the outlines, beside what is measured of any label: whether the score tells pictures with a lesion."""
    return figures(measured.whole, card).model_copy(update={"segmentation": segmentation_figures(measured.outlined)})


def segmentation_figures(outlined: Sequence[Outlined]) -> SegmentationFigures:
    """Dice and intersection over union, over all pictures with a lesion and by class; what was missed, what was made up.

    Raises ConfigurationError when no picture has a lesion.
    """
    lesions = [one for one in outlined if one.lesion]
    normals = [one for one in outlined if not one.lesion]
    if not lesions:
        raise ConfigurationError("No picture of this split has a lesion in its mask, so outlines cannot be measured.")
    kinds = sorted({one.kind for one in lesions})
    return SegmentationFigures(
        overlap=_overlap(lesions),
        classes={kind: _overlap([one for one in lesions if one.kind == kind]) for kind in kinds},
        missed=sum(one.empty for one in lesions),
        normals=len(normals),
        false_masks=wilson(sum(not one.empty for one in normals), len(normals)) if normals else None,
    )


def chosen_threshold(measured: OutlineMeasurements, card: ModelCard) -> MaskThreshold:
    """The probability of the highest mean Dice over the split's pictures with a lesion, and the least score.

    That is the highest step of 0.05 which at least 95 % of them reach: it takes away what is outlined in pictures without a
    lesion, as far as that costs few lesions.
    """
    lesions = [one for one in measured.outlined if one.lesion]
    means = np.mean([one.dice_at for one in lesions], axis=0)
    scores = np.array([one.score for one in lesions])
    reached = [least for least in _LEAST_SCORES if (scores >= least).mean() >= _KEPT_LESIONS]
    return MaskThreshold(
        value=round(float(_THRESHOLDS[int(np.argmax(means))]), 2),
        least_score=round(float(max(reached)), 2),
        rule=f"highest mean Dice over pictures with a lesion; the highest score that {_KEPT_LESIONS:.0%} of them reach",
        split=measured.whole.split,
        weights_sha256=card.weights_sha256,
    )


def with_outline_figures(
    card: ModelCard, network: nn.Module, data: Path, configuration: TrainingConfiguration
) -> ModelCard:
    """The card with its threshold chosen on the held-out split, then all figures and the colour limit measured with it."""
    section = configuration.data

    def measured_with(known: ModelCard, split: str) -> OutlineMeasurements:
        return measure_outlines(prepare(known, network), data, split, data=section.name, column=section.label_column)

    first = measured_with(card, section.validation_split)
    settled = card.model_copy(update={"mask_threshold": chosen_threshold(first, card)})
    measured = [measured_with(settled, split) for split in (section.validation_split, *section.further_splits)]
    return settled.model_copy(
        update={
            "reference_logits": reference_logits(network, card.input),
            "evidence_limit": evidence_limit(measured[0].whole),
            "evaluations": tuple(outline_evaluation(one, settled) for one in measured),
        }
    )


def provisional_threshold(weights_sha256: str) -> MaskThreshold:
    """An even chance, until the held-out split has chosen."""
    return MaskThreshold(
        value=0.5, rule="even chance, not chosen on pictures", split="none", weights_sha256=weights_sha256
    )


def _example(model: Model, folder: Path, row: Row, column: str) -> tuple[Measured, Outlined] | None:
    """The row's outcome, or None where its picture or mask is missing or cannot be read."""
    try:
        scan = decode_scan((folder / row["file"]).read_bytes())
        truth = mask_for(folder, row, scan.shape)
    except (ScanError, OSError):
        return None
    if truth is None:
        return None
    analysis = analyse(model, scan)
    return _measured(analysis, truth, row), _outlined(analysis, truth, row, column)


def _measured(analysis: Analysis, truth: Mask, row: Row) -> Measured:
    (code,) = analysis.masks
    lesion = bool(truth.any())
    return Measured(
        truths={code: float(lesion)},
        scores=analysis.prediction.scores,
        peaks={code: float(analysis.heatmaps[code].evidence.max())},
        places={code: _placed(analysis, code, truth)} if lesion else {},
        group=group_of(row),
    )


def _placed(analysis: Analysis, code: str, truth: Mask) -> Placed:
    """Where Seg-Grad-CAM lies; where nothing was outlined there is no map, and it points nowhere."""
    if analysis.masks[code].outcome:
        return Placed(peak_inside=False, energy=0.0, iobb=())
    evidence = analysis.on_scan_grid(code)
    return Placed(peak_in_mask(evidence, truth), energy_in_mask(evidence, truth), tuple(iobb(evidence, truth)))


def _outlined(analysis: Analysis, truth: Mask, row: Row, column: str) -> Outlined:
    (mask,) = analysis.masks.values()
    own = mask.on_scan_grid()
    probability = mask.letterbox.to_scan_grid(mask.probability)
    return Outlined(
        kind=row[column].lower(),
        group=group_of(row),
        lesion=bool(truth.any()),
        dice=dice(own, truth),
        iou=intersection_over_union(own, truth),
        dice_at=np.array([dice(probability >= threshold, truth) for threshold in _THRESHOLDS]),
        score=mask.score,
        empty=not bool(own.any()),
    )


def _overlap(lesions: Sequence[Outlined]) -> OverlapFigures:
    groups, values = [one.group for one in lesions], [one.dice for one in lesions]
    return OverlapFigures(
        pictures=len(lesions),
        dice=mean_over_groups(values, groups),
        median_dice=float(np.median(values)),
        iou=mean_over_groups([one.iou for one in lesions], groups),
    )
