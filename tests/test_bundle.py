"""The evidence bundle: replayed bit for bit, and no byte of it can be changed unnoticed."""

import json
import zipfile
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest

from core.analysis import analyse
from core.errors import ModelRejected, ReviewRejected
from core.models.loading import Model, prepare
from core.reading.decoding import decode_scan
from core.reviews.bundle import Evidence, verify_bundle, write_bundle
from core.reviews.record import Finding, Read, Reader, Review
from core.samples import film_to_dicom
from core.scan import Scan
from core.simulation import simulate_film
from tests.networks import card, seeded

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILE = film_to_dicom(simulate_film(3, "mass", rows=96, columns=80))


@pytest.fixture(scope="module")
def model() -> Model:
    return prepare(card(), seeded("compact-resnet"))


@pytest.fixture(scope="module")
def bundle(model: Model) -> bytes:
    return made(model, file=FILE)


def scans_in(file: bytes) -> tuple[Scan, ...]:
    return (decode_scan(file),)


def made(model: Model, file: bytes | None) -> bytes:
    scan = decode_scan(FILE)
    review = Review(
        case_id="c1", reader=Reader(name="Anna"), version=1, stage="first read", at=NOW, opened_at=NOW,
        first=Read(findings={"mass": Finding(mark="present")}, comment="肺 <b>"),
    )  # fmt: skip
    return write_bundle(
        Evidence(
            scan=scan, analysis=analyse(model, scan), thresholds={"mass": 0.4}, case={"pseudonym": "K7QD-2M9F"},
            reviews=[review], events=[{"number": 1, "event": "case viewed"}], reports={"json": b"{}"}, file=file,
        )
    )  # fmt: skip


def rewritten(bundle: bytes, **changes: bytes | None) -> bytes:
    """The same zip with entries changed, added or (None) left out; ``/`` is written ``__``, ``.`` is ``_dot_``."""
    named = {name.replace("__", "/").replace("_dot_", "."): content for name, content in changes.items()}
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(bundle)) as old, zipfile.ZipFile(stream, "w") as new:
        entries: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        entries |= named
        for name, content in entries.items():
            if content is not None:
                new.writestr(name, content)
    return stream.getvalue()


def test_the_replay_is_the_same_bit_for_bit(bundle: bytes, model: Model) -> None:
    found = verify_bundle(bundle, lambda _id: model, scans_in)
    assert found.sentence == "The same, bit for bit."
    assert found.is_same
    with zipfile.ZipFile(BytesIO(bundle)) as content:
        assert content.namelist()[-1] == "manifest.json"
        kept = np.load(BytesIO(content.read("maps/mass.npy")))
        assert np.array_equal(kept, analyse(model, decode_scan(FILE)).heatmap("mass").evidence)
        assert content.read("input.bin") == FILE


def test_every_flipped_byte_is_found(bundle: bytes, model: Model) -> None:
    places = np.unique(
        np.r_[np.linspace(0, len(bundle) - 1, 150, dtype=int), np.arange(40), len(bundle) - 1 - np.arange(120)]
    )
    for place in places.tolist():
        flipped = bytearray(bundle)
        flipped[place] ^= 0x10
        try:
            found = verify_bundle(bytes(flipped), lambda _id: model, scans_in)
        except ReviewRejected:
            continue
        assert not found.is_whole, f"byte {place}"


def test_entries_that_are_changed_added_or_missing_are_named(bundle: bytes, model: Model) -> None:
    cases: tuple[tuple[dict[str, bytes | None], str], ...] = (
        ({"reviews_dot_jsonl": b"{}"}, "reviews.jsonl was changed"),
        ({"extra_dot_txt": b"x"}, "extra.txt was added"),
        ({"maps__mass_dot_npy": None}, "maps/mass.npy is missing"),
    )
    for changes, words in cases:
        found = verify_bundle(rewritten(bundle, **changes), lambda _id: model, scans_in)
        assert words in found.sentence
        assert not found.is_same


def test_other_weights_and_other_files_are_said(model: Model) -> None:
    without = made(model, file=None)
    assert "name the file beside it" in verify_bundle(without, lambda _id: model, scans_in).not_replayed
    assert verify_bundle(without, lambda _id: model, scans_in, FILE).is_same
    other = film_to_dicom(simulate_film(4, "mass", rows=96, columns=80))
    assert "another than the one" in verify_bundle(without, lambda _id: model, scans_in, other).sentence
    changed = prepare(card(weights_sha256="1" * 64), seeded("compact-resnet", seed=5))
    found = verify_bundle(without, lambda _id: changed, scans_in, FILE)
    assert "other weights today" in found.sentence
    assert "the logit of mass was" in found.sentence
    assert "the heatmap of mass differs by up to" in found.sentence


def test_a_model_that_is_gone_is_said(bundle: bytes) -> None:
    def gone(_id: str) -> Model:
        raise ModelRejected("There is no such model here.")

    found = verify_bundle(bundle, gone, scans_in)
    assert found.is_whole
    assert "There is no such model here." in found.sentence


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_bundle_is_refused(data: bytes, model: Model) -> None:
    with pytest.raises(ReviewRejected, match="no evidence bundle"):
        verify_bundle(data, lambda _id: model, scans_in)


def test_a_bundle_that_was_cut_short_is_refused(bundle: bytes, model: Model) -> None:
    with pytest.raises(ReviewRejected):
        verify_bundle(bundle[: len(bundle) // 2], lambda _id: model, scans_in)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        zipped.writestr("manifest.json", json.dumps({"entries": 5}))
    with pytest.raises(ReviewRejected):
        verify_bundle(stream.getvalue(), lambda _id: model, scans_in)
