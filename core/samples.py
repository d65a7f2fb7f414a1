"""Sample cases that need no download: simulated chest films drawn here, and real files that pydicom brings along."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from core.cache_folder import kept_or_made
from core.errors import DamagedScan
from core.reading.decoding import decode_scan

if TYPE_CHECKING:
    from core.scan import Scan
    from core.simulation import SimulatedFilm

# Under pydicom's own root: these films belong to no patient and no institution.
_UID_ROOT = "1.2.826.0.1.3680043.8.498.7311"


@dataclass(frozen=True, slots=True)
class Sample:
    """A case to open without a file of one's own."""

    id: str
    title: str
    description: str
    simulated: bool
    load: Callable[[], bytes]


def film_to_dicom(film: "SimulatedFilm") -> bytes:
    """A simulated film as a DICOM file (Digital X-Ray for presentation, PS3.3 A.26), labelled as simulated."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    name = f"{film.finding or 'none'}".encode().hex()
    dataset.SOPInstanceUID = f"{_UID_ROOT}.{film.seed}.{int(name, 16) % 10**9}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName, dataset.PatientID = "SIMULATED^FILM", f"SIMULATED-{film.seed}"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.PatientOrientation = ["L", "F"]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["DERIVED", "SECONDARY", "SIMULATED"]
    dataset.Rows, dataset.Columns = film.pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = film.pixels.astype("<u2").tobytes()
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def simulated_scan(
    seed: int, finding: str | None = None, *, rows: int = 512, columns: int = 512, side: str | None = None
) -> "tuple[Scan, SimulatedFilm]":
    """A simulated film as a Scan, read back through the same door as an upload, with its truth."""
    from core.simulation import simulate_film

    film = simulate_film(seed, finding, rows=rows, columns=columns, side=side)
    return decode_scan(film_to_dicom(film)), film


def list_samples() -> tuple[Sample, ...]:
    """The sample cases, the one to open first in front."""
    return _SIMULATED + _BUNDLED


def find_sample(identifier: str) -> Sample | None:
    """The sample of that id, or None."""
    return next((sample for sample in list_samples() if sample.id == identifier), None)


@lru_cache(maxsize=4)
def _film(seed: int, finding: str | None, side: str | None) -> bytes:
    """Drawn once by this version of the generator, then kept: the first page must not wait for it at every start."""
    what = f"{generator()} {np.__version__} {seed} {finding} {side}"
    name = f"films/{hashlib.sha256(what.encode()).hexdigest()[:32]}"
    return kept_or_made(name, lambda: _drawn(seed, finding, side))


def _drawn(seed: int, finding: str | None, side: str | None) -> bytes:
    from core.simulation import simulate_film

    return film_to_dicom(simulate_film(seed, finding, rows=768, columns=768, side=side))


@cache
def generator() -> str:
    """The digest of the code that draws films."""
    sources = sorted(Path(__file__).with_name("simulation").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in (*sources, Path(__file__)))).hexdigest()


def _bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise DamagedScan("This sample case is not part of the installed pydicom; choose another one.")
    return Path(path).read_bytes()


def _simulated(
    identifier: str, title: str, description: str, seed: int, finding: str | None, side: str | None
) -> Sample:
    return Sample(identifier, f"Simulated film: {title}", description, True, partial(_film, seed, finding, side))


# Seeds on which the default model finds what was drawn, so that a newcomer's first sight makes sense; its card says how
# often it does.
_SIMULATED = (
    _simulated(
        "sim-pneumothorax", "pneumothorax, left", "Air was drawn around the left lung.", 9, "pneumothorax", "left"
    ),
    _simulated(
        "sim-effusion", "effusion, left", "Fluid was drawn at the base of the left lung.", 13, "effusion", "left"
    ),
    _simulated("sim-mass", "mass, right lung", "A mass was drawn into the patient's right lung.", 9, "mass", "right"),
    _simulated("sim-cardiomegaly", "large heart", "The heart was drawn too wide.", 13, "cardiomegaly", None),
    _simulated("sim-normal", "nothing drawn in", "The same generator, no lesion.", 11, None, None),
)
_BUNDLED = (
    Sample(
        "ct", "CT slice", "A real CT slice (GE, 128 x 128), from pydicom.", False, partial(_bundled, "CT_small.dcm")
    ),
    Sample("mr", "MR slice", "A real MR slice (64 x 64), from pydicom.", False, partial(_bundled, "MR_small.dcm")),
    Sample(
        "us",
        "Ultrasound picture",
        "A real colour ultrasound picture, from pydicom.",
        False,
        partial(_bundled, "examples_rgb_color.dcm"),
    ),
    Sample(
        "us-cine",
        "Ultrasound cine",
        "A real colour cine of 30 frames, from pydicom.",
        False,
        partial(_bundled, "examples_ybr_color.dcm"),
    ),
)
