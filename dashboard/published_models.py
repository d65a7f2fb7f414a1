"""TorchXRayVision's models on a page: fetched only when the reader says so, with a way to stop it."""

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ModelRejected
from dashboard import cache
from dashboard.texts import literal, t
from dashboard.widgets import error_box

if TYPE_CHECKING:
    from core.models.torchxrayvision import PublishedModel

_MEGABYTE = 1_000_000


def published_models() -> None:
    """What they are, then one box a model."""
    st.markdown(t("xrv.intro"))
    from core.models.torchxrayvision import PUBLISHED

    for model in PUBLISHED:
        with st.container(border=True):
            _box(model)


def _box(model: "PublishedModel") -> None:
    left, right = st.columns([3, 1], vertical_alignment="center")
    labels = sum(point is not None for _, point in model.points)
    left.markdown(f"**{literal(model.title)}**")
    left.caption(t("xrv.facts", data=model.data, labels=labels, size=model.size, megabytes=model.megabytes))
    left.caption(t("xrv.hash_known", start=model.sha256[:12]) if model.sha256 else t("xrv.hash_unknown"))
    if model.id in cache.catalogue().cards:
        right.markdown(f":material/check: {t('xrv.there')}")
    elif right.button(t("xrv.download", megabytes=model.megabytes), key=f"xrv-{model.id}", width="stretch"):
        _fetch(model)


def _fetch(model: "PublishedModel") -> None:
    """Fetch and convert; pressing the other button ends this run, and nothing is left of the download."""
    from core.models.torchxrayvision import add_published, download

    bar = st.progress(0.0, t("xrv.connecting"))
    st.button(t("xrv.stop"), key=f"xrv-stop-{model.id}")

    def report(done: int, total: int | None) -> None:
        share = min(done / (total or model.megabytes * _MEGABYTE), 1.0)
        bar.progress(share, t("xrv.progress", done=f"{done / _MEGABYTE:.1f}", total=f"{(total or 0) / _MEGABYTE:.1f}"))

    try:
        data = download(model, report)
        bar.progress(1.0, t("xrv.converting"))
        add_published(model, data)
    except ModelRejected as exc:
        error_box(t("own.not_added"), str(exc))
        return
    cache.forget_catalogue()
    st.rerun()
