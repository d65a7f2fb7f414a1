"""Whether a JPEG is whole: decoders fill what is missing with grey and say nothing."""

from simplejpeg import decode_jpeg, decode_jpeg_header

from core.errors import DamagedScan

# What libjpeg only warns of while it makes up the missing part.
_JPEG_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")


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
