"""The page How we agree, without a browser: the empty page invites, the filled one says the figures, nobody is told too much."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.reader_study import FILMS, add_study
from core.reviews.record import Finding, Mark, NetworkAnswer, Read, Reader, SecondRead
from core.reviews.store import Case, NewCase
from dashboard import cache
from dashboard.agreement.charts import time_bars
from dashboard.texts import literal, t
from tests.networks import publish

ANNA, BO = Reader(name="Anna"), Reader(name="Bo")
THRESHOLD = 0.5


def page() -> None:
    from dashboard.pages import agreement

    agreement.render()


def page_of_bo() -> None:
    from dashboard import state
    from dashboard.pages import agreement

    state.declare_name("Bo")
    agreement.render()


def page_of_anna() -> None:
    from dashboard import state
    from dashboard.pages import agreement

    state.declare_name("Anna")
    agreement.render()


@pytest.fixture(autouse=True)
def ready(
    model_folder: Path, no_shipped_models: None, clean_caches: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model_folder)
    monkeypatch.setenv("RADLENS_DATABASE", f"sqlite:///{tmp_path / 'reviews.db'}")


def shown(script: Any = page_of_anna) -> AppTest:
    app = AppTest.from_function(script, default_timeout=120).run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "text", "caption", "info", "table")
    found = [str(getattr(e, "value", "")) for kind in kinds for e in app.get(kind)]
    return "\n".join([*found, *(f"{one.label}: {one.value}" for one in app.metric)])


def read(mark: Mark) -> Read:
    return Read(findings={"mass": Finding(mark=mark)})


def review(case: Case, by: Reader, first: Mark, then: Mark, score: float, seconds: float = 40) -> None:
    store = cache.reviews().store
    answer = NetworkAnswer(
        model_id="tiny", model_version="1", weights_sha256="0" * 64, frame=0, scores={"mass": score},
        thresholds={"mass": THRESHOLD},
    )  # fmt: skip
    opened_at = datetime.now(UTC) - timedelta(seconds=seconds)
    store.commit_first_read(case.id, by, read(first), opened_at)
    agrees = (then == "present") == (score >= THRESHOLD)
    second = SecondRead(decisions={"mass": "agree" if agrees else "change"}, read=read(then))
    store.keep_second_read(case.id, by, second, answer, opened_at=opened_at)


def uploads(count: int) -> list[Case]:
    return [cache.reviews().store.add_case(NewCase(f"{n:064x}", "upload"), ANNA) for n in range(count)]


def test_the_empty_page_invites_and_the_button_adds_the_study_once() -> None:
    nobody = shown(page)
    assert t("agreement.none") in words(nobody)
    assert not nobody.button
    app = shown()
    (button,) = app.button
    assert button.label == t("agreement.study_add")
    app = button.click().run()
    assert not app.exception
    assert len(cache.reviews().store.cases()) == len(FILMS)
    assert len(cache.reviews().worklist.waiting()) == len(FILMS)
    assert not app.button
    assert [row["event"] for row in cache.reviews().store.events()].count("case added") == len(FILMS)


def test_figures_are_said_with_their_counts() -> None:
    # Anna sees a mass in 6 of 12; the network calls 8: both in 5, neither in 3. Cohen's formula by hand:
    # agreed 8/12, by chance (6*8 + 6*4)/144 = 1/2, so kappa is (8/12 - 1/2) / (1 - 1/2) = 1/3.
    own: list[Mark] = ["present" if number < 6 else "absent" for number in range(12)]
    network = [0.9] * 5 + [0.1] + [0.9] * 3 + [0.1] * 3
    for case, mark, score in zip(uploads(12), own, network, strict=True):
        review(case, ANNA, mark, mark, score)
    app = shown()
    text = words(app)
    assert t("agreement.count", count=12) in text
    assert f"{t('agreement.before')}: 0.33" in text
    assert t("agreement.agreed", agreed=8, pairs=12) in text
    assert f"{t('agreement.readers')}: \u2013" in text
    assert t("agreement.no_marks") in text
    assert t("agreement.no_truth") in text
    assert t("agreement.overrides", share="33 %", count=4, answers=12) in text
    assert "prevalence" in text
    assert "took 40 s or less" in text
    assert len(app.get("vega_lite_chart")) == 2


def test_changes_of_mind_are_told_both_ways() -> None:
    opened = cache.reviews()
    cases = dict(zip(FILMS, add_study(opened.store, opened.worklist, ANNA), strict=True))
    ill = [case for film, case in cases.items() if film.finding == "mass"]
    well = [case for film, case in cases.items() if film.finding is None]
    review(ill[0], ANNA, "absent", "present", 0.9)  # helped
    review(well[0], ANNA, "absent", "present", 0.9)  # misled
    review(well[1], ANNA, "absent", "absent", 0.9)  # stood firm
    review(ill[1], ANNA, "present", "present", 0.9)
    app = shown()
    text = words(app)
    assert t("agreement.followed", count=1, of=2, share=" (50 %)") in text
    assert t("agreement.corrected", count=1, of=1, share=" (100 %)") in text
    changes = next(table.value for table in app.table if t("agreement.first_mark") in table.value.columns)
    assert changes.to_numpy().tolist() == [["was right", "2", "1"], ["was wrong", "1", "0"]]


def test_what_was_drawn_is_told_when_all_films_are_read_and_not_before() -> None:
    opened = cache.reviews()
    cases = add_study(opened.store, opened.worklist, ANNA)
    review(cases[0], BO, "absent", "present", 0.9)
    for case in cases[:-1]:
        review(case, ANNA, "absent", "present", 0.9)
    opened.store.commit_first_read(cases[-1].id, ANNA, read("absent"), datetime.now(UTC))
    app = shown()
    assert t("agreement.study_later") in words(app)
    assert not films_told(app)
    answer = opened.store.review(cases[0].id, ANNA)
    assert answer is not None
    second = SecondRead(decisions={"mass": "agree"}, read=read("present"))
    opened.store.keep_second_read(cases[-1].id, ANNA, second, answer.answer, opened_at=datetime.now(UTC))
    (films,) = films_told(shown())
    drawn = {case.pseudonym: film.finding or "nothing" for film, case in zip(FILMS, cases, strict=True)}
    assert dict(zip(films[t("agreement.film")], films[t("agreement.drawn")], strict=True)) == {
        literal(name): finding for name, finding in drawn.items()
    }
    assert set(films[t("agreement.network_called")]) == {"mass"}
    assert not films_told(shown(page_of_bo))


def films_told(app: AppTest) -> list[Any]:
    return [table.value for table in app.table if t("agreement.drawn") in table.value.columns]


def test_readers_and_cases_are_chosen() -> None:
    opened = cache.reviews()
    study, other = add_study(opened.store, opened.worklist, ANNA)[0], uploads(1)[0]
    review(study, ANNA, "absent", "absent", 0.1)
    review(study, BO, "absent", "absent", 0.1)
    review(other, ANNA, "absent", "absent", 0.1)
    app = shown()
    assert t("agreement.count", count=3) in words(app)
    reader, cases = app.selectbox[0], app.selectbox[1]
    assert reader.options == [t("agreement.everybody"), "Anna", "Bo"]
    app = reader.select("Bo").run()
    assert t("agreement.count", count=1) in words(app)
    app = app.selectbox[1].select("other").run()
    assert t("agreement.none") in words(app)
    app = app.selectbox[0].select("").run()
    assert t("agreement.count", count=1) in words(app)
    assert cases.options == [t("agreement.cases_all"), t("agreement.cases_study"), t("agreement.cases_other")]


def test_drift_is_said_with_its_counts_and_few_answers_not_at_all() -> None:
    opened = cache.reviews()
    answer = NetworkAnswer(
        model_id="tiny", model_version="1", weights_sha256="ab" * 32, frame=0, scores={"mass": 0.4}, thresholds={}
    )
    cases = uploads(6)
    opened.worklist.queue(case.id for case in cases)
    opened.worklist.keep_answer(cases[0].id, ANNA, state="answered", answer=answer)
    app = shown()
    assert t("agreement.drift_few", model="tiny (abababab)", latest=1, before=0, least=20) in words(app)
    assert not app.get("vega_lite_chart")
    assert "0.4" not in words(app)
    for case in cases[1:]:
        opened.worklist.keep_answer(case.id, ANNA, state="answered", answer=answer)
    assert len(shown().get("vega_lite_chart")) == 1


def test_a_name_of_markup_is_shown_as_it_stands() -> None:
    (case,) = uploads(1)
    nasty = Reader(name="<b>x</b> ![a](http://b/c)")
    review(case, nasty, "absent", "absent", 0.1)
    app = shown()
    assert nasty.name in app.selectbox[0].options
    assert nasty.name not in words(app)


def test_a_database_that_cannot_be_opened_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLENS_DATABASE", "mysql://somewhere/else")
    assert t("agreement.unavailable") in words(shown())


def test_every_duration_falls_into_one_bar() -> None:
    bars = dict(time_bars([0, 9.9, 10, 44, 45, 599, 600, 1e6]))
    assert bars["0\u201310"] == 2
    assert bars["10\u201320"] == 1
    assert bars["30\u201345"] == 1
    assert bars["45\u201360"] == 1
    assert bars["300\u2013600"] == 1
    assert bars["> 600"] == 2
    assert sum(bars.values()) == 8
