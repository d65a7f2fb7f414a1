"""Two heatmaps and their disagreement in the browser: one picture, three panes, linked crosshairs."""

import dataclasses
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.packing import pack
from dashboard.texts import t, texts

if TYPE_CHECKING:
    from core.explaining.comparing import Comparison, Side
    from core.scan import Scan

_FOLDER = Path(__file__).parent
# What the panes share with the viewer.
_PARTS = ("10_packing", "12_shared", "20_tones", "30_pyramid", "32_placement", "36_heat", "50_screen", "52_drawing")
_PICTURE_SIDE = 640
_SCALE_STEPS = 256
# A square that the picture fills, whatever its shape: where the disagreement lies on the scan.
_WHOLE = {"size": 1000, "height": 1000, "width": 1000, "top": 0, "left": 0}


def show_comparison(
    scan: "Scan", frame: int, sides: "tuple[Side, Side]", titles: tuple[str, str], found: "Comparison", key: str
) -> None:
    """The panes; all that the reader does in them happens in the browser."""
    _panes()(key=key, data=comparison_message(scan, frame, sides, titles, found))


def comparison_message(
    scan: "Scan", frame: int, sides: "tuple[Side, Side]", titles: tuple[str, str], found: "Comparison"
) -> bytes:
    """The frame in its own window with 8 bits, both maps on their own grids, the disagreement, and the colour scales."""
    import numpy as np

    from core.overlay import resize, scale_colours
    from core.windowing import display_grey

    scale = min(1.0, _PICTURE_SIDE / max(scan.shape))
    grey = resize(display_grey(scan, frame), *(max(1, round(side * scale)) for side in scan.shape))
    ramp = np.linspace(0, 1, _SCALE_STEPS, dtype=np.float32)
    facts = [_facts(side, title, signed=found.is_signed) for side, title in zip(sides, titles, strict=True)]
    header = {
        "kind": "compare", "id": scan.digest[:24], "rows": grey.shape[0], "columns": grey.shape[1],
        "spacing": scan.geometry.spacing_mm, "maps": {"first": facts[0], "second": facts[1], "difference": _difference(found)},
        "texts": {"value": texts()["compare.value"]},
    }  # fmt: skip
    first, second = (side.heatmap.evidence.astype("<f4").tobytes() for side in sides)
    return pack(
        header,
        {
            "grey": np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8).tobytes(),
            "first": first,
            "second": second,
            "difference": found.difference.astype("<f4").tobytes(),
            "scale_for": np.rint(scale_colours(ramp, "for") * 255).astype(np.uint8).tobytes(),
            "scale_signed": np.rint(scale_colours(2 * ramp - 1, "signed") * 255).astype(np.uint8).tobytes(),
        },
    )


def _facts(side: "Side", title: str, *, signed: bool) -> dict[str, Any]:
    heatmap = side.heatmap
    rows, columns = heatmap.evidence.shape
    return {
        "rows": rows, "columns": columns, "letterbox": dataclasses.asdict(side.letterbox), "limit": heatmap.limit,
        "unit": heatmap.unit, "signed": signed, "title": title, "low": f"−{heatmap.limit:.2g}" if signed else "0",
        "high": f"{heatmap.limit:.2g}",
    }  # fmt: skip


def _difference(found: "Comparison") -> dict[str, Any]:
    rows, columns = found.difference.shape
    return {
        "rows": rows, "columns": columns, "letterbox": _WHOLE, "limit": 1.0, "unit": t("compare.scale_unit"),
        "signed": True, "title": t("compare.difference"), "low": t("compare.low"), "high": t("compare.high"),
    }  # fmt: skip


@cache
def _panes() -> Any:
    """The element. Its script is one module: the viewer's drawing, then the panes."""
    shared = [_FOLDER / "js" / f"{name}.js" for name in _PARTS]
    script = "\n".join(path.read_text("utf-8") for path in (*shared, _FOLDER / "compare" / "compare.js"))
    html, css = ((_FOLDER / "compare" / f"compare.{kind}").read_text("utf-8") for kind in ("html", "css"))
    return st.components.v2.component("radlens_compare", html=html, css=css, js=script)
