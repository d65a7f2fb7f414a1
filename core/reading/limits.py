"""The limits of what is decoded, in one place. Stated in the README; each can be set by an environment variable."""

import os

from core.errors import ConfigurationError, ScanTooLarge


def _limit(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"{name} must be a whole number above 0, not {text!r}; correct it or unset it.")
    return int(text)


def max_inflated_bytes() -> int:
    """How much one compressed stream may inflate to: RADLENS_MAX_INFLATED_MIB."""
    return _limit("RADLENS_MAX_INFLATED_MIB", 256) << 20


def max_pixels() -> int:
    """How many pixels one picture may have: RADLENS_MAX_MEGAPIXELS."""
    return _limit("RADLENS_MAX_MEGAPIXELS", 200) * 1_000_000


def check_size(rows: int, columns: int, samples: int, frames: int, bytes_per_sample: int) -> None:
    """Refuse by arithmetic, before anything is decoded.

    Raises ScanTooLarge above RADLENS_MAX_MEGAPIXELS a frame or RADLENS_MAX_DECODED_MIB in all.
    """
    megapixels = max_pixels() // 1_000_000
    mebibytes = _limit("RADLENS_MAX_DECODED_MIB", 1024)
    if rows * columns > megapixels * 1_000_000:
        raise ScanTooLarge(
            f"The picture is {columns} x {rows} pixels; RadLens opens up to {megapixels} megapixels. Export it smaller."
        )
    if rows * columns * samples * frames * bytes_per_sample > mebibytes << 20:
        raise ScanTooLarge(
            f"The {frames} pictures would take more than {mebibytes} MiB once decoded; export fewer of them in one file."
        )
