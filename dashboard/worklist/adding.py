"""Many files at once: films, folders, archives. What cannot be read is named with its sentence; the rest goes on."""

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import cache, state
from dashboard.texts import t

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.reading.guard import Progress
    from core.reviews.opening import Reviews
    from core.reviews.record import Reader

_MOST_NAMED = 200


def add_panel(reviews: "Reviews", reader: "Reader", *, unfolded: bool) -> None:
    """The upload, folded away once there are cases, and what came of the last one.

    Raises StoreError.
    """
    with st.expander(t("worklist.add"), expanded=unfolded, icon=":material/upload_file:"):
        folder = st.toggle(t("worklist.folder"), key=state.LIST_FOLDER)
        files = st.file_uploader(
            t("worklist.upload"),
            help=t("worklist.upload_help"),
            accept_multiple_files="directory" if folder else True,
            key=state.list_upload_key(),
        )
        st.caption(_where_files_live(reviews))
    if files:
        _take(list(files), reviews, reader)
        st.rerun()
    _tell()


def _where_files_live(reviews: "Reviews") -> str:
    if reviews.settings.policy.keeps_files:
        return t("worklist.files_kept")
    kept = cache.case_files()
    return t("worklist.files_held", used=f"{kept.used / (1 << 20):.0f}", limit=kept.limit >> 20)


def _take(files: "list[UploadedFile]", reviews: "Reviews", reader: "Reader") -> None:
    """Read an upload group by group; each case is there, and in the queue, as soon as it is read."""
    from core.errors import ScanError
    from core.reading.study import LeftOut
    from core.reviews.intake import take_in

    place = st.progress(0.0, t("worklist.sorting"))

    def report(progress: "Progress") -> None:
        if progress.total > 1:
            words = t("worklist.sorting_of", done=progress.done + 1, total=progress.total)
            place.progress(min(1.0, progress.done / progress.total), words)

    ids: set[str] = set()
    left_out: list[LeftOut] = []
    try:
        for taken in take_in(
            [(file.name, file.getvalue()) for file in files], reviews, cache.case_files(), reader, report
        ):
            ids |= {case.id for case in taken.cases}
            left_out += taken.left_out
            place.progress(taken.done / taken.total, t("worklist.reading_of", done=taken.done, total=taken.total))
            cache.background().wake()
    except ScanError as exc:
        left_out.append(LeftOut(t("worklist.whole_upload"), str(exc)))
    finally:
        state.finish_list_upload(files, len(ids), left_out)


def _tell() -> None:
    """What the last upload came to; names of files stand there literally."""
    taken = state.list_taken()
    if taken is None:
        return
    cases, left_out = taken
    if not left_out:
        st.caption(t("worklist.taken", cases=cases))
    else:
        with st.expander(t("worklist.left_out", cases=cases, count=len(left_out)), icon=":material/warning:"):
            for left in left_out[:_MOST_NAMED]:
                st.text(f"{left.name}: {left.reason}")
            if len(left_out) > _MOST_NAMED:
                st.caption(t("worklist.left_more", count=len(left_out) - _MOST_NAMED))
