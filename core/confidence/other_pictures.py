"""Pictures that no model here was made for: drawn, photographed, turned inside out; to measure what a novelty gate holds back.

Nothing of them is kept: a kind is made again from its seed. Photographs are those that scikit-learn and matplotlib bring.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from core.errors import ScanError
from core.reading.decoding import decode_scan
from core.scan import Scan

FloatImage = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]
Draw = Callable[[np.random.Generator], Grey]

_PHOTOGRAPHS = (
    ("sklearn.datasets", "images/china.jpg"),
    ("sklearn.datasets", "images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ("matplotlib", "mpl-data/sample_data/Minduka_Present_Blue_Pack.png"),
)
_SIDE = 256
_WORDS = (
    "the", "patient", "was", "seen", "on", "the", "ward", "and", "sent", "home", "with", "advice", "to", "come",
    "back", "if", "the", "cough", "gets", "worse", "findings", "impression", "comparison", "technique", "none", "no",
    "change", "since", "the", "last", "examination", "see", "report", "page", "cancel", "open", "save", "file",
    "edit", "view", "window", "help", "1024", "512", "0.75", "12:30", "total", "table", "figure",
)  # fmt: skip


def made_pictures(kind: str, count: int, seed: int) -> Iterator[Grey]:
    """So many pictures of a kind of KINDS, (rows, columns) or (rows, columns, 3) uint8; the same seed, the same pictures."""
    for number in range(count):
        yield KINDS[kind](np.random.default_rng([seed, number, *kind.encode()]))


def made_scan(picture: Grey) -> Scan:
    """A picture (rows, columns) or (rows, columns, 3) uint8 as a scan without tags."""
    return Scan(
        picture[None], digest="made", source_format="PNG", photometric="RGB" if picture.ndim == 3 else "MONOCHROME2"
    )


def inverted(grey: FloatImage) -> Grey:
    """A film (rows, columns), 0..1, the other way round: what was bright is dark."""
    return _eight_bits(255 * (1 - grey.astype(np.float64)))


def otherwise(grey: FloatImage, seed: int) -> Grey:
    """The same film (rows, columns), 0..1, as it may come from elsewhere: framed narrower or lower, exposed otherwise."""
    random = np.random.default_rng(seed)
    axis, share = int(random.integers(2)), random.uniform(0.75, 1.0)
    kept = max(2, round(grey.shape[axis] * share))
    cut = np.take(grey, np.arange(kept) + (grey.shape[axis] - kept) // 2, axis)
    return _eight_bits(255 * cut.astype(np.float64) ** random.uniform(0.75, 1.33))


def bundled_scans(without: Collection[str]) -> Iterator[Scan]:
    """The DICOM files that pydicom brings along, but those of some modalities; what cannot be read is left out."""
    for file in sorted(Path(str(files("pydicom") / "data" / "test_files")).rglob("*.dcm")):
        try:
            scan = decode_scan(file.read_bytes())
        except ScanError:
            continue
        if scan.modality not in without:
            yield scan


def _constant(random: np.random.Generator) -> Grey:
    level = random.choice([0, 255, int(random.integers(0, 256))])
    return np.full((_SIDE, _SIDE), level, np.uint8)


def _noise(random: np.random.Generator) -> Grey:
    """White noise of several kinds, as it comes or blurred a little."""
    noise = random.normal(128, random.uniform(10, 70), (_SIDE, _SIDE)) if random.random() < 0.5 else (
        random.integers(0, 256, (_SIDE, _SIDE)).astype(np.float64)
    )  # fmt: skip
    return _eight_bits(noise)


def _clouds(random: np.random.Generator) -> Grey:
    """Noise of every size (1 / f^a), as clouds and static of many sources look."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_SIDE), np.fft.rfftfreq(_SIDE), indexing="ij"))
    frequency[0, 0] = 1
    spectrum = random.normal(size=(*frequency.shape, 2)) @ np.array([1, 1j]) / frequency ** random.uniform(0.7, 2.0)
    field = np.fft.irfft2(spectrum, (_SIDE, _SIDE))
    return _eight_bits((field - field.mean()) / field.std() * random.uniform(25, 60) + 128)


def _drawing(random: np.random.Generator) -> Grey:
    """Lines, circles and boxes in grey levels on an even ground, as in a diagram or a child's drawing."""
    picture = Image.new("L", (_SIDE, _SIDE), int(random.choice([0, 255, 230, 40])))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(4, 25))):
        x, y, width, height = (int(n) for n in random.integers(0, _SIDE, 4))
        box = (min(x, width), min(y, height), max(x, width) + 1, max(y, height) + 1)
        grey, line = int(random.integers(0, 256)), int(random.integers(1, 6))
        draw = (pen.ellipse, pen.rectangle)[int(random.integers(2))]
        if random.random() < 0.4:
            pen.line(box, fill=grey, width=line)
        else:
            draw(box, fill=grey if random.random() < 0.4 else None, outline=grey, width=line)
    return np.asarray(picture)


