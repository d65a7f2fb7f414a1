"""PNG, JPEG and TIFF: whole pictures only, every bit as stored, the colours and the corners where they belong."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin

from core.errors import DamagedScan, ScanError
from core.reading.raster import read_raster
from core.scan import Scan
from tests.files import image_bytes, jpeg_bytes, plain_tiff_bytes, png_bytes, png_chunk, tiff_bytes

Array = npt.NDArray[Any]

EOI = b"\xff\xd9"
DRAW = np.random.default_rng(0)
SMOOTH = cv2.GaussianBlur(DRAW.integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 2)
SMOOTH = ((SMOOTH.astype(np.float64) - SMOOTH.min()) * 255 / np.ptp(SMOOTH)).astype(np.uint8)
GREY = SMOOTH[..., 0]
# Red 0, 257, ..: multiples of 257 are the 16-bit values that 8 bits can say exactly; 128 more rounds up, 127 more does not.
DEEP = np.stack([np.full((4, 6), 257 * 7), np.full((4, 6), 257 * 7 + 129), np.full((4, 6), 257 * 9 + 127)], -1).astype(
    "u2"
)


def read(data: bytes) -> Scan:
    kinds: dict[bytes, Literal["PNG", "JPEG"]] = {b"\x89P": "PNG", b"\xff\xd8": "JPEG"}
    return read_raster(data, kinds.get(data[:2], "TIFF"), "digest")


def refused(data: bytes) -> str:
    with pytest.raises(DamagedScan) as caught:
        read(data)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200
    return str(caught.value)


def png_of(
    body: bytes,
    columns: int,
    rows: int,
    bits: int,
    colour: int,
    *,
    interlaced: int = 0,
    parts: int = 1,
    end: bool = True,
) -> bytes:
    """PNG around a zlib stream that may be anything, in ``parts`` IDAT chunks."""
    header = struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, interlaced)
    step = -(-len(body) // parts) or 1
    data = b"".join(png_chunk(b"IDAT", body[at : at + step]) for at in range(0, len(body), step))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + (png_chunk(b"IEND", b"") if end else b"")


def png_lines(array: Array) -> bytes:
    """The scan lines of a PNG, each with the filter byte 0."""
    return b"".join(b"\0" + line.astype(line.dtype.newbyteorder(">")).tobytes() for line in array)


def strip_tiff(
    strip: bytes, size: tuple[int, int], *, bits: int, sample_format: int = 1, compression: int = 1
) -> bytes:
    """TIFF of one grey strip, written by hand, with the directory before the strip; ``size`` is (rows, columns)."""
    rows, columns = size
    entries = [
        (256, 4, columns), (257, 4, rows), (258, 3, bits), (259, 3, compression), (262, 3, 1), (273, 4, 8 + 2 + 120 + 4),
        (277, 3, 1), (278, 4, rows), (279, 4, len(strip)), (339, 3, sample_format),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHIHxx" if kind == 3 else "<HHII", tag, kind, 1, v) for tag, kind, v in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + strip


# JPEG: whole or not ---------------------------------------------------------------------------------------------------


def with_exif(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a film"
    return image_bytes(picture, "JPEG", exif=exif.tobytes())


JPEGS: dict[str, bytes] = {
    "baseline": image_bytes(Image.fromarray(SMOOTH), "JPEG", quality=90),
    "full chroma": image_bytes(Image.fromarray(SMOOTH), "JPEG", quality=90, subsampling=0),
    "progressive": image_bytes(Image.fromarray(SMOOTH), "JPEG", progressive=True),
    "grey": image_bytes(Image.fromarray(GREY), "JPEG"),
    "grey progressive": image_bytes(Image.fromarray(GREY), "JPEG", progressive=True),
    "CMYK": image_bytes(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"),
    "restart markers": image_bytes(Image.fromarray(SMOOTH), "JPEG", restart_marker_blocks=3),
    "optimised": image_bytes(Image.fromarray(SMOOTH), "JPEG", optimize=True),
    "RGB inside": image_bytes(Image.fromarray(SMOOTH), "JPEG", keep_rgb=True),
    "EXIF": with_exif(Image.fromarray(SMOOTH)),
    "4:1:1": cv2.imencode(".jpg", SMOOTH, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411])[1].tobytes(),
}  # fmt: skip


@pytest.mark.parametrize("name", JPEGS)
def test_good_jpeg_opens_without_a_note(name: str) -> None:
    scan = read(JPEGS[name])
    assert scan.shape == (90, 120)
    assert scan.notes == ()
    assert scan.facts["Bits"] == "8"


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("part", [0.5, 0.8, 0.95])
def test_jpeg_cut_and_closed_again_is_refused(name: str, part: float) -> None:
    data = JPEGS[name]
    refused(data[: int(len(data) * part)] + EOI)


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("missing", [1, 2, 3, 40])
def test_jpeg_cut_short_by_a_few_bytes_is_refused(name: str, missing: int) -> None:
    refused(JPEGS[name][:-missing])


# JPEG has no checksum: rubbish that happens to be valid codes for the right number of blocks cannot be told from a picture.
@pytest.mark.parametrize("name", ["full chroma", "grey", "CMYK", "restart markers"])
def test_jpeg_with_rubbish_in_the_middle_is_refused(name: str) -> None:
    data = bytearray(JPEGS[name])
    middle = len(data) * 3 // 4
    data[middle : middle + 40] = bytes(40)
    refused(bytes(data))


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm() -> None:
    assert read(JPEGS["baseline"] + bytes(1000)).notes == ()


def test_jpeg_whose_header_alone_is_odd_opens_with_a_note() -> None:
    data = JPEGS["baseline"]
    version = data.index(b"JFIF\0") + 5
    scan = read(data[:version] + b"\x03" + data[version + 1 :])
    assert np.array_equal(scan.stored, read(data).stored)
    assert any("could not be checked" in note for note in scan.notes)


def test_adobe_s_inverted_cmyk_is_not_a_negative() -> None:
    # Adobe writes 255 for no ink and says so in APP14; Pillow's CMYK has 0 for no ink.
    paper = image_bytes(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    assert b"Adobe" in paper
    assert read(paper).stored.min() > 250
    assert read(image_bytes(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "JPEG")).stored.max() < 5
    red = read(image_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).stored[0, 8, 8].astype(int)
    assert np.abs(red - (255, 0, 0)).max() < 6


# PNG: whole or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("parts", [1, 7])
def test_png_whose_stream_ends_early_is_refused(share: float, parts: int) -> None:
    lines = png_lines(GREY)
    short = zlib.compress(lines[: int(len(lines) * share)])
    assert "missing" in refused(png_of(short, 120, 90, 8, 0, parts=parts))
    cut = zlib.compress(lines)
    refused(png_of(cut[: int(len(cut) * share)], 120, 90, 8, 0, parts=parts))


def test_png_that_lacks_one_byte_is_refused_and_one_more_does_no_harm() -> None:
    lines = png_lines(GREY)
    refused(png_of(zlib.compress(lines[:-1]), 120, 90, 8, 0))
    assert np.array_equal(read(png_of(zlib.compress(lines), 120, 90, 8, 0, parts=5)).stored[0], GREY)
    assert np.array_equal(read(png_of(zlib.compress(lines + b"more"), 120, 90, 8, 0)).stored[0], GREY)


def test_png_without_an_end_is_refused() -> None:
    refused(png_of(zlib.compress(png_lines(GREY)), 120, 90, 8, 0, end=False))


@pytest.mark.parametrize("back", [1, 6, 13, 400])
def test_png_cut_short_is_refused(back: int) -> None:
    refused(png_bytes(GREY)[:-back])


def test_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(png_of(zlib.compress(png_lines(GREY), 0), 120, 90, 8, 0))
    data[data.index(b"IDAT") + 500] ^= 1
    assert "checksum" in refused(bytes(data))


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 8), (17, 30), (2, 9)])
@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "u2")])
def test_interlaced_png_is_counted_pass_by_pass(size: tuple[int, int], bits: int, dtype: str) -> None:
    pixels = DRAW.integers(0, np.iinfo(dtype).max, size, dtype=dtype)
    # PNG 8.2, Adam7.
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [pixels[row::down, column::right] for row, column, down, right in starts]
    lines = b"".join(png_lines(one) for one in passes if one.size)
    whole = png_of(zlib.compress(lines), size[1], size[0], bits, 0, interlaced=1)
    assert np.array_equal(read(whole).stored[0], pixels)
    refused(png_of(zlib.compress(lines[:-1]), size[1], size[0], bits, 0, interlaced=1))


# PNG: every bit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "expected"), [(1, [255, 0]), (2, [170, 85]), (4, [170, 85])])
def test_few_bits_spread_over_the_greys_and_are_told(bits: int, expected: list[int]) -> None:
    packed = {1: 0b10000000, 2: 0b10010000, 4: 0b10100101}[bits]
    scan = read(png_of(zlib.compress(bytes([0, packed])), 2, 1, bits, 0))
    assert scan.stored[0].tolist() == [expected]
    assert scan.facts["Bits"] == str(bits)
    assert scan.bits_stored == 8


def test_palette_png_has_its_colours() -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([200, 0, 0, 0, 100, 0, 0, 0, 50])
    picture.putdata([0, 1, 2])
    scan = read(image_bytes(picture, "PNG", bits=2))
    assert scan.stored[0].tolist() == [[[200, 0, 0], [0, 100, 0], [0, 0, 50]]]
    assert scan.facts["Bits"] == "8"


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_colour_of_16_bits_is_rounded_to_8_and_says_so(ending: str) -> None:
    data = cv2.imencode(ending, np.ascontiguousarray(DEEP[..., ::-1]))[1].tobytes()
    scan = read(data)
    assert scan.stored.dtype == np.uint8
    assert scan.stored[0, 0, 0].tolist() == [7, 8, 9]
    assert scan.facts["Bits"] == "16"
    assert any("rounded" in note for note in scan.notes)


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_grey_saved_as_16_bit_colour_keeps_its_16_bits(ending: str) -> None:
    grey = DRAW.integers(0, 65536, (9, 7), dtype=np.uint16)
    scan = read(cv2.imencode(ending, np.stack([grey] * 3, -1))[1].tobytes())
    assert np.array_equal(scan.stored[0], grey)
    assert scan.notes == ()


def test_grey_of_16_bits_with_transparency_keeps_its_16_bits() -> None:
    pixels = np.array([[[1001, 65535], [40000, 0], [60000, 13107]]], np.uint16)
    scan = read(png_of(zlib.compress(png_lines(pixels)), 3, 1, 16, 4))
    assert scan.stored.dtype == np.uint16
    assert scan.stored[0].tolist() == [[1001, 0, 12000]]


def test_transparent_colour_of_16_bits_lies_over_black() -> None:
    pixels = np.array([[[257 * 200, 0, 257 * 10, 65535], [65535, 65535, 0, 0]]], np.uint16)
    assert read(png_of(zlib.compress(png_lines(pixels)), 2, 1, 16, 6)).stored[0].tolist() == [[[200, 0, 10], [0, 0, 0]]]


# TIFF -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sample_format", "bits"),
    [("u1", 1, 8), ("i1", 2, 8), ("u2", 1, 16), ("i2", 2, 16), ("u4", 1, 32), ("i4", 2, 32), ("f4", 3, 32)],
)
def test_numbers_of_a_tiff_are_those_written(kind: str, sample_format: int, bits: int) -> None:
    limits = np.finfo(np.float32) if kind == "f4" else np.iinfo(kind)
    pixels = np.array([[0, 1, limits.max], [limits.min, 5, 7]], kind)
    scan = read(strip_tiff(pixels.astype(f"<{kind}").tobytes(), (2, 3), bits=bits, sample_format=sample_format))
    assert scan.stored[0].tolist() == pixels.tolist()
    assert scan.facts["Bits"] == str(bits)


def test_pages_of_a_tiff_that_happen_to_be_grey_stay_in_a_colour_stack() -> None:
    scan = read(tiff_bytes(SMOOTH, np.zeros_like(SMOOTH), SMOOTH))
    assert scan.stored.shape == (3, 90, 120, 3)
    assert scan.notes == ()


def test_pages_of_another_depth_are_left_out_with_a_note() -> None:
    deep = GREY.astype(np.uint16) * 257
    scan = read(tiff_bytes(deep, GREY, deep))
    assert scan.stored.dtype == np.uint16
    assert scan.frame_count == 2
    assert any("left out" in note for note in scan.notes)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_tiff_whose_strip_is_short_is_refused(compression: str, share: float) -> None:
    options: dict[str, Any] = {} if compression == "raw" else {"compression": compression, "tiffinfo": {278: 90}}
    whole = tiff_bytes(GREY, **options)
    with Image.open(BytesIO(whole)) as picture:
        assert isinstance(picture, TiffImagePlugin.TiffImageFile)
        tags = picture.tag_v2
        strip = whole[tags[273][0] : tags[273][0] + tags[279][0]]
        code = tags[259]
    assert np.array_equal(read(strip_tiff(strip, (90, 120), bits=8, compression=code)).stored[0], GREY)
    refused(strip_tiff(strip[: int(len(strip) * share)], (90, 120), bits=8, compression=code))


def test_tiff_whose_jpeg_strip_was_cut_and_closed_again_is_refused() -> None:
    jpeg = jpeg_bytes(GREY)
    whole = strip_tiff(jpeg, (90, 120), bits=8, compression=7)
    assert np.abs(read(whole).stored[0].astype(int) - GREY).max() < 12
    refused(strip_tiff(jpeg[: len(jpeg) * 3 // 4] + EOI, (90, 120), bits=8, compression=7))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("make", [tiff_bytes, plain_tiff_bytes])
def test_tiff_cut_short_is_refused(make: Callable[[Array], bytes], part: float) -> None:
    data = make(GREY.astype(np.uint16))
    refused(data[: int(len(data) * part)])


# Upright --------------------------------------------------------------------------------------------------------------

# EXIF 2.3, tag 0x0112: the corner in which the stored first pixel lies when the picture is upright.
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


def marked(samples: int) -> Array:
    """16 bits, one bright corner with a trail of half that along the first row."""
    picture = np.zeros((6, 10, samples), np.uint16)
    picture[0, :5, 0], picture[0, 0, 0] = 257 * 100, 257 * 200
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colour_of_16_bits_is_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "PNG":
        whole = png_of(zlib.compress(png_lines(marked(3))), 10, 6, 16, 2)
        end = whole.index(b"IEND") - 4
        data = whole[:end] + png_chunk(b"eXIf", exif.tobytes()[6:]) + whole[end:]
    else:
        data = colour_tiff(marked(3), orientation)
    upright = read(data).stored[0, ..., 0]
    row, column = CORNERS[orientation]
    assert upright.shape == ((6, 10) if orientation <= 4 else (10, 6))
    assert upright[row, column] == 200
    along = upright[row] if orientation <= 4 else upright[:, column]
    assert sorted(along.tolist())[-5:] == [100, 100, 100, 100, 200]


def colour_tiff(pixels: Array, orientation: int) -> bytes:
    """TIFF of one strip of RGB, 16 bits a sample, written by hand, with an orientation."""
    rows, columns, _ = pixels.shape
    bits_at = 8 + 2 + 120 + 4
    entries = [
        (256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 3, bits_at), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, bits_at + 6), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, rows), (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + struct.pack("<3H", 16, 16, 16)
    return head + pixels.astype("<u2").tobytes()


@pytest.mark.parametrize("make", [png_bytes, jpeg_bytes, tiff_bytes])
def test_flipped_bits_give_a_scan_or_a_sentence(make: Callable[[Array], bytes]) -> None:
    data = make(SMOOTH[:20, :20])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        try:
            read(bytes(changed))
        except ScanError as error:
            sentence = str(error)
        else:
            sentence = "."
        assert sentence.endswith(".")
