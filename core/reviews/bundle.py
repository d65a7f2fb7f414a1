"""The evidence bundle: one zip that says what was read, by whom, with what; and the check that replays it.

The manifest is written last and names the SHA-256 of every other entry, so that a bundle that was cut short has none. Entries are
stored as they are, so that the whole file can be put together again and compared: one flipped byte anywhere is found.
Replaying needs the scan: from the bundle where the reader asked to put it in, else from a file beside it.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np

from core.analysis import Analysis, analyse
from core.errors import ModelError, RadLensError, ReviewRejected
from core.models.loading import Model
from core.reviews.record import Review, canonical
from core.scan import Scan

FORMAT = 1
_MANIFEST, _INPUT, _ANALYSIS = "manifest.json", "input.bin", "analysis.json"
# What a bundle may hold at most, so that a hostile one cannot fill the memory: entries, and bytes when unpacked.
_MOST_ENTRIES, _MOST_BYTES = 2000, 1 << 30
Load = Callable[[str], Model]
Read = Callable[[bytes], Sequence[Scan]]
# The moment that zip entries carry: the same content gives the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class BundleVerdict:
    """What a check of a bundle found.

    ``damaged`` names what is missing or changed, ``differs`` what the replay gave otherwise, ``not_replayed`` says why there
    was none.
    """

    entries: int
    damaged: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    not_replayed: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every entry is as the manifest says."""
        return not self.damaged

    @property
    def is_same(self) -> bool:
        """Whether the replay gave the same, bit for bit."""
        return self.is_whole and not self.differs and not self.not_replayed

    @property
    def sentence(self) -> str:
        """The verdict in a sentence or two."""
        if self.damaged:
            return f"Not as it was written: {'; '.join(self.damaged)}."
        if self.not_replayed:
            return f"Whole. It was not replayed: {self.not_replayed}"
        return (
            "The same, bit for bit." if self.is_same else f"Whole, but the replay differs: {'; '.join(self.differs)}."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What goes into a bundle. ``reviews`` are all versions of one reader's review, ``events`` the case's audit trail."""

    scan: Scan = field(repr=False)
    analysis: Analysis | None = field(repr=False)
    thresholds: Mapping[str, float]
    case: Mapping[str, Any]
    reviews: Sequence[Review]
    events: Sequence[Mapping[str, Any]]
    reports: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    file: bytes | None = field(default=None, repr=False)


def write_bundle(evidence: Evidence) -> bytes:
    """The bundle as a zip."""
    entries: dict[str, bytes] = {
        "case.json": _json(dict(evidence.case)),
        "reviews.jsonl": "".join(f"{canonical(review)}\n" for review in evidence.reviews).encode(),
        "audit.jsonl": "".join(f"{json.dumps(dict(event), sort_keys=True)}\n" for event in evidence.events).encode(),
        **{f"report.{kind}": content for kind, content in evidence.reports.items()},
    }
    if evidence.analysis is not None:
        entries[_ANALYSIS] = _json(_described(evidence.analysis, evidence.thresholds))
        entries |= {f"maps/{code}.npy": _npy(h.evidence) for code, h in evidence.analysis.heatmaps.items()}
        entries |= {f"masks/{code}.npy": _npy(mask.probability) for code, mask in evidence.analysis.masks.items()}
    if evidence.file is not None:
        entries[_INPUT] = evidence.file
    manifest = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "input_sha256": evidence.scan.digest,
        "pixels_sha256": pixels_digest(evidence.scan),
        "entries": {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()},
    }
    return _packed({**entries, _MANIFEST: _json(manifest)})


def _packed(entries: Mapping[str, bytes]) -> bytes:
    """Entries as a zip: the same entries in the same order give the same bytes."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.create_system, info.create_version = 3, 20
            bundle.writestr(info, content)
    return stream.getvalue()


def pixels_digest(scan: Scan) -> str:
    """SHA-256 of the stored values, with their shape and type."""
    head = f"{scan.stored.shape} {scan.stored.dtype.str}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(scan.stored).tobytes()).hexdigest()


def verify_bundle(data: bytes, load: Load, read: Read, scan_file: bytes | None = None) -> BundleVerdict:
    """Check every entry, then replay the analysis.

    ``load`` (model id) -> Model and ``read`` (bytes) -> its scans are how models and files are opened; ``scan_file`` the
    file, where the bundle does not hold it.
    Raises ReviewRejected when the file is no bundle.
    """
    entries, manifest = _opened(data)
    damaged = _damage(data, entries, manifest)
    if damaged:
        return BundleVerdict(len(entries), damaged=damaged)
    count = len(entries)
    file = entries.get(_INPUT, scan_file)
    if _ANALYSIS not in entries:
        return BundleVerdict(count, not_replayed="the network gave no answer on this case.")
    if file is None:
        return BundleVerdict(count, not_replayed="it does not hold the scan; name the file beside it.")
    try:
        return BundleVerdict(count, differs=_replayed(entries, manifest, load, read, file))
    except ModelError as exc:
        return BundleVerdict(count, not_replayed=str(exc))
    except RadLensError as exc:
        return BundleVerdict(count, differs=(str(exc),))


def _opened(data: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    refusal = "This is no evidence bundle of RadLens: it is not a zip with a manifest, or it was cut short or changed."
    try:
        with zipfile.ZipFile(BytesIO(data)) as bundle:
            infos = bundle.infolist()
            if len(infos) > _MOST_ENTRIES or sum(info.file_size for info in infos) > _MOST_BYTES:
                raise ReviewRejected("This bundle is larger than any that RadLens writes; it is not opened.")
            entries = {info.filename: bundle.read(info) for info in infos}
            manifest = json.loads(entries[_MANIFEST])
            return entries, {**manifest, "entries": dict(manifest["entries"])}
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        OSError,
        EOFError,
        NotImplementedError,
        zlib.error,
    ) as exc:
        raise ReviewRejected(refusal) from exc


def _damage(data: bytes, entries: Mapping[str, bytes], manifest: Mapping[str, Any]) -> tuple[str, ...]:
    wanted: dict[str, str] = manifest["entries"]
    found = [f"{name} is missing" for name in wanted if name not in entries]
    found += [f"{name} was added" for name in entries if name not in wanted and name != _MANIFEST]
    found += [
        f"{name} was changed"
        for name, sha256 in wanted.items()
        if name in entries and hashlib.sha256(entries[name]).hexdigest() != sha256
    ]
    if not found and _packed(entries) != data:
        found.append("the zip around the entries was changed")
    return tuple(found)


def _replayed(
    entries: Mapping[str, bytes], manifest: Mapping[str, Any], load: Load, read: Read, file: bytes
) -> tuple[str, ...]:
    scan = next((one for one in read(file) if one.digest == manifest["input_sha256"]), None)
    if scan is None:
        return ("the file is another than the one that was read",)
    said = json.loads(entries[_ANALYSIS])
    model = load(said["model"])
    differs = []
    if model.card.weights_sha256 != said["weights_sha256"]:
        differs.append(f"the model {said['model']} has other weights today")
    if pixels_digest(scan) != manifest["pixels_sha256"]:
        differs.append("the file gives other pixels today")
    again = analyse(model, scan, said["frame"])
    differs += [f"{name} {before}, today {again.versions.get(name)}" for name, before in said["versions"].items()
                if again.versions.get(name) != before]  # fmt: skip
    for code, logit in said["logits"].items():
        if again.prediction.logits.get(code) != logit:
            differs.append(
                f"the logit of {code} was {logit:.9g}, today {again.prediction.logits.get(code, float('nan')):.9g}"
            )
    for code, heatmap in again.heatmaps.items():
        kept = entries.get(f"maps/{code}.npy", b"")
        if kept != _npy(heatmap.evidence):
            differs.append(f"the heatmap of {code} {_how_far(kept, heatmap.evidence)}")
    return tuple(differs)


def _how_far(kept: bytes, today: "np.ndarray[Any, np.dtype[np.float32]]") -> str:
    before = np.load(BytesIO(kept), allow_pickle=False) if kept else np.zeros(0)
    if before.shape != today.shape:
        return "has another size today"
    return f"differs by up to {float(np.abs(before - today).max()):.2g}"


def _described(analysis: Analysis, thresholds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "model": analysis.model_id, "model_version": analysis.model_version, "weights_sha256": analysis.weights_sha256,
        "frame": analysis.frame, "engine": analysis.engine, "versions": dict(analysis.versions),
        "logits": dict(analysis.prediction.logits), "scores": dict(analysis.prediction.scores),
        "thresholds": dict(thresholds),
        "maps": {
            code: {"unit": h.unit, "bias": h.bias, "limit": h.limit, "method": h.method, "layer": h.layer}
            for code, h in analysis.heatmaps.items()
        },
    }  # fmt: skip


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _npy(values: "np.ndarray[Any, np.dtype[np.float32]]") -> bytes:
    stream = BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()