def _chart(random: np.random.Generator) -> Grey:
    """Axes with bars or a curve, dark on light or light on dark."""
    dark = random.random() < 0.3
    ground, ink = (20, 220) if dark else (255, 30)
    picture = Image.new("L", (320, 240), ground)
    pen = ImageDraw.Draw(picture)
    pen.line((40, 10, 40, 210, 310, 210), fill=ink, width=2)
    heights = random.integers(15, 190, 12)
    if random.random() < 0.5:
        for place, height in enumerate(heights):
            pen.rectangle(
                (48 + 22 * place, 210 - int(height), 62 + 22 * place, 210), fill=int(random.integers(60, 200))
            )
    else:
        pen.line([(48 + 22 * place, 210 - int(height)) for place, height in enumerate(heights)], fill=ink, width=2)
    for place in range(0, 12, 2):
        pen.text((46 + 22 * place, 216), str(place), fill=ink, font=ImageFont.load_default(10))
    return np.asarray(picture)


def _text_page(random: np.random.Generator) -> Grey:
    """A page or a screen full of words, sometimes with a panel of its own, in two columns or one."""
    dark = random.random() < 0.3
    ground, ink = (
        (int(random.integers(0, 60)), 230) if dark else (int(random.integers(225, 256)), int(random.integers(0, 90)))
    )
    picture = Image.new("L", (360, 480) if random.random() < 0.6 else (480, 320), ground)
    size = int(random.integers(9, 20))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    line, wide = int(size * 1.4), picture.width
    for y in range(int(random.integers(8, 40)), picture.height - line, line):
        if random.random() < 0.88:
            words = " ".join(random.choice(_WORDS, int(random.integers(3, 14))))
            pen.text((int(random.integers(8, 24)), y), words, fill=ink, font=font)
    if random.random() < 0.4:
        x, y = int(random.integers(0, wide // 2)), int(random.integers(0, picture.height // 2))
        pen.rectangle((x, y, x + wide // 3, y + wide // 4), fill=int(random.integers(60, 200)))
    return np.asarray(picture)


def _photograph(random: np.random.Generator) -> Grey:
    """A part of a photograph, in grey or in colour."""
    package, name = _PHOTOGRAPHS[int(random.integers(len(_PHOTOGRAPHS)))]
    with Image.open(Path(str(files(package) / name))) as opened:
        whole = opened.convert("RGB")
    side = int(min(whole.size) * random.uniform(0.35, 1.0))
    x, y = (int(random.integers(0, length - side + 1)) for length in whole.size)
    part = whole.crop((x, y, x + side, y + side)).resize((_SIDE, _SIDE))
    return np.asarray(part if random.random() < 0.5 else part.convert("L"))


def _bones(random: np.random.Generator) -> Grey:
    """A limb as a film shows it, roughly: soft tissue on black, two long bones with denser rims, a joint."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE - 0.5
    angle = random.uniform(-0.6, 0.6)
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    film = 70.0 * (np.abs(across) < random.uniform(0.18, 0.34) + 0.05 * along)
    joint = random.uniform(-0.2, 0.2)
    for centre in (-1, 1) if random.random() < 0.6 else (0,):
        width = random.uniform(0.035, 0.07) * (1 + 1.2 * np.exp(-(((along - joint) / 0.07) ** 2)))
        inside = np.abs(across - centre * 0.09) / width
        film += np.where((inside < 1) & (np.abs(along - joint) > 0.012), 60 + 80 * inside**3, 0)
    return _eight_bits(film * random.uniform(0.7, 1.1) + random.normal(0, 4, film.shape))


def _ramp(random: np.random.Generator) -> Grey:
    """A smooth slope or a bright round blob: a light leak, an empty exposure."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE - 0.5
    angle = random.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    blob = np.exp(
        -((x - random.uniform(-0.3, 0.3)) ** 2 + (y - random.uniform(-0.3, 0.3)) ** 2) / random.uniform(0.02, 0.2)
    )
    return _eight_bits(128 + random.uniform(60, 180) * (slope if random.random() < 0.5 else blob - 0.5))


def _eight_bits(values: npt.NDArray[np.float64]) -> Grey:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


KINDS: Mapping[str, Draw] = MappingProxyType(
    {
        "constant": _constant,
        "noise": _noise,
        "clouds": _clouds,
        "smooth ramps": _ramp,
        "drawings": _drawing,
        "charts": _chart,
        "text pages": _text_page,
        "photographs": _photograph,
        "drawn limbs": _bones,
    }
)
