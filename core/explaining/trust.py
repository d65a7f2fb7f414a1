"""trust(model, scan, frame, label) -> TrustCard: can this heatmap be trusted? Measured beside the case, on demand.

Quantus (Hedstroem et al. 2023, arXiv 2202.06861) sorts such questions into faithfulness, robustness, localisation, complexity,
randomisation and axiomatic; asked here are all but complexity: deletion and insertion (faithfulness), small shifts
(robustness), the share on the body (localisation, as far as it can be told without a truth), random weights
(randomisation), the sum (completeness, an axiom), and whether other methods agree. A heatmap that passes shows where the
answer comes from; it never says that the answer is right. All eight methods that Arun et al. 2021 (Radiol. Artif. Intell.
3:e200267) tried on chest films failed at least one such question.

Everything is deterministic: seeds are fixed, and nothing is stored on the shared network.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from core.analysis import Analysis, FloatArray, Heatmap, analyse
from core.engines.cutting import CutNetwork, Pass
from core.errors import BOXES_ONLY, NoHeatmap
from core.explaining.body import body_of, share_on
from core.explaining.erase import content_of
from core.explaining.faithfulness import faithfulness
from core.explaining.methods import maps_of
from core.explaining.perturbation import Watch, answer_of, occlusion
from core.explaining.registry import find_method
from core.explaining.sanity import likeness_of, randomised, shift_of, shifted
from core.explaining.targets import Targets, targets_of
from core.explaining.trust_verdicts import (
    Part,
    PartName,
    Verdict,
    judge_agreement,
    judge_body,
    judge_faithfulness,
    judge_randomised,
    judge_shifted,
    judge_sum,
    not_available,
)
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

# In the order of their cost, which is the order in which they come.
PARTS: tuple[PartName, ...] = ("sum", "body", "learnt", "repeatability", "faithfulness", "agreement")
# Methods to agree with, beside occlusion: those whose formula differs most from the evidence's.
_OTHERS = ("hirescam", "gradcam++", "layercam")
# Occlusion on a coarse grid is enough to rank places, and 36 forward passes are what the time allows.
_OCCLUSION_CELLS, _OCCLUSION_SIDE = 6, 2
_SAME = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class TrustCard:
    """What was asked about one heatmap, and whether it holds; with what is needed to repeat it.

    ``verdict``: red where a part is red; green where none is and the map is faithful; else amber; "not available" where
    there is no map to ask about. ``sentence`` says it in words.
    """

    scan_digest: str
    frame: int
    model_id: str
    weights_sha256: str
    label: str
    method: str
    parts: tuple[Part, ...] = field(repr=False)

    def part(self, name: PartName) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    @property
    def verdict(self) -> Verdict:
        """All parts together."""
        verdicts = {part.name: part.verdict for part in self.parts}
        if "red" in verdicts.values():
            return "red"
        faithful = verdicts["faithfulness"]
        return faithful if faithful in ("green", "not available") else "amber"

    @property
    def sentence(self) -> str:
        """What a clinician should make of the whole card."""
        return _SENTENCES[self.verdict]


_SENTENCES: dict[Verdict, str] = {
    "green": "The heatmap holds: it shows where this answer comes from. Whether the answer is right is another question.",
    "amber": "Take the heatmap as a hint: not every check holds.",
    "red": "Do not rely on this heatmap: at least one check fails.",
    "not available": "There is no heatmap that could be checked.",
}


def trust(
    model: Model,
    scan: Scan,
    frame: int,
    label: str,
    *,
    evidence: FloatArray | None = None,
    progress: Callable[[Part], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TrustCard:
    """The trust card of a label's evidence map; ``progress`` gets each part as it is there, the cheapest first.

    ``evidence`` (h, w) asks about another map over the model's square instead of the network's own.
    Raises UnknownLabel, NoHeatmap for a detector, AnalysisError when the network's answer is not a finite number, Stopped
    soon after ``cancelled()`` turned true.
    """
    if model.card.task == "detection":
        raise NoHeatmap(BOXES_ONLY)
    watch = Watch(cancelled=cancelled) if cancelled else Watch()
    watch.step(0, len(PARTS))
    analysis = analyse(model, scan, frame)
    heatmap = analysis.heatmap(label)
    if evidence is not None:
        heatmap = replace(heatmap, evidence=np.ascontiguousarray(evidence, np.float32))
    parts = []
    for part in _parts(_question(model, scan, analysis, heatmap, watch)):
        parts.append(part)
        if progress:
            progress(part)
        watch.step(len(parts), len(PARTS))
    return TrustCard(
        scan.digest, frame, model.card.id, model.card.weights_sha256, heatmap.label, heatmap.method, tuple(parts)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What all parts need: the map, and how to ask the network about the label that it is of."""

    model: Model
    heatmap: Heatmap
    picture: torch.Tensor
    letterbox: Letterbox
    targets: Targets
    watch: Watch

    @property
    def own(self) -> FloatArray:
        """The map that is asked about, (h, w)."""
        return self.heatmap.evidence

    def map_by(self, network: CutNetwork, one_pass: Pass) -> FloatArray:
        """The label's evidence map of a network's pass."""
        return maps_of(["evidence"], network, one_pass, self.targets)["evidence"][0].numpy()

    def map_of(self, picture: torch.Tensor) -> FloatArray:
        """The label's evidence map of another picture."""
        self.watch.step(0, 1)
        fast = self.model.fast
        return self.map_by(fast, fast.run(picture.contiguous(memory_format=torch.channels_last)))


