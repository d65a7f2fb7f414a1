"""The viewer's script in a real Chromium against what the Python side says of the same pixels."""

import base64
import json
import math
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.overlay import blend
from core.preprocessing import Letterbox
from core.scan import Geometry, LookupTable, ModalityLut, Scan, Window
from core.windowing import display_grey
from tests.browser import launched
from tests.viewer_page import FOLDER, ViewerSite, maps_message, pack, pixels_message, serving, texts

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FULL = Window(128, 256, "LINEAR", "full")
FILM = Geometry(spacing_mm=(0.5, 0.5), orientation=("L", "F"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@pytest.fixture
def site() -> Iterator[ViewerSite]:
    with serving() as found:
        yield found


@pytest.fixture
def page(browser: Browser, site: ViewerSite) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 900, "height": 1000})
    found.set_default_timeout(10_000)
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    found.goto(site.address)
    found.wait_for_function("globalThis.loaded")
    yield found
    found.close()
    assert errors == []


def scan_of(stored: npt.NDArray[Any], window: Window = FULL, **facts: Any) -> Scan:
    frames = stored if stored.ndim > 2 else stored[None]
    return Scan(frames, digest="a1", source_format="DICOM", windows=(window,), **facts)


def mount(page: Page, site: ViewerSite, message: bytes, *later: bytes) -> None:
    site.answers["/pixels"] = message
    page.evaluate("mountViewer('/pixels')")
    for number, other in enumerate(later):
        site.answers[f"/later{number}"] = other
        page.evaluate(f"sendMessage('/later{number}')")
    settle(page)


