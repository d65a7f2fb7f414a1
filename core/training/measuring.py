"""A model on every picture of a split, through the same ``analyse`` as a reader's scan: what is known and what came out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from core.analysis import Analysis, analyse
from core.errors import ConfigurationError, ScanError
from core.explaining.places import regions_of
from core.free_response import Found, find
from core.metrics import Box, Region, energy_in_mask, iobb, peak_in_box, peak_in_mask, region_of
from core.models.card import ModelCard
from core.models.loading import Model
from core.reading.decoding import decode_scan
from core.samples import simulated_scan
from core.scan import Scan
from core.training.data import (
    MASK_COLUMN,
    Row,
    boxes_of,
    group_of,
    read_index,
    read_mask,
    simulated_findings,
    truths_of,
)
from core.training.probes import Probed, Prober
from core.training.subgroups import subgroups_of

Progress = Callable[[int, int], None]
# Where a finding lies, by label code: boxes, or an outline on the scan's grid.
Regions = Mapping[str, list[Box] | Region]
# Of an outline's largest part: what is smaller is a slip of the hand.
_SPECK = 0.01


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one label's evidence lies: the pointing game, the share of it in the region, the IoBB of each box it draws."""

    peak_inside: bool
    energy: float
    iobb: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One example's outcome: truths by label (NaN unknown), scores, and for marked findings where the evidence lies.

    ``group`` is what a split must not tear apart (the patient), ``subgroups`` the example's age band, sex and view.
    ``found``: for labels that are marked anywhere in the set, what their maps find at each threshold, where all places of
    the label in this picture are known.
    """

    truths: Mapping[str, float]
    scores: Mapping[str, float]
    peaks: Mapping[str, float]
    places: Mapping[str, Placed]
    group: str
    subgroups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    probed: Probed | None = None
    found: Mapping[str, Found] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """A split as measured.

    ``unreadable`` counts files that were left out, ``missing_regions`` outlines that cannot be read or do not fit;
    ``blanked`` says in words what the shortcut probes blanked, where they were asked for.
    """

    data: str
    split: str
    examples: tuple[Measured, ...] = field(repr=False)
    unreadable: int = 0
    missing_regions: int = 0
    simulated: bool = False
    blanked: str | None = None


def measure(
    model: Model,
    folder: Path,
    split: str,
    *,
    data: str = "",
    column: str = "label",
    probes: bool = False,
    progress: Progress | None = None,
) -> Measurements:
    """Every readable picture of a folder's split, analysed; with ``probes`` the shortcut probes as well.

    Raises ConfigurationError when the split holds no readable picture or a row's boxes cannot be read.
    """
    rows = read_index(folder, column)
    classes = {row[column] for row in rows}
    wanted = [row for row in rows if row["split"] == split]
    return measure_rows(
        model, folder, wanted, classes, data=data, split=split, column=column, probes=probes, progress=progress
    )


def measure_rows(
    model: Model,
    folder: Path,
    rows: Sequence[Row],
    classes: Iterable[str],
    *,
    data: str = "",
    split: str,
    column: str = "label",
    probes: bool = False,
    progress: Progress | None = None,
) -> Measurements:
    """The same for rows chosen by hand, such as a fold of a cross-validation; ``classes`` are those of the whole index.

    Raises ConfigurationError as ``measure`` does.
    """
    marked = _marked_labels(model.card, rows, column)
    measuring = _Measuring(model, folder, tuple(classes), column, marked, Prober(model) if probes else None)
    examples = []
    for position, row in enumerate(rows):
        if example := measuring.example(row):
            examples.append(example)
        if progress:
            progress(position + 1, len(rows))
    if not examples:
        raise ConfigurationError(f"The split {split!r} holds no readable picture; it has {len(rows)} rows.")
    blanked = measuring.prober.region_words if measuring.prober else None
    return Measurements(
        data or folder.name,
        split,
        tuple(examples),
        unreadable=len(rows) - len(examples),
        missing_regions=measuring.missing_regions,
        blanked=blanked,
    )


def measure_simulated(model: Model, count: int, seed: int, *, progress: Progress | None = None) -> Measurements:
    """Films of our own generator with seeds that no training used, every second one with a planted finding."""
    findings = simulated_findings(model.card.label_codes)
    marked = _with_headline(model.card, findings)
    examples = []
    for index in range(count):
        finding = findings[index // 2 % len(findings)] if index % 2 else None
        scan, film = simulated_scan(seed + index, finding)
        present = {finding, "abnormal"} if finding else {"normal", "no_finding"}
        truths = {code: float(code in present) for code in model.card.label_codes}
        boxes = {finding: [film.box_xywh]} if finding and film.box_xywh else {}
        analysis, group = analyse(model, scan), f"simulated-{seed + index}"
        examples.append(_measured(model.card, analysis, truths, boxes, marked, group=group))
        if progress:
            progress(index + 1, count)
    span = f"seeds {seed} to {seed + count - 1}"
    return Measurements("simulated films", span, tuple(examples), simulated=True)


class _Measuring:
    """One example after another, counting the outlines that cannot be used."""

    def __init__(
        self,
        model: Model,
        folder: Path,
        classes: tuple[str, ...],
        column: str,
        marked: frozenset[str],
        prober: Prober | None,
    ) -> None:
        self._model, self._folder, self._classes, self._column = model, folder, classes, column
        self._marked = marked
        self.prober, self.missing_regions = prober, 0

    def example(self, row: Row) -> Measured | None:
        """The row's outcome, or None where its picture cannot be read."""
        try:
            data = (self._folder / row["file"]).read_bytes()
            scan = decode_scan(data)
        except (ScanError, OSError):
            return None
        labels = self._model.card.label_codes
        truths = dict(zip(labels, truths_of(row, labels, self._classes, self._column), strict=True))
        regions, analysis = self._regions(row, scan), analyse(self._model, scan)
        probed = self.prober(scan, analysis, _marked(regions, scan), len(data)) if self.prober else None
        return _measured(
            self._model.card, analysis, truths, regions, self._marked, group=group_of(row), row=row, probed=probed
        )

    def _regions(self, row: Row, scan: Scan) -> Regions:
        """The row's boxes, or its outline; an empty outline (of a picture without a lesion) is no place to point to."""
        labels = self._model.card.label_codes
        boxes, code = boxes_of(row, labels, self._column), row[self._column].lower()
        if not row.get(MASK_COLUMN) or code not in labels:
            return boxes
        try:
            mask = read_mask(self._folder, row)
        except (ScanError, OSError):
            mask = np.zeros((0, 0), np.bool_)
        if mask.shape != scan.shape:
            self.missing_regions += 1
            return boxes
        return {**boxes, code: mask} if bool(mask.any()) else boxes


