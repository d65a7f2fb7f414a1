"""The Worklist page without a browser: who may see what, in which order, what is said when something is not there."""

import csv
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.errors import ConfigurationError
from core.reviews.opening import Reviews
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import Case
from dashboard import cache, state
from dashboard.pages.worklist import _csv
from dashboard.texts import t
from tests.files import dicom_bytes
from tests.networks import publish
from tests.test_pages import APP
from tests.test_pages import words as all_words

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("reviews")


def nobody() -> None:
    from dashboard.pages import worklist

    worklist.render()


def anna() -> None:
    from dashboard import state
    from dashboard.pages import worklist

    state.declare_name("Anna")
    worklist.render()


@pytest.fixture(autouse=True)
def ready(
    model_folder: Path, no_shipped_models: None, clean_caches: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{tmp_path / 'reviews.db'}")
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)
    yield
    if not (tmp_path / "reviews.db").exists():
        return
    cache.background().close()


def shown(script: Any = anna) -> AppTest:
    app = AppTest.from_function(script, default_timeout=120).run()
    assert not app.exception
    return app


def film(number: int, **tags: Any) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 4000, (64, 64)).astype(np.uint16)
    return dicom_bytes(pixels, **{"BodyPartExamined": "CHEST", "ViewPosition": "PA", **tags})


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files])
    app.run()
    assert not app.exception
    end = time.monotonic() + 60
    while cache.background().progress().waiting:
        assert time.monotonic() < end
        time.sleep(0.05)
    return app.run()


def uploaded(count: int = 3, **tags: Any) -> AppTest:
    return upload(shown(), *((f"film{number}.dcm", film(number, **tags)) for number in range(count)))


def kept() -> Reviews:
    return cache.reviews()


def cases() -> list[Case]:
    """The oldest first."""
    return [row.case for row in kept().worklist.rows(ANNA, order="oldest")]


def commit(case: Case, by: Reader = ANNA) -> None:
    kept().store.commit_first_read(case.id, by, Read(findings={"mass": Finding(mark="present")}), NOW)


def table(app: AppTest) -> Any:
    assert len(app.dataframe) == 1
    return app.dataframe[0].value


def words(app: AppTest) -> str:
    return all_words(app) + "\n".join(one.label for one in app.expander)


def choose(app: AppTest, name: str, row: int) -> AppTest:
    """Tick a row: what the browser would send."""
    from dashboard.worklist.listing import Question, _table_key

    rows = kept().worklist.rows(ANNA)
    key = _table_key(rows, Question(name, None, "", blind=False))  # type: ignore[arg-type]
    app.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return app.run()


def test_who_has_not_said_their_name_is_asked_for_it() -> None:
    app = shown(nobody)
    assert t("worklist.who") in words(app)
    assert not app.dataframe
    assert not app.file_uploader


def test_an_empty_list_says_how_to_fill_it() -> None:
    app = shown()
    assert t("worklist.empty") in words(app)
    assert app.expander[0].proto.expanded
    assert "1024 MiB" in words(app)


def test_a_database_that_cannot_be_opened_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_DATABASE", "mysql://somewhere/else")
    app = shown()
    assert t("worklist.unavailable") in words(app)
    assert "must name SQLite" in words(app)
    assert not app.file_uploader


def test_films_become_rows_and_a_broken_file_one_sentence_with_its_name_as_it_is() -> None:
    app = upload(shown(), ("a.dcm", film(1)), ("b.dcm", film(2)), ("![x](http://evil) <b>.dcm", b"rubbish of no kind"))
    assert t("worklist.left_out", cases=2, count=1) in words(app)
    assert any(text.value.startswith("![x](http://evil) <b>.dcm: ") for text in app.text)
    rows = table(app)
    assert list(rows["Scan"]) == ["DX CHEST PA"] * 2
    assert list(rows["Network"]) == ["answered"] * 2
    assert list(rows["My read"]) == ["unread"] * 2
    assert set(rows["Score"]) == set(rows["Novelty"]) == {"–"}
    assert t("worklist.dash") in words(app)
    assert t("worklist.count", count=2, unread=2) in words(app)


def test_a_score_stands_where_the_reader_has_read_and_only_there_may_it_sort() -> None:
    app = uploaded()
    assert "score" not in options(app)
    commit(cases()[1])
    commit(cases()[2], BO)
    rows = table(app.run())
    assert [cell != "–" for cell in rows["Score"]] == [False, True, False]
    assert list(rows["Readers"]) == ["1", "1", "0"]
    app.selectbox[1].set_value("read").run()
    assert "score" in options(app)
    app.selectbox[0].set_value("score").run()
    assert not app.exception
    assert list(table(app)["Case"]) == [cases()[1].pseudonym]
    app.selectbox[1].set_value("all").run()
    assert app.selectbox[0].value == "newest"
    assert len(table(app)) == 3


def options(app: AppTest) -> list[str]:
    """The orders that are offered, by the words of the menu."""
    names = {t(f"worklist.order_{name}"): name for name in ("newest", "oldest", "state", "random", "score", "novelty")}
    return [names[word] for word in app.selectbox[0].options]


def test_a_deployment_for_triage_shows_and_sorts_unread_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_TRIAGE", "1")
    app = uploaded()
    assert "–" not in set(table(app)["Score"])
    app.selectbox[0].set_value("score").run()
    scores = [float(cell) for cell in table(app)["Score"]]
    assert scores == sorted(scores, reverse=True)


def test_words_find_a_case_and_nothing_found_is_said() -> None:
    app = uploaded()
    app.text_input[0].set_value(cases()[0].pseudonym.lower()).run()
    assert list(table(app)["Case"]) == [cases()[0].pseudonym]
    app.text_input[0].set_value("knee").run()
    assert not app.dataframe
    assert t("worklist.none_such") in words(app)


