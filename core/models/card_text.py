"""The model card for people, as Markdown: written from the card and nothing else."""

from collections.abc import Iterable, Mapping, Sequence

from core.models.card import (
    ClassFigures,
    Evaluation,
    LabelFigures,
    MaskThreshold,
    MeanFigures,
    ModelCard,
    Probes,
    SegmentationFigures,
    SubgroupFigures,
    TrainingFacts,
)
from core.models.card_fields import Interval
from core.models.confidence_text import confidence_text
from core.models.place_card import PlaceFigures, PlaceThreshold

TOO_FEW = "too few"
KINDS = {
    "held-out": "Held-out pictures: none of them was trained on.",
    "cross-validation": "Development figures: {folds}-fold cross-validation by patient or group, {folds} networks made in the "
    "same way, each measured on pictures it was not trained on. AUROC is that within a fold, averaged by its cases.",
    "simulated": "Simulated pictures, findings in known places: they show that the network works, not how well it reads films.",
}
# A probe that reaches this AUROC, with its interval above chance, is worth a sentence.
TELLING = 0.7
CHANCE = 0.5


def card_to_markdown(card: ModelCard) -> str:
    """The model card for people."""
    parts = [
        f"# {card.title} (`{card.id}` {card.version})",
        card.intended_use,
        "## What it answers\n" + "\n".join(_label_line(label.code, label.words, label.limits) for label in card.labels),
        f"## Network\nArchitecture `{card.architecture}`, input {card.input.channels} x {card.input.size} x {card.input.size}, "
        f"head {card.head}, target layer `{card.target_layer}`. Evidence is in {card.evidence_unit}; the colour scale ends "
        f"at {card.evidence_limit:.3g} for every scan. Weights SHA-256 `{card.weights_sha256}`.",
        "## Training\n" + _training_text(card.training),
        *(evaluation_text(evaluation) for evaluation in card.evaluations),
        _thresholds_text(card),
        confidence_text(card),
        _place_thresholds_text(card.place_thresholds),
        "" if card.mask_threshold is None else _mask_text(card.mask_threshold),
        "## Limits\n" + "\n".join(f"- {limit}" for limit in card.limits),
        f"## Licence\n{card.licence}",
        "## Sources\n" + "\n".join(f"- {citation}" for citation in card.citations),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def evaluation_text(evaluation: Evaluation) -> str:
    """An evaluation as Markdown: what it is, then a small table for each kind of figure that was measured."""
    parts = [
        f"## Figures: {evaluation.data}, {evaluation.split} ({evaluation.images} pictures)\n{_kind_text(evaluation)}",
        "" if evaluation.segmentation is None else _outlines_text(evaluation.segmentation),
        _scores_table(evaluation.labels),
        _classes_text(evaluation.classes, list(evaluation.labels)),
        _decisions_table(evaluation.labels),
        _places_table(evaluation.labels, evaluation.means),
        _free_response_text(evaluation.labels, evaluation.means),
        *(_subgroup_table(name, groups) for name, groups in evaluation.subgroups.items()),
        "" if evaluation.probes is None else _probes_text(evaluation.probes),
    ]
    return "\n\n".join(part for part in parts if part)


def probe_notes(probes: Probes) -> list[str]:
    """What the shortcut probes found, in plain words: a sentence for each probe that tells a label."""
    region = probes.region
    said = (
        ("border_learnt", "The border alone tells {}: the set can be told apart without the middle of the picture."),
        ("border_only", "From the border alone the model still answers {}: part of its answer lies there."),
        (
            "region_blanked",
            f"With {region} blanked out the model still answers {{}}: the answer does not rest there alone.",
        ),
        ("file_size", "The size of the file alone tells {}: the set can be told apart without looking at the picture."),
        ("brightness", "The mean brightness alone tells {}: the set can be told apart without looking at details."),
    )
    return [words.format(telling) for probe, words in said if (telling := _telling(probes, probe))]


def _telling(probes: Probes, probe: str) -> str:
    """The labels that a probe tells, with its AUROC."""
    areas = {code: getattr(found, probe) for code, found in probes.labels.items()}
    told = {code: area.value for code, area in areas.items() if area and area.value >= TELLING and area.low > CHANCE}
    return ", ".join(f"{code} (AUROC {value:.2f})" for code, value in told.items())


def interval_text(interval: Interval | None) -> str:
    """``0.81 (0.75 to 0.86)``, or that there are too few cases."""
    return TOO_FEW if interval is None else f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _kind_text(evaluation: Evaluation) -> str:
    words = [KINDS[evaluation.kind].format(folds=evaluation.folds)]
    if evaluation.unreadable:
        words.append(f"{evaluation.unreadable} unreadable files were left out.")
    if evaluation.missing_regions:
        words.append(f"{evaluation.missing_regions} outlines could not be read or did not fit their picture.")
    return " ".join(words)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {line} |" for line in lines)])


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _scores_table(labels: Mapping[str, LabelFigures]) -> str:
    if not labels:
        return ""
    heads = ("label", "with / without", "AUROC (95 % interval)", "calibration error")
    return _table(
        heads,
        (
            (code, f"{f.positives} / {f.negatives}", interval_text(f.auroc), _number(f.ece, 3))
            for code, f in labels.items()
        ),
    )


def _decisions_table(labels: Mapping[str, LabelFigures]) -> str:
    rows = [
        (
            code,
            _number(f.threshold, 3),
            *(interval_text(value) for value in (f.sensitivity, f.specificity)),
            *("none" if value is None else interval_text(value) for value in (f.ppv, f.npv)),
        )
        for code, f in labels.items()
        if f.threshold is not None
    ]
    if not rows:
        return ""
    heads = ("label", "threshold", "sensitivity", "specificity", "PPV", "NPV")
    return (
        f"At the operating point; predictive values hold for the share of cases in this set.\n\n{_table(heads, rows)}"
    )


def _places_table(labels: Mapping[str, LabelFigures], means: MeanFigures | None) -> str:
    rows = [
        (
            code,
            str(f.boxes),
            interval_text(f.pointing_interval) if f.pointing_interval else _number(f.pointing_game),
            _number(f.energy_in_box),
            *(_number(f.iobb.get(at)) for at in ("0.1", "0.25", "0.5")),
            _number(f.false_boxes, 1),
        )
        for code, f in labels.items()
        if f.boxes
    ]
    if not rows:
        return ""
    if means:
        reached = (_number(means.iobb.get(at)) for at in ("0.1", "0.25", "0.5"))
        rows.append(("mean", "", _number(means.pointing_game), _number(means.energy_in_box), *reached, ""))
    heads = ("label", "places", "pointing game", "evidence inside", "IoBB 0.1", "IoBB 0.25", "IoBB 0.5", "false boxes")
    area = f" Mean AUROC of these labels: {means.auroc:.3f}." if means and means.auroc is not None else ""
    mean_of = f" The mean is that of {', '.join(means.labels)}.{area}" if means else ""
    return (
        "Where the evidence lies: whether its strongest place is in the marked region, the share of positive evidence in it, "
        "and the share of findings reached by a box drawn around the evidence (ChestX-ray8's rule), with the mean number of "
        f"boxes a picture that miss.{mean_of}\n\n{_table(heads, rows)}"
    )


def _free_response_text(labels: Mapping[str, LabelFigures], means: MeanFigures | None) -> str:
    """Sensitivity against false places a picture, and how well the places at the card's thresholds fit."""
    measured = {code: f.places for code, f in labels.items() if f.places}
    if not measured:
        return ""
    rates = list(next(iter(measured.values())).at)
    rows = [
        (code, f"{f.findings} / {f.pictures}", interval_text(f.mean), *(_number(f.at[rate].value) for rate in rates))
        for code, f in measured.items()
    ]
    if means and means.places:
        mean = means.places
        rows.append(("mean", "", interval_text(mean.mean), *(interval_text(mean.at[rate]) for rate in rates)))
    heads = ("label", "findings / pictures", "mean sensitivity", *(f"at {rate}" for rate in rates))
    return (
        "Findings as places (free-response ROC): the highest sensitivity at no more than so many false places a picture, where "
        "the threshold on the evidence is swept. A place hits a finding when a quarter of its box lies in the finding's (IoBB, "
        "ChestX-ray8's measure). Counted over pictures without the finding and those whose places are marked; labels below "
        "their operating point show no place. This is weakly supervised: boxes are drawn around the evidence of a classifier, "
        f"which is not a detector.\n\n{_table(heads, rows)}{_tuned_text(measured)}"
    )


def _tuned_text(measured: Mapping[str, PlaceFigures]) -> str:
    rows = [
        (
            code,
            interval_text(f.sensitivity),
            interval_text(f.false_places),
            *(_number(reached.get(at)) for reached in (f.iobb, f.iou) for at in ("0.1", "0.25", "0.5")),
        )
        for code, f in measured.items()
        if f.threshold is not None
    ]
    if not rows:
        return ""
    shares = (f"{name} {at}" for name in ("IoBB", "IoU") for at in ("0.1", "0.25", "0.5"))
    table = _table(("label", "sensitivity", "false places", *shares), rows)
    return (
        "\n\nAt the card's place thresholds, and the share of findings that a place reaches by the part of its box in the "
        f"finding's (IoBB) and by intersection over union (IoU):\n\n{table}"
    )


def _place_thresholds_text(thresholds: Mapping[str, PlaceThreshold]) -> str:
    if not thresholds:
        return ""
    rows = (
        (
            code,
            f"{one.threshold:.3g}",
            interval_text(one.sensitivity),
            interval_text(one.false_places),
            str(one.findings),
        )
        for code, one in thresholds.items()
    )
    first = next(iter(thresholds.values()))
    heads = ("label", "evidence", "sensitivity", "false places a picture", "findings")
    return (
        f"## Place thresholds\nThe evidence from which on places are drawn. Rule: {first.rule}; chosen and measured on the same "
        f"split ({first.split}), so they flatter.\n\n{_table(heads, rows)}"
    )


def _outlines_text(found: SegmentationFigures) -> str:
    """How outlines agree with those drawn by people, and what was made up."""
    rows = [
        (name, str(f.pictures), interval_text(f.dice), _number(f.median_dice), interval_text(f.iou))
        for name, f in {"all": found.overlap, **found.classes}.items()
    ]
    heads = ("pictures with a lesion", "number", "mean Dice (95 % interval)", "median Dice", "mean IoU")
    made_up = (
        ""
        if found.false_masks is None
        else (
            f" Of {found.normals} pictures without a lesion, something was outlined in a share of "
            f"{interval_text(found.false_masks)}."
        )
    )
    return (
        "Outlines against those drawn by people, on each picture's own grid; intervals draw whole groups. Nothing was "
        f"outlined in {found.missed} of {found.overlap.pictures} pictures with a lesion.{made_up}\n\n{_table(heads, rows)}"
    )


def _mask_text(threshold: MaskThreshold) -> str:
    return (
        f"## Outline\nA pixel belongs to the outline from a probability of {threshold.value:g} on, in pictures whose score is "
        f"at least {threshold.least_score:g}; in others nothing is outlined. Rule: {threshold.rule}, chosen and measured on the "
        f"same split ({threshold.split}), so the overlap and the share of made-up outlines flatter a little."
    )


def _subgroup_table(name: str, groups: Mapping[str, SubgroupFigures]) -> str:
    codes = list(dict.fromkeys(code for group in groups.values() for code in group.auroc))
    rows = [
        (group, str(found.images), *(interval_text(found.auroc.get(code)) for code in codes))
        for group, found in groups.items()
    ]
    return f"AUROC by {name}:\n\n{_table((name, 'pictures', *codes), rows)}"


def _probes_text(probes: Probes) -> str:
    heads = (
        "label",
        "whole",
        "file size",
        "brightness",
        "border, learnt",
        "border only",
        "blanked",
        "evidence off the border",
        "in the region",
    )
    rows = (
        (
            code,
            *(
                interval_text(area)
                for area in (f.whole, f.file_size, f.brightness, f.border_learnt, f.border_only, f.region_blanked)
            ),
            _number(f.evidence_inside),
            _number(f.evidence_in_region),
        )
        for code, f in probes.labels.items()
    )
    notes = "\n".join(f"- {note}" for note in probe_notes(probes)) or "- No probe tells a label."
    return (
        f"Shortcut probes ({probes.images} pictures): AUROC from the file's size and from the mean brightness; what a "
        f"logistic regression learns from the border (the outer {100 * probes.border:.0f} % of each side), out of fold; and what "
        f"the model answers from the border only and with {probes.region} blanked out. Evidence spread "
        f"evenly would lie off the border with a share of {probes.inside_area:.2f}, in the region with "
        f"{probes.region_area:.2f}.\n\n"
        f"{_table(heads, rows)}\n\n{notes}"
    )


def _classes_text(found: ClassFigures | None, codes: Sequence[str]) -> str:
    """Accuracy and confusion matrix of a head whose labels exclude each other."""
    if found is None:
        return ""
    macro = "too few cases" if found.macro_auroc is None else f"{found.macro_auroc:.3f}"
    rows = [(code, *map(str, row)) for code, row in zip(codes, found.confusion, strict=True)]
    return (
        f"Accuracy {interval_text(found.accuracy)}, macro AUROC {macro}, expected calibration error "
        f"{found.calibration_error:.3f}. Rows are the truth, columns the answers:\n\n" + _table(("truth", *codes), rows)
    )


def _label_line(code: str, words: str, limits: str) -> str:
    return f"- `{code}`: {words}" + (f". {limits}" if limits else "")


def _training_text(facts: TrainingFacts | None) -> str:
    if facts is None:
        return "Not recorded."
    software = ", ".join(f"{name} {number}" for name, number in facts.software.items())
    simulated = (
        f", and {facts.simulated_images} simulated films with lesions placed by our own generator"
        if facts.simulated_images
        else ""
    )
    return (
        f"{facts.data}: {facts.images} pictures of {facts.patients} patients or groups{simulated}. "
        f"{_start_text(facts.started_from)}"
        f"{facts.epochs} epochs in {facts.minutes:g} minutes on {facts.device} "
        f"({software}). Made by `{facts.configuration}`; "
        "the log is `training.jsonl`. No weights were chosen on the held-out split."
    )


def _start_text(model: str) -> str:
    return f"The layers that it shares with `{model}` started from that model's weights. " if model else ""


def _thresholds_text(card: ModelCard) -> str:
    if not card.thresholds:
        return ""
    heads = ("label", "threshold", "sensitivity", "specificity", "with / without")
    rows = (
        (
            code,
            f"{point.threshold:.3f}",
            interval_text(point.sensitivity),
            interval_text(point.specificity),
            f"{point.positives} / {point.negatives}",
        )
        for code, point in card.thresholds.items()
    )
    first = next(iter(card.thresholds.values()))
    return (
        f"## Operating points\nRule: {first.rule}, chosen and measured on the same split ({first.split}), so they flatter.\n\n"
        + _table(heads, rows)
    )
