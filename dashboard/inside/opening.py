"""What all pages that look inside begin with: the case, the model's answer, one recording; which layer and label are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RadLensError
from dashboard import cache, state
from dashboard.answer import Answer, Withheld
from dashboard.reading.desk import keeps_back
from dashboard.reading.owed import owed
from dashboard.texts import t
from dashboard.widgets import (
    answer_with_progress,
    banner,
    case_or_sentence,
    error_box,
    wait_for_network,
    wait_for_reading,
    withheld_box,
)

if TYPE_CHECKING:
    from core.inside.glance import Block, LayerFacts
    from core.inside.recording import Recording
    from core.models.card import ModelCard
    from core.models.loading import Model
    from core.scan import Scan

_ASKED_LAYER, _ASKED_VIEW = "layer", "view"


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """A frame of a case, what the model answered, and every value on the way to it."""

    scan: "Scan" = field(repr=False)
    frame: int
    answer: Answer = field(repr=False)
    recording: "Recording" = field(repr=False)

    @property
    def model(self) -> "Model":
        """The model that answered."""
        return self.answer.model

    @property
    def card(self) -> "ModelCard":
        """Its card."""
        return self.answer.model.card

    @property
    def key(self) -> tuple[str, int, str]:
        """What caches go by: scan, frame, weights."""
        return self.scan.digest, self.frame, self.card.weights_sha256

    @property
    def blocks(self) -> "tuple[Block, ...]":
        """All layers in blocks."""
        return cache.glance(*self.key, self.recording, self.model)

    @property
    def facts(self) -> "dict[str, LayerFacts]":
        """What is known of each layer, in the order in which they run."""
        return {layer.name: layer for block in self.blocks for layer in block.layers}


def open_inside() -> Inside | None:
    """The banner, and what the page speaks of; where there is nothing to look into, the page says why."""
    if not wait_for_reading() or (opened := case_or_sentence()) is None or not wait_for_network():
        return None
    case, scan = opened
    if keeps_back(case):
        owed(case)
        return None
    frame = state.chosen_frame(scan.frame_count)
    answer = answer_with_progress(scan, frame)
    banner(case, scan, frame, answer)
    if isinstance(answer, Withheld) and answer.held_back is not None:
        withheld_box(scan, answer)
        return None
    if not isinstance(answer, Answer):
        st.info(t("network.no_model"))
        return None
    try:
        weights = answer.model.card.weights_sha256
        return Inside(scan, frame, answer, cache.recording(scan.digest, frame, weights, scan, answer.model))
    except RadLensError as exc:
        error_box(t("network.no_inside"), str(exc))
        return None


def view_choice(key: str, views: Sequence[str], words: dict[str, str]) -> str:
    """Which part of a page is shown; the address can ask for one with ``?view=``."""
    asked = st.query_params.get(_ASKED_VIEW, "")
    state.prefer(key, asked if asked in views else views[0])
    chosen = st.segmented_control(
        t("network.view"), views, key=key, format_func=lambda view: words[view], label_visibility="collapsed",
        required=True, wrap=True,
    )  # fmt: skip
    return chosen or views[0]


def layer_choice(inside: Inside, layers: Sequence[str], use: str, otherwise: str | None = None) -> str:
    """A layer of those that this use can show; what was entered elsewhere is taken over where it can be."""
    key = state.choice(state.LAYER, use)
    facts = inside.facts
    # Of a network whose course depends on the picture, some may not have run.
    layers = [name for name in layers if name in facts]
    _follow_address(inside, layers, key)
    state.prefer(key, otherwise if otherwise in layers else layers[0])
    return st.selectbox(t("network.layer"), layers, format_func=lambda name: layer_words(facts[name]), key=key)


def enter_layer(name: str, *uses: str) -> None:
    """Choose a layer for these uses, before their widgets are drawn."""
    for use in uses:
        state.choose(state.choice(state.LAYER, use), name)


def label_choice(inside: Inside, use: str) -> str:
    """The code of one of the model's labels; the foremost one until the reader chooses."""
    words = label_words(inside)
    key = state.choice(state.INSIDE, "label", use, inside.card.id)
    state.prefer(key, inside.answer.foremost_label)
    return st.selectbox(t("network.label"), list(words), format_func=lambda code: words[code], key=key)


def label_words(inside: Inside) -> dict[str, str]:
    """Every label's term without what stands in brackets, by code."""
    return {label.code: label.words.split(" (")[0] for label in inside.card.labels}


def layer_words(layer: "LayerFacts") -> str:
    """Such as ``stem.0: convolution 5 x 5, stride 2, 24 maps of 128 x 128``."""
    return f"{layer.name}: {layer.words}, {shape_words(layer.shape)}"


def shape_words(shape: tuple[int, ...]) -> str:
    """``24 maps of 128 x 128``, or ``9 numbers``."""
    if len(shape) == 3:
        return t("network.shape_maps", count=shape[0], rows=shape[1], columns=shape[2])
    return t("network.shape_numbers", count=shape[0] if shape else 1)


def _follow_address(inside: Inside, layers: Sequence[str], key: str) -> None:
    """The layer that the address names, once; where there is none of that name, a sentence."""
    asked = st.query_params.get(_ASKED_LAYER, "")
    if not asked:
        return
    if asked not in layers:
        sentence = "network.layer_unfit" if asked in inside.recording.layers else "network.layer_unknown"
        st.info(t(sentence), icon=":material/info:")
        return
    followed = state.choice(state.INSIDE, "address", key)
    if state.chosen(followed, None) != asked:
        state.choose(followed, asked)
        state.choose(key, asked)
