"""A filter's passport: where it fires here and elsewhere, what silencing it does, which label it speaks for."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache
from dashboard.inside.changes import change_table, changed_analysis
from dashboard.inside.numbers import fact_list, number, signed
from dashboard.inside.opening import Inside, label_words
from dashboard.pointing.picture import Mark, pointing_picture
from dashboard.texts import t

if TYPE_CHECKING:
    from core.inside.passports import FilterPassport, Passports
    from core.inside.receptive_field import ReceptiveField


def passport(inside: Inside, layer: str, channel: int) -> None:
    """Three columns: this scan, this answer, other pictures."""
    st.markdown(f"#### {t('passport.title', channel=channel)}")
    here, answer, others = st.columns(3, gap="large")
    with here:
        st.markdown(f"**{t('passport.here')}**")
        _places_here(inside, layer, channel)
    with answer:
        st.markdown(f"**{t('passport.silenced')}**")
        _silenced(inside, layer, channel)
        _silenced_elsewhere(inside, layer, channel)
    with others:
        st.markdown(f"**{t('passport.speaks')}**")
        _speaks(inside, layer, channel)
        st.markdown(f"**{t('passport.others')}**")
        _others(inside, layer, channel)


def mark_of(field: "ReceptiveField", inside: Inside, words: str = "", kind: str = "seen") -> Mark | None:
    """What a cell sees as a box on the scan; None where it sees nothing of it."""
    box = field.on_scan(inside.recording.letterbox)
    if box is None:
        return None
    rows, columns = inside.scan.shape
    left, top, width, height = box
    return Mark(left / columns, top / rows, width / columns, height / rows, kind, words)  # type: ignore[arg-type]


def _places_here(inside: Inside, layer: str, channel: int) -> None:
    from core.inside.altering import heard_as
    from core.inside.feature_maps import over_scan_png, strongest_places
    from core.inside.receptive_field import receptive_field

    heard = heard_as(inside.model, layer)
    values = inside.recording.value(inside.recording.step(heard))[channel].numpy()
    cells = strongest_places(values)
    marks = [
        mark
        for order, (row, column) in enumerate(cells if inside.recording.followed else (), 1)
        if (mark := mark_of(receptive_field(inside.recording, heard, row, column), inside, str(order)))
    ]
    png = over_scan_png(inside.scan, inside.frame, inside.recording.letterbox, values, opacity=0.45)
    pointing_picture(f"fires-{layer}", png, None, marks=marks, alt=t("passport.here"))
    if not cells:
        st.caption(t("passport.nowhere"))
        return
    told = ", ".join(f"{order}: {number(float(values[cell]))}" for order, cell in enumerate(cells, 1))
    st.caption(t("passport.here_words", values=told))


def _silenced(inside: Inside, layer: str, channel: int) -> None:
    from core.inside.altering import Change

    try:
        after = changed_analysis(inside, {layer: Change(silenced=frozenset({channel}))})
    except RadLensError as exc:
        st.text(str(exc))
        return
    change_table(inside, after)
    st.caption(t("passport.silenced_words"))


def _speaks(inside: Inside, layer: str, channel: int) -> None:
    try:
        added = cache.contributions(*inside.key, layer, inside.scan, inside.model)[:, channel]
    except RadLensError as exc:
        st.text(str(exc))
        return
    words = list(label_words(inside).values())
    ranked = sorted(zip(words, (float(value) for value in added), strict=True), key=lambda pair: -abs(pair[1]))
    fact_list([(label, signed(value)) for label, value in ranked[:4]])
    st.caption(t("passport.speaks_words"))


def _others(inside: Inside, layer: str, channel: int) -> None:
    found = cache.passports(inside.card.id, inside.card.weights_sha256)
    one = found.of(layer, channel) if found else None
    if found is None or one is None:
        st.caption(t("passport.not_measured"))
        return
    if not one.top:
        st.caption(t("passport.never", count=found.pictures))
        return
    fact_list([_line(inside, found, one, at) for at in range(len(one.top))])
    st.caption(t("passport.others_words", count=found.pictures))
    if one.label is not None and one.auroc is not None:
        key = "passport.for" if one.auroc >= 0.5 else "passport.against"
        area = max(one.auroc, 1 - one.auroc)
        st.caption(t(key, label=label_words(inside).get(one.label, one.label), auroc=f"{area:.2f}"))


def _silenced_elsewhere(inside: Inside, layer: str, channel: int) -> None:
    """What the network loses without the filter, over many pictures."""
    found = cache.passports(inside.card.id, inside.card.weights_sha256)
    one = None if found is None else found.of(layer, channel)
    if found is None or one is None:
        return
    st.markdown(f"**{t('passport.loses')}**")
    lost = one.silenced
    if lost is None:
        some = any(other.silenced for filters in found.layers.values() for other in filters)
        st.caption(t("passport.loses_unmeasured" if some else "passport.loses_not_yet"))
        return
    change = lost.after - lost.before
    fact_list(
        [
            (t("passport.auroc_of", label=label_words(inside).get(lost.label, lost.label)), f"{lost.before:.3f}"),
            (t("passport.auroc_without"), f"{lost.after:.3f} ({signed(round(change, 3)) if change else '±0'})"),
        ]
    )
    st.caption(t("passport.loses_words", count=lost.pictures))


def _line(inside: Inside, found: "Passports", one: "FilterPassport", at: int) -> tuple[str, str]:
    firing, words = one.top[at], label_words(inside)
    truths = ", ".join(words.get(code, code) for code in found.truths.get(firing.picture, ()))
    place = t("passport.place", x=firing.x, y=firing.y)
    return t(
        "passport.picture", number=firing.picture, labels=truths or t("passport.unlabelled")
    ), f"{number(firing.value)} {place}"
