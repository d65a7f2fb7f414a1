"""Simulated frontal chest films with a lesion whose place is known: sample cases, ground truth for heatmaps, training data.

Each film is a drawing: attenuations of soft tissue, lungs, heart, bones and vessels are added up, passed through a film
curve and covered with noise. It is made for teaching and testing; it is not a physical simulation of X-rays, no pixel comes
from a patient, and a film must never be read as clinical data.

The patient (anatomy, exposure, noise) is drawn from the seed alone, the lesion from the seed and the finding. So
``simulate_film(7)`` and ``simulate_film(7, "nodule")`` show one patient and differ only where the lesion is.

Lengths are in half film widths: x grows to the patient's left (the image's right), y downwards, (0, 0) is the film's
centre. All arithmetic is in float64, so that differences between machines stay far below one grey level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from core.errors import ConfigurationError

_Array = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]
_Box = tuple[float, float, float, float]

FINDINGS: tuple[str, ...] = (
    *("nodule", "mass", "pneumonia", "effusion", "cardiomegaly", "pneumothorax", "atelectasis", "infiltration"),
)
_LEVELS = 4095
_AERATED = 0.74  # share of the chest's attenuation that air in the lung takes away
_VISIBLE = 40.0  # levels: a smaller change drowns in the noise
_APEX_X = 0.32  # where the lung's tip lies


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
    """Draw patient ``seed`` on ``rows`` x ``columns`` pixels, with ``finding`` (of FINDINGS) on the patient's ``side``."""
    _check(seed, finding, rows, columns, side)
    patient = _Patient(_stream(seed, 0))
    anatomy = _Anatomy(patient, _Frame(rows, columns, patient), _stream(seed, 1))
    attenuation = anatomy.attenuation()
    density = _film_curve(patient, attenuation)
    levels, exposed = _develop(patient, density, _stream(seed, 2))
    change, box = np.zeros((rows, columns)), None
    if finding is not None:
        rng = _stream(seed, 3 + FINDINGS.index(finding))
        drawn = -1.0 if rng.random() < 0.5 else 1.0
        added, extent = _LESIONS[finding](anatomy, rng, {"right": -1.0, "left": 1.0, None: drawn}[side])
        lesion = anatomy.frame.blur(added, patient.sharpness)
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


def _visible(change: _Array) -> _Array:
    """Fade the change out where it gets invisible, so that it ends without an edge and has a sharp mask."""
    floor = max(_VISIBLE, 0.05 * float(np.abs(change).max()))
    kept: _Array = change * np.clip(np.abs(change) / floor - 1.0, 0.0, 1.0)
    kept[np.abs(kept) < 2.0] = 0.0
    return kept


def _box(region: _Mask) -> _Box | None:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return None
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1]) + 1.0 - x, float(rows[-1]) + 1.0 - y


def _ramp(distance: _Array, width: float) -> _Array:
    """Rise smoothly from 0 to 1 over ``width`` around distance 0."""
    t = np.clip(distance / width + 0.5, 0.0, 1.0)
    smooth: _Array = t * t * (3.0 - 2.0 * t)
    return smooth


def _chord(squared_radius: _Array) -> _Array:
    """Length of the ray through a ball of radius 1 (as a share of its diameter)."""
    length: _Array = np.sqrt(np.maximum(1.0 - squared_radius, 0.0))
    return length


def _ellipse(x: _Array, y: _Array, centre: Sequence[float], axes: Sequence[float], tilt: float = 0.0) -> _Array:
    """Squared radius: 1 on the ellipse, less inside; ``tilt`` turns its first axis from x towards y."""
    dx, dy, c, s = x - centre[0], y - centre[1], np.cos(tilt), np.sin(tilt)
    squared: _Array = ((dx * c + dy * s) / axes[0]) ** 2 + ((dy * c - dx * s) / axes[1]) ** 2
    return squared