def test_asking_is_audited_once_and_the_words_are_not_kept() -> None:
    app = uploaded()
    app.run()
    app.run()
    assert len(asked()) == 1
    app.text_input[0].set_value("Jane Doe").run()
    app.run()
    assert len(asked()) == 2
    assert "Jane" not in str(kept().store.events())
    assert asked()[1]["detail"] == {"blind": False, "order": "newest", "read": "all", "words": True}


def asked() -> list[dict[str, Any]]:
    return [event for event in kept().store.events() if event["event"] == "worklist asked"]


def test_blind_hides_everything_until_the_last_case_is_read() -> None:
    app = uploaded(2)
    commit(cases()[0])
    commit(cases()[0], BO)
    app.toggle[1].set_value(True).run()
    rows = table(app)
    assert set(rows["Scan"]) == set(rows["Network"]) == set(rows["Readers"]) == set(rows["Score"]) == {"–"}
    assert list(rows["My read"]) == ["unread", "first read"]
    assert t("worklist.dash_blind") in words(app)
    assert "CHEST" not in words(app)
    app.text_input[0].set_value("chest").run()
    assert not app.dataframe  # nobody finds out by asking
    app.text_input[0].set_value("").run()
    commit(cases()[1])
    rows = table(app.run())
    assert set(rows["Scan"]) == {"DX CHEST PA"}
    assert "–" not in set(rows["Score"])


def test_blind_rows_are_never_sorted_by_what_they_must_not_say() -> None:
    uploaded(2)
    for case in cases():
        commit(case)
    with pytest.raises(ConfigurationError, match="cannot be sorted"):
        kept().worklist.rows(ANNA, order="score", read="read", blind=True)


def test_the_row_that_is_ticked_shows_other_cases_of_its_patient_and_can_be_deleted_with_a_reason() -> None:
    app = upload(
        shown(), ("a.dcm", film(1, PatientID="7")), ("b.dcm", film(2, PatientID="7")), ("c.dcm", film(3, PatientID="8"))
    )
    first, second, third = cases()
    app = choose(app, "newest", 2)
    assert t("worklist.case", name=first.pseudonym) in words(app)
    assert t("worklist.earlier", count=1) in words(app)
    assert second.pseudonym in words(app)
    assert third.pseudonym not in words(app)
    button = next(one for one in app.button if one.key == f"delete-{first.id}")
    assert button.disabled
    next(one for one in app.checkbox if one.key == f"sure-{first.id}").set_value(True).run()
    next(one for one in app.text_input if one.key == f"why-{first.id}").set_value("twice here").run()
    next(one for one in app.button if one.key == f"delete-{first.id}").click().run()
    assert not app.exception
    assert first.pseudonym not in list(table(app)["Case"])
    last = kept().store.events(first.id)[-1]
    assert (last["event"], last["reader"], last["detail"]) == ("case deleted", "Anna", {"why": "twice here"})
    assert cache.case_files().file_of(first) is None


def test_what_leaves_as_csv_is_audited_and_holds_no_formula_and_no_score_of_an_unread_case() -> None:
    uploaded(2)
    commit(cases()[0])
    rows = list(csv.reader(StringIO(_csv(kept(), ANNA, kept().worklist.rows(ANNA)).decode())))
    assert [row[8] != "" for row in rows[1:]] == [False, True]
    event = kept().store.events()[-1]
    assert (event["event"], event["detail"]) == ("exported", {"cases": 2, "kind": "worklist"})


def test_a_case_whose_file_is_gone_says_so_in_its_row_and_how_to_bring_it_back() -> None:
    app = uploaded(1)
    cache.case_files().drop(cases()[0].id)
    app.run()
    assert list(table(app)["Network"]) == ["answered, file is gone"]
    assert t("worklist.gone", count=1) in words(app)
    assert next(one for one in app.button if one.label == t("worklist.next")).disabled
    app = choose(app, "newest", 0)
    assert t("worklist.gone_how") in words(app)
    again = upload(app, ("renamed.dcm", film(0)))
    assert list(table(again)["Network"]) == ["answered"]
    assert len(cases()) == 1


def test_an_address_opens_its_case_once_its_reader_is_known() -> None:
    uploaded(1)
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params["case"] = cases()[0].pseudonym.lower()
    app.run()
    assert t("worklist.address_who") in words(app)
    app.session_state["reader"] = "Anna"
    app.run()
    assert not app.exception
    assert cases()[0].pseudonym in words(app)
    assert "case" not in app.query_params
    app.query_params["case"] = "NONE-SUCH"
    app.run()
    assert t("worklist.address_unknown") in words(app)


def test_rows_name_the_patient_only_where_the_deployment_shows_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    jane: dict[str, Any] = {"PatientName": "Doe^Jane=X", "PatientID": "MRN 17"}
    app = uploaded(1, **jane)
    assert t("worklist.column_patient") not in table(app)
    assert "Jane" not in str([case.facts for case in cases()])
    assert "MRN" not in str(kept().store.events())
    monkeypatch.setenv("RADLENS_SHOW_IDENTITIES", "1")
    cache.settings.clear()
    cache.reviews.clear()
    app = upload(shown(), ("another.dcm", film(9, **jane)), ("drawn.dcm", film(8)))
    assert sorted(table(app)[t("worklist.column_patient")]) == ["Doe Jane, MRN 17", "–", "–"]
    app.text_input(key=state.LIST_WORDS).set_value("doe").run()
    assert list(table(app)[t("worklist.column_patient")]) == ["Doe Jane, MRN 17"]
