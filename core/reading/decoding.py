"""Bytes -> Scan without the guard: what a worker does, and what is done to files that RadLens made or was given to learn from."""

import hashlib

import numpy as np
from pydicom import Dataset

from core.errors import DamagedScan
from core.reading.dicom import read_dicom
from core.reading.formats import sniff
from core.reading.raster import read_raster
from core.scan import Scan


def decode_scan(data: bytes) -> Scan:
    """The first scan of a file.

    Raises ScanError with a sentence to show.
    """
    return decode_file(data)[0][0]


def decode_file(data: bytes) -> list[tuple[Scan, Dataset | None]]:
    """All scans of a file (several for the volumes of a 4D NIfTI), each with its DICOM header where it has one.

    Raises ScanError with a sentence to show.
    """
    kind = sniff(data)
    digest = hashlib.sha256(data).hexdigest()
    found: list[tuple[Scan, Dataset | None]]
    if kind == "DICOM":
        found = [read_dicom(data, digest)]
    elif kind == "NIfTI":
        # nibabel is of no use to anybody who brings no NIfTI file.
        from core.reading.nifti import read_nifti

        found = [(scan, None) for scan in read_nifti(data, digest)]
    else:
        found = [(read_raster(data, kind, digest), None)]
    for scan, _ in found:
        _check_finite(scan)
    return found


def _check_finite(scan: Scan) -> None:
    if scan.stored.dtype.kind == "f" and not bool(np.isfinite(scan.stored).all()):
        raise DamagedScan("Some pixels hold no number (NaN or infinity); export the scan again from its source.")
