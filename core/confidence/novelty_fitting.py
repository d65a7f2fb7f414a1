"""The novelty gate of a model: its statistics from the pictures it was trained on, its gate and figures from others."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from core.confidence.held_out import BoolArray, FloatArray
from core.confidence.novelty import Statistics, features_of, seen_grey, some_colour
from core.confidence.picture_look import LOOK_LENGTH, odd_look
from core.errors import ConfigurationError
from core.metrics import wilson
from core.models.confidence_card import NoveltyFigures
from core.models.loading import Model
from core.preprocessing import to_model_input
from core.scan import Scan

# Of each kind of pictures of its own domain so many shall pass.
PASSING = 0.97
# Fewer pictures of a look do not tell where it lies.
LEAST_OF_A_LOOK = 20
LEFT_OUT = "chosen without the kind it is judged on"
_CLUSTERS = 8
_PARTS = 5
_LEAST_SCALE = 1e-3
# Differences of AUROC that so few kinds of pictures cannot show.
_NO_BETTER = 0.003
RULE = (
    f"{100 * PASSING:g} % of held-out pictures of its own domain pass, as they are and cut or exposed otherwise; the share "
    "held back was measured with a gate from other pictures"
)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Features (n, d) of pictures, what the cheap check said of each, and groups (n,) that belong together (patients)."""

    features: FloatArray = field(repr=False)
    odd: tuple[str | None, ...] = field(repr=False)
    groups: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def is_odd(self) -> BoolArray:
        """Which of them the cheap check holds back, (n,)."""
        return np.array([one is not None for one in self.odd], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The statistics with their gate, what they hold back of the model's own domain and of other pictures by kind."""

    statistics: Statistics
    method: str
    tried: Mapping[str, float]
    own: NoveltyFigures
    others: Mapping[str, NoveltyFigures]
    all_others: NoveltyFigures


def pictures_of(model: Model, scans: Iterable[tuple[Scan, str]]) -> Pictures:
    """The features of scans (with their group), each from one forward pass.

    Raises ConfigurationError when there are none.
    """
    features, odd, groups = [], [], []
    for scan, group in scans:
        entry = to_model_input(scan, 0, model.card.input)
        outputs = model.engines.giving(()).run(entry.picture)[0]
        grey = seen_grey(entry.picture[0], entry.letterbox, model.card.input)
        features.append(features_of(outputs.target, grey))
        odd.append(odd_look(grey, some_colour(scan)))
        groups.append(group)
    if not features:
        raise ConfigurationError("There is no readable picture to tell novelty by.")
    return Pictures(np.stack(features), tuple(odd), tuple(groups))


def fit_gate(
    looks: Mapping[str, Pictures], own: Mapping[str, Pictures], others: Mapping[str, Pictures], *, seed: int = 0
) -> Fitted:
    """The statistics of the training pictures by look, with the way of measuring distance that tells others apart best.

    ``own`` are pictures of the model's domain that it was not trained on, by kind, the first kind as they are; ``others`` are
    of other domains, by kind. The ways are compared by their AUROC, averaged over kinds: few kinds are there, many are not.
    """
    fitted = {method: statistics_of(looks, method, seed) for method in METHODS}
    first = next(iter(own.values()))
    areas = {method: _areas(statistics, first, others) for method, statistics in fitted.items()}
    tried = {method: float(np.mean(list(found.values()))) for method, found in areas.items()}
    method = _chosen(tried)
    gate = _gate([_distance(fitted[method], kind)[~kind.is_odd] for kind in own.values()])
    statistics = replace(fitted[method], gate=gate)
    together = _joined(list(others.values()))
    return Fitted(
        statistics,
        method,
        {**tried, LEFT_OUT: _left_out(areas)},
        own=_own_figures(fitted[method], list(own.values())),
        others={kind: _figures(statistics, first, pictures) for kind, pictures in others.items()},
        all_others=_figures(statistics, first, together),
    )


def statistics_of(looks: Mapping[str, Pictures], method: str, seed: int = 0) -> Statistics:
    """Where pictures of each look lie and how they scatter about it: means, and one covariance for all of them.

    The covariance is drawn towards an even one (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4). With "clusters"
    the looks are what k-means finds, each named by the look most of its pictures have. The gate is set later.
    Raises ConfigurationError when no look has LEAST_OF_A_LOOK pictures.
    """
    known = {name: pictures for name, pictures in looks.items() if len(pictures) >= LEAST_OF_A_LOOK}
    if not known:
        raise ConfigurationError(
            f"Novelty needs at least {LEAST_OF_A_LOOK} training pictures of a class; check --data and --column."
        )
    features = np.concatenate([pictures.features for pictures in known.values()])
    start, stop = METHODS[method].range(features.shape[1])
    wanted = features[:, start:stop]
    middle, scale = wanted.mean(0), np.maximum(wanted.std(0), _LEAST_SCALE)
    standard = (wanted - middle) / scale
    names = np.repeat(list(known), [len(pictures) for pictures in known.values()])
    centres = {name: standard[names == name].mean(0) for name in known}
    scatter = standard - np.stack([centres[name] for name in names])
    precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(scatter).covariance_)
    whitening = np.linalg.cholesky(precision).T
    white = {name: whitening @ centre for name, centre in centres.items()}
    words, places = (
        _clusters(standard @ whitening.T, names, seed) if method == CLUSTERS else (list(white), [*white.values()])
    )
    return Statistics(middle, scale, whitening, np.stack(places), start, math.inf, tuple(words))


