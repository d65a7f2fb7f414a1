"""What reading a file costs, from its bytes to the model's input, against one forward pass of a resnet18 at 224 (F).

    python -m benchmarks.reading
    python -m benchmarks.reading --rounds 21

Four tables, all candidates of a table taking turns. First: a film of 2500 x 2048 pixels of 16 bits in an uncompressed DICOM
file, by what a worker does (``decode_scan``) and ``to_model_input``, step by step, and beside it what tutorials do: dcmread,
``apply_voi_lut``, minimum to maximum, an RGB picture of 8 bits, Pillow's resize, a tensor. Second: the same film as
JPEG-LS and JPEG 2000, our decoders against pydicom's own choice, the preview against the whole. Both in CPU time, on one
thread. Third: what the guard adds, in wall time, since a worker is another process. Fourth: a CT of 300 slices of
512 x 512 in a zip, through the guard: seconds, and this process's memory with the study and after it.

Exit status 1 when the film costs more than 0.35 F, JPEG-LS gains less than 4 times, or the preview costs more than a tenth.
"""

import argparse
import gc
import hashlib
import sys
import time
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import CTImageStorage, JPEG2000Lossless, JPEGLSLossless
from torch.nn import functional
from torchvision.models import resnet18

from benchmarks.fuzz_reading import resident_mib
from benchmarks.interleaved import HEADS, Candidate, Timing, compare, machine, measure, order, table, use_one_thread
from core.models.card import InputSpec
from core.preprocessing import Letterbox, to_model_input
from core.reading import read_scan, read_study
from core.reading.decoding import decode_scan
from core.reading.dicom import parse_dicom, scan_of
from core.reading.dicom_pixels import decode_pixels
from core.reading.header_signs import header_signs
from core.reading.preview import REDUCTION, decode_preview
from core.windowing import default_window, display_grey, modality_values
from tests.files import dicom_bytes
from tests.hostile import encapsulated

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]

FILM_TARGET, JPEG_LS_TARGET, PREVIEW_TARGET = 0.35, 4.0, 0.1
ROWS, COLUMNS, BITS = 2500, 2048, 12
SLICES, SIDE = 300, 512
SIZE = 224
SPEC = InputSpec(size=SIZE, channels=3, mean=0.449, std=0.226)
WINDOW: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000}


def film() -> Array:
    """A picture with the smooth slopes and the noise of a film, 12 of 16 bits."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    slopes = 2000 + 900 * np.sin(y / 310) * np.cos(x / 270) + 300 * np.sin((x + 2 * y) / 40)
    return np.clip(slopes + rng.normal(0, 12, (ROWS, COLUMNS)), 0, (1 << BITS) - 1).astype(np.uint16)


def film_candidates(data: bytes) -> list[Candidate]:
    """F, ours, its steps, and the tutorial."""
    network, picture = resnet18(weights=None).eval(), torch.rand(1, 3, SIZE, SIZE)
    dataset = parse_dicom(data)
    pixels, scan = decode_pixels(dataset), decode_scan(data)
    grey = torch.from_numpy(display_grey(scan))[None, None]
    box = Letterbox.fit(*scan.shape, SIZE)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return network(picture)

    def resize() -> torch.Tensor:
        return functional.interpolate(grey, (box.height, box.width), mode="bilinear", antialias=True)

    return [
        Candidate("F: forward only", forward),
        Candidate("film: bytes -> model input", lambda: to_model_input(decode_scan(data), 0, SPEC)),
        Candidate("- bytes -> Scan", lambda: decode_scan(data)),
        Candidate("  - SHA-256", lambda: hashlib.sha256(data)),
        Candidate("  - parse", lambda: parse_dicom(data)),
        Candidate("  - pixels", lambda: decode_pixels(parse_dicom(data))),
        Candidate("  - Scan of header and pixels", lambda: scan_of(dataset, pixels, "")),
        Candidate("    - header signs", lambda: header_signs(dataset)),
        Candidate("- Scan -> model input", lambda: to_model_input(scan, 0, SPEC)),
        Candidate("  - grey by table", lambda: display_grey(scan)),
        Candidate("  - resize, one channel", resize),
        Candidate("tutorial: bytes -> model input", lambda: tutorial(data), every=3),
    ]


def tutorial(data: bytes) -> torch.Tensor:
    """What tutorials do."""
    dataset = dcmread(BytesIO(data))
    values = apply_voi_lut(dataset.pixel_array, dataset)
    values = (values - values.min()) / (values.max() - values.min())
    picture = Image.fromarray((values * 255).astype(np.uint8)).convert("RGB").resize((SIZE, SIZE))
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)
    return ((tensor - SPEC.mean) / SPEC.std)[None]


def codec_candidates(pixels: Array) -> list[Candidate]:
    """JPEG-LS by pydicom's choice and by ours; JPEG 2000 whole and as a preview."""
    jpeg_ls, jpeg_2000 = as_jpeg_ls(pixels), as_jpeg_2000(pixels)
    return [
        Candidate("JPEG-LS, pydicom's own choice", lambda: dcmread(BytesIO(jpeg_ls)).pixel_array),
        Candidate("JPEG-LS, ours", lambda: decode_pixels(parse_dicom(jpeg_ls))),
        Candidate("JPEG-LS, ours, the whole Scan", lambda: decode_scan(jpeg_ls)),
        Candidate("JPEG 2000, pydicom's own choice", lambda: dcmread(BytesIO(jpeg_2000)).pixel_array),
        Candidate("JPEG 2000, ours", lambda: decode_scan(jpeg_2000)),
        Candidate("JPEG 2000, our preview", lambda: decode_preview(jpeg_2000)),
    ]


