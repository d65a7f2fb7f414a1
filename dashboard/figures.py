"""An evaluation on a page: one sentence first, then small tables, each with the words that it needs."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.charts import free_response_spec, reliability_spec
from dashboard.tables import NOTHING, Row, interval_words, number_words, percent_words, span_words, table, term
from dashboard.texts import literal, t

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.models.card import Evaluation, LabelFigures, ModelCard, SubgroupFigures
    from core.models.place_card import PlaceFigures


def headline_evaluation(card: "ModelCard") -> "Evaluation | None":
    """The evaluation that says most of how well the model reads: development figures, else held-out ones, else any."""
    order = ("cross-validation", "held-out", "simulated")
    return min(card.evaluations, key=lambda evaluation: order.index(evaluation.kind), default=None)


def headline(card: "ModelCard", evaluation: "Evaluation") -> str:
    """What the model can do, in one sentence of Markdown."""
    of = pictures_words(evaluation)
    if evaluation.segmentation is not None:
        return t("model.line_outline", dice=interval_words(evaluation.segmentation.overlap.dice), of=of)
    if evaluation.classes is not None:
        accuracy = evaluation.classes.accuracy
        return t("model.line_classes", accuracy=percent_words(accuracy.value), span=span_words(accuracy), of=of)
    found, words = evaluation.labels.get(card.headline), literal(term(card, card.headline))
    if found is None or found.auroc is None:
        return t("model.line_unknown", label=words, of=of)
    return t("model.line_label", label=words, area=interval_words(found.auroc), of=of)


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
            (
                t("model.tile_found"),
                sensitivity,
                found.positives,
                t("model.tile_found_help", span=span_words(sensitivity)),
            ),
            (
                t("model.tile_cleared"),
                specificity,
                found.negatives,
                t("model.tile_cleared_help", span=span_words(specificity)),
            ),
        ):
            shown.append((name, percent_words(figure.value), f"{words} ({cases})"))
    if evaluation.means is not None:
        places = sum(evaluation.labels[code].boxes for code in evaluation.means.labels)
        shown.append(
            (
                t("model.tile_place"),
                percent_words(evaluation.means.pointing_game),
                t("model.tile_place_help", places=places),
            )
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
    table(
        {
            t("model.column_label"): term(card, code),
            t("model.column_cases"): f"{found.positives} / {found.negatives}",
            t("model.column_auroc"): interval_words(found.auroc),
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
    st.markdown(t("model.classes", accuracy=interval_words(figures.accuracy), area=area, error=error))
    terms = [term(card, code) for code in evaluation.labels]
    table(
        {t("model.column_truth"): term} | {other: str(count) for other, count in zip(terms, row, strict=True)}
        for term, row in zip(terms, figures.confusion, strict=True)
    )


def _decisions(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.decisions_words"))
    table(
        {
            t("model.column_label"): term(card, code),
            t("model.column_threshold"): f"{found.threshold:.2f}",
            t("model.column_sensitivity"): interval_words(found.sensitivity),
            t("model.column_specificity"): interval_words(found.specificity),
            t("model.column_ppv"): interval_words(found.ppv) if found.ppv else NOTHING,
            t("model.column_npv"): interval_words(found.npv) if found.npv else NOTHING,
        }
        for code, found in evaluation.labels.items()
        if found.threshold is not None
    )


def _places(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.places_words"))
    table(_place(card, code, found) for code, found in evaluation.labels.items() if found.boxes)
    means = evaluation.means
    if means is not None:
        terms = ", ".join(term(card, code) for code in means.labels)
        values = {"pointing": f"{means.pointing_game:.2f}", "share": f"{means.energy_in_box:.2f}"}
        reached = " / ".join(f"{value:.2f}" for value in means.iobb.values()) or NOTHING
        st.markdown(literal(t("model.places_mean", labels=terms, iobb=reached, **values)))
    _free_response(card, evaluation)


def _free_response(card: "ModelCard", evaluation: "Evaluation") -> None:
    """Sensitivity against false places a picture: a sentence, the curve, and each label at the card's own threshold."""
    measured = {code: found.places for code, found in evaluation.labels.items() if found.places}
    if not measured:
        return
    st.markdown(f"**{t('model.froc_title')}**")
    mean = evaluation.means.places if evaluation.means else None
    if mean is not None:
        st.markdown(
            literal(t("model.froc_mean", half=interval_words(mean.at["0.5"]), two=interval_words(mean.at["2"])))
        )
    st.caption(t("model.froc_words"))
    curves = {term(card, code): found.curve for code, found in measured.items()}
    axes = (t("model.axis_false"), t("model.axis_sensitivity"))
    spec = free_response_spec(curves, mean.at if mean else None, axes)
    st.vega_lite_chart(spec=spec, alt=t("model.froc_alt"))
    table(_tuned(card, code, found) for code, found in measured.items() if found.threshold is not None)


