"""PNG, JPEG and TIFF through Pillow, every bit kept, upright as the file's EXIF orientation says.

A picture of which a part is missing is refused: Pillow alone would fill the rest of a PNG with black, of a JPEG with grey.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from core.errors import DamagedScan, RadLensError, ScanTooLarge
from core.reading.formats import Format
from core.reading.jpeg import check_jpeg
from core.reading.limits import check_size, max_pixels
from core.scan import Photometric, Scan

Array = npt.NDArray[Any]

# TIFF 6.0 tags.
_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT, _JPEG_TABLES = 258, 259, 262, 339, 347
_PIECES = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles
_SIGNED, _JPEG_IN_TIFF = 2, 7
_ORIENTATION = 0x0112
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_NOT_CHECKED = "Whether this JPEG picture is complete could not be checked, as its header is unusual."
_ROUNDED = "Colours of 16 bits a channel were rounded to 8."
_PNG_HEADER = struct.Struct(">IIBBBBB")
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# PNG 8.2: first column, first row, step of columns, step of rows of the seven passes of Adam7.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_STEP = 1 << 20


def read_raster(data: bytes, kind: Format, digest: str) -> Scan:
    """A picture file as a Scan; the pages of a TIFF are its frames.

    Raises DamagedScan when a part of it is missing or cannot be decoded, ScanTooLarge by arithmetic before decoding.
    """
    try:
        with warnings.catch_warnings():
            # Our own limit decides; Pillow warns above its own and refuses above twice that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = max_pixels()
            return _read(data, kind, digest)
    except (RadLensError, ImportError, MemoryError):  # neither a missing package nor a full memory is damage
        raise
    except Image.DecompressionBombError as exc:
        raise ScanTooLarge(f"The {kind} picture has more pixels than RadLens opens; export it smaller.") from exc
    except UnidentifiedImageError as exc:
        raise DamagedScan(
            f"The file begins like a {kind} picture but its header cannot be read; export it again."
        ) from exc
    except (
        Exception
    ) as exc:  # a damaged file makes Pillow raise almost any type: OSError, SyntaxError, struct.error ...
        raise DamagedScan(f"The {kind} picture is damaged or cut short; export or copy it again.") from exc


def _read(data: bytes, kind: Format, digest: str) -> Scan:
    with Image.open(BytesIO(data), formats=[kind]) as image:
        count = int(getattr(image, "n_frames", 1)) if kind == "TIFF" else 1
        bits = _bits(image, data, kind)
        _check_page(image, count, bits)
        checked = _check_complete(data, image, kind)
        pages = [_pixels(page, data, index, count) for index, page in enumerate(_pages(image, count))]
    stored, notes = _stack(pages)
    return _scan(stored, kind, digest, bits, notes if checked else (*notes, _NOT_CHECKED))


def _pages(image: Image.Image, count: int) -> Iterator[Image.Image]:
    return iter([image]) if count == 1 else iter(ImageSequence.Iterator(image))


def _check_page(image: Image.Image, count: int, bits: int) -> None:
    deep = image.mode in ("I", "F") or bits > 16
    check_size(image.height, image.width, len(image.getbands()), count, 4 if deep else 2)


def _stack(pages: list[Array]) -> tuple[Array, tuple[str, ...]]:
    """The pages that are like the first, grey if all of them are; colour has 8 bits."""
    alike = [page for page in pages if page.shape == pages[0].shape and page.dtype == pages[0].dtype]
    others = len(pages) - len(alike)
    notes = (f"{others} pages of another size or kind were left out.",) if others else ()
    stored = _grey_if_grey(np.stack(alike))
    if stored.ndim == 4 and stored.dtype == np.uint16:
        return ((stored.astype(np.uint32) + 128) // 257).astype(np.uint8), (*notes, _ROUNDED)
    return stored, notes


def _pixels(image: Image.Image, data: bytes, index: int, count: int) -> Array:
    """Grey as uint8, uint16, int8, int32, uint32 or float32, colour as RGB of 8 or 16 bits; transparency over black."""
    tags = dict(getattr(image, "tag_v2", {}))
    bits, signed = int(tags.get(_BITS_PER_SAMPLE, (8,))[0]), tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    _check_page(image, count, bits)
    if (deep := _sixteen_bit_samples(image, data, index, bits)) is not None:
        return deep
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _SIXTEEN_BITS:
        pixels = np.asarray(upright).astype(np.uint16)
        # Pillow turns WhiteIsZero round at 8 bits only (TIFF 6.0, PhotometricInterpretation 0).
        return 65535 - pixels if tags.get(_PHOTOMETRIC) == 0 else pixels
    if upright.mode == "I" and bits == 32 and not signed:
        return np.array(upright).view(np.uint32)  # Pillow's "I" is signed
    if upright.mode == "L" and tags and signed:
        return np.array(upright).view(np.int8)  # and its "L" is not
    if upright.mode in ("L", "I", "F"):
        return np.array(upright)
    wanted = "L" if upright.mode == "1" else "RGBA" if upright.has_transparency_data else "RGB"
    return _over_black(np.array(upright.convert(wanted)))


def _sixteen_bit_samples(image: Image.Image, data: bytes, index: int, bits: int) -> Array | None:
    """Colour, and grey with transparency, of 16 bits a sample, of which Pillow keeps the upper half; None for the rest."""
    orientation = int(image.getexif().get(_ORIENTATION, 1))
    if image.format == "PNG" and data[24] == 16 and data[25] in (2, 4, 6):
        pixels = np.asarray(imagecodecs.png_decode(data))
    elif image.format == "TIFF" and bits == 16 and image.mode in ("RGB", "RGBA", "RGBX"):
        pixels = np.asarray(imagecodecs.tiff_decode(data, index=index))
        pixels = pixels[..., :3] if image.mode == "RGBX" else pixels
    else:
        return None
    if pixels.dtype != np.uint16 or pixels.shape[:2] != (image.height, image.width):
        return None
    return _upright(_over_black(pixels), orientation)


def _over_black(pixels: Array) -> Array:
    """(rows, columns, samples) whose last of two or four is alpha; anything else as it is."""
    if pixels.ndim < 3 or pixels.shape[-1] not in (2, 4):
        return pixels
    opaque = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:]
    shown = (colours * alpha // opaque).astype(pixels.dtype)
    return shown[..., 0] if shown.shape[-1] == 1 else shown


def _upright(pixels: Array, orientation: int) -> Array:
    """EXIF 2.3, tag 0x0112: from 5 on rows and columns are exchanged; then some of them run backwards."""
    turned = pixels.swapaxes(0, 1) if orientation in range(5, 9) else pixels
    backwards = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(turned, backwards))


def _grey_if_grey(rgb: Array) -> Array:
    """One channel where all three are equal: most films saved as RGB are grey."""
    if rgb.ndim == 4 and (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return np.ascontiguousarray(rgb[..., 0])
    return rgb


# Whole or not ---------------------------------------------------------------------------------------------------------


def _check_complete(data: bytes, image: Image.Image, kind: Format) -> bool:
    """Whether it could be told that nothing is missing. Raises DamagedScan where something is."""
    if kind == "PNG":
        _check_png(data)
    if kind == "JPEG":
        return check_jpeg(data)
    # Pillow and libtiff refuse a short strip themselves, but hand a JPEG strip to libjpeg.
    return all(check_jpeg(strip) for strip in _jpeg_strips(image, data)) if kind == "TIFF" else True


def _jpeg_strips(image: Image.Image, data: bytes) -> Iterator[bytes]:
    """The strips or tiles of the open page as JPEG files, with the tables that they share."""
    tags = getattr(image, "tag_v2", {})
    tables = bytes(tags.get(_JPEG_TABLES, b""))
    for offsets, lengths in _PIECES:
        if tags.get(_COMPRESSION) == _JPEG_IN_TIFF and offsets in tags:
            for start, length in zip(tags[offsets], tags[lengths], strict=True):
                strip = data[start : start + length]
                yield tables[:-2] + strip[2:] if tables else strip


def _check_png(data: bytes) -> None:
    """Every chunk there with a checksum that fits, and as many inflated bytes as the picture needs (PNG 5.3, 8, 10)."""
    chunks = list(_chunks(data))
    columns, rows, bits, colour, _, _, interlaced = _PNG_HEADER.unpack(chunks[0][1])
    per_pixel = bits * _PNG_SAMPLES[colour]
    needed = sum(_pass_size(columns, rows, per_pixel, way) for way in (_ADAM7 if interlaced else ((0, 0, 1, 1),)))
    if _inflated_size([body for name, body in chunks if name == b"IDAT"], needed) < needed:
        raise DamagedScan("A part of the PNG picture is missing; export or copy it again.")


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at, name = memoryview(data), 8, b""
    while name != b"IEND":
        if at + 12 > len(data):
            raise DamagedScan("The PNG picture is cut short; export or copy it again.")
        (length,), name = struct.unpack_from(">I", view, at), bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data) or zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", view, end)[0]:
            raise DamagedScan("The PNG picture is cut short or damaged (checksum); export or copy it again.")
        yield name, view[at + 8 : end]
        at = end + 4


def _pass_size(columns: int, rows: int, bits: int, way: tuple[int, int, int, int]) -> int:
    """Bytes of one pass: every row has one for its filter; an empty pass has none."""
    first_column, first_row, column_step, row_step = way
    wide, high = -((first_column - columns) // column_step), -((first_row - rows) // row_step)
    return high * (1 + (wide * bits + 7) // 8) if wide > 0 and high > 0 else 0


def _inflated_size(pieces: list[memoryview], enough: int) -> int:
    """How much the pieces of one zlib stream inflate to, counted up to ``enough`` and thrown away."""
    stream, size = zlib.decompressobj(), 0
    for piece in pieces:
        for start in range(0, len(piece), _STEP):
            rest: bytes | memoryview = piece[start : start + _STEP]
            while rest and size < enough and not stream.eof:
                size += len(stream.decompress(rest, _STEP))
                rest = stream.unconsumed_tail
    return size if size >= enough or stream.eof else size + len(stream.flush())


def _bits(image: Image.Image, data: bytes, kind: Format) -> int:
    """Bits of a sample as the file has them; the colours of a palette have 8."""
    if image.mode in ("P", "PA") or kind == "JPEG":
        return 8
    return data[24] if kind == "PNG" else int(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))[0])


def _scan(stored: Array, kind: Format, digest: str, bits: int, notes: tuple[str, ...]) -> Scan:
    photometric: Photometric = "RGB" if stored.ndim == 4 else "MONOCHROME2"
    return Scan(
        stored=stored,
        digest=digest,
        source_format=kind,
        photometric=photometric,
        bits_stored=stored.dtype.itemsize * 8,
        facts={"Format": kind, "Size": f"{stored.shape[2]} x {stored.shape[1]}", "Bits": str(bits)},
        notes=notes,
    )
