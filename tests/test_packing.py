"""What goes to the browser: the bytes, the sizes, and what happens to a picture too large to send."""

import json
from typing import Any

import numpy as np
import pytest

from core.reading.decoding import decode_scan
from dashboard import packing
from dashboard.packing import pack, pixels_message, raw_frames, shown_shape
from tests.files import dicom_bytes


def opened(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    size = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + size])
    body = message[4 + size :]
    places = header["sections"].items()
    return header, {name: body[p["offset"] : p["offset"] + p["length"]] for name, p in places}


def test_sections_begin_at_multiples_of_eight_and_come_back_as_they_were() -> None:
    message = pack({"kind": "x"}, {"a": b"12345", "b": b"", "c": b"678"})
    header, sections = opened(message)
    assert sections == {"a": b"12345", "b": b"", "c": b"678"}
    assert all(place["offset"] % 8 == 0 for place in header["sections"].values())
    assert (4 + int.from_bytes(message[:4], "little")) % 8 == 0


def test_a_frame_arrives_bit_by_bit_little_endian() -> None:
    pixels = np.random.default_rng(0).integers(-2000, 2000, (3, 20, 30)).astype(np.int16)
    scan = decode_scan(dicom_bytes(pixels, PixelSpacing=[0.5, 0.7]))
    header, sections = opened(pixels_message(scan, "id", 1, "/source"))
    assert (header["type"], header["rows"], header["columns"], header["frames"]) == ("i2", 20, 30, 3)
    assert header["spacing"] == [0.5, 0.7]
    assert (np.frombuffer(sections["frame"], "<i2").reshape(20, 30) == pixels[1]).all()
    assert (np.frombuffer(raw_frames(scan, 1, 2), "<i2").reshape(2, 20, 30) == pixels[1:]).all()


def test_a_picture_too_large_to_send_is_averaged_and_its_spacing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.repeat(np.repeat(np.arange(64, dtype=np.uint16).reshape(8, 8) * 100, 4, 0), 4, 1)
    scan = decode_scan(dicom_bytes(pixels, PixelSpacing=[0.25, 0.25]))
    assert shown_shape(scan) == (32, 32)
    monkeypatch.setattr(packing, "_FRAME_BYTES", pixels.nbytes // 16)
    header, sections = opened(pixels_message(scan, "id", 0, ""))
    assert (header["rows"], header["columns"], header["spacing"]) == (8, 8, [1.0, 1.0])
    assert (np.frombuffer(sections["frame"], "<u2").reshape(8, 8) == pixels[::4, ::4]).all()
