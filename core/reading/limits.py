"""The limits of what is read, in one place. Stated in the README; each can be set by an environment variable."""

import os

from core.errors import ConfigurationError, ScanTooLarge

# What the worker processes must know of their parent's environment.
PREFIX = "RADLENS_MAX_"


def _limit(name: str, default: int) -> int:
    text = os.environ.get(PREFIX + name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(
            f"{PREFIX}{name} must be a whole number above 0, not {text!r}; correct it or unset it."
        )
    return int(text)


def max_inflated_bytes() -> int:
    """How much one compressed file or stream may inflate to: RADLENS_MAX_INFLATED_MIB."""
    return _limit("INFLATED_MIB", 256) << 20


def max_pixels() -> int:
    """How many pixels one picture may have: RADLENS_MAX_MEGAPIXELS."""
    return _limit("MEGAPIXELS", 200) * 1_000_000


def max_decoded_bytes() -> int:
    """What all pictures of a file or of a series may take: RADLENS_MAX_DECODED_MIB."""
    return _limit("DECODED_MIB", 1024) << 20


def max_archive_entries() -> int:
    """How many files an archive may hold: RADLENS_MAX_ARCHIVE_ENTRIES."""
    return _limit("ARCHIVE_ENTRIES", 2000)


def max_archive_bytes() -> int:
    """What an archive may unpack to in all: RADLENS_MAX_ARCHIVE_MIB."""
    return _limit("ARCHIVE_MIB", 1024) << 20


def max_archive_ratio() -> int:
    """How many times its own size an archive may unpack to: RADLENS_MAX_ARCHIVE_RATIO."""
    return _limit("ARCHIVE_RATIO", 200)


def max_workers() -> int:
    """How many files are decoded at once, each in a process of its own: RADLENS_MAX_WORKERS."""
    return _limit("WORKERS", 2)


def max_seconds() -> int:
    """How long one file may take to decode: RADLENS_MAX_SECONDS."""
    return _limit("SECONDS", 8)


def max_worker_bytes() -> int:
    """How much memory a decoding process may address: RADLENS_MAX_WORKER_MIB."""
    return _limit("WORKER_MIB", 1536) << 20


def check_size(rows: int, columns: int, samples: int, frames: int, bytes_per_sample: int) -> None:
    """Refuse by arithmetic, before anything is decoded.

    Raises ScanTooLarge above RADLENS_MAX_MEGAPIXELS a frame or RADLENS_MAX_DECODED_MIB in all.
    """
    megapixels = max_pixels() // 1_000_000
    if rows * columns > megapixels * 1_000_000:
        raise ScanTooLarge(
            f"The picture is {columns} x {rows} pixels; RadLens opens up to {megapixels} megapixels. Export it smaller."
        )
    if rows * columns * samples * frames * bytes_per_sample > max_decoded_bytes():
        raise ScanTooLarge(
            f"The {frames} pictures would take more than {max_decoded_bytes() >> 20} MiB once decoded; "
            "export fewer of them in one file."
        )
