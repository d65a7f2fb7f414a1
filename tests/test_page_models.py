"""The Models page without a browser: the catalogue, one's own model from weights to Review, TorchXRayVision's."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.models import torchxrayvision
from core.models.catalogue import read_catalogue
from dashboard import cache
from dashboard.texts import texts
from tests.networks import publish, seeded
from tests.test_checking import bytes_of, trained
from tests.test_pages import APP
from tests.test_torchxrayvision import release, tiny


def page() -> None:
    from dashboard.pages import models

    models.render()


def page_with_case() -> None:
    from core.samples import list_samples
    from dashboard import state
    from dashboard.pages import models

    if state.current_case() is None:
        state.open_sample(list_samples()[0].id)
    models.render()


@pytest.fixture(autouse=True)
def ready(model_folder: Path, no_shipped_models: None, clean_caches: None) -> None:
    publish(model_folder)
    started = cache.start_up()
    started.begin()
    assert started.network.wait(120)


def shown(script: Any = page) -> AppTest:
    return AppTest.from_function(script, default_timeout=120).run()


def words(app: AppTest) -> str:
    kinds = ("markdown", "text", "caption", "info", "warning", "success", "error", "table")
    return "\n".join(str(getattr(e, "value", "")) for kind in kinds for e in app.get(kind))


def button(app: AppTest, label: str) -> Any:
    return next(found for found in app.button if found.label == label)


def described(app: AppTest, title: str, labels: str) -> AppTest:
    next(field for field in app.text_input if field.label == "Title").set_value(title)
    next(field for field in app.text_area if field.label.startswith("Labels")).set_value(labels)
    next(field for field in app.text_input if field.label.startswith("Body part")).set_value("chest")
    return button(app, "Add to the catalogue").click().run()


def checked(app: AppTest, data: bytes, name: str = "own.safetensors") -> AppTest:
    app.file_uploader[0].set_value((name, data, "application/octet-stream"))
    app.run()
    next(field for field in app.number_input if field.label.startswith("Side")).set_value(64)
    return button(app, "Check the weights").click().run()


def test_the_catalogue_is_a_line_a_model_and_a_card() -> None:
    app = shown()
    assert not app.exception
    line = app.table[0].value.iloc[0]
    assert "Tiny chest model" in line["Model"]
    assert "MB" in line["Size"]
    assert "nobody has measured it" in line["Main figure (95 % interval)"]
    assert app.header[0].value.endswith("1\\.0\\.0")


def test_own_weights_become_a_model_that_is_chosen_by_hand() -> None:
    app = checked(shown(), bytes_of(trained(labels=2)))
    assert not app.exception
    assert "RadLens can use this model" in words(app)
    assert "blocks" in words(app)
    described(app, "Knee or not", "No knee\nKnee (any)")
    assert not app.exception
    assert "is in the catalogue" in words(app)
    card = read_catalogue().cards["knee-or-not"]
    assert card.scope.by_hand_only
    assert card.scope.body_parts == ("CHEST",)
    assert len(app.table[0].value) == 2


def test_too_few_labels_are_said_and_nothing_is_added() -> None:
    app = checked(shown(), bytes_of(trained(labels=2)))
    described(app, "Knee or not", "Knee")
    assert "need 2 labels" in words(app)
    assert set(read_catalogue().cards) == {"tiny"}


def test_refused_weights_are_one_sentence_and_offer_no_form() -> None:
    app = checked(shown(), b"Dear colleague")
    assert "These weights cannot be used" in words(app)
    assert "neither safetensors nor" in words(app)
    assert "Add to the catalogue" not in [found.label for found in app.button]


def test_a_network_that_fails_its_self_test_cannot_be_added() -> None:
    network = trained(labels=2)
    network.blocks[0].bn1.running_var.fill_(-1.0)
    app = checked(shown(), bytes_of(network))
    assert "failed its self-test" in words(app)
    assert "Add to the catalogue" not in [found.label for found in app.button]


def chosen(app: AppTest, title: str) -> AppTest:
    box = next(box for box in app.selectbox if box.label == "Show the card of")
    identifier = next(card.id for card in read_catalogue().cards.values() if card.title == title)
    return box.set_value(identifier).run()


def test_a_model_of_the_catalogue_reads_the_open_case_when_it_is_chosen(model_folder: Path) -> None:
    publish(model_folder, seeded("compact-resnet", seed=1), id="unlike", title="Other model")
    app = chosen(shown(page_with_case), "Other model")
    button(app, "Read the open case with it").click().run()
    assert not app.exception
    assert "reads the open case now" in words(app)
    app.run()
    assert "reads the open case" in app.table[0].value.iloc[0]["Model"]
    assert "Other model" in app.table[0].value.iloc[0]["Model"]


def test_a_model_that_cannot_be_loaded_stays_inactive_and_the_former_active(model_folder: Path) -> None:
    publish(model_folder, seeded("compact-resnet", seed=1), id="unlike", title="Other model")
    weights = model_folder / "unlike" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    app = chosen(shown(page_with_case), "Other model")
    button(app, "Read the open case with it").click().run()
    assert "stays inactive" in words(app)
    assert "not those its card speaks of" in words(app)
    app.run()
    assert "Tiny chest model" in app.table[0].value.iloc[0]["Model"]


def test_a_published_model_is_fetched_on_the_click_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(model: Any, _progress: Any) -> bytes:
        asked.append(model.id)
        return b"another file"

    model = tiny(b"the published file")
    monkeypatch.setattr(torchxrayvision, "PUBLISHED", (model,))
    monkeypatch.setattr(torchxrayvision, "download", refuse)
    app = shown()
    assert not asked
    button(app, "Download 28 MB").click().run()
    assert not app.exception
    assert asked == ["xrv-tiny"]
    assert "not the published one" in words(app)


def test_a_download_that_fails_is_said_and_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with release(b"") as address:
        monkeypatch.setattr(torchxrayvision, "RELEASE", address)
        monkeypatch.setattr(torchxrayvision, "PUBLISHED", (tiny(b"x", file="missing.pt"),))
        app = shown()
        button(app, "Download 28 MB").click().run()
    assert not app.exception
    assert "cannot be downloaded" in words(app)
    assert set(read_catalogue().cards) == {"tiny"}


def test_on_review_a_model_that_fails_leaves_the_former_one_active(model_folder: Path) -> None:
    publish(model_folder, seeded("compact-resnet", seed=1), id="unlike", title="Other model")
    weights = model_folder / "unlike" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    app = AppTest.from_file(APP, default_timeout=120).run()
    next(box for box in app.selectbox if box.label == texts()["review.read_by"]).set_value("unlike").run()
    assert not app.exception
    assert "stays inactive" in words(app)
    assert "Tiny chest model" in "\n".join(element.proto.body for element in app.get("html"))
    app.run()
    assert "stays inactive" not in words(app)
