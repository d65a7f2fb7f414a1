"""A network whose course depends on its input: no graph can be drawn of it, so hooks take what its layers put out.

Hooks on a network that several readers share mix up their pictures. So they are put on a copy that nothing else runs, one
picture at a time, under its lock, and taken off again whatever happens. One picture at a time also because a course that
depends on the whole batch would make a reader's answer depend on another's picture.

The tail is the network itself, run again on the same picture with given activations in the place of the target layer's
own. What the gradient of the logits by these activations is does not depend on how the tail is written, so all methods
give what they give on a graph; they cost a second forward pass.
"""

import copy
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from core.engines.cutting import CutNetwork, Pass
from core.engines.tracing import TracedNetwork, trace
from core.errors import NOT_FOLLOWED, EngineRefused, NotFollowed, UnknownLayer

NOT_EXPORTED = (
    "The network's course depends on its input, so it cannot be written for the fast engine and torch answers."
)
# What only holds other modules puts out what the last of them does.
_ROWS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# A layer's name and what it put out -> what takes its place, or None.
Hook = Callable[[str, torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """One run of a module: its ``path``, which ``run`` of it, from 0, the module, and what it put out, (1, ...)."""

    path: str
    run: int
    module: nn.Module = field(repr=False)
    value: torch.Tensor = field(repr=False)

    @property
    def name(self) -> str:
        """The layer's: the path, with ``_1`` and so on where the module runs again."""
        return f"{self.path}_{self.run}" if self.run else self.path


class WatchedNetwork:
    """A copy of a network that hooks may be put on, and the lock that all who run it hold.

    ``layers`` are its modules' paths, with ``_1`` and so on for those that ran again on the ``trial`` (1, channels, size, size).
    """

    def __init__(self, network: nn.Module, trial: torch.Tensor) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._lock = threading.RLock()
        self._runs = {path: (path, 0) for path in self._watchable()}
        for ran in self.course(trial):
            self._runs.setdefault(ran.name, (ran.path, ran.run))

    def __deepcopy__(self, memo: dict[int, object]) -> "WatchedNetwork":
        own = object.__new__(WatchedNetwork)
        own.network, own._lock, own._runs = copy.deepcopy(self.network, memo), threading.RLock(), self._runs
        return own

    @property
    def layers(self) -> Collection[str]:
        """The names of all layers there are; which of them run depends on the picture."""
        return self._runs.keys()

    def check(self, layers: Sequence[str]) -> None:
        """Raise UnknownLayer when one of them does not exist."""
        for layer in layers:
            if layer not in self._runs:
                raise UnknownLayer(f"The network has no layer {layer!r} here; choose one of its layers.")

    def run(self, picture: torch.Tensor, layers: Collection[str] = (), hook: Hook | None = None) -> torch.Tensor:
        """The outputs (1, ...) for one picture; ``hook`` sees what these layers put out, and may put something in its place."""
        with self._hooks(layers, hook):
            found: torch.Tensor = self.network(picture)
            return found

    def course(self, picture: torch.Tensor) -> list[Ran]:
        """What each module put out for one picture, in the order in which they ended; blocks after their parts."""
        ran: list[Ran] = []
        counts: Counter[str] = Counter()

        def keep(path: str, module: nn.Module, value: object) -> None:
            if isinstance(value, torch.Tensor):
                ran.append(Ran(path, counts[path], module, value.clone()))
            counts[path] += 1

        with self._lock, torch.inference_mode(), _removed() as handles:
            for path in self._watchable():
                part = self.network.get_submodule(path)
                handles.append(part.register_forward_hook(lambda m, _, value, own=path: keep(own, m, value)))
            self.network(picture)
        return ran

    def _watchable(self) -> list[str]:
        return [path for path, part in self.network.named_modules() if path and not isinstance(part, _ROWS)]

    @contextmanager
    def _hooks(self, layers: Collection[str], hook: Hook | None) -> Iterator[None]:
        wanted = {self._runs[layer]: layer for layer in layers}
        counts: Counter[str] = Counter()

        def seen(path: str, value: object) -> torch.Tensor | None:
            layer = wanted.get((path, counts[path]))
            counts[path] += 1
            return hook(layer, value) if layer and hook and isinstance(value, torch.Tensor) else None

        with self._lock, _removed() as handles:
            for path in {path for path, _ in wanted}:
                part = self.network.get_submodule(path)
                handles.append(part.register_forward_hook(lambda _m, _, value, own=path: seen(own, value)))
            yield


class HookedNetwork(CutNetwork):
    """The same as a CutNetwork to all who use it, without a graph behind it.

    Layers that did not run for a picture are missing from what a pass gives. The picture is the one crossing.
    """

    has_graph = False

    def __init__(self, watched: WatchedNetwork, target_layer: str) -> None:
        watched.check((target_layer,))
        self._watched, self._layer = watched, target_layer
        self.tail: nn.Module = _Tail(watched, target_layer)
        self.linear_tail = None

    def run_all(self, inputs: torch.Tensor, layers: Sequence[str] = ()) -> list[Pass]:
        """A forward pass for each of n pictures (n, channels, size, size) -> what it gave.

        Raises UnknownLayer when one of ``layers`` does not exist, or the target layer did not run.
        """
        self._watched.check(layers)
        with torch.inference_mode():
            return [self._run_one(picture, layers) for picture in inputs.split(1)]

    def _run_one(self, picture: torch.Tensor, layers: Sequence[str]) -> Pass:
        kept: dict[str, torch.Tensor] = {}

        def keep(layer: str, value: torch.Tensor) -> None:
            # A clone: what comes next may work in place.
            kept[layer] = value.clone()

        logits = self._watched.run(picture, {self._layer, *layers}, keep)
        target = _target(kept, self._layer)
        return Pass(logits[0], target[0], {name: kept[name][0] for name in layers if name in kept}, (picture,))

    def course(self, picture: torch.Tensor) -> list[Ran]:
        """What each module put out for one picture, in the order in which they ended."""
        return self._watched.course(picture)

    def graph_of(self, layers: Sequence[str]) -> tuple[fx.GraphModule, tuple[str, ...], dict[str, str]]:  # noqa: ARG002
        """There is none: raises EngineRefused."""
        raise EngineRefused(NOT_EXPORTED)

    @property
    def crossings(self) -> int:
        """The picture."""
        return 1

    @property
    def layers(self) -> Collection[str]:
        """The names of all layers there are."""
        return self._watched.layers

    @property
    def traced(self) -> TracedNetwork:
        """There is no graph: raises NotFollowed."""
        raise NotFollowed(NOT_FOLLOWED)

    def at(self, target_layer: str) -> "HookedNetwork":
        """The same network with another target; copy and lock are shared.

        Raises UnknownLayer.
        """
        return HookedNetwork(self._watched, target_layer)

    def answer(self, pictures: torch.Tensor) -> torch.Tensor:
        """The outputs for n pictures (n, channels, size, size), in inference mode."""
        with torch.inference_mode():
            return torch.cat([self._watched.run(picture) for picture in pictures.split(1)])

    def whole(self) -> nn.Module:
        """A copy of the network of one's own, weights included."""
        return _OneByOne(copy.deepcopy(self._watched))

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """On one copy of one's own: picture -> (target, picture), and these -> (outputs,)."""
        own = copy.deepcopy(self._watched)
        return _Body(own, self._layer), _Tail(own, self._layer)

    def parts(self, picture: torch.Tensor) -> tuple[list[nn.Module], list[nn.Module]]:
        """The modules with weights of their own that run for a picture up to the target layer, it included, and after it.

        Raises UnknownLayer when the target layer does not run for this picture.
        """
        ran = self.course(picture)
        names = [one.name for one in ran]
        if self._layer not in names:
            raise UnknownLayer(_not_run(self._layer))
        cut = names.index(self._layer) + 1
        return _with_weights(ran[:cut]), _with_weights(ran[cut:])


class _OneByOne(nn.Module):
    """A watched network as a module of its own, run on one picture at a time; ``watched`` is whose copy it is."""

    def __init__(self, watched: WatchedNetwork) -> None:
        super().__init__()
        self.network, self._watched = watched.network, watched

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, channels, size, size) -> outputs (n, ...)."""
        return torch.cat([self._watched.run(picture) for picture in pictures.split(1)])


class _Body(nn.Module):
    """Pictures -> (target activations, pictures)."""

    def __init__(self, watched: WatchedNetwork, layer: str) -> None:
        super().__init__()
        self.network, self._watched, self._layer = watched.network, watched, layer

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of n pictures (n, channels, size, size)."""
        return torch.cat([self._one(picture) for picture in pictures.split(1)]), pictures

    def _one(self, picture: torch.Tensor) -> torch.Tensor:
        kept: dict[str, torch.Tensor] = {}

        def keep(layer: str, value: torch.Tensor) -> None:
            kept[layer] = value.clone()

        self._watched.run(picture, (self._layer,), keep)
        return _target(kept, self._layer)


class _Tail(nn.Module):
    """Target activations and their pictures -> (outputs,): the network with these activations in the place of its own."""

    def __init__(self, watched: WatchedNetwork, layer: str) -> None:
        super().__init__()
        self.network, self._watched, self._layer = watched.network, watched, layer

    def forward(self, target: torch.Tensor, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        """Of n pictures: activations (n, channels, h, w), pictures (n, channels, size, size)."""
        pairs = zip(target.split(1), pictures.split(1), strict=True)
        return (torch.cat([self._one(one, picture) for one, picture in pairs]),)

    def _one(self, target: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        # A clone: nothing may work in place on what a gradient is asked of.
        return self._watched.run(picture, (self._layer,), lambda _layer, _own: target.clone())


def cut_network(network: nn.Module, target_layer: str, trial: torch.Tensor) -> CutNetwork:
    """A copy of a network cut at a layer: its graph where there is one, else by hooks that a ``trial`` picture finds names for.

    Raises UnknownLayer.
    """
    try:
        return CutNetwork(trace(network), target_layer)
    except NotFollowed:
        return HookedNetwork(WatchedNetwork(network, trial), target_layer)


def _target(kept: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    if layer not in kept:
        raise UnknownLayer(_not_run(layer))
    return kept[layer]


def _not_run(layer: str) -> str:
    return f"The layer {layer!r} does not run for this picture, because the network's course depends on it; choose another."


def _with_weights(ran: Sequence[Ran]) -> list[nn.Module]:
    found = (one.module for one in ran if next(one.module.parameters(recurse=False), None) is not None)
    return list(dict.fromkeys(found))


@contextmanager
def _removed() -> Iterator[list[torch.utils.hooks.RemovableHandle]]:
    """A list for hooks, all of which are taken off at the end, whatever happened."""
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()