def settle(page: Page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def act(page: Page, *names: str) -> None:
    for name in names:
        page.evaluate("(name) => radlens.viewer.act(name)", name)
    settle(page)


def pixels_at(page: Page, points: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """[r, g, b] of the composite at (row, column)s of the picture."""
    found = page.evaluate("(points) => points.map(([row, column]) => radlens.viewer.pixel(column, row))", points)
    return np.asarray(found)


def canvas(page: Page, selector: str = ".single .pixels") -> npt.NDArray[np.uint8]:
    """What a canvas holds, (rows, columns, 4)."""
    address = page.evaluate("(selector) => one(selector).toDataURL()", selector)
    return np.asarray(Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA"))


def to_canvas(page: Page, point: tuple[float, float]) -> tuple[int, int]:
    """A point (u, v) of the picture -> (x, y) on the canvas, at one screen pixel for each CSS pixel."""
    x, y = page.evaluate("(point) => radlens.viewer.toPage(point)", point)
    box = page.locator(".single .drawing").bounding_box()
    assert box is not None
    return math.floor(x - box["x"]), math.floor(y - box["y"])


def attribute(page: Page, name: str) -> str:
    return str(page.locator(".radlens-viewer").get_attribute(f"data-{name}"))


def numbers(rows: int, columns: int, low: int, high: int, kind: str) -> npt.NDArray[Any]:
    return np.random.default_rng(7).integers(low, high, (rows, columns), endpoint=True).astype(kind)


PICTURES: dict[str, Scan] = {
    "linear": scan_of(
        numbers(40, 30, -200, 1500, "i2"), Window(40, 400, "LINEAR"), modality_lut=ModalityLut(1.7, -300.5, "HU")
    ),
    "exact": scan_of(numbers(40, 30, 0, 4095, "u2"), Window(2000.5, 900.25, "LINEAR_EXACT")),
    "sigmoid": scan_of(numbers(40, 30, 0, 4095, "u2"), Window(2000, 700, "SIGMOID")),
    "one wide": scan_of(numbers(40, 30, 0, 255, "u1"), Window(100, 1, "LINEAR")),
    "negative film": scan_of(numbers(40, 30, 0, 4095, "u2"), Window(1800, 3000), photometric="MONOCHROME1"),
    "padding": scan_of(numbers(40, 30, 0, 40, "u2"), Window(20, 50), photometric="MONOCHROME1", padding=(0, 5)),
    "float": scan_of(
        np.linspace(-3, 3, 1200, dtype=np.float32).reshape(40, 30), Window(0.25, 4.5, "LINEAR_EXACT"), padding=(2.5, 9)
    ),
    "wide integers": scan_of(numbers(40, 30, -(2**30), 2**30, "i4"), Window(1e6, 1.5e9)),
    "table": scan_of(
        numbers(40, 30, 0, 40, "u1"),
        Window(300, 700),
        modality_lut=ModalityLut(table=LookupTable(3, np.linspace(900, 0, 25, dtype=np.float32))),
    ),
    "voi table": scan_of(
        numbers(40, 30, -90, 90, "i1"),
        voi_lut=LookupTable(-50, (np.linspace(0, 1, 100) ** 2 * 4095).astype(np.float32), bits=12),
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_pixel_at_one_to_one_has_the_grey_of_core_windowing(page: Page, site: ViewerSite, name: str) -> None:
    scan = PICTURES[name]
    mount(page, site, pixels_message(scan))
    act(page, "native")
    left, top = to_canvas(page, (0, 0))
    window = None if scan.voi_lut is not None else scan.windows[0]
    expected = np.rint(255 * display_grey(scan, 0, window))
    shown = canvas(page)[top : top + 40, left : left + 30, 0].astype(np.float64)
    # The exponential of two libraries may differ in its last bit.
    assert np.abs(shown - expected).max() <= (1 if name == "sigmoid" else 0)
    points = [(0, 0), (39, 29), (17, 5)]
    assert pixels_at(page, points)[:, 0] == pytest.approx([shown[point] for point in points])
    assert attribute(page, "zoom") == "100"


def test_inversion_keeps_padding_black(page: Page, site: ViewerSite) -> None:
    scan = PICTURES["padding"]
    mount(page, site, pixels_message(scan))
    act(page, "invert")
    grey = np.rint(255 * display_grey(scan, 0, scan.windows[0]))
    padded = scan.stored[0] <= 5
    points = [(row, column) for row in range(3) for column in range(10)]
    expected = [0 if padded[point] else 255 - grey[point] for point in points]
    assert {bool(padded[point]) for point in points} == {True, False}
    assert pixels_at(page, points)[:, 0].tolist() == expected


def test_a_picture_at_half_size_shows_means_of_four(page: Page, site: ViewerSite) -> None:
    stored = numbers(1600, 1600, 0, 255, "u1")
    mount(page, site, pixels_message(scan_of(stored)))
    page.evaluate("radlens.viewer.act('native')")
    page.evaluate("radlens.viewer.zoomTo(0.5)")
    settle(page)
    left, top = to_canvas(page, (800, 800))
    means = stored.reshape(800, 2, 800, 2).mean((1, 3))[400:440, 400:440]
    shown = canvas(page)[top : top + 40, left : left + 40, 0]
    assert np.abs(shown - means).max() <= 1


def test_colour_is_shown_as_stored(page: Page, site: ViewerSite) -> None:
    stored = np.random.default_rng(3).integers(0, 256, (1, 20, 30, 3)).astype(np.uint8)
    mount(page, site, pixels_message(scan_of(stored, photometric="RGB"), windows=[]))
    points = [(0, 0), (19, 29), (7, 12)]
    assert pixels_at(page, points).tolist() == [stored[0, row, column].tolist() for row, column in points]
    act(page, "native")
    page.mouse.move(*page.evaluate("radlens.viewer.toPage([12.5, 7.5])"))
    settle(page)
    red, green, blue = stored[0, 7, 12]
    expect(page.locator(".probe")).to_have_text(f"12, 7\nRGB {red}, {green}, {blue}")


# Turns -> where the picture's upper left corner goes and the marks (left, right, top, bottom). The film's rows run to
# the patient's left, its columns to the feet.
TURNED = {
    (): ("top left", "RLHF"),
    ("rotateRight",): ("top right", "FHRL"),
    ("rotateLeft",): ("bottom left", "HFLR"),
    ("rotateRight", "rotateRight"): ("bottom right", "LRFH"),
    ("flipHorizontal",): ("top right", "LRHF"),
    ("flipVertical",): ("bottom left", "RLFH"),
    ("rotateRight", "flipHorizontal"): ("top left", "HFRL"),
    ("flipHorizontal", "rotateRight"): ("bottom right", "FHLR"),
}


@pytest.mark.parametrize("turns", TURNED, ids=lambda turns: "+".join(turns) or "as stored")
def test_picture_heat_and_marks_turn_together(page: Page, site: ViewerSite, turns: tuple[str, ...]) -> None:
    stored = np.full((60, 90), 40, np.uint8)
    stored[:12, :12] = 200
    evidence = np.zeros((14, 14), np.float32)
    evidence[3, 1] = 1
    message = maps_message("a1", evidence, Letterbox.fit(60, 90, 224))
    mount(page, site, pixels_message(scan_of(stored, geometry=FILM)), message)
    act(page, *turns)
    corner, marks = TURNED[turns]
    for side, letter in zip(("left", "right", "top", "bottom"), marks, strict=True):
        expect(page.locator(f".single > .mark-{side}")).to_have_text(letter)
    shown = canvas(page)[..., :3].astype(np.int64)
    rows, columns = np.nonzero(shown.sum(-1) > 60)
    box = shown[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = box.shape[:2]
    quarters = {
        "top left": box[: height // 3, : width // 3],
        "top right": box[: height // 3, -width // 3 :],
        "bottom left": box[-height // 3 :, : width // 3],
        "bottom right": box[-height // 3 :, -width // 3 :],
    }
    for name, quarter in quarters.items():
        coloured = np.abs(quarter[..., 0] - quarter[..., 2]).max() > 30
        assert (quarter.max() >= 190, coloured) == ((True, True) if name == corner else (False, False)), name


@pytest.mark.parametrize("mode", ["for", "signed"])
@pytest.mark.parametrize(("rows", "columns"), [(90, 90), (61, 150), (150, 47)])
def test_heat_lies_and_looks_as_core_blends_it(
    page: Page, site: ViewerSite, rows: int, columns: int, mode: str
) -> None:
    scan = scan_of(numbers(rows, columns, 0, 255, "u1"))
    evidence = np.random.default_rng(5).normal(0, 0.5, (7, 7)).astype(np.float32)
    box = Letterbox.fit(rows, columns, 224)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, box, limit=0.8))
    page.evaluate("(signed) => radlens.viewer.setSigned(signed)", mode == "signed")
    act(page, "native")
    expected = blend(
        display_grey(scan, 0, FULL),
        box.to_scan_grid(evidence),
        limit=0.8,
        opacity=0.6,
        mode="signed" if mode == "signed" else "for",
    )
    left, top = to_canvas(page, (0, 0))
    shown = canvas(page)[top : top + rows, left : left + columns, :3]
    assert np.abs(shown.astype(int) - expected).max() <= 2


def test_the_threshold_hides_weak_evidence(page: Page, site: ViewerSite) -> None:
    evidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    scan = scan_of(np.full((80, 80), 100, np.uint8))
    box = Letterbox.fit(80, 80, 224)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, box))
    page.evaluate("radlens.viewer.setThreshold(0.5)")
    strength = box.to_scan_grid(evidence)[40]
    shown = pixels_at(page, [(40, column) for column in range(80)])
    coloured = np.abs(shown[:, 0] - shown[:, 2]) > 0
    assert coloured[strength > 0.51].all()
    assert not coloured[strength < 0.49].any()


def test_contours_run_where_the_evidence_passes_their_value(page: Page, site: ViewerSite) -> None:
    evidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    box = Letterbox.fit(80, 80, 224)
    mount(page, site, pixels_message(scan_of(np.full((80, 80), 100, np.uint8))), maps_message("a1", evidence, box))
    act(page, "contour")
    strength = box.to_scan_grid(evidence)[40]
    drawn = canvas(page, ".single .drawing")[..., 3]
    for value in (0.25, 0.5, 0.75):
        column = float(np.interp(value, strength, np.arange(80))) + 0.5
        x, y = to_canvas(page, (column, 40.5))
        line = drawn[y, x - 12 : x + 13] > 128
        assert line[10:15].any(), value
        assert not line[[0, 1, 2, -3, -2, -1]].any(), value


def test_swipe_shows_heat_right_of_the_divider_only(page: Page, site: ViewerSite) -> None:
    evidence = np.ones((7, 7), np.float32)
    scan = scan_of(np.full((80, 80), 100, np.uint8))
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, Letterbox.fit(80, 80, 224)))
    act(page, "swipe")
    divider = page.get_by_role("slider", name=texts()["viewer.divider"])
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    settle(page)
    assert divider.get_attribute("aria-valuenow") == "40"
    shown = canvas(page)[400, :, :3].astype(int)
    coloured = np.abs(shown[:, 0] - shown[:, 2]) > 20
    edge = round(0.4 * len(coloured))
    inside = shown.sum(-1) > 0
    assert not coloured[:edge].any()
    assert coloured[edge:][inside[edge:]].all()


def test_lengths_are_in_mm_by_pythagoras_and_follow_the_picture(page: Page, site: ViewerSite) -> None:
    geometry = Geometry(spacing_mm=(0.8, 0.5), orientation=("L", "F"))
    mount(page, site, pixels_message(scan_of(np.zeros((100, 120), np.uint8), geometry=geometry)))
    page.locator("[data-tool=length]").click()
    drag(page, (10, 20), (70, 60))
    # 60 columns of 0.5 mm and 40 rows of 0.8 mm.
    assert length(page) == pytest.approx(math.hypot(60 * 0.5, 40 * 0.8), abs=0.3)
    act(page, "rotateRight", "flipVertical", "zoomIn")
    drag(page, (30, 30), (30, 50))
    assert length(page) == pytest.approx(20 * 0.8, abs=0.3)
    assert len(page.evaluate("radlens.viewer.lengths()")) == 2
    page.keyboard.press("Delete")
    assert len(page.evaluate("radlens.viewer.lengths()")) == 1


def test_a_length_without_spacing_is_in_pixels_and_says_so(page: Page, site: ViewerSite) -> None:
    mount(page, site, pixels_message(scan_of(np.zeros((100, 120), np.uint8))))
    page.locator("[data-tool=length]").click()
    drag(page, (20, 20), (50, 60))
    assert page.evaluate("radlens.viewer.lengths()[0]").endswith("px (no spacing in the file)")
    assert length(page) == pytest.approx(50, abs=0.5)
    expect(page.locator(".note")).to_contain_text("orientation unknown")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*page.evaluate("(point) => radlens.viewer.toPage(point)", start))
    page.mouse.down()
    page.mouse.move(*page.evaluate("(point) => radlens.viewer.toPage(point)", end), steps=3)
    page.mouse.up()
    settle(page)


def length(page: Page) -> float:
    return float(page.evaluate("radlens.viewer.lengths().at(-1)").split()[0])


def test_dragging_changes_the_window_and_wheel_and_presets_work(page: Page, site: ViewerSite) -> None:
    scan = scan_of(numbers(100, 100, 0, 4095, "u2"), Window(2000, 1000, "LINEAR", "own"), geometry=FILM)
    mount(page, site, pixels_message(scan))
    drag(page, (20, 50), (80, 50))
    centre, width = map(float, attribute(page, "window").split("/"))
    assert width > 1500
    assert centre == pytest.approx(2000, abs=60)
    expect(page.locator(".preset")).to_have_value("own")
    page.locator(".preset").select_option("0")
    settle(page)
    assert attribute(page, "window") == "2000/1000"
    before = int(attribute(page, "zoom"))
    page.mouse.wheel(0, -200)
    settle(page)
    assert int(attribute(page, "zoom")) > before
    was = to_canvas(page, (50, 50))
    page.mouse.down(button="middle")
    x, y = page.evaluate("radlens.viewer.toPage([80, 50])")
    page.mouse.move(x + 30, y - 20)
    page.mouse.up(button="middle")
    settle(page)
    moved = np.subtract(to_canvas(page, (50, 50)), was)
    assert np.abs(moved - [30, -20]).max() <= 1


def test_the_keyboard_reaches_everything(page: Page, site: ViewerSite) -> None:
    geometry = Geometry(spacing_mm=(1.0, 2.0), orientation=("L", "F"))
    scan = scan_of(numbers(100, 100, 0, 4095, "u2"), Window(2000, 1000), geometry=geometry)
    mount(
        page, site, pixels_message(scan), maps_message("a1", np.ones((7, 7), np.float32), Letterbox.fit(100, 100, 224))
    )
    page.locator(".single .drawing").focus()
    state = "radlens.viewer.state()"
    for key in ("k", "i", "r", "+", "n", "m", "c", "]"):
        page.keyboard.press(key)
    settle(page)
    found = page.evaluate(state)
    assert found["view"]["invert"] is True
    assert found["view"]["turn"] == [0, -1, 1, 0]
    assert found["view"]["window"]["width"] < 1000
    assert found["zoom"] == 1
    assert found["look"] | {"heat": False, "contour": True} == found["look"]
    assert found["look"]["opacity"] == pytest.approx(0.7)
    page.keyboard.press("0")
    for key in ("l", "Enter", *["Shift+ArrowRight"] * 3, "Enter"):
        page.keyboard.press(key)
    settle(page)
    # 30 steps of one screen-sized pixel: columns are twice as wide as rows are high.
    zoom = float(page.evaluate(state)["zoom"])
    assert length(page) == pytest.approx(30 * max(zoom, 1) / zoom, rel=0.02)
    page.keyboard.press("?")
    expect(page.locator(".popover.help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".popover.help")).to_be_hidden()


def test_every_control_has_a_name_and_every_text_exists(page: Page, site: ViewerSite) -> None:
    mount(page, site, pixels_message(scan_of(np.zeros((20, 20), np.uint8))))
    names: list[str] = page.evaluate(
        """[...one('.radlens-viewer').querySelectorAll('button, select, input[type=range]')]
        .map((control) => control.getAttribute('aria-label'))"""
    )
    assert len(names) > 20
    assert all(names)
    assert not [name for name in names if name.startswith("viewer.")]
    source = "".join(
        path.read_text("utf-8") for path in [FOLDER / "viewer.html", *sorted((FOLDER / "js").glob("*.js"))]
    )
    used = set(re.findall(r"\"(viewer\.\w+)\"", source))
    assert used <= set(texts())


def stack(frames: int = 30) -> Scan:
    """Slices of one value each, with a mark of 200 at slice 22, rows 40 to 47, columns 8 to 15."""
    stored = np.repeat(np.arange(frames, dtype=np.int16)[:, None, None], 64, 1).repeat(48, 2)
    stored[22, 40:48, 8:16] = 200
    geometry = Geometry((1.0, 1.0), ("L", "P"), 2.0, "H")
    return scan_of(stored, geometry=geometry, modality_lut=ModalityLut(1, 0, "HU"))


def test_a_stack_shows_previews_then_full_frames_and_reports_where_the_reader_rests(
    page: Page, site: ViewerSite
) -> None:
    scan = stack()
    mount(page, site, pixels_message(scan, frame=3, source="/frames"))
    act(page, "native")
    page.locator(".single .drawing").focus()
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    settle(page)
    assert (attribute(page, "frame"), attribute(page, "preview")) == ("7", "true")
    expect(page.locator(".note")).to_contain_text("preview")
    assert pixels_at(page, [(10, 10)])[0, 0] == round(255 * display_grey(scan, 7, FULL)[10, 10])
    page.evaluate("radlens.viewer.goTo(22)")
    site.frames = scan.stored
    expect(page.locator('.radlens-viewer[data-preview="false"]')).to_be_attached()
    settle(page)
    expected = np.rint(255 * display_grey(scan, 22, FULL))
    points = [(39, 8), (40, 8), (47, 15), (47, 16)]
    assert pixels_at(page, points)[:, 0].tolist() == [expected[point] for point in points]
    expect(page.locator(".position")).to_have_text("slice 23 of 30")
    page.wait_for_function("reports.length > 0")
    assert page.evaluate("reports") == [["frame", 22]]


def test_frames_come_nearest_first_in_few_requests(page: Page, site: ViewerSite) -> None:
    stored = np.zeros((12, 1000, 1000), np.uint16)
    scan = scan_of(stored, geometry=Geometry((1.0, 1.0), ("L", "P"), 2.0, "H"))
    site.frames = stored
    mount(page, site, pixels_message(scan, frame=6, shrink=20, source="/frames"))
    expect(page.locator('.radlens-viewer[data-preview="false"]')).to_be_attached()
    page.wait_for_timeout(400)
    assert sorted(site.asked) == [(first, 2) for first in range(0, 12, 2)]
    assert sorted(site.asked[:3]) in ([(4, 2), (6, 2), (8, 2)], [(2, 2), (4, 2), (6, 2)])


def test_planes_show_a_marked_voxel_where_it_is(page: Page, site: ViewerSite) -> None:
    scan = stack()
    site.frames = scan.stored
    mount(page, site, pixels_message(scan, frame=22, source="/frames"))
    page.wait_for_timeout(200)
    act(page, "planes")
    names = page.locator(".pane .plane-name").all_text_contents()
    assert names == ["axial", "coronal", "sagittal"]
    # Middle of the mark in mm from the stack's first corner: columns 12, rows 44, slices 2 * 22.5 = 45.
    across, down, up = 12 / 48, 44 / 64, 1 - 45 / 60
    click_in_pane(page, 0, 12.5 / 48, 44.5 / 64, 48 / 64)
    assert page.evaluate("radlens.viewer.state().crosshair") == [12, 44, 22]
    for pane, (x, y), shape in ((0, (across, down), 48 / 64), (1, (across, up), 48 / 60), (2, (down, up), 64 / 60)):
        assert bright_spot(page, pane, shape) == pytest.approx((x, y), abs=0.03), names[pane]
    marks = [
        [page.locator(f".pane >> nth={n} >> .mark-{side}").text_content() for side in ("left", "top")] for n in range(3)
    ]
    assert marks == [["R", "A"], ["R", "H"], ["A", "H"]]
    click_in_pane(page, 1, 24.5 / 48, 1 - 10.5 / 30, 48 / 60)
    assert page.evaluate("radlens.viewer.state().crosshair") == [24, 44, 10]
    assert attribute(page, "frame") == "10"


def content_of(page: Page, pane: int, shape: float) -> tuple[float, float, float, float]:
    """Left, top, width and height of a plane of width / height ``shape``, fitted into the middle of its pane."""
    box = page.locator(".pane").nth(pane).bounding_box()
    assert box is not None
    width = min(box["width"], box["height"] * shape)
    return (
        box["x"] + (box["width"] - width) / 2,
        box["y"] + (box["height"] - width / shape) / 2,
        width,
        width / shape,
    )


def click_in_pane(page: Page, pane: int, x: float, y: float, shape: float) -> None:
    left, top, width, height = content_of(page, pane, shape)
    page.mouse.click(left + x * width, top + y * height)
    settle(page)


def bright_spot(page: Page, pane: int, shape: float) -> tuple[float, float]:
    box = page.locator(".pane").nth(pane).bounding_box()
    assert box is not None
    left, top, width, height = content_of(page, pane, shape)
    shown = canvas(page, f".pane:nth-child({pane + 1}) .pixels")[..., 0]
    rows, columns = np.nonzero(shown > 150)
    return (
        (float(columns.mean()) + 0.5 - (left - box["x"])) / width,
        (float(rows.mean()) + 0.5 - (top - box["y"])) / height,
    )


def test_a_strip_shows_the_scores_and_leads_to_a_slice(page: Page, site: ViewerSite) -> None:
    scores = np.full(30, np.nan, np.float32)
    scores[:20] = np.linspace(0.1, 0.4, 20)
    scores[11] = 0.92
    header = {"kind": "strip", "id": "a1", "done": 20, "total": 30, "labels": [{"code": "mass", "words": "Mass"}]}
    mount(page, site, pixels_message(stack(), frame=3), pack(header, {"scores": scores}))
    expect(page.locator(".strip p")).to_have_text(
        texts()["viewer.strip"].format(label="Mass", score="0.92", n=12, done=20, total=30)
    )
    box = page.locator(".strip svg").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 11.5 / 30, box["y"] + 20)
    settle(page)
    assert attribute(page, "frame") == "11"


def test_maps_of_another_slice_are_not_shown(page: Page, site: ViewerSite) -> None:
    message = maps_message("a1", np.ones((7, 7), np.float32), Letterbox.fit(64, 48, 224), frame=3)
    mount(page, site, pixels_message(stack(), frame=3), message)
    expect(page.locator(".legend")).to_be_visible()
    page.evaluate("radlens.viewer.goTo(4)")
    settle(page)
    expect(page.locator(".legend")).to_be_hidden()
    expect(page.locator(".note")).to_contain_text(texts()["viewer.no_heat_here"])
    red, _, blue = pixels_at(page, [(10, 10)])[0]
    assert red == blue


@pytest.mark.parametrize(
    ("orientation", "place"),
    [(("L", "F"), "in the patient’s right lower zone"), (None, "in the lower left of the picture")],
)
def test_the_heatmap_is_said_in_words(
    page: Page, site: ViewerSite, orientation: tuple[str, str] | None, place: str
) -> None:
    evidence = np.zeros((9, 9), np.float32)
    evidence[7, 1], evidence[1, 7] = 0.9, 0.3
    scan = scan_of(np.zeros((90, 90), np.uint8), geometry=Geometry(orientation=orientation))
    mount(
        page,
        site,
        pixels_message(scan),
        maps_message("a1", evidence, Letterbox.fit(90, 90, 90), bias=-1.5, whole=0.25),
    )
    caption = page.locator(".caption")
    expect(caption).to_contain_text(f"Heatmap for Mass: strongest {place} (75 % of the positive evidence).")
    expect(caption).to_contain_text("the bias (−1.5) sum to the whole answer: 0.25 log-odds")
    act(page, "flipHorizontal")
    if orientation is None:
        expect(caption).to_contain_text("in the lower right of the picture")
    else:
        expect(caption).to_contain_text(place)


def test_the_probe_reads_place_value_and_evidence(page: Page, site: ViewerSite) -> None:
    lut = ModalityLut(2.0, -1000.0, "HU")
    scan = scan_of(numbers(60, 80, 0, 2000, "u2"), Window(0, 2000), modality_lut=lut, geometry=FILM)
    evidence = np.random.default_rng(2).normal(0, 1, (7, 7)).astype(np.float32)
    box = Letterbox.fit(60, 80, 224)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, box))
    act(page, "rotateLeft")
    page.mouse.move(*page.evaluate("radlens.viewer.toPage([33.5, 41.5])"))
    settle(page)
    place, value, heat = page.locator(".probe").inner_text().split("\n")
    assert place == "33, 41"
    assert value.replace("−", "-") == f"{2 * int(scan.stored[0, 41, 33]) - 1000} HU"
    found = float(heat.split()[1].replace("−", "-"))
    assert found == pytest.approx(float(box.to_scan_grid(evidence)[41, 33]), rel=0.06)
    assert heat.endswith("log-odds")


def test_cine_runs_and_reports_only_where_it_stops(page: Page, site: ViewerSite) -> None:
    scan = stack()
    site.frames = scan.stored
    mount(page, site, pixels_message(scan, frame=3, source="/frames"))
    page.locator(".speed").select_option("30")
    page.get_by_role("button", name=texts()["viewer.play"]).click()
    page.wait_for_function("radlens.viewer.state().view.frame > 12")
    assert page.evaluate("reports") == []
    page.get_by_role("button", name=texts()["viewer.play"]).click()
    page.wait_for_function("reports.length > 0")
    assert page.evaluate("reports") == [["frame", int(attribute(page, "frame"))]]


def test_an_outcome_takes_the_place_of_the_heat(page: Page, site: ViewerSite) -> None:
    box = Letterbox.fit(20, 20, 224)
    message = maps_message("a1", np.ones((7, 7), np.float32), box, outcome="Nothing speaks for it.")
    mount(page, site, pixels_message(scan_of(np.zeros((20, 20), np.uint8))), message)
    expect(page.locator(".caption")).to_have_text("Nothing speaks for it.")
    expect(page.locator(".legend")).to_be_hidden()


def test_a_rerun_changes_nothing_and_another_case_comes_back_as_it_was_left(page: Page, site: ViewerSite) -> None:
    scan = scan_of(numbers(50, 50, 0, 255, "u1"))
    first, second = pixels_message(scan), pixels_message(scan, id="b2")
    mount(page, site, first)
    act(page, "invert", "rotateRight")
    draws = len(page.evaluate("radlens.viewer.drawTimes()"))
    mount(page, site, first)
    assert len(page.evaluate("radlens.viewer.drawTimes()")) == draws
    mount(page, site, second)
    assert (attribute(page, "id"), page.evaluate("radlens.viewer.state().view.invert")) == ("b2", False)
    mount(page, site, first)
    assert page.evaluate("radlens.viewer.state().view.invert") is True
    mount(page, site, pixels_message(scan, version="2"))
    assert page.evaluate("radlens.viewer.state().view.turn") == [0, -1, 1, 0]
    page.locator(".single .drawing").focus()
    page.keyboard.press("i")
    settle(page)
    assert page.evaluate("radlens.viewer.state().view.invert") is False, "one listener, not four"


def test_hold_takes_the_heat_away(page: Page, site: ViewerSite) -> None:
    message = maps_message("a1", np.ones((7, 7), np.float32), Letterbox.fit(20, 20, 224))
    mount(page, site, pixels_message(scan_of(np.zeros((20, 20), np.uint8))), message)
    expect(page.locator(".heat-bar")).to_be_visible()
    site.answers["/hold"] = pack({"kind": "hold", "id": "a1"}, {})
    page.evaluate("sendMessage('/hold')")
    settle(page)
    expect(page.locator(".heat-bar")).to_be_hidden()
    assert pixels_at(page, [(5, 5)]).tolist() == [[0, 0, 0]]


def test_a_failing_script_shows_the_still_picture(page: Page, site: ViewerSite) -> None:
    stream = BytesIO()
    Image.new("L", (12, 8), 90).save(stream, "PNG")
    still = np.frombuffer(stream.getvalue(), np.uint8)
    scan = scan_of(np.zeros((20, 20), np.uint8))
    mount(page, site, pixels_message(scan, type="x9", sections={"still": still}))
    picture = page.get_by_alt_text(texts()["viewer.still_alt"])
    expect(picture).to_be_visible()
    page.wait_for_function("one('.still img').naturalWidth === 12")
    expect(page.locator(".still figcaption")).to_have_text(texts()["viewer.still"])
    mount(page, site, pixels_message(scan, id="b2"))
    expect(picture).to_be_hidden()
    assert attribute(page, "ready") == "true"


def test_the_download_has_the_pictures_size_and_a_footer(page: Page, site: ViewerSite) -> None:
    scan = scan_of(np.full((700, 600), 77, np.uint8), geometry=FILM)
    evidence = np.zeros((7, 7), np.float32)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, Letterbox.fit(700, 600, 224)))
    address = page.evaluate("radlens.viewer.exported()")
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"))
    assert picture.shape[1] == 600
    assert 700 < picture.shape[0] < 800
    assert picture[350, 300].tolist() == [77, 77, 77]
    assert picture[-30:].max() > 200, "the footer's letters"


def test_a_large_picture_is_redrawn_quickly(page: Page, site: ViewerSite) -> None:
    scan = scan_of(numbers(2048, 2048, 0, 4095, "u2"), Window(2000, 3000), geometry=FILM)
    evidence = np.random.default_rng(1).normal(0, 1, (14, 14)).astype(np.float32)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, Letterbox.fit(2048, 2048, 224)))
    steps = {
        "window": "(i) => radlens.viewer.setWindow(2000 + i, 3000)",
        "opacity": "(i) => radlens.viewer.setOpacity(0.3 + i / 100)",
    }
    medians = {name: median_of(page, step) for name, step in steps.items()}
    print(json.dumps(medians))  # noqa: T201 - shown with -s
    assert max(medians.values()) < 60


def median_of(page: Page, step: str) -> float:
    script = """async (step) => {
      const act = eval(step);
      for (let i = 0; i < 15; i++) {
        act(i);
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      }
      return radlens.viewer.drawTimes().slice(-15);
    }"""
    return float(np.median(page.evaluate(script, step)))