def _noise(rng: np.random.Generator, cells: int, shape: tuple[int, int]) -> _Array:
    """Smooth noise with ``cells`` bumps across the film and a deviation near 1, alike at every size of film."""
    grid = rng.standard_normal((cells + 3, cells + 3))
    weights = []
    for pixels in shape:
        away = np.abs((np.arange(pixels) + 0.5)[:, None] * (cells / pixels) + 1.0 - np.arange(cells + 3))
        weights.append(np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0.0) ** 3 / 6))
    field: _Array = 2.1 * (weights[0] @ grid @ weights[1].T)
    return field


class _Patient:
    """What varies between patients and exposures."""

    def __init__(self, rng: np.random.Generator) -> None:
        u = rng.uniform
        self.zoom, self.rotation = u(0.88, 1.08), np.deg2rad(u(-3.0, 3.0))
        self.shift = (u(-0.05, 0.05), u(-0.05, 0.07))
        self.chest, self.build = u(0.66, 0.79), u(0.06, 0.2)
        self.apex_y = u(-0.72, -0.6)
        dome = u(0.34, 0.56)
        self.dome_y, self.dome_bow = (dome, dome + u(0.01, 0.08)), u(0.13, 0.25)
        self.heart_left, self.heart_right, self.knob = u(0.38, 0.5), u(0.17, 0.25), u(0.0, 0.07)
        self.rib_drop, self.rib_contrast, self.rib_gap = u(0.4, 0.72), u(0.7, 1.4), u(0.112, 0.13)
        self.vessel_contrast, self.hilum_y = u(0.6, 1.25), u(-0.1, 0.0)
        self.clavicle_y, self.clavicle_rise = u(-0.56, -0.42), u(0.06, 0.24)
        self.arm_lean, self.arm_radius = u(0.05, 0.4), u(0.16, 0.22)
        self.breast, self.breast_y = max(0.0, u(-0.1, 0.16)), u(0.2, 0.36)
        self.bubble, self.bubble_x = max(0.0, u(-0.3, 0.35)), u(0.28, 0.46)
        self.abdomen, self.gain = u(0.95, 1.15), (u(-0.06, 0.06), u(-0.07, 0.07))
        self.centre, self.contrast = u(0.38, 0.6), u(3.6, 6.2)
        self.brightness = (u(0.0, 0.14), u(0.76, 0.98))
        self.grain, self.sharpness, self.scatter = u(12.0, 36.0), u(0.0014, 0.003), u(0.06, 0.22)


class _Frame:
    """The film's pixels seen in the patient's coordinates."""

    def __init__(self, rows: int, columns: int, patient: _Patient) -> None:
        self.shape = (rows, columns)
        # Anatomy may stretch by 15 %; a longer film shows more of the body.
        ratio = np.clip(columns / rows, 1 / 1.15, 1.15)
        half = min(rows, columns / ratio) / 2.0
        self.scale = np.array([half * ratio, half]) * patient.zoom
        self.per_unit = float(np.sqrt(self.scale.prod()))
        c, s = np.cos(patient.rotation), np.sin(patient.rotation)
        self._turn, self._shift = np.array([[c, -s], [s, c]]), np.array(patient.shift)
        down, across = np.mgrid[0:rows, 0:columns].astype(np.float64) + 0.5
        across, down = (across - columns / 2) / self.scale[0], (down - rows / 2) / self.scale[1]
        self.x: _Array = c * across + s * down - patient.shift[0]
        self.y: _Array = c * down - s * across - patient.shift[1]

    def to_pixels(self, points: _Array) -> _Array:
        """Points (..., 2) as x, y of the patient into column, row of the film."""
        pixels: _Array = (points + self._shift) @ self._turn.T * self.scale + np.array(self.shape[::-1]) / 2
        return pixels

    def blur(self, layer: _Array, sigma: float) -> _Array:
        blurred: _Array = ndimage.gaussian_filter(layer, sigma * self.per_unit)
        return blurred

    def strokes(self, paths: _Array, half_widths: _Array, strengths: _Array, edge: float = 0.0) -> _Array:
        """Draw n bands along ``paths`` (n, points, 2); the others are (n, points); ``edge`` makes them hollow."""
        return _bands(self.shape, self.to_pixels(paths), half_widths * self.per_unit, strengths, edge)


