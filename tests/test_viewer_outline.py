"""The outline in the viewer, in a real Chromium, against the mask that the Python side says."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Page, expect

from core.masks import Mask
from core.preprocessing import Letterbox
from tests.test_viewer_script import act, browser, canvas, mount, page, scan_of, settle, site, to_canvas
from tests.viewer_page import ViewerSite, maps_message, pixels_message, texts

__all__ = ["browser", "page", "site"]
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROWS, COLUMNS, SIZE = 60, 100, 64
BOX = Letterbox.fit(ROWS, COLUMNS, SIZE)
THRESHOLD = 0.4
LINE = (0x35, 0xE0, 0xD2)


def probability() -> npt.NDArray[np.float32]:
    """A soft ellipse that runs over the picture's left border, black on the letterbox's bars."""
    y, x = np.mgrid[:SIZE, :SIZE]
    soft = 1 / (1 + np.exp((((y - 34) / 9) ** 2 + ((x - 8) / 15) ** 2 - 1) * 4))
    soft[: BOX.top] = soft[BOX.top + BOX.height :] = 0
    return soft.astype(np.float32)


def inside() -> npt.NDArray[np.bool_]:
    return Mask("mass", probability(), THRESHOLD, 1.0, 0.0, BOX, 0.2, None).on_scan_grid()


def outline(size: str | None = "20.0 % of the picture, 143 mm²") -> dict[str, Any]:
    return {"threshold": THRESHOLD, "size": size}


def opened(page: Page, site: ViewerSite, **label: Any) -> None:
    evidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    scan = scan_of(np.full((ROWS, COLUMNS), 100, np.uint8))
    stated = {"outline": outline(), **label}
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, BOX, probability=probability(), **stated))


def drawn_at(page: Page, points: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """RGBA of the drawing layer at the centres of the picture's pixels (row, column)."""
    layer = canvas(page, ".single .drawing")
    places = [to_canvas(page, (column + 0.5, row + 0.5)) for row, column in points]
    return np.array([layer[min(y, len(layer) - 1), x] for x, y in places], np.int64)


def test_the_tint_covers_the_mask_and_nothing_else(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    mask = inside()
    assert 0.05 < mask.mean() < 0.5
    # Two pixels from the edge the line does not reach.
    grown, shrunk = mask.copy(), mask.copy()
    for axis in (0, 1):
        for step in (-3, 3):
            grown |= np.roll(mask, step, axis)
            shrunk &= np.roll(mask, step, axis) | (np.arange(COLUMNS) < 4 if axis else np.zeros(COLUMNS, bool))
    random = np.random.default_rng(0)
    covered = np.argwhere(shrunk)[random.permutation(int(shrunk.sum()))[:60]]
    free = np.argwhere(~grown[3:-3, 3:-3])[random.permutation(int((~grown[3:-3, 3:-3]).sum()))[:60]] + 3
    covered = covered[covered[:, 1] > 3]
    assert (drawn_at(page, covered)[:, 3] > 40).all()
    assert (drawn_at(page, free)[:, 3] == 0).all()


def test_the_line_runs_along_the_masks_edge_and_closes_at_the_pictures_border(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    mask, layer = inside(), canvas(page, ".single .drawing")
    line = (np.abs(layer[..., :3].astype(int) - LINE).max(-1) < 12) & (layer[..., 3] > 200)
    row = 34 * ROWS // BOX.height - BOX.top * ROWS // BOX.height
    column = int(np.flatnonzero(mask[row])[-1])
    x, y = to_canvas(page, (column + 1, row + 0.5))
    scale = to_canvas(page, (1.0, 0.0))[0] - to_canvas(page, (0.0, 0.0))[0]
    found = np.flatnonzero(line[y, x - 3 * scale : x + 3 * scale]) + x - 3 * scale
    assert len(found)
    assert abs(float(found.mean()) - x) <= scale
    left = to_canvas(page, (0.0, 0.0))[0]
    assert line[y, left : left + 3].any()


def test_the_outline_comes_before_the_heatmap_which_takes_the_colours_when_asked(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    plain = canvas(page)
    assert (plain[..., 0] == plain[..., 1]).all()
    expect(page.locator(".legend")).to_be_hidden()
    expect(page.locator(".outline-legend")).to_contain_text("20.0 % of the picture, 143 mm²")
    expect(page.locator(".outline-legend")).to_contain_text("at least 0.4")
    act(page, "heat")
    coloured = canvas(page)
    assert (coloured[..., 0] != coloured[..., 1]).any()
    expect(page.locator(".legend")).to_be_visible()
    centre = np.array([[30, 8]])
    assert drawn_at(page, centre)[0, 3] == 0
    act(page, "heat")
    assert drawn_at(page, centre)[0, 3] > 40


def test_the_outline_can_be_switched_off_and_the_key_does_the_same(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    button = page.get_by_role("button", name=texts()["viewer.outline"])
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    settle(page)
    assert drawn_at(page, np.array([[30, 8]]))[0, 3] == 0
    expect(button).to_have_attribute("aria-pressed", "false")
    page.locator(".single .drawing").focus()
    page.keyboard.press("o")
    settle(page)
    assert drawn_at(page, np.array([[30, 8]]))[0, 3] > 40


def test_nothing_outlined_is_said_in_words_and_nothing_is_drawn(page: Page, site: ViewerSite) -> None:
    opened(page, site, outline=outline(None), outcome="Nothing is outlined.")
    assert not canvas(page, ".single .drawing")[..., 3].any()
    expect(page.locator(".note")).to_contain_text(texts()["viewer.outline_nothing"])
    expect(page.locator(".outline-legend")).to_contain_text("does not mean that nothing is there")
    expect(page.locator(".outline-legend > .swatch")).to_be_hidden()
    assert "nothing is outlined" in str(page.locator(".single .drawing").get_attribute("aria-label"))


def test_the_pointer_tells_the_probability(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    for column, row in ((8, 30), (70, 10)):
        page.mouse.move(*page.evaluate("(p) => radlens.viewer.toPage(p)", [column + 0.5, row + 0.5]))
        settle(page)
        expected = float(BOX.to_scan_grid(probability())[row, column])
        expect(page.locator(".probe")).to_contain_text(f"probability {expected:.2f}")


def test_a_model_without_outlines_has_no_button_for_them(page: Page, site: ViewerSite) -> None:
    scan = scan_of(np.full((ROWS, COLUMNS), 100, np.uint8))
    evidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    mount(page, site, pixels_message(scan), maps_message("a1", evidence, BOX))
    expect(page.locator("[data-do=outline]")).to_be_hidden()
    expect(page.locator(".outline-legend")).to_be_hidden()
    assert (canvas(page)[..., 0] != canvas(page)[..., 1]).any()


def test_the_exported_picture_carries_the_outline_and_its_words(page: Page, site: ViewerSite) -> None:
    opened(page, site)
    sizes = []
    for _ in range(2):
        data = page.evaluate("radlens.viewer.exported()")
        sizes.append(
            page.evaluate("async (d) => { const i = new Image(); i.src = d; await i.decode(); return i.height }", data)
        )
        act(page, "outline")
    assert sizes[0] > sizes[1]
