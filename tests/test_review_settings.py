"""What a deployment settles about reviews, and the keyed hash that stands for a patient."""

import hashlib
import hmac
import multiprocessing
import stat
from pathlib import Path

import pytest
from pydicom import Dataset

from core.errors import ConfigurationError, StoreError
from core.reading.patients import patient_digest
from core.reviews.opening import open_reviews
from core.reviews.patients import keyed, patient_key
from core.reviews.record import SERVER
from core.reviews.settings import Policy, Settings, data_folder, settings_from


def patient(identifier: str, issuer: str = "", name: str = "Doe^Jane") -> Dataset:
    dataset = Dataset()
    dataset.PatientID, dataset.IssuerOfPatientID, dataset.PatientName = identifier, issuer, name
    return dataset


def test_the_reader_speaks_first_and_no_scan_is_kept_unless_the_deployment_says_so() -> None:
    assert settings_from({}) == Settings(Policy(read_first=True, keeps_files=False, retention_days=None))
    named = {
        "RADLENS_READ_FIRST": "0",
        "RADLENS_KEEP_FILES": "yes",
        "RADLENS_RETENTION_DAYS": "30",
        "RADLENS_TRIAGE": "On",
    }
    settings = settings_from({**named, "RADLENS_USER_HEADER": " X-Forwarded-User "})
    assert settings.policy == Policy(read_first=False, keeps_files=True, retention_days=30)
    assert settings.triage
    assert settings.user_header == "X-Forwarded-User"


@pytest.mark.parametrize(
    ("name", "value"),
    [("RADLENS_READ_FIRST", "maybe"), ("RADLENS_RETENTION_DAYS", "-1"), ("RADLENS_RETENTION_DAYS", "0"),
     ("RADLENS_RETENTION_DAYS", "a week"), ("RADLENS_RETENTION_DAYS", "\u0663")],
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        settings_from({name: value})


def test_a_patient_is_told_by_issuer_and_number_and_by_no_name() -> None:
    one = patient_digest([patient("17", "ward A")])
    assert one == patient_digest([patient("", ""), patient("17", "ward A", name="Roe^Richard")])
    assert one != patient_digest([patient("17", "ward B")])
    assert one != patient_digest([patient("18", "ward A")])
    # Issuer and number are kept apart.
    assert patient_digest([patient("7", "1")]) != patient_digest([patient("17", "")])
    assert patient_digest([patient("")]) == patient_digest([]) == ""


def test_what_is_kept_of_a_patient_needs_the_key() -> None:
    who = patient_digest([patient("17")])
    # RFC 2104 with the library's own call, and the definition by hand.
    assert keyed(who, b"k") == hmac.new(b"k", who.encode(), "sha256").hexdigest()
    padded = b"k".ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + who.encode()).digest()
    assert keyed(who, b"k") == hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).hexdigest()
    assert keyed(who, b"other") != keyed(who, b"k")
    assert keyed("", b"k") == ""


def _key_in_a_process(folder: str, found: "multiprocessing.Queue[bytes]") -> None:
    import os

    os.environ["XDG_DATA_HOME"] = folder
    found.put(patient_key())


def test_the_key_is_drawn_once_and_is_its_user_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("RADLENS_PATIENT_KEY", raising=False)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[bytes] = context.Queue()
    processes = [context.Process(target=_key_in_a_process, args=(str(tmp_path), queue)) for _ in range(3)]
    for process in processes:
        process.start()
    keys = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert keys == {patient_key()}
    kept = list(data_folder().iterdir())
    assert [path.name for path in kept] == ["patient.key"]
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    monkeypatch.setenv("RADLENS_PATIENT_KEY", "named by the deployment")
    assert patient_key() == b"named by the deployment"


def test_opening_says_so_in_the_audit_trail_and_deletes_what_is_past_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    reviews = open_reviews(f"sqlite:///{tmp_path / 'reviews.db'}")
    (event,) = reviews.store.events()
    assert (event["event"], event["code"], event["reader"]) == ("application started", "110120", SERVER.name)
    assert not SERVER.is_authenticated
    assert reviews.store.verify().holds


def test_a_data_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "radlens").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(StoreError, match="data folder"):
        open_reviews("sqlite://")
