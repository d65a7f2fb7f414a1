"""The card's confidence as Markdown: calibration, sets of answers, novelty."""

from collections.abc import Iterable, Mapping, Sequence

from core.models.card import ModelCard
from core.models.card_fields import Interval
from core.models.confidence_card import AnswerSets, Calibration, Confidence, NoveltyFigures, NoveltyGate

NOT_AVAILABLE = "not available"


def confidence_text(card: ModelCard) -> str:
    """Everything that the card says of confidence, or that it says nothing that counts for its weights."""
    found = card.confidence
    if found is None:
        return ""
    if found.weights_sha256 != card.weights_sha256:
        return "## Confidence\nMeasured with other weights, so nothing of it is used. Calibrate the model again."
    parts = [
        f"## Confidence\n{_data_text(found)}",
        _calibration_text(found.calibration),
        _sets_text(found.sets),
        "" if found.novelty is None else _novelty_text(found.novelty),
    ]
    return "\n\n".join(part for part in parts if part)


def _data_text(found: Confidence) -> str:
    if not found.pictures:
        return "Scores are not calibrated."
    return (
        f"Made from {found.data} ({found.pictures} pictures). Every figure was held out: each part of the pictures was judged "
        "by what was made from the others. Scores hold where as many patients have the label as here."
    )


def _calibration_text(known: Mapping[str, Calibration]) -> str:
    if not known:
        return ""
    heads = (
        "label",
        "with / all",
        "method",
        "log loss",
        "calibrated",
        "calibration error",
        "calibrated",
        "own weights",
    )
    rows = (
        (
            code,
            f"{one.positives} / {one.cases}",
            one.method,
            f"{one.figures.log_loss_before:.3f}",
            f"{one.figures.log_loss_after:.3f}",
            _interval(one.figures.error_before, 3),
            _interval(one.figures.error_after, 3),
            "" if one.own is None else f"{_interval(one.own.error_before, 3)}, {_interval(one.own.error_after, 3)}",
        )
        for code, one in known.items()
    )
    return (
        "Calibration error is the debiased mean gap between score and share over bins of equal counts, with a bootstrap 95 % "
        "interval over patients or groups (Kumar et al. 2019; Roelofs et al. 2022). The method with the least held-out log loss "
        "was taken. Own weights: before and after, on pictures these weights were not trained on.\n\n"
        + _table(heads, rows)
    )


def _sets_text(sets: Mapping[str, AnswerSets]) -> str:
    rows = [row for name, found in sets.items() for row in _set_rows(name, found)]
    if not rows:
        return ""
    heads = (
        "sets of",
        "level",
        "coverage by answer",
        "of all",
        "before the likeliest is put in",
        "mean size",
        "one answer",
    )
    return (
        "Sets of answers (split conformal prediction for each answer on its own): how often the true answer was in the set, "
        f"held out.\n\n{_table(heads, rows)}{_subgroup_text(sets)}"
    )


def _set_rows(name: str, found: AnswerSets) -> list[tuple[str, ...]]:
    known = {level.level: level for level in found.levels}
    rows: list[tuple[str, ...]] = []
    for at in (0.8, 0.9, 0.95):
        if at not in known:
            rows.append((name, f"{100 * at:g} %", NOT_AVAILABLE, "", "", "", ""))
            continue
        level = known[at]
        by_answer = ", ".join(f"{answer} {one.value:.2f}" for answer, one in level.coverage.items() if answer != "all")
        everything, bare = level.coverage.get("all"), level.bare_coverage.get("all")
        rows.append(
            (
                name,
                f"{100 * at:g} %",
                by_answer or "not measured",
                "" if everything is None else _interval(everything),
                "" if bare is None else _interval(bare),
                f"{level.mean_size:.2f}",
                f"{level.alone:.2f}",
            )
        )
    return rows


def _subgroup_text(sets: Mapping[str, AnswerSets]) -> str:
    """Coverage at 90 % by subgroup."""
    rows = [
        (name, group, _interval(coverage))
        for name, found in sets.items()
        for level in found.levels
        if level.level == 0.9
        for groups in level.subgroups.values()
        for group, coverage in groups.items()
    ]
    return f"\n\nCoverage at 90 % by subgroup:\n\n{_table(('sets of', 'group', 'coverage'), rows)}" if rows else ""


def _novelty_text(gate: NoveltyGate) -> str:
    kinds = {"its own domain": gate.own, "all others": gate.all_others, **gate.others}
    tried = ", ".join(f"{method} {area:.3f}" for method, area in gate.tried.items())
    return (
        f"Novelty: how far a picture's {gate.method} lie from those of the training pictures (Mahalanobis distance to the "
        f"nearest of: {'; '.join(dict.fromkeys(gate.looks))}), after a cheap check of the picture alone. Above "
        f"{gate.gate:.4g} the headline is withheld. {gate.rule}. Data: {gate.data}. AUROC of what was tried, averaged over "
        f"kinds: {tried}.\n\n"
        + _table(("pictures", "number", "held back", "AUROC"), (_novelty_row(kind, one) for kind, one in kinds.items()))
    )


def _novelty_row(kind: str, found: NoveltyFigures) -> tuple[str, ...]:
    area = "" if found.auroc is None else f"{found.auroc:.3f}"
    return kind, str(found.pictures), _interval(found.held_back), area


def _interval(interval: Interval, digits: int = 2) -> str:
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {line} |" for line in lines)])