def _measured(
    card: ModelCard,
    analysis: Analysis,
    truths: Mapping[str, float],
    regions: Regions,
    marked: frozenset[str],
    *,
    group: str,
    row: Row | None = None,
    probed: Probed | None = None,
) -> Measured:
    everywhere = {**regions, **_together(card, truths, regions)}
    return Measured(
        truths,
        analysis.prediction.scores,
        {code: float(heatmap.evidence.max()) for code, heatmap in analysis.heatmaps.items()},
        {code: _placed(analysis, code, region) for code, region in everywhere.items()},
        group,
        subgroups_of(row or {}),
        probed,
        _found(analysis, truths, everywhere, marked),
    )


def _found(
    analysis: Analysis, truths: Mapping[str, float], regions: Regions, marked: frozenset[str]
) -> Mapping[str, Found]:
    """What maps find, of labels that are not in the picture, and of those that are and whose place is marked."""
    judged = [
        code for code, truth in truths.items() if code in marked and (truth == 0 or (truth == 1 and code in regions))
    ]
    return {
        code: find(
            analysis.heatmap(code).evidence, analysis.letterbox, _boxes_around(regions[code]) if truths[code] else ()
        )
        for code in judged
    }


def _boxes_around(region: list[Box] | Region) -> list[Box]:
    """The boxes of a finding; of an outline one around each part, specks of less than a hundredth of the largest left out."""
    if isinstance(region, list):
        return region
    parts = regions_of(region)
    sizes = [int(region[part].sum()) for part in parts]
    return [
        (across.start, down.start, across.stop - across.start, down.stop - down.start)
        for (down, across), size in zip(parts, sizes, strict=True)
        if size >= _SPECK * max(sizes)
    ]


def _marked_labels(card: ModelCard, rows: Sequence[Row], column: str) -> frozenset[str]:
    """The labels of which any row marks a place."""
    boxed = {code for row in rows for code in boxes_of(row, card.label_codes, column)}
    outlined = {row[column].lower() for row in rows if row.get(MASK_COLUMN)} & set(card.label_codes)
    return _with_headline(card, boxed | outlined)


def _with_headline(card: ModelCard, codes: Iterable[str]) -> frozenset[str]:
    """Where labels go together the headline has the places of all."""
    found = frozenset(codes)
    return found | {card.headline} if found and not card.is_exclusive else found


def _together(card: ModelCard, truths: Mapping[str, float], regions: Regions) -> Regions:
    """The boxes of all findings for the headline, where labels go together and it stands for any of them."""
    everything = [box for found in regions.values() if isinstance(found, list) for box in found]
    stands_for_all = not card.is_exclusive and truths.get(card.headline) == 1
    return {card.headline: everything} if everything and stands_for_all else {}


def _placed(analysis: Analysis, code: str, region: list[Box] | Region) -> Placed:
    evidence = analysis.on_scan_grid(code)
    inside = region_of(region, evidence.shape) if isinstance(region, list) else region
    at_peak = peak_in_box(evidence, region) if isinstance(region, list) else peak_in_mask(evidence, region)
    return Placed(at_peak, energy_in_mask(evidence, inside), tuple(iobb(evidence, inside)))


def _marked(regions: Regions, scan: Scan) -> Region | None:
    """All that is marked on a picture as one region, or None."""
    parts = [region_of(r, scan.shape) if isinstance(r, list) else r for r in regions.values()]
    return np.logical_or.reduce(parts) if parts else None
