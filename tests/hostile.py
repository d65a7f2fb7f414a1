"""Files made to harm whoever reads them, small and made in memory: what the notes on reliability call bombs and traps.

Every one is read by ``tests.test_guard`` as an upload would be. They hold a patient's name where their format has a
place for one, so that no error can repeat it unnoticed.
"""

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.files import (
    IMPLICIT,
    dicom_bytes,
    dicom_dataset,
    image_bytes,
    jpeg_bytes,
    plain_tiff_bytes,
    png_bytes,
    png_chunk,
)

Array = npt.NDArray[Any]

NAME = "Zwirbelmeier^Quirina"
MIB = 1 << 20
_LENGTH_OF_META = struct.Struct("<I")
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
_LANGUAGES = b"\x08\x00\x06\x00SQ\x00\x00"
_FOREVER = b"\xff\xff\xff\xff"
_FRAME_HEADERS = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7")


@dataclass(frozen=True, slots=True)
class Bomb:
    """``make`` gives the bytes; ``opens`` says that they are a legal, if enormous, picture that may be shown."""

    make: Callable[[], bytes]
    opens: bool = False


def picture(rows: int = 64, columns: int = 64, bits: int = 8) -> Array:
    """A smooth picture with some noise, so that every encoder has something to do."""
    rng = np.random.default_rng(5)
    slope = np.add.outer(np.arange(rows) * 2, np.arange(columns)) % 192
    grey = slope + rng.integers(0, 8, (rows, columns))
    return grey.astype(np.uint8) if bits == 8 else (grey * (1 << (bits - 8))).astype(np.uint16)


def encapsulated(frame: bytes, syntax: UID, rows: int = 64, columns: int = 64, bits: int = 8, **tags: Any) -> bytes:
    """A DICOM file around one compressed picture, whatever that is, with the header's own idea of its size."""
    header: dict[str, Any] = {
        "PatientName": NAME, "Rows": rows, "Columns": columns, "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits, "HighBit": bits - 1, "SamplesPerPixel": 1, "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
    }  # fmt: skip
    return dicom_bytes(None, syntax, **header | tags, PixelData=encapsulate([frame]))


