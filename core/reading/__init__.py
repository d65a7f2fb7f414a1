"""Bytes -> Scan. ``read_scan`` is the one door."""

import hashlib

import numpy as np

from core.errors import DamagedScan
from core.reading.dicom import read_dicom
from core.reading.formats import sniff
from core.reading.raster import read_raster
from core.scan import Scan


def read_scan(data: bytes) -> Scan:
    """Read a file's bytes: DICOM, PNG, JPEG or TIFF, told apart by content.

    Raises ScanError (NotAnImage, DamagedScan, ScanTooLarge) with a sentence to show.
    """
    kind = sniff(data)
    digest = hashlib.sha256(data).hexdigest()
    scan = read_dicom(data, digest) if kind == "DICOM" else read_raster(data, kind, digest)
    _check_finite(scan)
    return scan


def _check_finite(scan: Scan) -> None:
    if scan.stored.dtype.kind == "f" and not bool(np.isfinite(scan.stored).all()):
        raise DamagedScan("Some pixels hold no number (NaN or infinity); export the scan again from its source.")
