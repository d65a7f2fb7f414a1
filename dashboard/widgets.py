"""Shared small pieces: opening a case, the banner, error boxes, the score table."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.answer import Answer, Failed, Withheld, answer_for, card_for, readers
from dashboard.texts import t

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.models.card import ModelCard
    from core.reading.doctor import Verdict
    from core.reading.guard import Progress
    from core.scan import Scan

DEFAULT_SAMPLE_PARAMETER = "sample"
_POLL_SECONDS = 0.4
# Streamlit's own margins are made for text; a reading room needs the width.
_STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding: 4rem 2rem 2rem; max-width: 1700px}
[data-testid="stSidebarUserContent"] {padding-top: 0}
</style>"""


def open_panel() -> None:
    """The sidebar: upload a scan or choose a sample. The first visit opens the first sample, or the one in the address."""
    st.html(_STYLE)
    with st.sidebar:
        st.subheader(t("open.title"))
        files = _uploader()
        _sample_choice()
        if state.current_case() is not None:
            st.button(t("open.close"), on_click=state.close_case)
        st.caption(t("app.notice"))
    if files:
        _take(files)
        st.rerun()


def _uploader() -> "list[UploadedFile]":
    """Files, several files, an archive or a folder: what belongs together is opened together."""
    folder = st.toggle(t("open.folder"), key=state.FOLDER)
    found = st.file_uploader(
        t("open.upload"),
        help=t("open.upload_help"),
        accept_multiple_files="directory" if folder else True,
        key=state.upload_key(),
    )
    return list(found)


def _take(files: "list[UploadedFile]") -> None:
    """Read an upload, with a preview where the file offers one, and a sign of life until it is there."""
    place, picture = st.empty(), st.empty()
    place.progress(0.0, t("open.reading"))
    if len(files) == 1 and (preview := cache.preview_png(files[0].getvalue())):
        picture.image(preview, caption=t("open.preview"), output_format="PNG")

    def report(progress: "Progress") -> None:
        if progress.waiting:
            place.progress(0.0, t("open.waiting"))
        elif progress.total > 1:
            share = progress.done / progress.total
            place.progress(share, t("open.reading_of", done=progress.done + 1, total=progress.total))

    state.take_uploads(files, report)


def wait_for_reading() -> bool:
    """Whether files can be opened; while they cannot, a sign of life that looks again by itself."""
    if cache.start_up().reading.is_set():
        return True
    _waiting(t("start.opening"), "reading")
    return False


def wait_for_network() -> bool:
    """Whether networks can run; while they cannot, a sign of life that looks again by itself."""
    if cache.start_up().network.is_set():
        return True
    _waiting(t("start.network"), "network")
    return False


def case_or_sentence() -> "tuple[state.Case, Scan] | None":
    """The open case and its scan; where there is none, the page says why."""
    case = state.current_case()
    if case is None:
        st.info(t("empty.text"), title=t("empty.title"))
        return None
    if case.scan is None:
        refused(case)
        return None
    return case, case.scan


def refused(case: state.Case) -> None:
    """The sentence of a file that cannot be opened; the notes on the case before it stay."""
    st.text(case.title)
    error_box(t("refused.title"), case.refusal or "")
    former = state.former_case()
    if former and state.notes(former[0]):
        st.markdown(f"**{t('refused.kept_notes')}**")
        st.text(former[1])
        notes_field(former[0])


def series_choice(case: state.Case) -> None:
    """Which scan of an upload of several is in front, and which files are no part of it."""
    if len(case.scans) > 1:
        titles = [f"{index + 1}. {_series_title(scan)}" for index, scan in enumerate(case.scans)]
        state.prefer(state.SERIES, case.front)
        st.selectbox(
            t("series.choose", count=len(case.scans)),
            range(len(case.scans)),
            format_func=lambda index: titles[index],
            key=state.SERIES,
            on_change=state.show_chosen_series,
        )
    if case.left_out:
        with st.expander(t("series.left_out", count=len(case.left_out))):
            for left in case.left_out:
                st.text(f"{left.name}: {left.reason}")


