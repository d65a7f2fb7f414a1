"""record(model, scan) -> Recording: every value that every step of the unfused network put out for one picture.

Nothing is stored on the network: the values live in the recording, and go when it goes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import fx

from core.engines.hooked import HookedNetwork, Ran
from core.errors import NOT_FOLLOWED, NotFollowed, UnknownLayer
from core.inside.steps import Step, step_of
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """``values`` by step, each for one picture: (channels, h, w), (features,), or whatever the step puts out.

    ``steps`` in the order in which they run; ``names`` gives the layer's name of a step (that of torchvision's feature
    extraction: the module's path). Where it is not ``followed``, the network has no graph: the steps are its modules in the
    order in which they ended, and nobody knows which of them reads which.
    """

    scan_digest: str
    frame: int
    weights_sha256: str
    letterbox: Letterbox
    steps: Mapping[str, Step] = field(repr=False)
    names: Mapping[str, str] = field(repr=False)
    values: Mapping[str, torch.Tensor] = field(repr=False)
    entry: str
    output: str
    followed: bool = True

    def check_followed(self) -> None:
        """Raise NotFollowed where nobody knows which step reads which."""
        if not self.followed:
            raise NotFollowed(NOT_FOLLOWED)

    @property
    def picture(self) -> torch.Tensor:
        """What the network saw, (channels, size, size), normalised."""
        return self.values[self.entry]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers in the order in which they run."""
        return tuple(self.names[step] for step in self.steps if step in self.names)

    def step(self, layer: str) -> Step:
        """The step of a layer.

        Raises UnknownLayer.
        """
        for step, name in self.names.items():
            if name == layer:
                return self.steps[step]
        raise UnknownLayer(f"The network has no layer {layer!r} here; choose one of its layers.")

    def value(self, step: Step | fx.Node) -> torch.Tensor:
        """What a step put out."""
        return self.values[step.node.name if isinstance(step, Step) else step.name]

    def name(self, node: fx.Node) -> str:
        """The layer's name of a step, or ``picture`` for what the network was given."""
        return "picture" if node.name == self.entry else self.names.get(node.name, node.name)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what every step puts out; the module itself stays as it is."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.kept: dict[str, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        """One step."""
        value: object = super().run_node(n)
        if isinstance(value, torch.Tensor) and n.op != "get_attr":
            self.kept[n.name] = value[0] if value.ndim else value
        return value


def record(model: Model, scan: Scan, frame: int = 0) -> Recording:
    """One forward pass of the network as it was trained, with every step's output."""
    entry = to_model_input(scan, frame, model.card.input)
    return record_picture(model, entry.tensor, entry.letterbox, scan.digest, frame)


def record_picture(
    model: Model, picture: torch.Tensor, letterbox: Letterbox, scan_digest: str = "", frame: int = 0
) -> Recording:
    """The same for a picture (1, channels, size, size) that is normalised already."""
    if isinstance(model.plain, HookedNetwork):
        return _watched(model, model.plain.course(picture), picture, letterbox, scan_digest, frame)
    traced = model.plain.traced
    recorder = _Recorder(traced.module)
    with torch.inference_mode():
        recorder.run(picture)
    nodes = [node for node in traced.module.graph.nodes if node.name in recorder.kept]
    entry = next(node for node in nodes if node.op == "placeholder")
    steps = {node.name: step_of(traced.module, node) for node in nodes if node.op.startswith("call")}
    names = {step: layer for layer, step in traced.layers.items() if step in steps}
    return Recording(
        scan_digest=scan_digest,
        frame=frame,
        weights_sha256=model.card.weights_sha256,
        letterbox=letterbox,
        steps=MappingProxyType(steps),
        names=MappingProxyType(names),
        values=MappingProxyType(recorder.kept),
        entry=entry.name,
        output=list(steps)[-1],
    )


def _watched(
    model: Model, course: list[Ran], picture: torch.Tensor, letterbox: Letterbox, scan_digest: str, frame: int
) -> Recording:
    """A recording of modules that ran one after the other, as steps that read nothing."""
    graph = fx.Graph()
    entry = graph.placeholder("picture")
    values, steps, names = {entry.name: picture[0]}, {}, {}
    for ran in course:
        node = graph.call_module(ran.path)
        steps[node.name] = step_of(model.network, node)
        values[node.name], names[node.name] = ran.value[0], ran.name
    return Recording(
        scan_digest=scan_digest,
        frame=frame,
        weights_sha256=model.card.weights_sha256,
        letterbox=letterbox,
        steps=MappingProxyType(steps),
        names=MappingProxyType(names),
        values=MappingProxyType(values),
        entry=entry.name,
        output=list(steps)[-1],
        followed=False,
    )
