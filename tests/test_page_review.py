"""The read-first flow without a browser: what is shown when, what the store holds afterwards, what a locked database does."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.reviews.record import Reader
from core.reviews.store import Case, NewCase
from dashboard import cache
from tests.files import dicom_bytes
from tests.networks import publish
from tests.test_page_network import PAGE
from tests.test_pages import APP, CHEST, heatmaps, html, pictures, upload, words

if TYPE_CHECKING:
    from core.reviews.opening import Reviews

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
FILM = dicom_bytes(
    np.random.default_rng(3).integers(0, 4095, (64, 64)).astype(np.uint16), BitsStored=12, HighBit=11, **CHEST
)


@pytest.fixture(autouse=True)
def tiny(model_folder: Path, no_shipped_models: None, clean_caches: None, database: Path) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    started.want_network()
    assert started.network.wait(120)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "reviews.db"
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{path}")
    return path


@pytest.fixture
def locked(database: Path) -> Iterator[Callable[[], None]]:
    """The database is held by another writer until the returned function is called."""
    cache.reviews()
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other.close
    other.close()


def opened(reader: str = "", film: bytes = FILM, **parameters: str) -> AppTest:
    """A session in which this reader has uploaded a film."""
    app = AppTest.from_file(APP, default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    if reader:
        name_field(app).set_value(reader).run()
    return upload(app, "film.dcm", film)


def name_field(app: AppTest) -> Any:
    return next(field for field in app.text_input if field.label == "Your name")


def field(app: AppTest, kind: str, code: str) -> Any:
    return next(group for group in app.button_group if str(group.key).endswith(f":{kind}:{code}"))


def mark(app: AppTest, code: str, value: str, sure: int | None = None, kind: str = "first") -> None:
    field(app, kind, code).set_value(value).run()
    if sure is not None:
        field(app, f"sure:{kind}", code).set_value(sure).run()


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def labels(app: AppTest) -> list[str]:
    return [one.label for one in app.button]


def comment(app: AppTest) -> Any:
    return next(area for area in app.text_area if area.label == "Comment")


def the_case() -> Case:
    (case,) = cache.reviews().store.cases()
    return case


def events(reader: str = "Anna") -> list[str]:
    return [event["event"] for event in cache.reviews().store.events() if event["reader"] == reader]


def until(happened: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_an_upload_asks_who_reads_and_shows_nothing_of_the_answer() -> None:
    app = opened()
    assert not app.exception
    assert "Say who you are" in words(app)
    assert (pictures(app), heatmaps(app)) == (1, 0)
    assert "data-label" not in html(app)
    assert not app.button_group
    assert cache.reviews().store.cases() == ()


def test_read_commit_decide_sign_amend() -> None:
    app = opened("Anna")
    assert (pictures(app), heatmaps(app)) == (1, 0)
    assert "data-label" not in html(app)
    assert {group.value for group in app.button_group} == {None}
    assert button(app, "Commit my read").disabled
    mark(app, "abnormal", "present", 4)
    assert "data-label" not in html(app)
    button(app, "Everything else absent").click().run()
    comment(app).set_value("Lower zone.").run()
    button(app, "Commit my read").click().run()
    assert not app.exception
    assert html(app).count("data-label=") == 2
    assert heatmaps(app) == 1
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert kept.first is not None
    assert (kept.stage, kept.first.comment) == ("first read", "Lower zone.")
    assert {code: (one.mark, one.confidence) for code, one in kept.first.findings.items()} == {
        "abnormal": ("present", 4), "mass": ("absent", None),
    }  # fmt: skip
    assert {group.value for group in app.button_group} == {None}
    assert button(app, "Keep second read").disabled
    field(app, "decision", "abnormal").set_value("reject").run()
    assert button(app, "Keep second read").disabled
    next(one for one in app.text_input if one.label.startswith("Why")).set_value("Skin fold").run()
    field(app, "decision", "mass").set_value("change").run()
    assert button(app, "Keep second read").disabled
    mark(app, "mass", "cannot tell", 2, kind="second")
    button(app, "Keep second read").click().run()
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert kept.second is not None
    assert kept.answer is not None
    assert kept.second.decisions == {"abnormal": "reject", "mass": "change"}
    assert kept.second.reason == "Skin fold"
    assert kept.changes == ("mass",)
    assert set(kept.answer.scores) == {"abnormal", "mass"}
    button(app, "Sign").click().run()
    assert "Signed by Anna (not authenticated)" in words(app)
    button(app, "Amend").click().run()
    field(app, "decision", "abnormal").set_value("agree").run()
    button(app, "Keep second read").click().run()
    assert "Not signed yet" in words(app)
    button(app, "Sign").click().run()
    assert not app.exception
    versions = [review.stage for review in cache.reviews().store.reviews(the_case().id)]
    assert versions == ["first read", "second read", "signed", "second read", "signed"]
    until(lambda: "answer revealed" in events())
    once = ("reader named", "case added", "case viewed", "answer revealed", "first read committed")
    assert [events().count(event) for event in once] == [1] * 5
    assert events().index("first read committed") < events().index("answer revealed")
    assert cache.reviews().store.verify().holds


def test_agreeing_takes_the_networks_mark_and_keeps_the_first(model_folder: Path) -> None:
    # Of classes that exclude each other, the network says the one of the highest score.
    publish(model_folder, head="softmax")
    app = opened("Anna")
    mark(app, "abnormal", "cannot tell", 1)
    button(app, "Commit my read").click().run()
    field(app, "decision", "abnormal").set_value("agree").run()
    button(app, "Keep second read").click().run()
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert kept.answer is not None
    assert kept.second is not None
    foremost = max(kept.answer.scores.items(), key=lambda item: item[1])[0]
    assert kept.second.read.findings["abnormal"].mark == ("present" if foremost == "abnormal" else "absent")
    assert kept.first is not None
    assert kept.first.findings["abnormal"].mark == "cannot tell"


def test_a_draft_is_there_again_in_a_new_session_and_belongs_to_its_author() -> None:
    app = opened("Anna")
    mark(app, "mass", "present", 5)
    comment(app).set_value("=cmd|' /C calc'!A0 <b>\u202e").run()
    until(lambda: cache.reviews().store.draft(the_case().id, ANNA))
    again = opened("Anna")
    assert (field(again, "first", "mass").value, field(again, "sure:first", "mass").value) == ("present", 5)
    assert comment(again).value == "=cmd|' /C calc'!A0 <b>\u202e"
    other = opened("Bo")
    assert {group.value for group in other.button_group} == {None}
    assert comment(other).value == ""


def test_two_readers_keep_two_reviews_and_neither_sees_the_others() -> None:
    first, second = opened("Anna"), opened("Bo")
    mark(first, "mass", "present")
    button(first, "Commit my read").click().run()
    assert heatmaps(second.run()) == 0
    mark(second, "mass", "absent")
    button(second, "Commit my read").click().run()
    store = cache.reviews().store
    found = [store.review(the_case().id, who) for who in (ANNA, BO)]
    assert [one.first.findings["mass"].mark for one in found if one and one.first] == ["present", "absent"]


def test_another_reader_in_the_same_session_starts_unread() -> None:
    app = opened("Anna")
    mark(app, "mass", "present")
    button(app, "Commit my read").click().run()
    assert heatmaps(app) == 1
    button(app, "Not you?").click().run()
    assert heatmaps(app) == 0
    name_field(app).set_value("Bo").run()
    assert heatmaps(app) == 0
    assert {group.value for group in app.button_group} == {None}


def test_a_second_window_of_the_same_reader_cannot_commit_twice() -> None:
    first, second = opened("Anna"), opened("Anna")
    for app, value in ((first, "present"), (second, "absent")):
        mark(app, "mass", value)
        button(app, "Commit my read").click().run()
        assert not app.exception
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert kept.first is not None
    assert (kept.version, kept.first.findings["mass"].mark) == (1, "present")
    assert heatmaps(second.run()) == 1


def test_a_locked_database_loses_no_text(locked: Callable[[], None]) -> None:
    app = opened("Anna")
    assert not app.exception
    assert pictures(app) == 1
    mark(app, "mass", "present")
    comment(app).set_value("Typed while another wrote.").run()
    assert comment(app).value == "Typed while another wrote."
    button(app, "Commit my read").click().run()
    assert not app.exception
    assert "all you marked is still here" in words(app)
    assert heatmaps(app) == 0
    locked()
    store = cache.reviews().store
    until(lambda: store.cases() and "another wrote" in store.draft(the_case().id, ANNA))
    app.run()
    assert comment(app).value == "Typed while another wrote."
    button(app, "Commit my read").click().run()
    assert heatmaps(app) == 1


def test_a_database_that_cannot_be_opened_takes_nothing_from_the_page(
    monkeypatch: pytest.MonkeyPatch, database: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.db").mkdir()
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{tmp_path / 'folder.db'}")
    cache.reviews.clear()
    app = opened("Anna")
    mark(app, "mass", "present")
    comment(app).set_value("Still here.").run()
    assert not app.exception
    assert pictures(app) == 1
    assert "not saved yet" in words(app)
    assert comment(app).value == "Still here."
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{database}")
    until(lambda: cache.reviews().store.cases() and "Still here" in cache.reviews().store.draft(the_case().id, ANNA))


def test_without_an_answer_the_case_is_read_and_signed_with_the_reason() -> None:
    flat = dicom_bytes(np.full((64, 64), 7, np.uint16), **CHEST)
    app = opened("Anna", flat)
    assert "No answer for this scan" in words(app)
    comment(app).set_value("Nothing on this picture.").run()
    button(app, "Commit my read").click().run()
    button(app, "Sign").click().run()
    assert not app.exception
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert kept.final is not None
    assert (kept.stage, kept.answer, kept.final.comment) == ("signed", None, "Nothing on this picture.")
    assert kept.withheld
    assert kept.withheld in words(app)


def test_a_missing_model_is_found_out_only_after_the_read(model_folder: Path) -> None:
    weights = model_folder / "tiny" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    app = opened("Anna")
    mark(app, "abnormal", "absent")
    button(app, "Commit my read").click().run()
    assert "not those its card speaks of" in words(app)
    button(app, "Sign").click().run()
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert (kept.stage, kept.answer) == ("signed", None)
    assert "card speaks of" in kept.withheld


def test_a_sample_is_open_from_the_start_and_reviewed_on_request() -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    assert heatmaps(app) == 1
    assert cache.reviews().store.cases() == ()


def test_read_first_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_READ_FIRST", "0")
    cache.settings.clear()
    cache.reviews.clear()
    app = opened("Anna")
    assert heatmaps(app) == 1
    field(app, "decision", "mass").set_value("agree").run()
    button(app, "Keep second read").click().run()
    kept = cache.reviews().store.review(the_case().id, ANNA)
    assert kept is not None
    assert (kept.stage, kept.first) == ("second read", None)


def test_triage_shows_scores_but_no_maps_before_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_TRIAGE", "1")
    cache.settings.clear()
    app = opened("Anna")
    assert html(app).count("data-label=") == 2
    assert heatmaps(app) == 0


@pytest.mark.parametrize("page", ["network", "bench", "lesson"])
def test_other_pages_keep_an_unread_case_to_themselves(page: str) -> None:
    app = AppTest.from_string(PAGE.format(page=page), default_timeout=120).run()
    name_field(app).set_value("Anna").run()
    upload(app, "film.dcm", FILM)
    assert not app.exception
    assert "You have not read this case yet" in words(app)
    assert not app.get("bidi_component") or not heatmaps(app)
    assert "data-" not in html(app).replace("data-testid", "")


def test_without_the_name_that_a_proxy_must_give_nobody_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_USER_HEADER", "X-Forwarded-User")
    cache.settings.clear()
    app = AppTest.from_file(APP, default_timeout=120).run()
    assert "was not" in words(app)
    assert pictures(app) == 0
    app.run()
    until(lambda: "access refused" in events("RadLens"))
    (refused,) = [one for one in cache.reviews().store.events() if one["event"] == "access refused"]
    assert (refused["outcome"], refused["code"]) == ("refused", "110113")


def test_a_setting_that_means_nothing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_READ_FIRST", "perhaps")
    cache.settings.clear()
    app = AppTest.from_file(APP, default_timeout=120).run()
    assert not app.exception
    assert "must be 1 or 0" in words(app).replace("\\", "")


def test_a_case_of_the_store_opens_under_its_pseudonym() -> None:
    reviews: Reviews = cache.reviews()
    case = reviews.store.add_case(NewCase(hashlib.sha256(FILM).hexdigest(), "upload"), BO)
    app = AppTest.from_function(_open_stored, default_timeout=120, kwargs={"identifier": case.id, "data": FILM}).run()
    assert not app.exception
    assert case.pseudonym in html(app)
    name_field(app).set_value("Anna").run()
    mark(app, "mass", "present")
    button(app, "Commit my read").click().run()
    assert [one.case_id for one in reviews.store.reviews()] == [case.id]
    gone = AppTest.from_function(_open_stored, default_timeout=120, kwargs={"identifier": case.id, "data": None}).run()
    assert "not kept on this server" in words(gone)


def _open_stored(identifier: str, data: bytes | None) -> None:
    from dashboard import cache, state
    from dashboard.pages import review
    from dashboard.widgets import open_panel

    if state.first_visit():
        state.open_stored(cache.reviews().store.case(identifier), data)
    open_panel()
    review.render()