def _tuned(card: "ModelCard", code: str, found: "PlaceFigures") -> Row:
    return {
        t("model.column_label"): term(card, code),
        t("model.column_findings"): f"{found.findings} / {found.pictures}",
        t("model.column_sensitivity"): interval_words(found.sensitivity),
        t("model.column_false_places"): interval_words(found.false_places),
        t("model.column_place_iou"): " / ".join(f"{value:.2f}" for value in found.iou.values()),
    }


def _place(card: "ModelCard", code: str, found: "LabelFigures") -> Row:
    pointing = (
        number_words(found.pointing_game)
        if found.pointing_interval is None
        else interval_words(found.pointing_interval)
    )
    return {
        t("model.column_label"): term(card, code),
        t("model.column_places"): str(found.boxes),
        t("model.column_pointing"): pointing,
        t("model.column_energy"): number_words(found.energy_in_box),
        t("model.column_iobb"): " / ".join(f"{value:.2f}" for value in found.iobb.values()) or NOTHING,
        t("model.column_false"): NOTHING if found.false_boxes is None else f"{found.false_boxes:.1f}",
    }


def _reliability(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.reliability_words"))
    # Lines of nine labels hide each other: those of a headline, or of classes.
    codes = evaluation.labels if card.is_exclusive else [card.headline]
    curves = {term(card, code): evaluation.labels[code].reliability for code in codes if code in evaluation.labels}
    axes = (t("model.axis_score"), t("model.axis_share"))
    left, right = st.columns([3, 2])
    left.vega_lite_chart(spec=reliability_spec(curves, axes), alt=t("model.reliability_alt"))
    with right:
        table(
            {t("model.column_label"): term(card, code), t("model.column_ece"): number_words(found.ece, 3)}
            for code, found in evaluation.labels.items()
        )


def _subgroups(card: "ModelCard", evaluation: "Evaluation") -> None:
    st.caption(t("model.subgroups_words"))
    names = {"age": t("model.by_age"), "sex": t("model.by_sex"), "view": t("model.by_view")}
    for column, (name, groups) in zip(st.columns(len(evaluation.subgroups)), evaluation.subgroups.items(), strict=True):
        codes = list(dict.fromkeys(code for group in groups.values() for code in group.auroc)) or [card.headline]
        with column:
            table(_group(card, names.get(name, name), group, found, codes) for group, found in groups.items())


def _group(card: "ModelCard", name: str, group: str, found: "SubgroupFigures", codes: list[str]) -> Row:
    areas = {term(card, code): interval_words(found.auroc.get(code)) for code in codes}
    return {name: group, t("model.column_images"): str(found.images), **areas}


def _probes(card: "ModelCard", evaluation: "Evaluation") -> None:
    probes = evaluation.probes
    if probes is None:
        return
    words = {"images": probes.images, "border": percent_words(probes.border), "region": probes.region}
    st.caption(literal(t("model.probes_words", **words)))
    table(
        {
            t("model.column_label"): term(card, code),
            t("model.column_whole"): interval_words(found.whole),
            t("model.column_file_size"): interval_words(found.file_size),
            t("model.column_brightness"): interval_words(found.brightness),
            t("model.column_border_learnt"): interval_words(found.border_learnt),
            t("model.column_border"): interval_words(found.border_only),
            t("model.column_blanked"): interval_words(found.region_blanked),
        }
        for code, found in probes.labels.items()
    )
    areas = {"inside": f"{probes.inside_area:.2f}", "region": f"{probes.region_area:.2f}"}
    st.caption(t("model.evidence_words", **areas))
    table(
        {
            t("model.column_label"): term(card, code),
            t("model.column_inside"): number_words(found.evidence_inside),
            t("model.column_in_region"): number_words(found.evidence_in_region),
        }
        for code, found in probes.labels.items()
        if found.evidence_inside is not None
    )


def _outlines(evaluation: "Evaluation") -> None:
    figures = evaluation.segmentation
    if figures is None:
        return
    parts = {t("model.all_pictures"): figures.overlap, **figures.classes}
    table(
        {
            t("model.column_part"): name,
            t("model.column_images"): str(overlap.pictures),
            t("model.column_dice"): interval_words(overlap.dice),
            t("model.column_median_dice"): f"{overlap.median_dice:.2f}",
            t("model.column_iou"): interval_words(overlap.iou),
        }
        for name, overlap in parts.items()
    )
    st.caption(
        t(
            "model.outline_words",
            missed=figures.missed,
            normals=figures.normals,
            false=interval_words(figures.false_masks),
        )
    )