@dataclass(frozen=True, slots=True)
class _Method:
    """Which of the features a method uses."""

    activations: bool
    look: bool

    def range(self, count: int) -> tuple[int, int]:
        """From which feature to which."""
        channels = count - LOOK_LENGTH
        return 0 if self.activations else channels, count if self.look else channels


CLUSTERS = "activations and look, by cluster"
METHODS: Mapping[str, _Method] = {
    "activations and look": _Method(activations=True, look=True),
    "activations": _Method(activations=True, look=False),
    "look": _Method(activations=False, look=True),
    CLUSTERS: _Method(activations=True, look=True),
}


def _clusters(white: FloatArray, names: npt.NDArray[np.str_], seed: int) -> tuple[list[str], list[FloatArray]]:
    found = KMeans(min(_CLUSTERS, len(white) // LEAST_OF_A_LOOK), n_init=2, random_state=seed).fit(white)
    words = []
    for number in range(len(found.cluster_centers_)):
        values, counts = np.unique(names[found.labels_ == number], return_counts=True)
        words.append(str(values[counts.argmax()]))
    return words, list(found.cluster_centers_)


def _distance(statistics: Statistics, pictures: Pictures) -> FloatArray:
    """To the nearest look, (n,)."""
    return statistics.distances(pictures.features).min(1)


def _areas(statistics: Statistics, own: Pictures, others: Mapping[str, Pictures]) -> dict[str, float]:
    return {kind: _auroc(statistics, own, pictures) for kind, pictures in others.items()}


def _auroc(statistics: Statistics, own: Pictures, others: Pictures) -> float:
    """Of the model's own domain against others; what the cheap check holds back counts as infinitely far."""
    far = [np.where(part.is_odd, np.inf, _distance(statistics, part)) for part in (own, others)]
    ranks = np.unique(np.concatenate(far), return_inverse=True)[1]
    return float(roc_auc_score(np.repeat([0, 1], [len(own), len(others)]), ranks))


def _chosen(tried: Mapping[str, float]) -> str:
    """The first method that is as good as the best but for _NO_BETTER: the first ones name looks that people know."""
    return next(method for method, area in tried.items() if area >= max(tried.values()) - _NO_BETTER)


def _left_out(areas: Mapping[str, Mapping[str, float]]) -> float:
    """The mean AUROC of kinds that the choice of the method did not see."""
    kinds = list(next(iter(areas.values())))
    found = []
    for kind in kinds:
        rest = {method: [area for name, area in by.items() if name != kind] for method, by in areas.items()}
        best = _chosen({method: float(np.mean(seen)) if seen else 0.0 for method, seen in rest.items()})
        found.append(areas[best][kind])
    return float(np.mean(found))


def _gate(kinds: Sequence[FloatArray]) -> float:
    """The distance that PASSING of each kind stay below: the ceil((n + 1) PASSING)-th smallest, as in conformal prediction."""
    ranked = [np.sort(distances) for distances in kinds if len(distances)]
    return max(float(one[min(len(one), math.ceil((len(one) + 1) * PASSING)) - 1]) for one in ranked)


def _own_figures(statistics: Statistics, own: Sequence[Pictures]) -> NoveltyFigures:
    """How many pictures as they are (the first kind) are held back by gates from other groups' pictures."""
    held = 0
    groups = np.unique(own[0].groups)
    for part in range(min(_PARTS, len(groups))):
        out = set(groups[part::_PARTS].tolist())
        inside = [np.array([group in out for group in pictures.groups]) for pictures in own]
        distances = [_distance(statistics, pictures) for pictures in own]
        gate = _gate([d[~i & ~p.is_odd] for d, i, p in zip(distances, inside, own, strict=True)])
        held += int((own[0].is_odd | (distances[0] > gate))[inside[0]].sum())
    return NoveltyFigures(pictures=len(own[0]), held_back=wilson(held, len(own[0])))


def _figures(statistics: Statistics, own: Pictures, others: Pictures) -> NoveltyFigures:
    held = others.is_odd | (_distance(statistics, others) > statistics.gate)
    return NoveltyFigures(
        pictures=len(others),
        held_back=wilson(int(held.sum()), len(others)),
        auroc=_auroc(statistics, own, others),
    )


def _joined(parts: Sequence[Pictures]) -> Pictures:
    return Pictures(
        np.concatenate([part.features for part in parts]),
        tuple(one for part in parts for one in part.odd),
        tuple(one for part in parts for one in part.groups),
    )
