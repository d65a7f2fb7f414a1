"""Shared small pieces: opening a case, the banner, error boxes, the score table."""

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.answer import Answer, Failed, Unread, Withheld, answer_for, card_for, readers
from dashboard.texts import literal, t
from dashboard.who import admit, name_in_sidebar

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.confidence.novelty import Novelty
    from core.models.card import ModelCard
    from core.reading.doctor import Verdict
    from core.reading.guard import Progress
    from core.scan import Scan

DEFAULT_SAMPLE_PARAMETER = "sample"
_POLL_SECONDS = 0.25
# Every look takes time from the import that it waits for.
_SLOW_POLL_SECONDS = 1.0
# Streamlit's own margins are made for text; a reading room needs the width.
_STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding: 4rem 2rem 2rem; max-width: 1700px}
[data-testid="stSidebarUserContent"] {padding-top: 0}
</style>"""


def open_panel() -> None:
    """The sidebar: upload a scan or choose a sample. The first visit opens the first sample, or the one in the address."""
    st.html(_STYLE)
    admit()
    with st.sidebar:
        if cache.start_up().reading.is_set():
            name_in_sidebar()
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


def wait_for_answer() -> bool:
    """Whether models can answer; while they cannot, a sign of life that looks again by itself."""
    if cache.start_up().answers.is_set():
        return True
    _waiting(t("start.answers"), "answers")
    return False


def wait_for_network() -> bool:
    """Whether networks can run; while they cannot, a sign of life that looks again by itself."""
    if cache.start_up().network.is_set():
        return True
    cache.start_up().want_network()
    _waiting(t("start.network"), "network", _SLOW_POLL_SECONDS)
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
    """The sentence of a file that cannot be opened."""
    st.text(case.title)
    error_box(t("refused.title"), case.refusal or "")


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


def banner(case: state.Case, scan: "Scan", frame: int, answer: Answer | Withheld | Failed | Unread | None) -> None:
    """Which case and which model this page speaks of."""
    facts = [scan.facts.get("Modality", scan.source_format), scan.facts.get("BodyPartExamined", ""), scan.facts["Size"]]
    if scan.frame_count > 1:
        facts.append(t("banner.frame", frame=frame + 1, count=scan.frame_count))
    if case.simulated:
        facts.append(t("banner.simulated"))
    model, despite = t("banner.no_model"), ""
    if isinstance(answer, Answer):
        card = answer.model.card
        model = f"{card.title} {card.version} ({card.weights_sha256[:8]})"
        despite = t("banner.despite") if answer.despite else ""
    elif isinstance(answer, Unread):
        model, despite = t("reading.waits"), f"{answer.by.title} {answer.by.version}"
    elif isinstance(answer, Withheld) and answer.by is not None:
        model = t("banner.held_back", model=f"{answer.by.title} {answer.by.version}")
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.2rem 2rem;padding:.5rem .8rem;border-left:4px solid #3f8fbf;'
        'background:rgba(127,127,127,.10);border-radius:.3rem">'
        + _banner_part(t("banner.case"), case.title, " · ".join(fact for fact in facts if fact))
        + _banner_part(t("banner.model"), model, despite)
        + "</div>"
    )


def error_box(title: str, sentence: str) -> None:
    """A sentence for the reader, shown literally: it may hold what a file says."""
    with st.container(border=True):
        st.markdown(f":material/error: **{title}**")
        st.text(sentence)


def withheld_box(scan: "Scan", withheld: Withheld) -> None:
    """Why there is no answer, and the models that can be tried by hand; or how to see it all the same."""
    if withheld.held_back is not None and withheld.by is not None:
        _held_back_box(withheld.held_back, withheld.by)
        return
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


def _held_back_box(novel: "Novelty", card: "ModelCard") -> None:
    """Outside the novelty gate: the reason, the nearest look, and a button that is remembered."""
    error_box(t("withheld.novel"), novel.reason or "")
    if novel.odd:
        st.text(t("withheld.nearest", look=novel.nearest))
    st.caption(t("withheld.novel_words", title=literal(card.title)))
    st.button(
        t("withheld.anyway"),
        on_click=state.choose,
        args=(state.choice(state.SHOWN_ANYWAY, card.weights_sha256), True),
        icon=":material/visibility:",
    )


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


def _waiting(words: str, event: str, every: float = _POLL_SECONDS) -> None:
    start = cache.start_up()

    @st.fragment(run_every=every)
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