def _question(model: Model, scan: Scan, analysis: Analysis, heatmap: Heatmap, watch: Watch) -> _Question:
    entry = to_model_input(scan, analysis.frame, model.card.input)
    masks = [mask.outlined for mask in analysis.masks.values()]
    outlined = torch.from_numpy(np.stack(masks)) if masks else None
    targets = targets_of(model.card.head, model.card.outputs, outlined)
    own = targets.only([model.card.label_codes.index(heatmap.label)])
    return _Question(model, heatmap, entry.tensor, entry.letterbox, own, watch)


def _parts(asked: _Question) -> Iterator[Part]:
    """Every part, or the one sentence that says why there is nothing to ask."""
    if nothing := _nothing_to_ask(asked.heatmap):
        yield from (not_available(name, nothing) for name in PARTS)
        return
    yield from (_ASKED[name](asked) for name in PARTS)


def _nothing_to_ask(heatmap: Heatmap) -> str | None:
    """A faint map can be asked about; one that is absent, flat, empty or not finite cannot."""
    peak, least = float(heatmap.evidence.max()), float(heatmap.evidence.min())
    if not (np.isfinite(peak) and np.isfinite(least)):
        return "The map is not made of finite numbers."
    return heatmap.outcome if heatmap.absent or peak <= 0 or peak == least else None


def _sum(asked: _Question) -> Part:
    """The unfused network's answer against the map's cells, each in double precision."""
    if asked.heatmap.bias is None:
        return judge_sum(None)
    with torch.inference_mode():
        logit = float(asked.targets.of(asked.model.network(asked.picture))[0, 0])
    total = float(asked.own.sum(dtype=np.float64)) + asked.heatmap.bias
    return judge_sum(abs(total - logit) / max(1.0, abs(logit)))


def _body(asked: _Question) -> Part:
    # Ultrasound fills its picture, and a cyst is the darkest place of it.
    fills = set(asked.model.card.scope.modalities) == {"US"}
    body = body_of(asked.picture, content_of(asked.letterbox), fills=fills)
    return judge_body(None if body is None else share_on(asked.own, body), fills=fills)


def _learnt(asked: _Question) -> Part:
    card = asked.model.card
    measured = randomised(asked.model.network, card.target_layer, asked.picture, asked.map_by, asked.own)
    return judge_randomised(measured)


def _repeatability(asked: _Question) -> Part:
    return judge_shifted(shifted(asked.picture, asked.map_of, asked.own), shift_of(asked.letterbox.size))


def _faithfulness(asked: _Question) -> Part:
    answer, content = answer_of(asked.model.fast, asked.targets), content_of(asked.letterbox)
    curves = faithfulness(answer, asked.picture, content, asked.own, asked.watch)
    return judge_faithfulness(curves, asked.model.card.evidence_unit)


def _agreement(asked: _Question) -> Part:
    fast, targets = asked.model.fast, asked.targets
    one_pass = fast.run(asked.picture.contiguous(memory_format=torch.channels_last))
    maps = {name: found[0].numpy() for name, found in maps_of(_OTHERS, fast, one_pass, targets).items()}
    # Behind pooling and a linear layer HiResCAM is the evidence map itself: no witness.
    own = asked.map_by(fast, one_pass)
    maps = {name: one for name, one in maps.items() if not _same(own, one)}
    covered = occlusion(
        asked.picture, answer_of(fast, targets), asked.watch, cells=_OCCLUSION_CELLS, side=_OCCLUSION_SIDE
    )
    maps["occlusion"] = covered[0].numpy()
    likeness = {name: likeness_of(asked.own, one) for name, one in maps.items()}
    return judge_agreement(maps, likeness, {name: find_method(name).title for name in maps})


def _same(first: FloatArray, second: FloatArray) -> bool:
    return float(np.abs(first - second).max()) <= _SAME * float(np.abs(first).max())


_ASKED: dict[PartName, Callable[[_Question], Part]] = {
    "sum": _sum,
    "body": _body,
    "learnt": _learnt,
    "repeatability": _repeatability,
    "faithfulness": _faithfulness,
    "agreement": _agreement,
}
