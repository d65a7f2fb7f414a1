"""Whether a JPEG is whole: decoders fill what is missing with grey and say nothing."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from simplejpeg import decode_jpeg, decode_jpeg_header

from core.errors import DamagedScan

# What libjpeg only warns of while it makes up the missing part.
_JPEG_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")
# Levels by which two decoders of a lossy picture may differ.
_ROUNDING = 16
_END = b"\xff\xd9"
# The marker SOT and its length, which is always 10.
_TILE_PART = b"\xff\x90\x00\x0a"


def check_jpeg(data: bytes) -> bool:
    """Decode once more at an eighth of the size, where libjpeg's warnings are errors. False where that is not possible.

    Raises DamagedScan for a picture of which a part is missing.
    """
    try:
        colours = decode_jpeg_header(data, strict=False)[2]
        wanted = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
        decode_jpeg(data, wanted, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as exc:
        if str(exc).startswith(_JPEG_DAMAGE):
            raise DamagedScan("A part of the JPEG picture is missing or damaged; export or copy it again.") from exc
        return False
    return True


def check_end(data: bytes) -> None:
    """The marker of the end must be there; within a JPEG-LS stream its bytes cannot occur (ISO 14495-1 A.1).

    CharLS looks for it for seconds before it gives up.
    Raises DamagedScan where the stream was cut.
    """
    if data.rfind(_END) < 0:  # from the end, where it stands
        raise DamagedScan("The JPEG-LS picture is cut short; export or copy it again.")


def check_by_comparison(data: bytes, decoded: npt.NDArray[Any], bits: int) -> None:
    """libjpeg-turbo must see the same grey picture, of ``bits`` bits, signed or not; two decoders fill a hole differently.

    For JPEG of 12 bits and lossless JPEG, whose decoders say nothing of what is missing.
    Raises DamagedScan where the two differ by more than they round.
    """
    import imagecodecs

    try:
        other = imagecodecs.jpeg8_decode(data)
    except Exception:  # noqa: BLE001 - what it cannot decode it cannot judge
        return
    if other.shape == decoded.shape:
        apart = (other.astype(np.int32) - decoded) & ((1 << bits) - 1)
        if np.minimum(apart, (1 << bits) - apart).max() > _ROUNDING:
            raise DamagedScan("A part of the JPEG picture is missing or damaged; export or copy it again.")


def check_tiles(data: bytes) -> None:
    """Every tile that SIZ speaks of must be there (ISO 15444-1 A.4.2, A.5.1); a decoder leaves the others black.

    Raises DamagedScan where one is missing.
    """
    tiles, at = set(), data.find(_TILE_PART)
    columns, rows, _, _, tile_columns, tile_rows, left, top = struct.unpack_from(">8I", data, 8)
    if not tile_columns or not tile_rows:
        return
    wanted = -(-(columns - left) // tile_columns) * -(-(rows - top) // tile_rows)
    while at >= 0 and data[at : at + 4] == _TILE_PART and at + 12 <= len(data):
        tile, length = struct.unpack_from(">HI", data, at + 4)
        tiles.add(tile)
        at = at + length if length else -1
    if len(tiles) < wanted:
        raise DamagedScan("A part of the JPEG 2000 picture is missing; export or copy it again.")
