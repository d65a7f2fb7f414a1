"""The buttons that let a review leave: for its own reader only, and what comes out of them is in the audit trail."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.reading.decoding import decode_scan
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import Case, NewCase
from core.samples import film_to_dicom
from core.simulation import simulate_film
from dashboard import cache
from dashboard.export_panel import _made, _opened
from dashboard.texts import t

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCAN = decode_scan(film_to_dicom(simulate_film(3, "mass", rows=96, columns=80)))


def page(case_id: str, name: str) -> None:
    from dashboard import state
    from dashboard.export_panel import export_panel
    from tests.test_export_panel import SCAN

    state.declare_name(name)
    export_panel(case_id, SCAN, None, file=b"file")


@pytest.fixture
def case(clean_caches: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{tmp_path / 'reviews.db'}")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = cache.reviews().store
    case = store.add_case(NewCase(SCAN.digest, "upload"), ANNA)
    store.commit_first_read(case.id, ANNA, Read(findings={"mass": Finding(mark="present")}), NOW)
    return case


def shown(case: Case, name: str) -> AppTest:
    app = AppTest.from_function(page, default_timeout=60, kwargs={"case_id": case.id, "name": name}).run()
    assert not app.exception
    return app


def test_the_buttons_are_for_the_reader_s_own_review(case: Case) -> None:
    app = shown(case, "Anna")
    labels = [one.proto.label for one in app.get("download_button")]
    assert labels == [t(f"export.{kind}") for kind in ("pdf", "html", "json", "bundle")]
    assert t("export.draft") in [one.value for one in app.caption]
    cache.reviews().store.sign(case.id, ANNA)
    assert t("export.signed") in [one.value for one in shown(case, "Anna").caption]
    assert not shown(case, "Bo").get("download_button")


def test_what_comes_out_is_the_reader_s_and_told_in_the_trail(case: Case) -> None:
    opened = _opened(SCAN, None, 0, None)
    assert _made(case.id, ANNA, "pdf", opened).startswith(b"%PDF")
    assert _made(case.id, ANNA, "bundle", opened).startswith(b"PK")
    told = [one for one in cache.reviews().store.events(case.id) if one["event"] == "exported"]
    assert [(one["reader"], one["detail"]["kind"]) for one in told] == [("Anna", "pdf"), ("Anna", "bundle")]