def _bands(shape: tuple[int, int], paths: _Array, half_widths: _Array, strengths: _Array, edge: float) -> _Array:
    """Bands in pixels: each is covered with points closer than a pixel, and the strongest point of a pixel counts."""
    length = np.hypot(*np.moveaxis(np.diff(paths, axis=1), -1, 0)).sum(axis=1).max()
    at = np.linspace(0, paths.shape[1] - 1, int(length * 1.5) + 2)
    low = np.minimum(at.astype(int), paths.shape[1] - 2)
    stacked = np.concatenate([paths, half_widths[..., None], strengths[..., None]], axis=-1)
    fine = stacked[:, low] + (stacked[:, low + 1] - stacked[:, low]) * (at - low)[:, None]
    tangent = np.gradient(fine[..., :2], axis=1)
    tangent /= np.maximum(np.hypot(tangent[..., 0], tangent[..., 1]), 1e-9)[..., None]
    across = np.linspace(-1, 1, int(half_widths.max() * 3) + 3)
    profile = (1 - edge) * np.sqrt(1 - across**2 * 0.96) + edge * across**4 * (1 - across**12)
    offset = fine[..., 2, None] * across
    columns = np.floor(fine[..., 0, None] - tangent[..., 1, None] * offset).astype(int)
    rows = np.floor(fine[..., 1, None] + tangent[..., 0, None] * offset).astype(int)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    canvas = np.zeros(shape[0] * shape[1])
    np.maximum.at(canvas, (rows * shape[1] + columns)[inside], (fine[..., 3, None] * profile)[inside])
    return canvas.reshape(shape)


class _Anatomy:
    """The layers of one patient; ``air`` (0 to 1) is how much aerated lung the ray meets."""

    def __init__(self, patient: _Patient, frame: _Frame, rng: np.random.Generator) -> None:
        self.patient, self.frame, self._rng = patient, frame, rng
        self.x, self.y, self.lateral = frame.x, frame.y, np.abs(frame.x)
        self.torso = self._soft_tissue()
        self.lung = self._lungs()
        self.solid = np.maximum(self.heart_of(1.0), self._great_vessels())
        self.air: _Array = self.lung * (1.0 - self.solid)
        self.vessels = self._vessels() * np.minimum(1.0, 0.12 + self.air)

    def attenuation(self) -> _Array:
        """Everything without a lesion, with scatter, blur and uneven beam."""
        p, frame = self.patient, self.frame
        coarse, middle, fine = (_noise(self._rng, cells, frame.shape) for cells in (6, 8, 60))
        aerated = self.air * (1.0 + 0.025 * middle + 0.012 * fine)
        tissue = self.torso * (1.0 - _AERATED * aerated + 0.03 * coarse)
        total = tissue + self._spine() + self._ribs() + self._shoulders() + self.vessels + self._breasts() - self._gas()
        total = frame.blur(total, p.sharpness)
        small = ndimage.gaussian_filter(ndimage.zoom(total, 0.125, order=1), 0.2 * frame.per_unit / 8)
        scattered = ndimage.zoom(small, np.array(frame.shape) / small.shape, order=1)
        lit = total * (1 - p.scatter) + scattered * p.scatter + p.gain[0] * self.x + p.gain[1] * self.y
        brightest: _Array = np.maximum(lit, 0.0)
        return brightest

    def lung_edge(self, drop: float = 0.0, gap: float = 0.0) -> _Array:
        """Distance to the lungs' outline (positive inside), diaphragm aside, for lungs sunk by ``drop`` and ``gap``."""
        top = self.patient.apex_y + drop
        inner_t = np.clip((self.y - top) * 3.0, 0.0, 1.0)
        outer = self.chest_wall(self.y, top, gap)
        inner = _APEX_X - (_APEX_X - 0.06) * _chord((1 - inner_t) ** 2)
        edge: _Array = np.minimum(np.minimum(outer - self.lateral, self.lateral - inner), self.y - top)
        return edge

    def chest_wall(self, y: _Array, top: float, gap: float) -> _Array:
        """Distance from the midline to the inner chest wall at height ``y``."""
        t = np.clip((y - top) / (0.62 - top), 0.0, 1.0)
        reach: _Array = _APEX_X + (self.patient.chest - gap - _APEX_X) * (1 - (1 - t) ** 2.5) ** 0.56
        return reach

    def above_diaphragm(self) -> _Array:
        """Distance up from the dome of the pixel's side: positive in the chest."""
        p = self.patient
        dome = np.where(self.x < 0, p.dome_y[0], p.dome_y[1])
        outer = np.clip((self.lateral - 0.33) / (p.chest - 0.31), 0.0, 1.0)
        inner = np.clip((0.33 - self.lateral) / 0.33, 0.0, 1.0)
        away: _Array = dome + p.dome_bow * (1 - _chord(0.97 * outer**2) + 0.3 * inner**2) - self.y
        return away

    def heart_of(self, size: float) -> _Array:
        """Share of the ray blocked by the heart; ``size`` 1 is this patient's normal heart."""
        p = self.patient
        apex = p.dome_y[1] - 0.02
        down = apex + np.array([-0.66, -0.5, -0.36, -0.24, -0.12, 0.0, 0.07, 0.13, 0.2]) * (0.55 + 0.45 * size)
        left = np.array([0.0, 0.34, 0.55, 0.74, 0.91, 1.0, 0.98, 0.82, 0.0]) * p.heart_left * size
        right = np.array([0.0, 0.3, 0.72, 0.95, 1.0, 0.97, 0.9, 0.75, 0.0]) * p.heart_right * size
        return 0.93 * self._between(down, right, left, 4.0)

    def _great_vessels(self) -> _Array:
        knob = self.patient.knob
        down = np.array([-1.2, -0.62, -0.5, -0.42, -0.34, -0.24, -0.14, -0.02, 0.1, 1.0])
        left = np.array([0.09, 0.11, 0.12, 0.14 + knob, 0.16 + knob, 0.13 + knob / 2, 0.165, 0.17, 0.14, 0.13])
        right = np.array([0.09, 0.11, 0.12, 0.125, 0.125, 0.13, 0.14, 0.14, 0.13, 0.12])
        return 0.95 * self._between(down, right, left, 3.5)

    def _between(self, down: _Array, right: _Array, left: _Array, rounding: float) -> _Array:
        """A silhouette around the midline from its borders at the heights ``down``."""
        fine = np.linspace(-1.3, 1.3, 261)
        borders = [ndimage.gaussian_filter1d(np.interp(fine, down, border), rounding) for border in (right, left)]
        reach = np.where(self.x < 0, np.interp(self.y, fine, borders[0]), np.interp(self.y, fine, borders[1]))
        return _ramp(reach - self.lateral - 0.015, 0.03)

    def _soft_tissue(self) -> _Array:
        p, y = self.patient, self.y
        wall = p.chest + p.build
        down = np.array([-1.4, -1.0, -0.9, -0.83, -0.77, -0.7, -0.55, -0.3, -0.1, 0.5, 1.3])
        half = np.array([0.23, 0.25, 0.3, 0.46, 0.72, 0.95, 1.04, wall + 0.1, wall, wall, wall - 0.02])
        fine = np.linspace(-1.4, 1.3, 271)
        half = np.interp(y, fine, ndimage.gaussian_filter1d(np.interp(fine, down, half), 4.0))
        depth = np.interp(y, [-0.85, -0.6, 0.0, 0.55, 0.8], [0.5, 0.62, 0.82, 0.95, p.abdomen])
        trunk = depth * np.sqrt(np.maximum(1 - (self.lateral / half) ** 2.8, 0.0))
        axis = self.lateral - (wall + 0.12 + p.arm_lean * (y + 0.6))
        arm = 0.5 * _chord((axis / p.arm_radius) ** 2) * _ramp(y + 0.6, 0.3)
        both: _Array = np.maximum(trunk, arm) + 0.25 * np.minimum(trunk, arm)
        return both

    def _lungs(self) -> _Array:
        edge, above = self.lung_edge(), self.above_diaphragm()
        depth = 0.5 + 0.5 * np.clip(edge / 0.2, 0.0, 1.0) ** 0.7
        thinning = 0.8 + 0.2 * np.clip(above / 0.5, 0.0, 1.0)
        aerated: _Array = _ramp(edge - 0.006, 0.02) * depth * thinning * _ramp(above, 0.022)
        return aerated

    def _gas(self) -> _Array:
        """Air in the trachea and main bronchi, and sometimes in the stomach."""
        p, split = self.patient, -0.2
        trachea = 0.1 * _chord(((self.x + 0.01) / 0.05) ** 2) * _ramp(split - self.y, 0.06)
        bronchi = 0.06 * _chord(((self.lateral - (self.y - split) * 0.9) / 0.04) ** 2)
        bronchi *= _ramp(self.y - split, 0.04) * _ramp(split + 0.2 - self.y, 0.12)
        centre = (p.bubble_x, p.dome_y[1] + 0.13)
        bubble = _chord(_ellipse(self.x, self.y, centre, (0.15, 0.1))) * _ramp(centre[1] + 0.03 - self.y, 0.012)
        return trachea + bronchi + p.bubble * bubble

    def _breasts(self) -> _Array:
        p = self.patient
        ball = _chord(_ellipse(self.lateral, self.y, (0.48, p.breast_y), (0.33, 0.34)))
        return p.breast * 1.4 * np.minimum(ball, 0.8) * _ramp(self.y - p.breast_y + 0.2, 0.7)

    def _spine(self) -> _Array:
        half = 0.075 + 0.02 * np.clip(self.y + 0.3, 0.0, 1.0)
        phase = (self.y + 2.0) / 0.118 * 2 * np.pi
        body = _ramp(half * (1 + 0.08 * np.cos(phase)) - self.lateral, 0.03)
        pedicles = np.exp(-(((self.lateral - half * 0.62) / 0.016) ** 2)) * np.maximum(np.cos(phase + 2.4), 0.0) ** 4
        process = np.exp(-((self.x / 0.012) ** 2)) * np.maximum(np.cos(phase + 2.0), 0.0) ** 2
        return body * (0.09 + 0.035 * np.maximum(np.cos(phase), 0.0) ** 6 + 0.04 * pedicles + 0.04 * process)

    def _ribs(self) -> _Array:
        """Ten pairs: a loop from the spine around the wall (posterior) and forward down (anterior, ends in cartilage)."""
        p = self.patient
        number, side = np.repeat(np.arange(10.0), 2)[:, None], np.tile([-1.0, 1.0], 10)[:, None]
        start = p.apex_y + 0.01 + p.rib_gap * number + self._rng.normal(0, 0.008, (20, 1))
        drop = p.rib_drop * (0.42 + 0.075 * np.minimum(number, 8))
        low = np.maximum(start + drop * 0.5, p.apex_y + 0.15)
        reach = self.chest_wall(low, p.apex_y, -0.012)
        total = np.zeros(self.frame.shape)
        for first, last, half, strength in ((0.1, 1.6, 0.024, 0.1), (1.45, 2.45, 0.028, 0.06)):
            turn = np.linspace(first, last, 48)[None, :]
            x = side * (0.04 + (reach - 0.04) * np.sin(turn) ** 0.9)
            y = start + drop * (1 - np.cos(turn)) / 2 - 0.06 * np.sin(2 * turn) * (turn < np.pi / 2)
            fade = np.clip((last - turn) / 0.25, 0.0, 1.0) * np.clip((turn - first) / 0.1 + 0.3, 0.0, 1.0)
            strengths = strength * fade * self._rng.uniform(0.85, 1.15, (20, 1)) * np.minimum(1.0, 0.5 + 0.25 * number)
            total += self.frame.strokes(np.stack([x, y], -1), np.full(x.shape, half), strengths, 0.4)
        return p.rib_contrast * total * (0.5 + 0.5 * _ramp(self.above_diaphragm(), 0.3))

    def _shoulders(self) -> _Array:
        """Clavicles, scapulae and the upper ends of the arm bones."""
        p, t, flat = self.patient, np.linspace(0, 1, 24), np.ones(24)
        wall = p.chest + p.build
        bones = []
        for side in (-1.0, 1.0):
            y = p.clavicle_y - p.clavicle_rise * t - 0.035 * np.sin(2 * np.pi * t) + self._rng.normal(0, 0.012)
            blade = 0.6 + 0.16 * np.sin(np.pi * t * 0.6)
            bones += [
                (side * (0.06 + 0.76 * t), y, 0.03 - 0.012 * np.sin(np.pi * t), 0.15 * (1 - 0.6 * t**4)),
                (side * (wall + 0.13 + p.arm_lean * 1.4 * t), -0.6 + 1.4 * t, 0.05 * flat, 0.11 * np.minimum(1, 5 * t)),
                (side * blade, -0.5 + 0.62 * t, 0.012 * flat, 0.045 * flat),
                (side * (0.56 + 0.28 * t), -0.46 - 0.17 * t, 0.014 + 0.02 * t, 0.05 * flat),
            ]
        x, y, half, strength = (np.array(column) for column in zip(*bones, strict=True))
        head = _chord(_ellipse(self.lateral, self.y, (wall + 0.12, -0.6), (0.1, 0.12)))
        return self.frame.blur(self.frame.strokes(np.stack([x, y], -1), half, strength, 0.4) + 0.11 * head, 0.007)

    def _vessels(self) -> _Array:
        """Trees that leave the hila and fork, each branch thinner than its parent."""
        rng, layer, hilum = self._rng, np.zeros(self.frame.shape), self.patient.hilum_y
        angle = np.tile(np.linspace(-1.4, 1.4, 7), 2) + rng.normal(0, 0.12, 14)
        angle[7:] = np.pi - angle[7:]
        at = np.stack([0.13 * np.sign(np.cos(angle)), hilum + 0.1 * np.sin(angle) + rng.normal(0, 0.02, 14)], -1)
        width, length = 0.015, 0.19
        for _ in range(4):
            count = len(angle)
            step = length * rng.uniform(0.6, 1.4, count) / 8
            turn = angle[:, None] + rng.normal(0, 0.4, (count, 1)) * np.linspace(0, 1, 9)
            path = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], -1) * step[:, None, None], axis=1) + at[:, None]
            taper = width * np.linspace(1, 0.72, 9) * rng.uniform(0.6, 1.25, (count, 1))
            layer = np.maximum(layer, self.frame.strokes(path, taper, 0.015 + taper * 5.5))
            angle = (turn[:, -1:] + rng.uniform(0.1, 0.6, (count, 1)) * np.array([-1.0, 1.0])).ravel()
            at, width, length = np.repeat(path[:, -1], 2, axis=0), width * 0.66, length * 0.85
        hila = np.exp(-_ellipse(self.lateral, self.y, (0.15, hilum), (0.08, 0.14)))
        return self.patient.vessel_contrast * (layer + 0.09 * hila)


def _film_curve(patient: _Patient, attenuation: _Array) -> _Array:
    """Levels (without noise) of a film with a toe and a shoulder."""
    low, high = patient.brightness
    toe = 1 / (1 + np.exp(patient.contrast * patient.centre))
    curve = 1 / (1 + np.exp(-patient.contrast * (attenuation - patient.centre)))
    levels: _Array = _LEVELS * (low + (high - low) * (curve - toe) / (1 - toe))
    return levels


def _develop(patient: _Patient, density: _Array, rng: np.random.Generator) -> tuple[_Array, _Array]:
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


def _marker(shape: tuple[int, int], rng: np.random.Generator) -> _Array:
    """A letter for the side in an upper corner, on part of the films whatever they show."""
    u = rng.uniform
    size, away, down, left, shown = u(0.016, 0.03), u(0.06, 0.1), u(0.05, 0.11), u() < 0.6, u() < 0.6
    strokes = [(0, 0), (0, 2), (1.1, 2)] if left else [(0, 2), (0, 0), (0.9, 0), (1, 0.9), (0, 1), (1.1, 2)]
    place = np.array([1 - away if left else away, down]) * shape[::-1]
    path = (place + np.array(strokes) * size * min(shape))[None]
    ink = _bands(shape, path, np.full(path.shape[:2], 0.16 * size * min(shape)), np.ones(path.shape[:2]), 0.0)
    letter: _Array = shown * np.minimum(1.0, 1.2 * ndimage.gaussian_filter(ink, 0.5)) * (ink > 0)
    return letter


# Lesions: the attenuation that each adds, and what its box encloses where that is not the changed region.
_Lesion = tuple[_Array, _Mask | None]


def _fill(a: _Anatomy, side: float, share: _Array) -> _Array:
    """Attenuation added when ``share`` (0 to 1) of one lung's air gives way to fluid."""
    return _AERATED * a.torso * a.air * share * _ramp(side * a.x - 0.02, 0.04)


def _place(a: _Anatomy, rng: np.random.Generator, side: float, radius: float, highest: float) -> tuple[float, float]:
    """A random centre whose surroundings of ``radius`` are aerated lung; the best seen where none fits."""
    tries = np.stack([side * rng.uniform(0.2, 0.7, 300), rng.uniform(highest, 0.5, 300)], -1)
    ring = np.linspace(0, 2 * np.pi, 9)[:-1]
    around = a.frame.to_pixels(tries[:, None] + radius * np.stack([np.cos(ring), np.sin(ring)], -1)[None])
    columns, rows = np.moveaxis(np.floor(around).astype(int), -1, 0)
    rows, columns = np.clip(rows, 0, a.frame.shape[0] - 1), np.clip(columns, 0, a.frame.shape[1] - 1)
    best = int(np.argmax(np.minimum(a.air[rows, columns].min(axis=1), 0.5)))
    return float(tries[best, 0]), float(tries[best, 1])


def _nodule(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    radius = rng.uniform(0.024, 0.042)
    x, y = _place(a, rng, side, radius * 2, -0.45)
    ball = _chord(_ellipse(a.x, a.y, (x, y), (radius, radius * rng.uniform(0.85, 1.1)), rng.uniform(0, 3)))
    return rng.uniform(0.24, 0.4) * ball, None


def _mass(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    radius = rng.uniform(0.09, 0.18)
    x, y = _place(a, rng, side, radius * 0.9, -0.4)
    angle = np.arctan2(a.y - y, a.x - x)
    lobes = 1.0 + sum(rng.uniform(0.03, 0.09) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    ball = _chord(_ellipse(a.x, a.y, (x, y), (radius, radius * rng.uniform(0.8, 1.0)), rng.uniform(0, 3)) / lobes**2)
    return rng.uniform(0.25, 0.45) * ball * np.minimum(1.0, 0.15 + 1.4 * a.air), None


def _pneumonia(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    axes = (rng.uniform(0.14, 0.28), rng.uniform(0.14, 0.28))
    zone = np.exp(-(_ellipse(a.x, a.y, _place(a, rng, side, axes[0] * 0.7, -0.3), axes, rng.uniform(0, 3)) ** 1.5))
    clumps = 0.8 + 0.2 * _noise(rng, 14, a.frame.shape) + 0.14 * _noise(rng, 36, a.frame.shape)
    return _fill(a, side, rng.uniform(0.45, 0.8) * zone * np.clip(clumps, 0.2, 1.2)), None


def _effusion(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    level = a.patient.dome_y[0 if side < 0 else 1] - rng.uniform(0.02, 0.34)
    reach = np.clip((a.lateral - 0.15) / (a.patient.chest - 0.15), 0.0, 1.2)
    meniscus = level + 0.12 - rng.uniform(0.2, 0.34) * reach ** rng.uniform(2.2, 3.5)
    return _fill(a, side, 0.95 * _ramp(a.y - meniscus, rng.uniform(0.05, 0.1))), None


def _cardiomegaly(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    heart = a.heart_of(rng.uniform(1.28, 1.5))
    added = _AERATED * a.torso * a.lung * np.maximum(heart - a.solid, 0.0)
    return added, (heart > 0.2) & (a.above_diaphragm() > -0.08)


def _pneumothorax(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    edge, own = a.lung_edge(drop=rng.uniform(0.12, 0.4), gap=rng.uniform(0.05, 0.17)), _ramp(side * a.x, 0.02)
    rim = _ramp(-edge, 0.01) * np.minimum(1.0, a.air * 1.5)
    line = 0.05 * np.exp(-(((edge - 0.004) / 0.005) ** 2)) * a.air
    return own * (line - rim * (a.vessels + rng.uniform(0.45, 0.7) * a.torso * (1 - _AERATED * a.air))), None


def _atelectasis(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    tilt, half = side * rng.uniform(-0.35, 0.5), rng.uniform(0.13, 0.22)
    x, y = _place(a, rng, side, 0.12, 0.0)
    along = (a.x - x) * np.cos(tilt) + (a.y - y) * np.sin(tilt)
    across = (a.y - y) * np.cos(tilt) - (a.x - x) * np.sin(tilt)
    if rng.random() < 0.5:
        share = np.exp(-((across / rng.uniform(0.016, 0.032)) ** 2))
    else:  # a lobe's wedge, its tip at the hilum
        share = _ramp(rng.uniform(0.3, 0.5) * (side * along + half) - np.abs(across), 0.03)
    return _fill(a, side, rng.uniform(0.4, 0.65) * share * _ramp(half - np.abs(along), 0.1)), None


def _infiltration(a: _Anatomy, rng: np.random.Generator, side: float) -> _Lesion:
    axes = (rng.uniform(0.24, 0.4), rng.uniform(0.24, 0.4))
    zone = np.exp(-(_ellipse(a.x, a.y, _place(a, rng, side, 0.16, -0.25), axes, rng.uniform(0, 3)) ** 2))
    mesh = sum(np.exp(-((_noise(rng, cells, a.frame.shape) / 0.35) ** 2)) for cells in (28, 44, 60))
    patches = np.clip(0.6 + 0.4 * _noise(rng, 10, a.frame.shape), 0.1, 1.3)
    return _fill(a, side, rng.uniform(0.24, 0.36) * zone * patches * (0.35 + 0.5 * mesh)), None


_DRAWN_BY = (_nodule, _mass, _pneumonia, _effusion, _cardiomegaly, _pneumothorax, _atelectasis, _infiltration)
_LESIONS = dict(zip(FINDINGS, _DRAWN_BY, strict=True))