def native(pixels: bytes, rows: int, columns: int, **tags: Any) -> bytes:
    """An uncompressed DICOM file of 8 bits whose header and pixels need not agree."""
    header = dicom_bytes(np.zeros((2, 2), np.uint8), PatientName=NAME, **{"Rows": rows, "Columns": columns} | tags)
    return header[: header.rindex(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OB\x00\x00" + _packed(len(pixels)) + pixels


def of_size(jpeg: bytes, rows: int, columns: int) -> bytes:
    """A JPEG or JPEG-LS stream that claims another size."""
    at = min(place for marker in _FRAME_HEADERS if (place := jpeg.find(marker)) > 0)
    return jpeg[: at + 5] + struct.pack(">2H", rows, columns) + jpeg[at + 9 :]


def with_stray_byte(jpeg: bytes) -> bytes:
    """The same stream with a byte that is no marker behind the first: some parsers give up there, decoders go on."""
    return jpeg[:2] + b"\x00" + jpeg[2:]


def with_two_headers(jpeg: bytes, rows: int, columns: int) -> bytes:
    """A harmless frame header in front, the one that counts behind it."""
    at = min(place for marker in _FRAME_HEADERS if (place := jpeg.find(marker)) > 0)
    end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:end] + of_size(jpeg, rows, columns)[at:end] + jpeg[end:]


def jpeg() -> bytes:
    """A grey baseline JPEG of 64 x 64."""
    return jpeg_bytes(picture())


def jpeg_ls() -> bytes:
    """A JPEG-LS stream of 64 x 64."""
    return bytes(imagecodecs.jpegls_encode(picture()))


def lossless_jpeg(pixels: Array | None = None) -> bytes:
    """A lossless JPEG stream (process 14) of 12 bits; of 64 x 64 unless told."""
    return bytes(imagecodecs.ljpeg_encode(picture(bits=12) if pixels is None else pixels, bitspersample=12))


def j2k(columns: int, rows: int, *, one_tile: bool) -> bytes:
    """A JPEG 2000 stream of 8 x 8 whose SIZ claims more, as one tile or as a great many of 8 x 8."""
    stream = bytearray(imagecodecs.jpeg2k_encode(picture(8, 8), codecformat="j2k", reversible=True))
    struct.pack_into(">2I", stream, 8, columns, rows)
    if one_tile:
        struct.pack_into(">2I", stream, 24, columns, rows)
    return bytes(stream)


def rle(segments: list[bytes]) -> bytes:
    """A frame of RLE Lossless (PS3.5 G.5) of these segments."""
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    header = struct.pack("<I", len(segments)) + struct.pack(f"<{len(offsets)}I", *offsets)
    return header.ljust(64, b"\0") + b"".join(segments)


def rle_segment(count: int) -> bytes:
    """``count`` bytes of 7, 128 in every run."""
    rest = bytes([257 - count % 128, 7]) if count % 128 > 1 else b"\x00\x07" * (count % 128)
    return b"\x81\x07" * (count // 128) + rest


def deflated_zeros(mib: int) -> bytes:
    """A raw deflate stream of so many MiB of zeros: one block of 1 MiB, repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * mib + b"\x03\x00"


def zlib_zeros(mib: int) -> bytes:
    """The same with the frame and the checksum of zlib."""
    adler = (mib * MIB % 65521) << 16 | 1
    return b"\x78\xda" + deflated_zeros(mib) + struct.pack(">I", adler)


def gzip_zeros(mib: int, start: bytes = b"") -> bytes:
    """A gzip file of ``start`` and so many MiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(start)
    for _ in range(mib):
        checksum = zlib.crc32(bytes(MIB), checksum)
    tail = struct.pack("<2I", checksum, (len(start) + mib * MIB) % (1 << 32))
    return gzip.compress(b"")[:10] + first + deflated_zeros(mib) + tail


def zip_of_zeros(mib: int, copies: int = 1) -> bytes:
    """A zip of one file of so many MiB of zeros; ``copies`` entries share its bytes."""
    body, checksum = deflated_zeros(mib), 0
    for _ in range(mib):
        checksum = zlib.crc32(bytes(MIB), checksum)
    sizes = struct.pack("<3I", checksum, len(body), mib * MIB)
    local = b"PK\3\4" + struct.pack("<5H", 20, 0, 8, 0, 33) + sizes + struct.pack("<2H", 1, 0) + b"a" + body
    entry = b"PK\1\2" + struct.pack("<6H", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<5H2I", 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, copies, copies, len(entry) * copies, len(local), 0)
    return local + entry * copies + end


def png_claiming(columns: int, rows: int, body: bytes, *extra: bytes) -> bytes:
    """A grey PNG of 8 bits with this compressed body, and further chunks before it."""
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", body), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_with_text(mib: int, kind: bytes) -> bytes:
    """A small PNG with a compressed text or colour profile of so many MiB."""
    data = png_bytes(picture())
    return data[:33] + png_chunk(kind, b"Comment\x00\x00" + zlib_zeros(mib)) + data[33:]


def tiff_of_size(rows: int, columns: int) -> bytes:
    """A TIFF whose one short strip is said to hold a picture of this size."""
    data = plain_tiff_bytes(picture(bits=16))
    for tag, value in ((256, columns), (257, rows), (278, rows)):
        at = data.index(struct.pack("<HHI", tag, 4, 1))
        data = data[: at + 8] + _packed(value) + data[at + 12 :]
    return data


def tiff_loop() -> bytes:
    """A TIFF whose second page is its first."""
    data = plain_tiff_bytes(picture(bits=16))
    return data[:-4] + data[4:8]


def nifti_header(shape: tuple[int, ...], offset: float = 352.0) -> bytes:
    """The 352 bytes before the voxels of a NIfTI-1 file of uint8."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into(f"<{1 + len(shape)}h", header, 40, len(shape), *shape)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
    struct.pack_into("<2f", header, 108, offset, 1)
    header[148 : 148 + len(NAME)] = NAME.encode()
    header[344:348] = b"n+1\0"
    return bytes(header)


def nested(levels: int, *, defined: bool) -> bytes:
    """A DICOM picture with sequences within sequences, their lengths stated or not."""
    if defined:
        inner = [20 * (levels - level - 1) for level in range(levels)]
        body = b"".join(_LANGUAGES + _packed(size + 8) + _ITEM + _packed(size) for size in inner)
    else:
        body = (_LANGUAGES + _FOREVER + _ITEM + _FOREVER) * levels + (_ITEM_END + _SEQUENCE_END) * levels
    return with_elements(dicom_bytes(picture(), PatientName=NAME), body)


def with_elements(data: bytes, elements: bytes) -> bytes:
    """A DICOM file with further bytes at the start of its data set."""
    (length,) = _LENGTH_OF_META.unpack_from(data, 140)
    return data[: 144 + length] + elements + data[144 + length :]


def many_elements(count: int) -> bytes:
    """A DICOM picture with so many private elements: minutes of a parser's work in a few bytes each."""
    tags = np.empty(count, dtype=[("group", "<u2"), ("element", "<u2"), ("length", "<u4")])
    index = np.arange(count)
    tags["group"], tags["element"], tags["length"] = 0x0009 + 2 * (index >> 16), index & 0xFFFF, 0
    return with_elements(dicom_bytes(picture(), IMPLICIT, PatientName=NAME), tags.tobytes())


def many_values(count: int) -> bytes:
    """A DICOM picture whose WindowCenter holds so many numbers."""
    text = b"0\\" * count
    return with_elements(
        dicom_bytes(picture(), IMPLICIT, PatientName=NAME), b"\x28\x00\x50\x10" + _packed(len(text)) + text
    )


def deflated_dicom(mib: int) -> bytes:
    """A deflated data set whose pixels are so many MiB of zeros for a picture of 64 x 64."""
    small = dicom_bytes(picture(), PatientName=NAME)
    (length,) = _LENGTH_OF_META.unpack_from(small, 140)
    header = small[144 + length : small.rindex(b"\xe0\x7f\x10\x00")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = header + b"\xe0\x7f\x10\x00OB\x00\x00" + _packed(mib * MIB)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(mib)
    meta = dicom_bytes(None, DeflatedExplicitVRLittleEndian)
    (length,) = _LENGTH_OF_META.unpack_from(meta, 140)
    return meta[: 144 + length] + packed


def _packed(number: int) -> bytes:
    return struct.pack("<I", number)


def _rle_too_long() -> bytes:
    frame = rle([rle_segment(64 * 64 + 2), rle_segment(64 * 64)])
    return encapsulated(frame, RLELossless, bits=16)


def _overlay() -> bytes:
    dataset = dicom_dataset(picture(), PatientName=NAME)
    elements = ((0x10, "US", 65535), (0x11, "US", 65535), (0x40, "CS", "G"), (0x50, "SS", [1, 1]))
    for element, kind, value in (*elements, (0x100, "US", 1), (0x102, "US", 0), (0x3000, "OW", bytes(100))):
        dataset.add_new((0x6000, element), kind, value)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _jpeg(high: int, wide: int, **header: int) -> Callable[[], bytes]:
    return lambda: encapsulated(of_size(jpeg(), high, wide), JPEGBaseline8Bit, **header)


def _lossless(high: int, wide: int, **header: int) -> Callable[[], bytes]:
    return lambda: encapsulated(of_size(lossless_jpeg(), high, wide), JPEGLosslessSV1, bits=12, **header)


def _jpeg_ls(high: int, wide: int, **header: int) -> Callable[[], bytes]:
    return lambda: encapsulated(of_size(jpeg_ls(), high, wide), JPEGLSLossless, **header)


def _j2k(side: int, header: int, *, one_tile: bool = True) -> Callable[[], bytes]:
    return lambda: encapsulated(j2k(side, side, one_tile=one_tile), JPEG2000Lossless, header, header)


def _square(side: int) -> dict[str, int]:
    return {"rows": side, "columns": side}


BOMBS: Mapping[str, Bomb] = {
    # JPEG and its relatives inside DICOM: a decoder believes the stream.
    "JPEG, height 0": Bomb(_jpeg(0, 64)),
    "JPEG, height 0, header agrees": Bomb(_jpeg(0, 64, rows=0)),
    "JPEG, height 0 behind a stray byte": Bomb(
        lambda: encapsulated(with_stray_byte(of_size(jpeg(), 0, 64)), JPEGBaseline8Bit)
    ),
    "JPEG, height 0 in a second header": Bomb(
        lambda: encapsulated(with_two_headers(jpeg(), 0, 64), JPEGBaseline8Bit), opens=True
    ),
    "JPEG, 65500 sq": Bomb(_jpeg(65500, 65500)),
    "JPEG, 65500 sq, header agrees": Bomb(_jpeg(65500, 65500, **_square(65500))),
    "JPEG, 65500 sq behind a stray byte": Bomb(
        lambda: encapsulated(with_stray_byte(of_size(jpeg(), 65500, 65500)), JPEGBaseline8Bit)
    ),
    "JPEG, 65500 sq in a second header": Bomb(
        lambda: encapsulated(with_two_headers(jpeg(), 65500, 65500), JPEGBaseline8Bit), opens=True
    ),
    "JPEG, 14000 sq, header agrees": Bomb(_jpeg(14000, 14000, **_square(14000))),
    "JPEG-LS, 65535 sq": Bomb(_jpeg_ls(65535, 65535)),
    "JPEG-LS, 65535 sq, header agrees": Bomb(_jpeg_ls(65535, 65535, **_square(65535))),
    "JPEG-LS, 14000 sq, header agrees": Bomb(_jpeg_ls(14000, 14000, **_square(14000))),
    "JPEG-LS, 65535 sq behind a stray byte": Bomb(
        lambda: encapsulated(with_stray_byte(of_size(jpeg_ls(), 65535, 65535)), JPEGLSLossless)
    ),
    "lossless JPEG, 65535 sq": Bomb(_lossless(65535, 65535)),
    "lossless JPEG, 14000 sq, header agrees": Bomb(_lossless(14000, 14000, **_square(14000))),
    "lossless JPEG, 65535 sq behind a stray byte": Bomb(
        lambda: encapsulated(with_stray_byte(of_size(lossless_jpeg(), 65535, 65535)), JPEGLosslessSV1, bits=12)
    ),
    "JPEG 2000, 9000 sq": Bomb(_j2k(9000, 8)),
    "JPEG 2000, 9000 sq, header agrees": Bomb(_j2k(9000, 9000)),
    "JPEG 2000, 9000 sq in tiles of 8, header agrees": Bomb(_j2k(9000, 9000, one_tile=False)),
    "JPEG 2000, 2000 sq in tiles of 8, header agrees": Bomb(_j2k(2000, 2000, one_tile=False)),
    "JPEG 2000, 4 billion sq": Bomb(_j2k(0xFFFFFFFF, 8)),
    # RLE: two bytes make 128.
    "RLE, 65535 sq": Bomb(lambda: encapsulated(rle([rle_segment(64 * 64)]), RLELossless, 65535, 65535)),
    "RLE, 14000 sq": Bomb(lambda: encapsulated(rle([rle_segment(64 * 64)]), RLELossless, 14000, 14000)),
    "RLE, segment too long": Bomb(_rle_too_long, opens=True),
    "RLE, segment far too long": Bomb(
        lambda: encapsulated(rle([rle_segment(64 * MIB)]), RLELossless), opens=True
    ),
    "RLE, offsets outside": Bomb(
        lambda: encapsulated(struct.pack("<16I", 2, 64, 0xFFFFFFF0, *[0] * 13) + bytes(64), RLELossless, bits=16)
    ),
    # Headers of DICOM.
    "native, 65535 sq": Bomb(lambda: native(bytes(100), 65535, 65535)),
    "native, 2^31 - 1 frames": Bomb(lambda: native(bytes(100), 8, 8, NumberOfFrames=2**31 - 1)),
    "JPEG, 2^31 - 1 frames": Bomb(lambda: encapsulated(jpeg(), JPEGBaseline8Bit, NumberOfFrames=2**31 - 1)),
    "RLE, 100000 frames": Bomb(
        lambda: encapsulated(rle([rle_segment(64 * 64)]), RLELossless, NumberOfFrames=100_000)
    ),
    "overlay, 65535 sq": Bomb(_overlay, opens=True),
    "deflated, 300 MiB": Bomb(lambda: deflated_dicom(300)),
    "deflated, 100 MiB": Bomb(lambda: deflated_dicom(100), opens=True),
    "10000 nested sequences": Bomb(lambda: nested(10_000, defined=False)),
    "10000 nested sequences with lengths": Bomb(lambda: nested(10_000, defined=True), opens=True),
    "a million elements": Bomb(lambda: many_elements(1_000_000), opens=True),
    "ten million values": Bomb(lambda: many_values(10_000_000), opens=True),
    # Pictures.
    "PNG, 50000 sq": Bomb(lambda: png_claiming(50_000, 50_000, zlib_zeros(2385))),
    "PNG, 13000 sq": Bomb(lambda: png_claiming(13_000, 13_000, zlib_zeros(162)), opens=True),
    "PNG, 64 MiB of text": Bomb(lambda: png_with_text(64, b"zTXt"), opens=True),
    "PNG, a profile of 64 MiB": Bomb(lambda: png_with_text(64, b"iCCP"), opens=True),
    "PNG, far too many pixels": Bomb(lambda: png_claiming(64, 64, zlib_zeros(1024)), opens=True),
    "TIFF, 20000 sq": Bomb(lambda: tiff_of_size(20_000, 20_000)),
    "TIFF, 14000 sq": Bomb(lambda: tiff_of_size(14_000, 14_000)),
    "TIFF, pages in a circle": Bomb(tiff_loop, opens=True),
    "JPEG picture, 65500 sq": Bomb(lambda: of_size(jpeg(), 65500, 65500)),
    "JPEG picture, height 0": Bomb(lambda: of_size(jpeg(), 0, 64)),
    "JPEG picture, 14000 sq": Bomb(lambda: of_size(jpeg(), 14000, 14000)),
    "GIF": Bomb(lambda: image_bytes(_image(), "GIF")),
    # NIfTI and archives.
    "NIfTI.gz, 512 MiB": Bomb(lambda: gzip_zeros(512, nifti_header((1024, 1024, 512)))),
    "NIfTI.gz, 200 MiB": Bomb(lambda: gzip_zeros(200, nifti_header((1024, 1024, 200))), opens=True),
    "NIfTI, 32767 cubed": Bomb(lambda: nifti_header((32767, 32767, 32767)) + bytes(100)),
    "NIfTI, 32767 volumes": Bomb(lambda: nifti_header((1, 1, 1, 32767)) + bytes(32767)),
    "NIfTI, voxels at infinity": Bomb(lambda: nifti_header((4, 4, 4), float("inf")) + bytes(100)),
    "gzip of zeros": Bomb(lambda: gzip_zeros(512)),
    "zip, 1 GiB": Bomb(lambda: zip_of_zeros(1024)),
    "zip, 100 MiB 1000 times over": Bomb(lambda: zip_of_zeros(100, copies=1000)),
    "zip, 50000 entries": Bomb(lambda: zip_of_zeros(1, copies=50_000)),
}  # fmt: skip


def _image() -> Any:
    from PIL import Image

    return Image.fromarray(picture())
