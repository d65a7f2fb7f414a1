"""A page that mounts the viewer's script as Streamlit does: a shadow root, top-level bytes, a spy on the state."""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import numpy.typing as npt

from core.overlay import scale_colours
from core.preprocessing import Letterbox
from core.scan import Scan
from dashboard.texts import texts as all_texts

FOLDER = Path(__file__).resolve().parents[1] / "dashboard" / "viewer"
_PAGE = """<!doctype html><meta charset="utf-8">
<body style="margin:0;background:var(--st-background-color)"><div id="host"></div>
<script type="module">
import mount from "/viewer.js";
import message from "/message.js";
const root = document.getElementById("host").attachShadow({mode: "open"});
root.innerHTML = await (await fetch("/viewer.html")).text();
const sheet = document.createElement("style");
sheet.textContent = await (await fetch("/viewer.css")).text();
root.append(sheet);
const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
globalThis.reports = [];
const setStateValue = (name, value) => globalThis.reports.push([name, value]);
globalThis.mountViewer = async (name) => mount({parentElement: root, data: await bytes(name), setStateValue});
globalThis.sendMessage = async (name) => message({data: await bytes(name)});
globalThis.one = (selector) => root.querySelector(selector);
globalThis.loaded = true;
</script>"""


@cache
def texts() -> dict[str, str]:
    """The viewer's words."""
    return {key: words for key, words in all_texts().items() if key.startswith("viewer.")}


def pack(header: Mapping[str, Any], sections: Mapping[str, bytes | npt.NDArray[Any]]) -> bytes:
    """uint32 header length | JSON header | sections at multiples of 8, as the dashboard sends it."""
    places, body = {}, b""
    for name, section in sections.items():
        data = section if isinstance(section, bytes) else section.astype(section.dtype.newbyteorder("<")).tobytes()
        places[name] = {"offset": len(body), "length": len(data)}
        body += data + b"\0" * (-len(data) % 8)
    text = json.dumps({**header, "sections": places}).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return struct.pack("<I", len(text)) + text + body


_TYPE_NAMES = {
    "uint8": "u1",
    "int8": "i1",
    "uint16": "u2",
    "int16": "i2",
    "uint32": "u4",
    "int32": "i4",
    "float32": "f4",
}


def pixels_message(scan: Scan, frame: int = 0, shrink: int = 4, **changes: Any) -> bytes:
    """The message of one scan's pixels; ``changes`` replaces entries of its header."""
    rows, columns = scan.shape
    lut, geometry = scan.modality_lut, scan.geometry
    sections: dict[str, npt.NDArray[Any]] = {"frame": scan.stored[frame]}
    header: dict[str, Any] = {
        "kind": "pixels",
        "id": scan.digest,
        "version": "1",
        "rows": rows,
        "columns": columns,
        "frames": scan.frame_count,
        "frame": frame,
        "samples": 3 if scan.is_colour else 1,
        "type": _TYPE_NAMES[scan.stored.dtype.name],
        "source": None,
        "slope": lut.slope,
        "intercept": lut.intercept,
        "unit": lut.unit,
        "monochrome1": scan.photometric == "MONOCHROME1",
        "padding": scan.padding,
        "windows": [
            {"name": w.explanation, "centre": w.centre, "width": w.width, "function": w.function} for w in scan.windows
        ],
        "spacing": geometry.spacing_mm,
        "slice_spacing": geometry.slice_spacing_mm,
        "orientation": geometry.orientation,
        "slice_direction": geometry.slice_direction,
        "frame_rate": None,
        "report_frame": True,
        "texts": texts(),
    }
    if lut.table is not None:
        sections["table"], header["table_first"] = lut.table.values, lut.table.first
    if scan.voi_lut is not None:
        sections["voi"] = (scan.voi_lut.values / (2**scan.voi_lut.bits - 1)).astype(np.float32)
        header["voi_first"] = scan.voi_lut.first
        header["windows"] = [{"name": "table", "centre": None, "width": None, "function": "LINEAR", "lut": True}]
    if scan.frame_count > 1:
        sections["preview"] = np.ascontiguousarray(scan.stored[:, ::shrink, ::shrink])
        header["preview"] = sections["preview"].shape[1:3]
    sections |= changes.pop("sections", {})
    return pack({**header, **changes}, sections)


def maps_message(
    scan_id: str,
    evidence: npt.NDArray[np.float32],
    box: Letterbox,
    limit: float = 1.0,
    frame: int = 0,
    probability: npt.NDArray[np.float32] | None = None,
    **label: Any,
) -> bytes:
    """The message of one label's map, (h, w) float32, and of a segmentation its probability on the model's square."""
    entry = {"code": "mass", "words": "Mass", "score": "0.83", "outcome": None, "bias": None, "whole": 0.0, **label}
    place = {n: getattr(box, n) for n in ("rows", "columns", "size", "height", "width", "top", "left")}
    header: dict[str, Any] = {
        "kind": "maps",
        "id": scan_id,
        "frame": frame,
        "rows": evidence.shape[0],
        "columns": evidence.shape[1],
        "letterbox": place,
        "limit": limit,
        "unit": "log-odds",
        "label": "mass",
        "labels": [entry],
    }
    sections: dict[str, npt.NDArray[Any]] = {"maps": evidence.astype(np.float32), **_scales()}
    if probability is not None:
        header["masks"] = {"rows": probability.shape[0], "columns": probability.shape[1]}
        sections["masks"] = probability.astype(np.float32)
    return pack(header, sections)


@cache
def _scales() -> dict[str, npt.NDArray[np.uint8]]:
    share = np.linspace(0, 1, 256, dtype=np.float32)
    colours = {"scale_for": scale_colours(share, "for"), "scale_signed": scale_colours(2 * share - 1, "signed")}
    return {name: np.rint(255 * values).astype(np.uint8) for name, values in colours.items()}


class ViewerSite:
    """What the page's server answers: the viewer's own files, the test's messages, and frames of a stack."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.frames: npt.NDArray[Any] | None = None
        self.asked: list[tuple[int, int]] = []
        self.address = ""

    def answer(self, path: str, query: Mapping[str, list[str]]) -> bytes | None:
        if path == "/frames" and self.frames is not None:
            first, count = int(query["first"][0]), int(query["count"][0])
            self.asked.append((first, count))
            return self.frames[first : first + count].tobytes()
        return {**_files(), **self.answers}.get(path)


@cache
def _files() -> dict[str, bytes]:
    script = "\n".join(path.read_text("utf-8") for path in sorted((FOLDER / "js").glob("*.js")))
    return {
        "/": _PAGE.encode(),
        "/favicon.ico": b"",
        "/viewer.js": script.encode(),
        "/message.js": (FOLDER / "js_message.js").read_bytes(),
        "/viewer.html": (FOLDER / "viewer.html").read_bytes(),
        "/viewer.css": (FOLDER / "viewer.css").read_bytes(),
    }


_TYPES = {".js": "text/javascript", ".css": "text/css"}


@contextmanager
def serving() -> Iterator[ViewerSite]:
    """The site on a free port of 127.0.0.1; ends with the block."""
    site = ViewerSite()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlparse(self.path)
            body = site.answer(asked.path, parse_qs(asked.query))
            self.send_response(404 if body is None else 200)
            kind = _TYPES.get(Path(asked.path).suffix, "text/html" if asked.path == "/" else "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - http.server's signature
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
