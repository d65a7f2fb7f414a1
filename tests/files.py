"""Files made in memory for the tests: DICOM through pydicom, PNG, JPEG and TIFF through Pillow. Nothing touches a disk."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom.data
from PIL import Image, TiffImagePlugin, TiffTags
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

Array = npt.NDArray[Any]

DIGITAL_X_RAY = UID("1.2.840.10008.5.1.4.1.1.1.1")
SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")
TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"

_FLOAT_ELEMENTS = {4: "FloatPixelData", 8: "DoubleFloatPixelData"}


def bundled(name: str) -> bytes:
    """One of the files that pydicom ships, by its name, such as ``CT_small.dcm``."""
    return (TEST_FILES / name).read_bytes()


def bundled_names(pattern: str = "*.dcm") -> list[str]:
    """The names of the files that pydicom ships, sorted."""
    return sorted(path.name for path in TEST_FILES.glob(pattern))


def dicom_bytes(pixels: Array | None = None, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A DICOM file with these pixels, uncompressed.

    ``pixels`` has the shape (rows, columns), (frames, rows, columns), (rows, columns, 3) or (frames, rows, columns, 3)
    and the type that is stored: unsigned or signed of 8, 16 or 32 bits, or float. None makes an object without pixels.
    ``tags`` are further elements by keyword and override what follows from the pixels (``BitsStored=12``); a tag of
    value None leaves the element out. A 4-axis array is colour; a 3-axis array is colour where its last axis has
    length 3.
    """
    dataset = dicom_dataset(pixels, syntax, **tags)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dicom_dataset(pixels: Array | None = None, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> Dataset:
    """The data set that ``dicom_bytes`` writes, for tests that go on changing it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID(tags.get("SOPClassUID", DIGITAL_X_RAY))
    meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.10.999.1")
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "DX"
    if pixels is not None:
        _put_pixels(dataset, pixels, big=syntax == ExplicitVRBigEndian)
    for keyword, value in tags.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def lut_item(first: int, values: list[int], bits: int = 16, kind: str = "US") -> Sequence:
    """A sequence of one LUT item (PS3.3 C.11.1.1): ``values`` for the inputs from ``first`` on."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    item.ModalityLUTType = kind
    return Sequence([item])


def flip_bit(data: bytes, position: int, bit: int) -> bytes:
    """The same bytes with one bit the other way."""
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same bytes with the one place that holds ``old`` holding ``new``, padded with blanks to the same length.

    For header values that pydicom refuses to write: give the element a number that occurs nowhere else, then patch it.
    """
    if data.count(old) != 1 or len(new) > len(old):
        raise ValueError(f"{old!r} occurs {data.count(old)} times, or {new!r} is longer")
    return data.replace(old, new.ljust(len(old)))


def png_bytes(array: Array, **options: Any) -> bytes:
    """PNG of grey (uint8, uint16, bool), RGB or RGBA (uint8)."""
    return image_bytes(Image.fromarray(array), "PNG", **options)


def jpeg_bytes(array: Array, quality: int = 95, mode: str | None = None, orientation: int | None = None) -> bytes:
    """JPEG of grey or RGB uint8, at full chroma; ``mode`` "CMYK" converts first; ``orientation`` writes EXIF 1..8."""
    image = Image.fromarray(array)
    options: dict[str, Any] = {"quality": quality}
    if mode:
        image = image.convert(mode)
    if image.mode != "L":
        options["subsampling"] = 0
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    return image_bytes(image, "JPEG", **options)


def tiff_bytes(*pages: Array, **options: Any) -> bytes:
    """TIFF of one or more pages: grey (uint8, uint16, int32, float32) or RGB (uint8)."""
    first, *others = [Image.fromarray(page) for page in pages]
    if others:
        options |= {"save_all": True, "append_images": others}
    return image_bytes(first, "TIFF", **options)


def plain_tiff_bytes(array: Array, order: str = "<", photometric: int = 1) -> bytes:
    """TIFF written by hand: one strip of grey uint16, ``order`` "<" (Intel) or ">" (Motorola).

    ``photometric`` is TIFF's PhotometricInterpretation: 0 WhiteIsZero, 1 BlackIsZero.
    """
    rows, columns = array.shape
    data = array.astype(f"{order}u2").tobytes()
    short, long = 3, 4
    entries = [
        (256, long, columns), (257, long, rows), (258, short, 16), (259, short, 1), (262, short, photometric),
        (273, long, 8), (277, short, 1), (278, long, rows), (279, long, len(data)),
    ]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        layout = "HHIHxx" if kind == short else "HHII"
        directory += struct.pack(order + layout, tag, kind, 1, value)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", 8 + len(data)) + data + directory + bytes(4)


def image_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A Pillow image in one of its formats."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_of_size(columns: int, rows: int) -> bytes:
    """A grey 8-bit PNG, all black and written by hand: small on disk at any size (well under 1 MiB at 20 000 x 20 000)."""
    packer = zlib.compressobj(9)
    line = bytes(1 + columns)
    body = b"".join(packer.compress(line) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff_tags(array: Array, **tags: Any) -> bytes:
    """TIFF of one page with further tags by Pillow's name, such as ``Orientation=6``."""
    numbers = {info.name: number for number, info in TiffTags.TAGS_V2.items()}
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[numbers[name]] = value
    return image_bytes(Image.fromarray(array), "TIFF", tiffinfo=directory)


def _put_pixels(dataset: Dataset, pixels: Array, *, big: bool) -> None:
    colour = pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] == 3)
    frames = pixels.shape[0] if pixels.ndim == 4 or (pixels.ndim == 3 and not colour) else None
    rows, columns = (pixels.shape[-3:-1]) if colour else pixels.shape[-2:]
    size = pixels.dtype.itemsize
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if frames is not None:
        dataset.NumberOfFrames = frames
    dataset.BitsAllocated = size * 8
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    if pixels.dtype.kind == "f":
        setattr(dataset, _FLOAT_ELEMENTS[size], ordered.tobytes())
        return
    dataset.BitsStored, dataset.HighBit = size * 8, size * 8 - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = ordered.tobytes()
    dataset.add_new("PixelData", "OW" if size > 1 else "OB", data + bytes(len(data) % 2))


IMPLICIT, EXPLICIT, BIG_ENDIAN = ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian
