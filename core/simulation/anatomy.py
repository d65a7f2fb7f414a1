"""The patient on a simulated chest film: a drawing of body, lungs, heart, bones and vessels as attenuations.

Lengths are in half film widths: x grows to the patient's left (the image's right), y downwards, (0, 0) is the film's
centre. All arithmetic is in float64, so that differences between machines stay far below one grey level.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float64]
AERATED = 0.74  # share of the chest's attenuation that air in the lung takes away
_APEX_X = 0.32  # where the lung's tip lies


def ramp(distance: Array, width: float) -> Array:
    """Rise smoothly from 0 to 1 over ``width`` around distance 0."""
    t = np.clip(distance / width + 0.5, 0.0, 1.0)
    smooth: Array = t * t * (3.0 - 2.0 * t)
    return smooth


def chord(squared_radius: Array) -> Array:
    """Length of the ray through a ball of radius 1 (as a share of its diameter)."""
    length: Array = np.sqrt(np.maximum(1.0 - squared_radius, 0.0))
    return length


def ellipse(x: Array, y: Array, centre: Sequence[float], axes: Sequence[float], tilt: float = 0.0) -> Array:
    """Squared radius: 1 on the ellipse, less inside; ``tilt`` turns its first axis from x towards y."""
    dx, dy, c, s = x - centre[0], y - centre[1], np.cos(tilt), np.sin(tilt)
    squared: Array = ((dx * c + dy * s) / axes[0]) ** 2 + ((dy * c - dx * s) / axes[1]) ** 2
    return squared


def noise(rng: np.random.Generator, cells: int, shape: tuple[int, int]) -> Array:
    """Smooth noise with ``cells`` bumps across the film and a deviation near 1, alike at every size of film."""
    grid = rng.standard_normal((cells + 3, cells + 3))
    weights = []
    for pixels in shape:
        away = np.abs((np.arange(pixels) + 0.5)[:, None] * (cells / pixels) + 1.0 - np.arange(cells + 3))
        weights.append(np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0.0) ** 3 / 6))
    field: Array = 2.1 * (weights[0] @ grid @ weights[1].T)
    return field


class Patient:
    """What varies between patients and exposures."""

    def __init__(self, rng: np.random.Generator) -> None:
        u = rng.uniform
        self.zoom, self.rotation = u(0.88, 1.08), np.deg2rad(u(-3.0, 3.0))
        self.shift = (u(-0.05, 0.05), u(-0.05, 0.07))
        self.chest, self.build = u(0.66, 0.79), u(0.06, 0.2)
        self.apex_y = u(-0.72, -0.6)
        dome = u(0.34, 0.56)
        self.dome_y, self.dome_bow = (dome, dome + u(0.01, 0.08)), u(0.13, 0.25)
        self.heart_left, self.heart_right, self.knob = u(0.38, 0.5), u(0.18, 0.27), u(0.0, 0.07)
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


class Frame:
    """The film's pixels seen in the patient's coordinates."""

    def __init__(self, rows: int, columns: int, patient: Patient) -> None:
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
        self.x: Array = c * across + s * down - patient.shift[0]
        self.y: Array = c * down - s * across - patient.shift[1]

    def to_pixels(self, points: Array) -> Array:
        """Points (..., 2) as x, y of the patient into column, row of the film."""
        pixels: Array = (points + self._shift) @ self._turn.T * self.scale + np.array(self.shape[::-1]) / 2
        return pixels

    def blur(self, layer: Array, sigma: float) -> Array:
        blurred: Array = ndimage.gaussian_filter(layer, sigma * self.per_unit)
        return blurred

    def strokes(self, paths: Array, half_widths: Array, strengths: Array, edge: float = 0.0) -> Array:
        """Draw n bands along ``paths`` (n, points, 2); the others are (n, points); ``edge`` makes them hollow."""
        return bands(self.shape, self.to_pixels(paths), half_widths * self.per_unit, strengths, edge)


def bands(shape: tuple[int, int], paths: Array, half_widths: Array, strengths: Array, edge: float) -> Array:
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


class Anatomy:
    """The layers of one patient; ``air`` (0 to 1) is how much aerated lung the ray meets."""

    def __init__(self, patient: Patient, frame: Frame, rng: np.random.Generator) -> None:
        self.patient, self.frame, self._rng = patient, frame, rng
        self.x, self.y, self.lateral = frame.x, frame.y, np.abs(frame.x)
        self.torso = self._soft_tissue()
        self.lung = self._lungs()
        self.solid = np.maximum(self.heart_of(1.0), self._great_vessels())
        self.air: Array = self.lung * (1.0 - self.solid)
        self.vessels = self._vessels() * np.minimum(1.0, 0.12 + self.air)

    def attenuation(self) -> Array:
        """Everything without a lesion, with scatter, blur and uneven beam."""
        p, frame = self.patient, self.frame
        coarse, middle, fine = (noise(self._rng, cells, frame.shape) for cells in (6, 8, 60))
        aerated = self.air * (1.0 + 0.025 * middle + 0.018 * fine)
        tissue = self.torso * (1.0 - AERATED * aerated + 0.03 * coarse)
        total = tissue + self._spine() + self._ribs() + self._shoulders() + self.vessels + self._breasts() - self._gas()
        total = frame.blur(total, p.sharpness)
        small = ndimage.gaussian_filter(ndimage.zoom(total, 0.125, order=1), 0.2 * frame.per_unit / 8)
        scattered = ndimage.zoom(small, np.array(frame.shape) / small.shape, order=1)
        lit = total * (1 - p.scatter) + scattered * p.scatter + p.gain[0] * self.x + p.gain[1] * self.y
        brightest: Array = np.maximum(lit, 0.0)
        return brightest

    def lung_edge(self, drop: float = 0.0, gap: float = 0.0) -> Array:
        """Distance to the lungs' outline (positive inside), diaphragm aside, for lungs sunk by ``drop`` and ``gap``."""
        top = self.patient.apex_y + drop
        inner_t = np.clip((self.y - top) * 3.0, 0.0, 1.0)
        outer = self.chest_wall(self.y, top, gap)
        inner = _APEX_X - (_APEX_X - 0.06) * chord((1 - inner_t) ** 2)
        edge: Array = np.minimum(np.minimum(outer - self.lateral, self.lateral - inner), self.y - top)
        return edge

    def chest_wall(self, y: Array, top: float, gap: float) -> Array:
        """Distance from the midline to the inner chest wall at height ``y``."""
        t = np.clip((y - top) / (0.62 - top), 0.0, 1.0)
        reach: Array = _APEX_X + (self.patient.chest - gap - _APEX_X) * (1 - (1 - t) ** 2.5) ** 0.56
        return reach

    def above_diaphragm(self) -> Array:
        """Distance up from the dome of the pixel's side: positive in the chest."""
        p = self.patient
        dome = np.where(self.x < 0, p.dome_y[0], p.dome_y[1])
        outer = np.clip((self.lateral - 0.33) / (p.chest - 0.31), 0.0, 1.0)
        inner = np.clip((0.33 - self.lateral) / 0.33, 0.0, 1.0)
        away: Array = dome + p.dome_bow * (1 - chord(0.97 * outer**2) + 0.3 * inner**2) - self.y
        return away

    def heart_of(self, size: float) -> Array:
        """Share of the ray blocked by the heart; ``size`` 1 is this patient's normal heart."""
        p = self.patient
        apex = p.dome_y[1] - 0.02
        down = apex + np.array([-0.66, -0.5, -0.36, -0.24, -0.12, 0.0, 0.07, 0.13, 0.2]) * (0.55 + 0.45 * size)
        left = np.array([0.0, 0.34, 0.55, 0.74, 0.91, 1.0, 0.98, 0.82, 0.0]) * p.heart_left * size
        right = np.array([0.0, 0.3, 0.72, 0.95, 1.0, 0.97, 0.9, 0.75, 0.0]) * p.heart_right * size
        return 0.93 * self._between(down, right, left, 4.0)

    def _great_vessels(self) -> Array:
        knob = self.patient.knob
        down = np.array([-1.2, -0.62, -0.5, -0.42, -0.34, -0.24, -0.14, -0.02, 0.1, 1.0])
        left = np.array([0.09, 0.11, 0.12, 0.14 + knob, 0.16 + knob, 0.13 + knob / 2, 0.165, 0.17, 0.14, 0.13])
        right = np.array([0.09, 0.11, 0.12, 0.125, 0.125, 0.13, 0.14, 0.14, 0.13, 0.12])
        return 0.95 * self._between(down, right, left, 3.5)

    def _between(self, down: Array, right: Array, left: Array, rounding: float) -> Array:
        """A silhouette around the midline from its borders at the heights ``down``."""
        fine = np.linspace(-1.3, 1.3, 261)
        borders = [ndimage.gaussian_filter1d(np.interp(fine, down, border), rounding) for border in (right, left)]
        reach = np.where(self.x < 0, np.interp(self.y, fine, borders[0]), np.interp(self.y, fine, borders[1]))
        return ramp(reach - self.lateral - 0.015, 0.03)

    def _soft_tissue(self) -> Array:
        p, y = self.patient, self.y
        wall = p.chest + p.build
        down = np.array([-1.4, -1.0, -0.9, -0.83, -0.77, -0.7, -0.55, -0.3, -0.1, 0.5, 1.3])
        half = np.array([0.23, 0.25, 0.3, 0.46, 0.72, 0.95, 1.04, wall + 0.1, wall, wall, wall - 0.02])
        fine = np.linspace(-1.4, 1.3, 271)
        half = np.interp(y, fine, ndimage.gaussian_filter1d(np.interp(fine, down, half), 4.0))
        depth = np.interp(y, [-0.85, -0.6, 0.0, 0.55, 0.8], [0.5, 0.62, 0.82, 0.95, p.abdomen])
        trunk = depth * np.sqrt(np.maximum(1 - (self.lateral / half) ** 2.8, 0.0))
        axis = self.lateral - (wall + 0.12 + p.arm_lean * (y + 0.6))
        arm = 0.5 * chord((axis / p.arm_radius) ** 2) * ramp(y + 0.6, 0.3)
        both: Array = np.maximum(trunk, arm) + 0.25 * np.minimum(trunk, arm)
        return both

    def _lungs(self) -> Array:
        edge, above = self.lung_edge(), self.above_diaphragm()
        depth = 0.5 + 0.5 * np.clip(edge / 0.2, 0.0, 1.0) ** 0.7
        thinning = 0.8 + 0.2 * np.clip(above / 0.5, 0.0, 1.0)
        aerated: Array = ramp(edge - 0.006, 0.02) * depth * thinning * ramp(above, 0.022)
        return aerated

    def _gas(self) -> Array:
        """Air in the trachea and main bronchi, and sometimes in the stomach."""
        p, split = self.patient, -0.2
        trachea = 0.1 * chord(((self.x + 0.01) / 0.05) ** 2) * ramp(split - self.y, 0.06)
        bronchi = 0.06 * chord(((self.lateral - (self.y - split) * 0.9) / 0.04) ** 2)
        bronchi *= ramp(self.y - split, 0.04) * ramp(split + 0.2 - self.y, 0.12)
        centre = (p.bubble_x, p.dome_y[1] + 0.13)
        bubble = chord(ellipse(self.x, self.y, centre, (0.15, 0.1))) * ramp(centre[1] + 0.03 - self.y, 0.012)
        return trachea + bronchi + p.bubble * bubble

    def _breasts(self) -> Array:
        p = self.patient
        ball = chord(ellipse(self.lateral, self.y, (0.48, p.breast_y), (0.33, 0.34)))
        return p.breast * 1.4 * np.minimum(ball, 0.8) * ramp(self.y - p.breast_y + 0.2, 0.7)

    def _spine(self) -> Array:
        half = 0.075 + 0.02 * np.clip(self.y + 0.3, 0.0, 1.0)
        phase = (self.y + 2.0) / 0.118 * 2 * np.pi
        body = ramp(half * (1 + 0.08 * np.cos(phase)) - self.lateral, 0.03)
        pedicles = np.exp(-(((self.lateral - half * 0.62) / 0.016) ** 2)) * np.maximum(np.cos(phase + 2.4), 0.0) ** 4
        process = np.exp(-((self.x / 0.012) ** 2)) * np.maximum(np.cos(phase + 2.0), 0.0) ** 2
        plates = np.maximum(np.cos(phase), 0.0) ** 6
        spine: Array = body * (0.09 + 0.035 * plates + 0.04 * pedicles + 0.04 * process)
        return spine

    def _ribs(self) -> Array:
        """Ten pairs: a loop from the spine around the wall (posterior), then forward and down to the cartilage."""
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
        return p.rib_contrast * total * (0.5 + 0.5 * ramp(self.above_diaphragm(), 0.3))

    def _shoulders(self) -> Array:
        """Clavicles, scapulae and the upper ends of the arm bones."""
        p, t, flat = self.patient, np.linspace(0, 1, 24), np.ones(24)
        wall = p.chest + p.build
        bones = []
        for side in (-1.0, 1.0):
            y = p.clavicle_y - p.clavicle_rise * t - 0.035 * np.sin(2 * np.pi * t) + self._rng.normal(0, 0.012)
            blade = 0.6 + 0.16 * np.sin(np.pi * t * 0.6)
            bones += [
                (side * (0.06 + 0.76 * t), y, 0.03 - 0.012 * np.sin(np.pi * t), 0.15 * (1 - 0.6 * t**4)),
                (side * (wall + 0.13 + p.arm_lean * 2.0 * t), -0.6 + 2.0 * t, 0.05 * flat, 0.11 * np.minimum(1, 7 * t)),
                (side * blade, -0.5 + 0.62 * t, 0.012 * flat, 0.045 * flat),
                (side * (0.56 + 0.28 * t), -0.46 - 0.17 * t, 0.014 + 0.02 * t, 0.05 * flat),
            ]
        x, y, half, strength = (np.array(column) for column in zip(*bones, strict=True))
        head = chord(ellipse(self.lateral, self.y, (wall + 0.12, -0.6), (0.1, 0.12)))
        return self.frame.blur(self.frame.strokes(np.stack([x, y], -1), half, strength, 0.4) + 0.11 * head, 0.007)

    def _vessels(self) -> Array:
        """Trees that leave the hila and fork, each branch thinner than its parent."""
        rng, layer, hilum = self._rng, np.zeros(self.frame.shape), self.patient.hilum_y
        angle = np.tile(np.linspace(-1.45, 1.45, 9), 2) + rng.normal(0, 0.12, 18)
        angle[9:] = np.pi - angle[9:]
        at = np.stack([0.13 * np.sign(np.cos(angle)), hilum + 0.1 * np.sin(angle) + rng.normal(0, 0.02, 18)], -1)
        width, length = 0.0145, 0.19
        for _ in range(4):
            count = len(angle)
            step = length * rng.uniform(0.6, 1.4, count) / 8
            turn = angle[:, None] + rng.normal(0, 0.4, (count, 1)) * np.linspace(0, 1, 9)
            path = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], -1) * step[:, None, None], axis=1) + at[:, None]
            taper = width * np.linspace(1, 0.72, 9) * rng.uniform(0.6, 1.25, (count, 1))
            layer = np.maximum(layer, self.frame.strokes(path, taper, 0.015 + taper * 5.5))
            angle = (turn[:, -1:] + rng.uniform(0.1, 0.6, (count, 1)) * np.array([-1.0, 1.0])).ravel()
            at, width, length = np.repeat(path[:, -1], 2, axis=0), width * 0.66, length * 0.85
        hila = np.exp(-ellipse(self.lateral, self.y, (0.15, hilum), (0.08, 0.14)))
        return self.patient.vessel_contrast * (layer + 0.09 * hila)
