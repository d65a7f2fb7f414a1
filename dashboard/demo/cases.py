"""The tour's own cases: a film that is read well, three files that are refused, a film on which the network errs."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from core.reading.decoding import decode_scan
from core.samples import film_to_dicom, list_samples, simulated_scan
from core.simulation import SimulatedFilm
from dashboard.state import Case
from dashboard.texts import t

if TYPE_CHECKING:
    from core.scan import Scan

_READ_WELL, _CT = "sim-pneumothorax", "ct"
# Found by trying seeds: anyone sees the mass, and every score of the default model stays clear of its operating point.
PLANTED_SEED, PLANTED = 37, "mass"
_SIDE = 768
_PAPER, _INK = 3900, 300
_LETTER = (
    "Dear colleague,", "", "thank you for seeing this patient,", "who has had a cough for six weeks.",
    "Please find the chest film enclosed.", "", "On examination the lungs are clear,", "there is no fever, and the weight",
    "has been stable. I should be glad", "of your opinion on the film, and", "whether a CT would be of help.", "",
    "With kind regards",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A film, and where something was drawn into it: x, y, width and height in shares of the film's own."""

    case: Case
    box: tuple[float, float, float, float]


@cache
def film() -> Case:
    """The first of the sample cases, which is loaded at every start."""
    title, data = _sample(_READ_WELL)
    return Case(title, (decode_scan(data),), simulated=True, origin="sample")


@cache
def ct() -> "Scan":
    """A real CT slice: no chest film, and its file says so."""
    return decode_scan(_sample(_CT)[1])


@cache
def letter() -> "Scan":
    """A page of writing in a file that says it is a chest film."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (_SIDE, _SIDE), 255)
    font = ImageFont.load_default(_SIDE / 24)
    ImageDraw.Draw(page).multiline_text((_SIDE / 8, _SIDE / 8), "\n".join(_LETTER), fill=0, font=font, spacing=10)
    share = np.asarray(page, np.float64) / 255
    pixels = np.rint(_INK + share * (_PAPER - _INK)).astype(np.uint16)
    nothing = np.zeros(pixels.shape, bool)
    return decode_scan(film_to_dicom(SimulatedFilm(pixels, None, None, nothing, seed=0)))


@cache
def cut_file() -> bytes:
    """The first half of a film's file, as a broken transfer leaves it."""
    data = _sample(_READ_WELL)[1]
    return data[: len(data) // 2]


@cache
def planted() -> Planted:
    """A film with a mass that the default model misses."""
    scan, film = simulated_scan(PLANTED_SEED, PLANTED, rows=_SIDE, columns=_SIDE)
    x, y, width, height = (length / _SIDE for length in film.box_xywh or (0, 0, _SIDE, _SIDE))
    return Planted(Case(t("demo.planted_case"), (scan,), simulated=True, origin="sample"), (x, y, width, height))


def _sample(identifier: str) -> tuple[str, bytes]:
    return next((sample.title, sample.load()) for sample in list_samples() if sample.id == identifier)