def as_jpeg_ls(pixels: Array) -> bytes:
    """The film as JPEG-LS."""
    return encapsulated(bytes(imagecodecs.jpegls_encode(pixels)), JPEGLSLossless, ROWS, COLUMNS, BITS, **WINDOW)


def as_jpeg_2000(pixels: Array) -> bytes:
    """The film as lossless JPEG 2000."""
    stream = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, bitspersample=BITS))
    return encapsulated(stream, JPEG2000Lossless, ROWS, COLUMNS, BITS, **WINDOW)


def preview_difference(pixels: Array) -> tuple[float, float]:
    """Mean and largest difference between the preview and the averaged full picture, as parts of the window."""
    preview = decode_preview(as_jpeg_2000(pixels))
    if preview is None:
        raise RuntimeError("There is no preview of the film.")
    factor = 2**REDUCTION
    averaged = pixels.reshape(ROWS // factor, factor, COLUMNS // factor, factor).mean((1, 3))
    difference = np.abs(modality_values(preview) - averaged) / default_window(preview).width
    return float(difference.mean()), float(difference.max())


def guard_timings(data: bytes, rounds: int) -> list[Timing]:
    """Wall milliseconds of a film and of a small file, decoded here and by a guarded worker."""
    small = dicom_bytes(np.zeros((64, 64), np.uint16))
    calls: dict[str, Callable[[], object]] = {
        "film, decoded here": lambda: decode_scan(data),
        "film, guarded": lambda: read_scan(data),
        "64 x 64, decoded here": lambda: decode_scan(small),
        "64 x 64, guarded": lambda: read_scan(small),
    }
    samples: dict[str, dict[int, float]] = {name: {} for name in calls}
    for call in calls.values():
        call()
    for number in range(rounds):
        for name in order(list(calls), number):
            begin = time.perf_counter()
            calls[name]()
            samples[name][number] = 1000 * (time.perf_counter() - begin)
    return compare(samples)


def volume_archive() -> bytes:
    """A CT of 300 slices in a zip."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    body = np.where((y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < 200**2, 1040, 24)
    noisy = (body + rng.normal(0, 15, (SIDE, SIDE))).astype(np.int16)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(SLICES):
            data = dicom_bytes(
                np.roll(noisy, number, 1), SOPClassUID=CTImageStorage, Modality="CT", SeriesInstanceUID="1.2.3",
                StudyInstanceUID="1.2", SOPInstanceUID=f"1.2.3.{number + 1}", InstanceNumber=number + 1,
                ImagePositionPatient=[0, 0, number * 1.5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[0.7, 0.7], RescaleSlope=1, RescaleIntercept=-1024, PatientID="1",
            )  # fmt: skip
            archive.writestr(f"CT/{number:04}.dcm", data)
    return out.getvalue()


def volume_row(archive: bytes) -> tuple[str, ...]:
    """Seconds and memory of one reading of the CT."""
    gc.collect()
    before, begin = resident_mib(), time.perf_counter()
    study = read_study([("ct.zip", archive)])
    seconds, held = time.perf_counter() - begin, resident_mib() - before
    (scan,) = study.scans
    volume = scan.stored.nbytes / (1 << 20)
    total = int(scan.stored.sum(dtype=np.int64))
    touched = resident_mib() - before
    shape = " x ".join(map(str, scan.stored.shape))
    del study, scan
    gc.collect()
    left = resident_mib() - before
    if total == 0:
        raise RuntimeError("The CT is empty.")
    return shape, f"{seconds:.2f}", f"{volume:.0f}", *(f"{grown / volume:.2f}" for grown in (held, touched, left))


VOLUME_HEADS = ("CT in a zip", "wall s", "volume MiB", "memory / volume", "once looked through", "let go")


def main() -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    use_one_thread()
    print(f"{machine()}; {rounds} interleaved rounds", flush=True)
    pixels = film()
    data = dicom_bytes(pixels, BitsStored=BITS, HighBit=BITS - 1, **WINDOW)
    films = measure(film_candidates(data), rounds)
    print("\n" + table(HEADS, [timing.cells() for timing in films]), flush=True)
    codecs = measure(codec_candidates(pixels), max(3, rounds // 2))
    print("\n" + table(HEADS, [timing.cells() for timing in codecs]), flush=True)
    mean, largest = preview_difference(pixels)
    print(f"\nPreview against the averaged picture: {mean:.4f} of the window in the mean, {largest:.4f} at most.")
    guarded = guard_timings(data, rounds)
    print("\n" + table(("wall time", "rounds", "ms", *HEADS[3:]), [timing.cells() for timing in guarded]), flush=True)
    archive = volume_archive()
    print("\n" + table(VOLUME_HEADS, [volume_row(archive) for _ in range(3)]), flush=True)
    by_name = {timing.name: timing for timing in (*films, *codecs)}
    film_cost = by_name["film: bytes -> model input"].ratio
    gain = 1 / by_name["JPEG-LS, ours"].ratio
    share = by_name["JPEG 2000, our preview"].median / by_name["JPEG 2000, ours"].median
    targets = (
        (f"film {film_cost:.2f} F, at most {FILM_TARGET}", film_cost <= FILM_TARGET),
        (f"JPEG-LS {gain:.1f} times faster, at least {JPEG_LS_TARGET:.0f}", gain >= JPEG_LS_TARGET),
        (f"preview {share:.3f} of the whole, at most {PREVIEW_TARGET}", share <= PREVIEW_TARGET),
    )
    print("\n" + "\n".join(f"{'met' if met else 'MISSED'}: {words}" for words, met in targets))
    return 0 if all(met for _, met in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
