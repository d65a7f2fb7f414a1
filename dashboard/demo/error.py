"""The last stop: a film on which the network errs. One looks first, then the network speaks, then the truth is shown."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard import state
from dashboard.answer import Answer
from dashboard.demo import cases
from dashboard.demo.film import answered, film_beside, film_with_map
from dashboard.demo.stage import say
from dashboard.pointing.picture import Mark, pointing_picture
from dashboard.score_table import score_table, shown_scores
from dashboard.tables import percent_words, term
from dashboard.texts import literal, t
from dashboard.trust_panel import trust_panel
from dashboard.widgets import error_box

if TYPE_CHECKING:
    from core.scan import Scan

# x, y, width and height, in shares of a film.
Box = tuple[float, float, float, float]
_PICTURE = 448
_WIDTHS = (5, 4, 4)


def error() -> None:
    """The film by itself; once asked, the answer, the truth and what follows from both."""
    with st.spinner(t("demo.drawing")):
        planted = cases.planted()
    case = planted.case
    left, middle, right = film_beside(case, *_WIDTHS)
    if not state.is_told():
        film_with_map(left, case, None)
        with middle:
            say(t("demo.look_first"))
            st.button(t("demo.speak"), on_click=state.tell, type="primary", icon=":material/record_voice_over:")
        return
    with middle:
        answer = answered(case)
    film_with_map(left, case, answer)
    if answer is None or case.scan is None:
        return
    with middle:
        _verdict(answer)
        _truth(case.scan, planted.box)
    with right:
        _what_follows(answer, planted.box)
    below, scores = st.columns(2, gap="large")
    with below:
        trust_panel(case.scan, 0, answer)
    with scores, st.expander(t("demo.all_scores")):
        score_table(answer)


def is_missed(answer: Answer) -> bool:
    """Whether the model has operating points, and no label reaches its own."""
    card, scores = answer.model.card, answer.analysis.prediction.scores
    points = {code: point for code in card.label_codes if (point := card.threshold(code)) is not None}
    return bool(points) and all(scores[code] < point for code, point in points.items())


def peak_is_inside(answer: Answer, box: Box) -> bool:
    """Whether the strongest evidence for the foremost label lies in a box in shares of the film."""
    film = answer.analysis.letterbox
    evidence = answer.analysis.heatmap(answer.foremost_label).evidence
    laid_out = film.to_scan_grid(evidence, film.rows, film.columns)
    row, column = np.unravel_index(int(laid_out.argmax()), laid_out.shape)
    x, y, width, height = box
    return bool(0 <= column / film.columns - x < width and 0 <= row / film.rows - y < height)


def _truth(scan: "Scan", box: Box) -> None:
    """The film with a frame around what was drawn into it."""
    from core.inside.convolution import grey_levels, grey_png

    frame = Mark(*box, "window", t("demo.drawn"))
    picture = grey_png(grey_levels(scan, 0, _PICTURE))
    pointing_picture("demo-truth", picture, None, alt=t("demo.truth_alt"), marks=(frame,))


def _verdict(answer: Answer) -> None:
    if not is_missed(answer):
        error_box(t("demo.planted"), t("demo.called"))
        return
    card, shown = answer.model.card, shown_scores(answer)
    code = cases.PLANTED if cases.PLANTED in shown else card.headline
    score, point = shown[code].text, shown[code].point_text or "–"
    error_box(t("demo.planted"), t("demo.missed", label=term(card, code).lower(), score=score, point=point))


def _what_follows(answer: Answer, box: Box) -> None:
    """The heatmap, the operating point and the reader, each in a sentence with this film's own numbers."""
    st.markdown(t("demo.map_right" if peak_is_inside(answer, box) else "demo.map_wrong"))
    if is_missed(answer) and (price := _price(answer)):
        st.markdown(price)
    st.markdown(t("demo.reader"))


def _price(answer: Answer) -> str:
    """What calling this film would cost: more healthy people called at an operating point as low as its score."""
    from core.confidence.calibration import confidence_of
    from core.confidence.operating import outcome_at

    card = answer.model.card
    confidence, own = confidence_of(card), card.threshold(card.headline)
    roc = confidence.curves.get(card.headline) if confidence else None
    if roc is None or own is None:
        return ""
    now, lower = (outcome_at(roc, at) for at in (own, answer.analysis.prediction.scores[card.headline]))
    alarms, more = (percent_words(1 - outcome.specificity.value) for outcome in (now, lower))
    return t("demo.price", label=literal(term(card, card.headline)), alarms=alarms, more=more)