def _series_title(scan: "Scan") -> str:
    facts = scan.facts
    parts = (facts.get("Modality", scan.source_format), facts.get("BodyPartExamined", ""), facts["Size"])
    return ", ".join(part for part in parts if part)


def verdict_list(verdicts: "tuple[Verdict, ...]") -> None:
    """What the doctor found: warnings in full, notes folded away."""
    warnings = [verdict for verdict in verdicts if verdict.severity != "note"]
    notes = [verdict for verdict in verdicts if verdict.severity == "note"]
    for verdict in warnings:
        with st.container(border=True):
            st.markdown(f":material/warning: **{verdict.name}**")
            st.text(f"{verdict.sentence} {verdict.advice}")
    if notes:
        with st.expander(t("doctor.notes", count=len(notes))):
            for verdict in notes:
                st.markdown(f"**{verdict.name}**")
                st.text(f"{verdict.sentence} {verdict.advice}")


def banner(case: state.Case, scan: "Scan", frame: int, answer: Answer | Withheld | Failed | None) -> None:
    """Which case and which model this page speaks of."""
    facts = [scan.facts.get("Modality", scan.source_format), scan.facts.get("BodyPartExamined", ""), scan.facts["Size"]]
    if scan.frame_count > 1:
        facts.append(t("banner.frame", frame=frame + 1, count=scan.frame_count))
    if case.simulated:
        facts.append(t("banner.simulated"))
    model = t("banner.no_model")
    if isinstance(answer, Answer):
        card = answer.model.card
        model = f"{card.title} {card.version} ({card.weights_sha256[:8]})"
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.2rem 2rem;padding:.5rem .8rem;border-left:4px solid #3f8fbf;'
        'background:rgba(127,127,127,.10);border-radius:.3rem">'
        + _banner_part(t("banner.case"), case.title, " · ".join(fact for fact in facts if fact))
        + _banner_part(t("banner.model"), model, "")
        + "</div>"
    )


def error_box(title: str, sentence: str) -> None:
    """A sentence for the reader, shown literally: it may hold what a file says."""
    with st.container(border=True):
        st.markdown(f":material/error: **{title}**")
        st.text(sentence)


def withheld_box(scan: "Scan", withheld: Withheld) -> None:
    """Why there is no answer, and the models that can be tried by hand."""
    error_box(t("withheld.title"), withheld.reason)
    if withheld.choices:
        titles = {card.id: card.title for card in withheld.choices}
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        chosen = left.selectbox(
            t("withheld.model"), list(titles), format_func=lambda identifier: titles[identifier], key=state.BY_HAND
        )
        if right.button(t("withheld.choose"), width="stretch"):
            if problem := state.try_model_by_hand(scan.digest, chosen):
                error_box(t("models.inactive"), problem)
            else:
                st.rerun()


def reader_choice(scan: "Scan") -> None:
    """Which model reads the scan, where there is a choice."""
    titles = {card.id: card.title for card in readers(scan)}
    if len(titles) < 2:
        return
    key = state.choice(state.READ_BY)
    state.prefer(key, card_for(scan)[0].id)
    st.selectbox(
        t("review.read_by"),
        list(titles),
        format_func=lambda identifier: titles[identifier],
        key=key,
        help=t("review.read_by_help"),
        on_change=state.take_chosen_reader,
        args=(key, scan.digest),
    )
    if problem := state.inactive_model():
        error_box(t("models.inactive"), problem)


def answer_with_progress(scan: "Scan", frame: int) -> Answer | Withheld | Failed:
    """The answer, with a sign of life while the network works."""
    with st.spinner(t("working.analysis")):
        return answer_for(scan, frame)


def notes_field(case_key: str) -> None:
    """The reader's notes on a case."""
    st.text_area(
        t("review.notes"),
        value=state.notes(case_key),
        key=state.note_key(case_key),
        help=t("review.notes_help"),
        on_change=state.keep_notes,
        args=(case_key,),
    )


def score_texts(answer: Answer) -> dict[str, str]:
    """Every label's score in words."""
    return {code: score_text(score) for code, score in answer.analysis.prediction.scores.items()}


def score_table(answer: Answer) -> None:
    """Every label with its score as number and bar, the operating point as a tick, and what that means in words."""
    card, scores = answer.model.card, answer.analysis.prediction.scores
    rows = "".join(_score_row(card, label.code, label.words, scores[label.code]) for label in card.labels)
    heads = "".join(
        f'<th scope="col" colspan="{span}" style="text-align:left;padding:.2rem .4rem;font-weight:600">{html.escape(t(key))}</th>'
        for key, span in (("review.column_label", 1), ("review.column_score", 2), ("review.column_threshold", 1))
    )
    st.html(
        f'<table style="width:100%;border-collapse:collapse;font-size:.92rem"><thead><tr>{heads}</tr></thead>{rows}</table>'
    )
    rule = next((point.rule for point in card.thresholds.values()), "")
    if card.published_points:
        st.caption(t("review.published_points"))
    elif rule:
        st.caption(t("review.uncalibrated", rule=rule))


def score_text(score: float) -> str:
    """Two decimals, never 0 or 1: no score is certain."""
    return "< 0.01" if score < 0.01 else "> 0.99" if score > 0.99 else f"{score:.2f}"


def _sample_choice() -> None:
    if not cache.start_up().reading.is_set():
        return
    from core.samples import list_samples

    samples = {sample.id: sample for sample in list_samples()}
    if state.first_visit():
        asked = st.query_params.get(DEFAULT_SAMPLE_PARAMETER, "")
        state.open_sample(asked if asked in samples else next(iter(samples)))
    st.selectbox(
        t("open.sample"),
        list(samples),
        index=None,
        format_func=lambda identifier: samples[identifier].title,
        key=state.SAMPLE,
        placeholder=t("open.sample_choose"),
        on_change=state.open_chosen_sample,
    )


def _waiting(words: str, event: str) -> None:
    start = cache.start_up()

    @st.fragment(run_every=_POLL_SECONDS)
    def poll() -> None:
        if start.problem.is_set():
            error_box(t("missing.title"), t("start.problem"))
        elif getattr(start, event).is_set():
            st.rerun()
        else:
            st.info(words, icon=":material/hourglass_top:")

    poll()


def _banner_part(name: str, value: str, detail: str) -> str:
    small = f'<div style="opacity:.75;font-size:.85rem">{html.escape(detail)}</div>' if detail else ""
    return (
        f'<div><span style="opacity:.75;font-size:.8rem">{html.escape(name)}</span>'
        f'<div style="font-weight:600;overflow-wrap:anywhere">{html.escape(value)}</div>{small}</div>'
    )


def _score_row(card: "ModelCard", code: str, words: str, score: float) -> str:
    point = card.threshold(code)
    meaning = t("review.no_threshold")
    if point is not None:
        meaning = t("review.above" if score >= point else "review.below", threshold=f"{point:.2f}")
    cell = "padding:.35rem .4rem;vertical-align:middle"
    return (
        f'<tr data-label="{html.escape(code)}" style="border-top:1px solid rgba(127,127,127,.25)">'
        f'<td style="{cell}">{_label_words(words)}</td>'
        f'<td style="{cell};width:30%">{_bar(score, point)}</td>'
        f'<td style="{cell};font-variant-numeric:tabular-nums;white-space:nowrap">{html.escape(score_text(score))}</td>'
        f'<td style="{cell};font-size:.85rem;white-space:nowrap">{html.escape(meaning)}</td></tr>'
    )


def _label_words(words: str) -> str:
    """The term, with its plain words in brackets set smaller."""
    term, _, plain = words.partition(" (")
    small = f' <span style="font-size:.8rem;opacity:.75">({html.escape(plain)}</span>' if plain else ""
    return html.escape(term) + small


def _bar(score: float, point: float | None) -> str:
    tick = ""
    if point is not None:
        place = f"left:calc({100 * point:.1f}% - 1px)"
        tick = f'<div style="position:absolute;{place};top:-3px;width:2px;height:14px;background:currentColor"></div>'
    return (
        '<div style="position:relative;height:8px;background:rgba(127,127,127,.25);border-radius:4px">'
        f'<div style="width:{100 * score:.1f}%;height:8px;background:#3f8fbf;border-radius:4px"></div>{tick}</div>'
    )
