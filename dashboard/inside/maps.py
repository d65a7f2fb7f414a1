"""Feature maps of any layer: all in one picture, one of them enlarged over the scan with its numbers."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import RadLensError
from dashboard import cache, state
from dashboard.inside.glance import sees_words
from dashboard.inside.numbers import fact_list, number, signed
from dashboard.inside.opening import Inside, label_choice, label_words, layer_choice
from dashboard.pointing.picture import Grid, Mark, pointing_picture
from dashboard.texts import t

if TYPE_CHECKING:
    from core.inside.feature_maps import FeatureMaps

_ORDERS = ("channel", "strength", "variance", "contribution")
_SCALES = ("map", "layer", "network")
# So many channels are named in a list of dead or alike ones.
_MOST_NAMED = 12


def maps_view(inside: Inside) -> None:
    """Choices, the grid, the chosen map."""
    from core.inside.feature_maps import layers_with_maps, recorded_maps

    layer = layer_choice(inside, layers_with_maps(inside.recording), "maps", inside.card.target_layer)
    first, second, third = st.columns(3)
    with first:
        order = _one_of(state.ORDER, "network.order", _ORDERS)
    with second:
        scale = _one_of(state.SCALE, "network.scale", _SCALES)
    with third:
        label = label_choice(inside, "maps")
    added = _contributions(inside, layer, label)
    maps = recorded_maps(inside.recording, layer, order=order, contributions=added)  # type: ignore[arg-type]
    left, right = st.columns([3, 2], gap="large")
    channel = channel_of(maps)
    with left:
        _grid(inside, maps, scale, channel)
        _downloads(inside, maps, scale)
    with right:
        channel = _channel_choice(maps)
        _one_map(inside, maps, channel, label)


def columns_of(count: int) -> int:
    """How many tiles stand in a row."""
    return next(width for width in (4, 6, 8, 12, 16, 24) if width * width >= count or width == 24)


def channel_of(maps: "FeatureMaps") -> int:
    """The channel that is looked at; the first in order until one is chosen."""
    chosen = state.chosen(state.choice(state.CHANNEL, maps.layer), maps.channels[0])
    return chosen if chosen in maps.channels else maps.channels[0]


def channel_key(layer: str) -> str:
    """The key under which a layer's channel is chosen."""
    return state.choice(state.CHANNEL, layer)


def _one_of(key: str, name: str, options: tuple[str, ...]) -> str:
    state.prefer(key, options[0])
    chosen: str = st.selectbox(t(name), options, format_func=lambda option: t(f"{name}_{option}"), key=key)
    return chosen


def _contributions(inside: Inside, layer: str, label: str) -> Any:
    """What each channel adds to the label, or None where it cannot be told."""
    try:
        found = cache.contributions(*inside.key, layer, inside.scan, inside.model)
    except RadLensError:
        return None
    return found[inside.card.label_codes.index(label)]


def _grid(inside: Inside, maps: "FeatureMaps", scale: str, channel: int) -> None:
    from core.inside.feature_maps import grid_png, range_of

    count, rows, columns = maps.maps.shape
    width = columns_of(count)
    ends = range_of(inside.recording) if scale == "network" else None
    png = grid_png(maps.maps, columns=width, scale=scale, ends=ends)  # type: ignore[arg-type]
    place = maps.channels.index(channel)
    grid = Grid(
        -(-count // width), width, (place // width, place % width), tuple(str(number) for number in maps.channels)
    )

    def choose(x: float, y: float) -> None:
        at = int(y * grid.rows) * width + int(x * width)
        if at < count:
            state.choose(channel_key(maps.layer), maps.channels[at])

    words = t("maps.caption", count=count, rows=rows, columns=columns, layer=maps.layer)
    pointing_picture(f"maps-{maps.layer}", png, choose, alt=words, marks=_marks(maps, width), grid=grid, sharp=True)
    st.caption(f"{words} {t(f'maps.scale_{scale}')}")
    st.caption(_flags(maps))


def _marks(maps: "FeatureMaps", width: int) -> list[Mark]:
    kinds = dict.fromkeys((c for pair in maps.duplicates for c in pair), "twin") | dict.fromkeys(maps.dead, "dead")
    rows = -(-len(maps.channels) // width)
    return [
        Mark((at % width) / width, (at // width) / rows, 1 / width, 1 / rows, kinds[channel])  # type: ignore[arg-type]
        for at, channel in enumerate(maps.channels)
        if channel in kinds
    ]


def _flags(maps: "FeatureMaps") -> str:
    """Which maps say nothing here, and which say the same."""
    if maps.is_single_cell:
        return t("maps.single_cell")
    dead, twins = maps.dead, maps.duplicates
    told = []
    if dead:
        told.append(t("maps.dead", count=len(dead), names=_named([str(channel) for channel in dead])))
    if twins:
        told.append(t("maps.twins", count=len(twins), names=_named([f"{a} = {b}" for a, b in twins])))
    return " ".join(told) or t("maps.all_alive")


def _named(names: list[str]) -> str:
    more = t("maps.more", count=len(names) - _MOST_NAMED) if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _downloads(inside: Inside, maps: "FeatureMaps", scale: str) -> None:
    """Made when asked for: an archive of many maps takes a second."""
    from core.inside.feature_maps import grid_png, maps_npz, range_of

    name = f"{inside.card.id}-{maps.layer}"
    ends = range_of(inside.recording) if scale == "network" else None
    first, second, _ = st.columns([1, 1, 2])
    first.download_button(
        t("maps.download_png"),
        lambda: grid_png(maps.maps, columns=columns_of(len(maps.maps)), scale=scale, ends=ends),  # type: ignore[arg-type]
        f"{name}.png", "image/png", on_click="ignore", width="stretch",
    )  # fmt: skip
    second.download_button(
        t("maps.download_npz"), lambda: maps_npz(maps), f"{name}.npz", "application/octet-stream", on_click="ignore",
        width="stretch",
    )  # fmt: skip


def _channel_choice(maps: "FeatureMaps") -> int:
    key = channel_key(maps.layer)
    state.prefer(key, maps.channels[0])
    chosen: int = st.selectbox(t("maps.channel"), maps.channels, key=key, help=t("maps.channel_help"))
    return chosen


def _one_map(inside: Inside, maps: "FeatureMaps", channel: int, label: str) -> None:
    from core.inside.feature_maps import over_scan_png

    values = maps.maps[maps.channels.index(channel)]
    key = state.choice(state.INSIDE, "opacity")
    state.prefer(key, 60)
    share = st.slider(t("maps.opacity"), 0, 100, step=10, format="%d %%", key=key)
    png = over_scan_png(inside.scan, inside.frame, inside.recording.letterbox, values, opacity=share / 100)
    st.image(png, caption=t("maps.over_scan", channel=channel), output_format="PNG", width="stretch")
    low, high, mean = (number(float(value)) for value in (values.min(), values.max(), values.mean()))
    facts = [(t("maps.lowest"), low), (t("maps.highest"), high), (t("maps.mean"), mean)]
    if maps.contributions is not None:
        words = t("maps.adds", label=label_words(inside)[label])
        facts.append((words, signed(float(maps.contributions[channel]))))
    facts.append((t("maps.sees"), sees_words(inside.facts[maps.layer])))
    fact_list(facts)
    if maps.contributions is not None:
        st.caption(t("maps.adds_words"))
