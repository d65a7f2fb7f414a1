"""Simulated frontal chest films with a lesion in a known place: sample cases, ground truth for heatmaps, training data.

Each film is a drawing: attenuations of soft tissue, lungs, heart, bones and vessels are added up, passed through a film
curve and covered with noise. It is made for teaching and testing; it is not a physical simulation of X-rays, no pixel
comes from a patient, and a film must never be read as clinical data.

The patient (anatomy, exposure, noise) is drawn from the seed alone, the lesion from the seed and the finding. So
``simulate_film(7)`` and ``simulate_film(7, "nodule")`` show one patient and differ only where the lesion is.

Lengths are those of ``anatomy``. All arithmetic is in float64, so that differences between
machines stay far below one grey level.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from core.errors import ConfigurationError
from core.simulation.anatomy import AERATED, Anatomy, Array, Frame, Patient, bands, chord, ellipse, noise, ramp

_Mask = npt.NDArray[np.bool_]
_Box = tuple[float, float, float, float]

FINDINGS: tuple[str, ...] = (
    "nodule",
    "mass",
    "pneumonia",
    "effusion",
    "cardiomegaly",
    "pneumothorax",
    "atelectasis",
    "infiltration",
)
_LEVELS = 4095
_VISIBLE = 40.0  # levels: a smaller change drowns in the noise


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedFilm:
    """One film and what is known about it.

    ``pixels``: (rows, columns), 12 bits stored (0 to 4095), MONOCHROME2: bright is dense.
    ``box_xywh``: the lesion in pixels, x and y of the top left corner; for cardiomegaly the whole heart.
    ``mask``: (rows, columns), where the lesion changes the film; outside it the film equals the one without finding.
    """

    pixels: npt.NDArray[np.uint16]
    finding: str | None
    box_xywh: _Box | None
    mask: _Mask
    seed: int


def simulate_film(
    seed: int, finding: str | None = None, *, rows: int = 512, columns: int = 512, side: str | None = None
) -> SimulatedFilm:
    """Draw patient ``seed`` on ``rows`` x ``columns`` pixels, with a finding (of FINDINGS) on the patient's ``side``.

    ``side`` is "right" (the image's left), "left" or None for either; cardiomegaly ignores it.
    """
    _check(seed, finding, rows, columns, side)
    patient = Patient(_stream(seed, 0))
    anatomy = Anatomy(patient, Frame(rows, columns, patient), _stream(seed, 1))
    attenuation = anatomy.attenuation()
    density = _film_curve(patient, attenuation)
    levels, exposed = _develop(patient, density, _stream(seed, 2))
    change, box = np.zeros((rows, columns)), None
    if finding is not None:
        rng = _stream(seed, 3 + FINDINGS.index(finding))
        drawn = -1.0 if rng.random() < 0.5 else 1.0
        added, extent = _LESIONS[finding](anatomy, rng, {"right": -1.0, "left": 1.0, None: drawn}[side])
        lesion = anatomy.frame.blur(added, patient.sharpness) * (1 - patient.scatter)
        change = _visible((_film_curve(patient, attenuation + lesion) - density) * exposed)
        box = _box(change != 0.0 if extent is None else extent)
    pixels = np.rint(np.clip(levels + change, 0, _LEVELS)).astype(np.uint16)
    mask: _Mask = change != 0.0
    pixels.flags.writeable = mask.flags.writeable = False
    return SimulatedFilm(pixels, finding, box, mask, seed)


def _check(seed: int, finding: str | None, rows: int, columns: int, side: str | None) -> None:
    if finding is not None and finding not in FINDINGS:
        raise ConfigurationError(f"A simulated film can show {', '.join(FINDINGS)} or nothing, not {finding!r}.")
    if side not in ("right", "left", None):
        raise ConfigurationError(f"The side of a simulated lesion is 'right' or 'left' (the patient's), not {side!r}.")
    if seed < 0 or min(rows, columns) < 64:
        raise ConfigurationError("A simulated film needs a seed of 0 or more and at least 64 rows and columns.")


def _stream(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, purpose]))


def _visible(change: Array) -> Array:
    """Fade the change out where it gets invisible, so that it ends without an edge and has a sharp mask."""
    floor = max(_VISIBLE, 0.05 * float(np.abs(change).max()))
    kept: Array = change * np.clip(np.abs(change) / floor - 1.0, 0.0, 1.0)
    kept[np.abs(kept) < 2.0] = 0.0
    return kept


def _box(region: _Mask) -> _Box | None:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return None
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1]) + 1.0 - x, float(rows[-1]) + 1.0 - y


def _film_curve(patient: Patient, attenuation: Array) -> Array:
    """Levels (without noise) of a film with a toe and a shoulder."""
    low, high = patient.brightness
    toe = 1 / (1 + np.exp(patient.contrast * patient.centre))
    curve = 1 / (1 + np.exp(-patient.contrast * (attenuation - patient.centre)))
    levels: Array = _LEVELS * (low + (high - low) * (curve - toe) / (1 - toe))
    return levels


def _develop(patient: Patient, density: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Add noise, collimation and side marker; also say where the beam reached the film unobstructed (0 or 1)."""
    rows, columns = density.shape
    border = rng.uniform(0.005, 0.05, 4) * (rng.random() < 0.35) * np.array([rows, rows, columns, columns])
    top, bottom, left, right = (int(b) for b in border)
    exposed = np.zeros(density.shape)
    exposed[top : rows - bottom, left : columns - right] = 1.0
    marker, shade = _marker((rows, columns), rng), rng.uniform(3000, 3900)
    grain = 1.8 * ndimage.gaussian_filter(rng.standard_normal(density.shape), 0.55)
    noisy = density + grain * patient.grain * (0.5 + density / _LEVELS)
    levels = np.where(exposed > 0, noisy, 90.0 + grain * 6.0)
    return levels * (1 - marker) + shade * marker, exposed * (marker == 0.0)


def _marker(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A letter for the side in an upper corner, on part of the films whatever they show."""
    u = rng.uniform
    size, away, down, left, shown = u(0.016, 0.03), u(0.06, 0.1), u(0.05, 0.11), u() < 0.6, u() < 0.6
    strokes = [(0, 0), (0, 2), (1.1, 2)] if left else [(0, 2), (0, 0), (0.9, 0), (1, 0.9), (0, 1), (1.1, 2)]
    place = np.array([1 - away if left else away, down]) * shape[::-1]
    path = (place + np.array(strokes) * size * min(shape))[None]
    ink = bands(shape, path, np.full(path.shape[:2], 0.16 * size * min(shape)), np.ones(path.shape[:2]), 0.0)
    letter: Array = shown * np.minimum(1.0, 1.2 * ndimage.gaussian_filter(ink, 0.5)) * (ink > 0)
    return letter


# Lesions: the attenuation that each adds, and what its box encloses where that is not the changed region.
_Lesion = tuple[Array, _Mask | None]


def _fill(a: Anatomy, side: float, share: Array) -> Array:
    """Attenuation added when ``share`` (0 to 1) of one lung's air gives way to fluid, which also hides the vessels."""
    added: Array = (AERATED * a.torso * a.air - 0.85 * a.vessels) * share * ramp(side * a.x - 0.02, 0.04)
    return added


def _place(a: Anatomy, rng: np.random.Generator, side: float, radius: float, highest: float) -> tuple[float, float]:
    """A random centre whose surroundings of ``radius`` are aerated lung; the best seen where none fits."""
    tries = np.stack([side * rng.uniform(0.2, 0.7, 300), rng.uniform(highest, 0.5, 300)], -1)
    ring = np.linspace(0, 2 * np.pi, 9)[:-1]
    around = a.frame.to_pixels(tries[:, None] + radius * np.stack([np.cos(ring), np.sin(ring)], -1)[None])
    columns, rows = np.moveaxis(np.floor(around).astype(int), -1, 0)
    rows, columns = np.clip(rows, 0, a.frame.shape[0] - 1), np.clip(columns, 0, a.frame.shape[1] - 1)
    best = int(np.argmax(np.minimum(a.air[rows, columns].min(axis=1), 0.5)))
    return float(tries[best, 0]), float(tries[best, 1])


def _nodule(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    radius = rng.uniform(0.024, 0.042)
    x, y = _place(a, rng, side, radius * 2, -0.45)
    ball = chord(ellipse(a.x, a.y, (x, y), (radius, radius * rng.uniform(0.85, 1.1)), rng.uniform(0, 3)))
    return rng.uniform(0.24, 0.4) * ball, None


def _mass(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    radius = rng.uniform(0.09, 0.18)
    x, y = _place(a, rng, side, radius * 0.9, -0.4)
    angle = np.arctan2(a.y - y, a.x - x)
    lobes = 1.0 + sum(rng.uniform(0.03, 0.09) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    ball = chord(ellipse(a.x, a.y, (x, y), (radius, radius * rng.uniform(0.8, 1.0)), rng.uniform(0, 3)) / lobes**2)
    return rng.uniform(0.25, 0.45) * ball * np.minimum(1.0, 0.15 + 1.4 * a.air), None


def _pneumonia(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    axes = (rng.uniform(0.14, 0.28), rng.uniform(0.14, 0.28))
    zone = np.exp(-(ellipse(a.x, a.y, _place(a, rng, side, axes[0] * 0.7, -0.3), axes, rng.uniform(0, 3)) ** 1.5))
    clumps = 0.8 + 0.2 * noise(rng, 14, a.frame.shape) + 0.14 * noise(rng, 36, a.frame.shape)
    return _fill(a, side, rng.uniform(0.45, 0.8) * zone * np.clip(clumps, 0.2, 1.2)), None


def _effusion(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    level = a.patient.dome_y[0 if side < 0 else 1] - rng.uniform(0.02, 0.34)
    reach = np.clip((a.lateral - 0.15) / (a.patient.chest - 0.15), 0.0, 1.2)
    meniscus = level + 0.12 - rng.uniform(0.2, 0.34) * reach ** rng.uniform(2.2, 3.5)
    return _fill(a, side, 0.95 * ramp(a.y - meniscus, rng.uniform(0.05, 0.1))), None


def _cardiomegaly(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    heart = a.heart_of(rng.uniform(1.28, 1.5))
    added = (AERATED * a.torso * a.lung - 0.85 * a.vessels) * np.maximum(heart - a.solid, 0.0)
    return added, (heart > 0.2) & (a.above_diaphragm() > -0.08)


def _pneumothorax(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    edge, own = a.lung_edge(drop=rng.uniform(0.12, 0.4), gap=rng.uniform(0.05, 0.17)), ramp(side * a.x, 0.02)
    rim = ramp(-edge, 0.01) * np.minimum(1.0, a.air * 1.5)
    line = 0.05 * np.exp(-(((edge - 0.004) / 0.005) ** 2)) * a.air
    return own * (line - rim * (a.vessels + rng.uniform(0.45, 0.7) * a.torso * (1 - AERATED * a.air))), None


def _atelectasis(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    tilt, half = side * rng.uniform(-0.35, 0.5), rng.uniform(0.13, 0.22)
    x, y = _place(a, rng, side, 0.12, 0.0)
    along = (a.x - x) * np.cos(tilt) + (a.y - y) * np.sin(tilt)
    across = (a.y - y) * np.cos(tilt) - (a.x - x) * np.sin(tilt)
    if rng.random() < 0.5:
        share = np.exp(-((across / rng.uniform(0.016, 0.032)) ** 2))
    else:  # a lobe's wedge, its tip at the hilum
        share = ramp(rng.uniform(0.3, 0.5) * (side * along + half) - np.abs(across), 0.03)
    return _fill(a, side, rng.uniform(0.4, 0.65) * share * ramp(half - np.abs(along), 0.1)), None


def _infiltration(a: Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    axes = (rng.uniform(0.24, 0.4), rng.uniform(0.24, 0.4))
    zone = np.exp(-(ellipse(a.x, a.y, _place(a, rng, side, 0.16, -0.25), axes, rng.uniform(0, 3)) ** 2))
    mesh = sum(np.exp(-((noise(rng, cells, a.frame.shape) / 0.35) ** 2)) for cells in (28, 44, 60))
    patches = np.clip(0.65 + 0.35 * noise(rng, 10, a.frame.shape), 0.25, 1.3)
    return _fill(a, side, rng.uniform(0.36, 0.48) * zone * patches * (0.5 + 0.36 * mesh)), None


_DRAWN_BY = (_nodule, _mass, _pneumonia, _effusion, _cardiomegaly, _pneumothorax, _atelectasis, _infiltration)
_LESIONS = dict(zip(FINDINGS, _DRAWN_BY, strict=True))
