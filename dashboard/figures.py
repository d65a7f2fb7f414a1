"""An evaluation on a page: one sentence first, then small tables, each with the words that it needs."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.charts import reliability_spec
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from core.models.card import Evaluation, Interval, LabelFigures, ModelCard, SubgroupFigures

Row = dict[str, str]
_NOTHING = "\u2013"


def headline_evaluation(card: "ModelCard") -> "Evaluation | None":
    """The evaluation that says most of how well the model reads: development figures, else held-out ones, else any."""
    order = ("cross-validation", "held-out", "simulated")
    return min(card.evaluations, key=lambda evaluation: order.index(evaluation.kind), default=None)


def headline(card: "ModelCard", evaluation: "Evaluation") -> str:
    """What the model can do, in one sentence of Markdown."""
    of = pictures_words(evaluation)
    if evaluation.segmentation is not None:
        return t("model.line_outline", dice=_interval(evaluation.segmentation.overlap.dice), of=of)
    if evaluation.classes is not None:
        accuracy = evaluation.classes.accuracy
        return t("model.line_classes", accuracy=_percent(accuracy.value), span=_span(accuracy), of=of)
    found, words = evaluation.labels.get(card.headline), literal(_term(card, card.headline))
    if found is None or found.auroc is None:
        return t("model.line_unknown", label=words, of=of)
    return t("model.line_label", label=words, area=_interval(found.auroc), of=of)


def pictures_words(evaluation: "Evaluation") -> str:
    """How many pictures, and of what kind."""
    words = {
        "held-out": t("model.kind_held_out", images=evaluation.images),
        "cross-validation": t("model.kind_cross", images=evaluation.images, folds=evaluation.folds),
        "simulated": t("model.kind_simulated", images=evaluation.images),
    }
    return words[evaluation.kind]


def tiles(card: "ModelCard", evaluation: "Evaluation") -> None:
    """Up to three numbers that a reader asks for first, each with what it means."""
    found = evaluation.labels.get(card.headline)
    shown: list[tuple[str, str, str]] = []
    if evaluation.classes is not None and evaluation.classes.macro_auroc is not None:
        shown.append((t("model.tile_macro"), f"{evaluation.classes.macro_auroc:.2f}", t("model.tile_macro_help")))
    elif found is not None and found.sensitivity and found.specificity:
        sensitivity, specificity = found.sensitivity, found.specificity
        for name, figure, cases, words in (
            (t("model.tile_found"), sensitivity, found.positives, t("model.tile_found_help", span=_span(sensitivity))),
            (
                t("model.tile_cleared"),
                specificity,
                found.negatives,
                t("model.tile_cleared_help", span=_span(specificity)),
            ),
        ):
            shown.append((name, _percent(figure.value), f"{words} ({cases})"))
    if evaluation.means is not None:
        places = sum(evaluation.labels[code].boxes for code in evaluation.means.labels)
        shown.append(
            (t("model.tile_place"), _percent(evaluation.means.pointing_game), t("model.tile_place_help", places=places))
        )
    for column, (name, value, words) in zip(st.columns(len(shown)) if shown else [], shown, strict=True):
        column.metric(name, value, border=True)
        column.caption(words)


def evaluation_figures(card: "ModelCard", evaluation: "Evaluation") -> None:
    """All figures of one evaluation, a tab for each kind that was measured."""
    st.caption(_provenance(evaluation))
    kinds: dict[str, Callable[[], None]] = {}
    if evaluation.segmentation is not None:
        kinds[t("model.tab_outline")] = lambda: _outlines(evaluation)
    if evaluation.labels:
        kinds[t("model.tab_scores")] = lambda: _scores(card, evaluation)
    if evaluation.classes is not None:
        kinds[t("model.tab_classes")] = lambda: _classes(card, evaluation)
    if any(found.threshold is not None for found in evaluation.labels.values()):
        kinds[t("model.tab_decisions")] = lambda: _decisions(card, evaluation)
    if any(found.boxes for found in evaluation.labels.values()):
        kinds[t("model.tab_places")] = lambda: _places(card, evaluation)
    if any(found.reliability for found in evaluation.labels.values()):
        kinds[t("model.tab_reliability")] = lambda: _reliability(card, evaluation)
    if evaluation.subgroups:
        kinds[t("model.tab_subgroups")] = lambda: _subgroups(card, evaluation)
    if evaluation.probes is not None:
        kinds[t("model.tab_probes")] = lambda: _probes(card, evaluation)
    for tab, draw in zip(st.tabs(list(kinds)) if kinds else [], kinds.values(), strict=True):
        with tab:
            draw()


def _provenance(evaluation: "Evaluation") -> str:
    words = [pictures_words(evaluation)]
    if evaluation.unreadable:
        words.append(t("model.unreadable", count=evaluation.unreadable))
    if evaluation.missing_regions:
        words.append(t("model.missing_regions", count=evaluation.missing_regions))
    return ". ".join(words) + "."


def _scores(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.scores_words"))
    _table(
        {
            t("model.column_label"): _term(card, code),
            t("model.column_cases"): f"{found.positives} / {found.negatives}",
            t("model.column_auroc"): _interval(found.auroc),
        }
        for code, found in evaluation.labels.items()
    )


def _classes(card: "ModelCard", evaluation: "Evaluation") -> None:
    """Accuracy, and what was answered for what."""
    figures = evaluation.classes
    if figures is None:
        return
    area = t("model.too_few") if figures.macro_auroc is None else f"{figures.macro_auroc:.3f}"
    error = f"{figures.calibration_error:.3f}"
    st.markdown(t("model.classes", accuracy=_interval(figures.accuracy), area=area, error=error))
    terms = [_term(card, code) for code in evaluation.labels]
    _table(
        {t("model.column_truth"): term} | {other: str(count) for other, count in zip(terms, row, strict=True)}
        for term, row in zip(terms, figures.confusion, strict=True)
    )


def _decisions(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.decisions_words"))
    _table(
        {
            t("model.column_label"): _term(card, code),
            t("model.column_threshold"): f"{found.threshold:.2f}",
            t("model.column_sensitivity"): _interval(found.sensitivity),
            t("model.column_specificity"): _interval(found.specificity),
            t("model.column_ppv"): _interval(found.ppv) if found.ppv else _NOTHING,
            t("model.column_npv"): _interval(found.npv) if found.npv else _NOTHING,
        }
        for code, found in evaluation.labels.items()
        if found.threshold is not None
    )


def _places(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.places_words"))
    _table(_place(card, code, found) for code, found in evaluation.labels.items() if found.boxes)
    means = evaluation.means
    if means is not None:
        terms = ", ".join(_term(card, code) for code in means.labels)
        values = {"pointing": f"{means.pointing_game:.2f}", "share": f"{means.energy_in_box:.2f}"}
        reached = " / ".join(f"{value:.2f}" for value in means.iobb.values()) or _NOTHING
        st.markdown(literal(t("model.places_mean", labels=terms, iobb=reached, **values)))


def _place(card: "ModelCard", code: str, found: "LabelFigures") -> Row:
    pointing = _number(found.pointing_game) if found.pointing_interval is None else _interval(found.pointing_interval)
    return {
        t("model.column_label"): _term(card, code),
        t("model.column_places"): str(found.boxes),
        t("model.column_pointing"): pointing,
        t("model.column_energy"): _number(found.energy_in_box),
        t("model.column_iobb"): " / ".join(f"{value:.2f}" for value in found.iobb.values()) or _NOTHING,
        t("model.column_false"): _NOTHING if found.false_boxes is None else f"{found.false_boxes:.1f}",
    }


def _reliability(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.reliability_words"))
    # Lines of nine labels hide each other: those of a headline, or of classes.
    codes = evaluation.labels if card.is_exclusive else [card.headline]
    curves = {_term(card, code): evaluation.labels[code].reliability for code in codes if code in evaluation.labels}
    axes = (t("model.axis_score"), t("model.axis_share"))
    left, right = st.columns([3, 2])
    left.vega_lite_chart(spec=reliability_spec(curves, axes), alt=t("model.reliability_alt"))
    with right:
        _table(
            {t("model.column_label"): _term(card, code), t("model.column_ece"): _number(found.ece, 3)}
            for code, found in evaluation.labels.items()
        )


def _subgroups(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.subgroups_words"))
    names = {"age": t("model.by_age"), "sex": t("model.by_sex"), "view": t("model.by_view")}
    for column, (name, groups) in zip(st.columns(len(evaluation.subgroups)), evaluation.subgroups.items(), strict=True):
        codes = list(dict.fromkeys(code for group in groups.values() for code in group.auroc)) or [card.headline]
        with column:
            _table(_group(card, names.get(name, name), group, found, codes) for group, found in groups.items())


def _group(card: "ModelCard", name: str, group: str, found: "SubgroupFigures", codes: list[str]) -> Row:
    areas = {_term(card, code): _interval(found.auroc.get(code)) for code in codes}
    return {name: group, t("model.column_images"): str(found.images), **areas}


def _probes(card: "ModelCard", evaluation: "Evaluation") -> None:
    probes = evaluation.probes
    if probes is None:
        return
    words = {"images": probes.images, "border": _percent(probes.border), "region": probes.region}
    st.caption(literal(t("model.probes_words", **words)))
    _table(
        {
            t("model.column_label"): _term(card, code),
            t("model.column_whole"): _interval(found.whole),
            t("model.column_file_size"): _interval(found.file_size),
            t("model.column_brightness"): _interval(found.brightness),
            t("model.column_border_learnt"): _interval(found.border_learnt),
            t("model.column_border"): _interval(found.border_only),
            t("model.column_blanked"): _interval(found.region_blanked),
        }
        for code, found in probes.labels.items()
    )
    areas = {"inside": f"{probes.inside_area:.2f}", "region": f"{probes.region_area:.2f}"}
    st.caption(t("model.evidence_words", **areas))
    _table(
        {
            t("model.column_label"): _term(card, code),
            t("model.column_inside"): _number(found.evidence_inside),
            t("model.column_in_region"): _number(found.evidence_in_region),
        }
        for code, found in probes.labels.items()
        if found.evidence_inside is not None
    )


def _outlines(evaluation: "Evaluation") -> None:
    figures = evaluation.segmentation
    if figures is None:
        return
    parts = {t("model.all_pictures"): figures.overlap, **figures.classes}
    _table(
        {
            t("model.column_part"): name,
            t("model.column_images"): str(overlap.pictures),
            t("model.column_dice"): _interval(overlap.dice),
            t("model.column_median_dice"): f"{overlap.median_dice:.2f}",
            t("model.column_iou"): _interval(overlap.iou),
        }
        for name, overlap in parts.items()
    )
    st.caption(
        t("model.outline_words", missed=figures.missed, normals=figures.normals, false=_interval(figures.false_masks))
    )


def _table(rows: Iterable[Row]) -> None:
    """Rows of words, shown literally."""
    kept = [{literal(name): literal(cell) for name, cell in row.items()} for row in rows]
    if kept:
        st.table(kept, border="horizontal", hide_index=True)


def _term(card: "ModelCard", code: str) -> str:
    """A label's plain words without what stands in brackets."""
    return next((label.words.split(" (")[0] for label in card.labels if label.code == code), code)


def _interval(interval: "Interval | None") -> str:
    if interval is None:
        return t("model.too_few")
    return t("model.interval", value=f"{interval.value:.2f}", low=f"{interval.low:.2f}", high=f"{interval.high:.2f}")


def _span(interval: "Interval") -> str:
    return t("model.span", low=_percent(interval.low), high=_percent(interval.high))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _number(value: float | None, digits: int = 2) -> str:
    return _NOTHING if value is None else f"{value:.{digits}f}"
