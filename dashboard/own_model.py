"""A reader's own model: drop its weights, see what they are, say what it is for, add it to the catalogue."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ModelRejected
from dashboard import cache, state
from dashboard.texts import literal, t
from dashboard.widgets import error_box, wait_for_network

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.models.checking import CompatibilityReport, Wishes
    from core.models.registering import Description

_MODALITIES = ("DX", "CR", "CT", "MR", "US", "MG", "XC")
_KINDS = ["pt", "pth", "bin", "ckpt", "safetensors"]


def own_model() -> None:
    """Upload and wishes on the left, what was found on the right, then the fields that only a person can fill in."""
    st.markdown(t("own.intro"))
    if not wait_for_network():
        return
    if added := state.added_model():
        st.success(t("own.added", title=literal(added)))
    left, right = st.columns([2, 3], gap="large")
    with left:
        file = st.file_uploader(t("own.upload"), type=_KINDS, help=t("own.upload_help"), key=state.weights_key())
        wishes = _wishes()
        if st.button(t("own.check"), type="primary", disabled=file is None) and file is not None:
            _check(file, wishes)
    with right:
        checked = state.checked_model()
        if isinstance(checked, str):
            error_box(t("own.refused"), checked)
        elif checked is not None:
            _compatibility(checked)
            if checked.problem is None:
                _description(checked)
        else:
            st.info(t("own.nothing"))


def _wishes() -> "Wishes":
    from core.models.architectures import ARCHITECTURES
    from core.models.checking import Wishes

    with st.expander(t("own.more")):
        automatic = t("own.automatic")
        architecture = st.selectbox(t("own.architecture"), [automatic, *ARCHITECTURES], help=t("own.architecture_help"))
        heads = {automatic: None} | {t(f"own.head_{head}"): head for head in ("softmax", "sigmoid", "logit")}
        head = heads[st.selectbox(t("own.head"), list(heads))]
        size = st.number_input(t("own.size"), min_value=8, max_value=2048, value=None, placeholder=automatic)
        layer = st.text_input(t("own.layer"), placeholder=automatic, max_chars=200).strip()
    wished = None if architecture == automatic else architecture
    return Wishes(wished, head, None if size is None else int(size), layer or None)  # type: ignore[arg-type]


def _check(file: "UploadedFile", wishes: "Wishes") -> None:
    from core.models.checking import check_weights

    with st.spinner(t("own.checking")):
        try:
            state.keep_checked_model(check_weights(file.getvalue(), wishes))
        except ModelRejected as exc:
            state.keep_checked_model(str(exc))


def _compatibility(report: "CompatibilityReport") -> None:
    """The report as a small table under one word."""
    with st.container(border=True):
        sign, words = (
            (":material/check_circle:", "own.fits") if report.problem is None else (":material/error:", "own.fails")
        )
        st.markdown(f"{sign} **{t(words)}**")
        st.table([{t("own.column_what"): what, t("own.column_found"): literal(found)} for what, found in report.rows()])
        if report.untrained:
            st.warning(t("review.untrained"), icon=":material/warning:")


def _description(report: "CompatibilityReport") -> None:
    from core.models.registering import Description, label_count

    count = label_count(report)
    with st.form("own-model"):
        st.markdown(f"**{t('own.describe')}**")
        title = st.text_input(t("own.title"), max_chars=60)
        order = t("own.labels_pair") if report.head == "logit" else t("own.labels_help")
        labels = st.text_area(t("own.labels", count=count), help=order, placeholder=order)
        first, second = st.columns(2)
        modalities = first.multiselect(t("own.modalities"), _MODALITIES, default=["DX", "CR"])
        parts = second.text_input(t("own.body_parts"), placeholder="CHEST")
        third, fourth = st.columns(2)
        mean = third.number_input(t("own.mean"), value=report.input.mean, format="%.4f", help=t("own.scale_help"))
        std = fourth.number_input(t("own.std"), value=report.input.std, min_value=1e-6, format="%.6f")
        licence = st.text_input(t("own.licence"), max_chars=200)
        sent = st.form_submit_button(t("own.add"), type="primary")
    if sent:
        stated = Description(
            title=title,
            labels=_lines(labels),
            modalities=tuple(modalities),
            body_parts=tuple(part.strip().upper() for part in parts.split(",") if part.strip()),
            licence=licence.strip() or t("own.no_licence"),
            mean=mean,
            std=std,
        )
        _add(report, stated)


def _lines(words: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in words.splitlines() if line.strip())


def _add(report: "CompatibilityReport", description: "Description") -> None:
    from core.models.registering import add_model

    try:
        card = add_model(report, description)
    except ModelRejected as exc:
        error_box(t("own.not_added"), str(exc))
        return
    cache.forget_catalogue()
    state.finish_own_model(card.title)
    st.rerun()
