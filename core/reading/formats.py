"""What a file is, told from its first bytes, never from its name."""

import string
import zlib
from typing import Literal

from core.errors import DamagedScan, NotAnImage

Format = Literal["DICOM", "PNG", "JPEG", "TIFF", "NIfTI"]

_RASTER: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive inside another file; unpack it first"),
    (b"\x1f\x8b", "a compressed (gzip) file; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"GIF8", "a GIF picture; export it as PNG"),
    (b"BM", "a BMP picture; export it as PNG"),
    (b"RIFF", "a WebP picture or a sound file; export it as PNG"),
    (b"%!PS", "a PostScript drawing"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"{\\rtf", "a text document"),
)
_ACCEPTED = "RadLens reads DICOM, PNG, JPEG, TIFF and NIfTI"
_GZIP = b"\x1f\x8b"
# Where NIfTI-1 and NIfTI-2 say what they are.
_NIFTI = ((344, (b"n+1\x00", b"ni1\x00")), (4, (b"n+2\x00", b"ni2\x00")))
_NIFTI_HEADER = 348
_TEXT = set(string.printable.encode())


def sniff(data: bytes) -> Format:
    """The format of a file's bytes.

    Raises DamagedScan for an empty file, NotAnImage for anything that is none of these formats.
    """
    if not data:
        raise DamagedScan("The file is empty (0 bytes); export or copy it again.")
    if data[128:132] == b"DICM":
        return "DICOM"
    for magic, name in _RASTER:
        if data.startswith(magic):
            return name
    if _is_nifti(data):
        return "NIfTI"
    for magic, kind in _FOREIGN:
        if data.startswith(magic):
            raise NotAnImage(f"This is {kind}. {_ACCEPTED}.")
    if _starts_with_element(data):
        return "DICOM"
    raise NotAnImage(f"This is {_describe(data)}, not a scan. {_ACCEPTED}.")


def _is_nifti(data: bytes) -> bool:
    """Whether the file, or the first bytes of what it inflates to, carry NIfTI's mark."""
    head = data[:_NIFTI_HEADER]
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[: 1 << 16], _NIFTI_HEADER)
        except zlib.error:
            return False
    return any(head[at : at + 4] in marks for at, marks in _NIFTI)


def _starts_with_element(data: bytes) -> bool:
    """Whether the file begins with a plausible DICOM element of group 0002 or 0008, as files without a preamble do."""
    little, big = int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")
    if little not in (0x0002, 0x0008) and big not in (0x0002, 0x0008):
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    implicit = int.from_bytes(data[4:8], "little") < 1024
    return len(data) > 12 and (explicit or implicit)


def _describe(data: bytes) -> str:
    head = data[:1024]
    if set(head) <= _TEXT:
        return "a text file"
    if not any(head):
        return "a file of zeros"
    return "a file of an unknown kind, or a damaged one"
