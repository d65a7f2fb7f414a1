"""PNG, JPEG and TIFF through Pillow, every bit kept, upright as the file's EXIF orientation says."""

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from core.errors import DamagedScan, RadLensError, ScanTooLarge
from core.reading.formats import Format
from core.reading.limits import check_size, max_pixels
from core.scan import Photometric, Scan

Array = npt.NDArray[Any]

_PHOTOMETRIC_TAG = 262
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")


def read_raster(data: bytes, kind: Format, digest: str) -> Scan:
    """A picture file as a Scan; the pages of a TIFF are its frames.

    Raises DamagedScan when it is cut short or cannot be decoded, ScanTooLarge by arithmetic before decoding.
    """
    try:
        with warnings.catch_warnings():
            # Our own limit decides; Pillow warns above its own and refuses above twice that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = max_pixels()
            pages = _pages(data, kind)
    except RadLensError:
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
    same_size = [page for page in pages if page.shape == pages[0].shape]
    notes = (
        () if len(same_size) == len(pages) else (f"{len(pages) - len(same_size)} pages of another size were left out.",)
    )
    return _scan(np.stack(same_size), kind, digest, notes)


def _pages(data: bytes, kind: Format) -> list[Array]:
    with Image.open(BytesIO(data), formats=[kind]) as image:
        count = int(getattr(image, "n_frames", 1)) if kind == "TIFF" else 1
        check_size(image.height, image.width, len(image.getbands()), count, 4 if image.mode in ("I", "F") else 2)
        if count == 1:
            return [_pixels(image)]
        pages = []
        for page in ImageSequence.Iterator(image):
            check_size(page.height, page.width, len(page.getbands()), count, 4)
            pages.append(_pixels(page))
        return pages


def _pixels(image: Image.Image) -> Array:
    """Grey as uint8, uint16, int32 or float32; colour as RGB uint8; transparency over black (PNG's own 16 bits kept)."""
    image.load()
    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode in _SIXTEEN_BITS:
        pixels = np.asarray(upright).astype(np.uint16)
        # Pillow turns WhiteIsZero round at 8 bits only (TIFF 6.0, PhotometricInterpretation 0).
        white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0
        return 65535 - pixels if white_is_zero else pixels
    if mode in ("L", "I", "F"):
        return np.array(upright)
    if mode == "1":
        return np.array(upright.convert("L"))
    rgba = np.asarray(upright.convert("RGBA")).astype(np.uint16)
    rgb = (rgba[..., :3] * rgba[..., 3:] // 255).astype(np.uint8)
    return _grey_if_grey(rgb)


def _grey_if_grey(rgb: Array) -> Array:
    """One channel where all three are equal: most films saved as RGB are grey."""
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return np.ascontiguousarray(rgb[..., 0])
    return rgb


def _scan(stored: Array, kind: Format, digest: str, notes: tuple[str, ...]) -> Scan:
    photometric: Photometric = "RGB" if stored.ndim == 4 else "MONOCHROME2"
    facts = {"Format": kind, "Size": f"{stored.shape[2]} x {stored.shape[1]}", "Bits": str(stored.dtype.itemsize * 8)}
    return Scan(
        stored=stored,
        digest=digest,
        source_format=kind,
        photometric=photometric,
        bits_stored=stored.dtype.itemsize * 8,
        facts=facts,
        notes=notes,
    )
