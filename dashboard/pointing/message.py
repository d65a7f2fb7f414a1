"""What goes to an element: a header of plain values and one picture, as bytes at the top level."""

import json
import struct
from collections.abc import Mapping


def packed(header: Mapping[str, object], png: bytes) -> bytes:
    """Length of the header (4 bytes, little endian), the header as JSON, the picture."""
    words = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<I", len(words)) + words + png
