"""What the ways of handling imbalance do: the first article's network on PneumoniaMNIST, 388 normal films among 3882.

``python -m benchmarks.imbalance FOLDER`` (FOLDER as ``python -m core unpack-medmnist`` makes it) trains it once for each and
prints AUROC, accuracy and what became of the rare class on the official test set.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from core.models.card import Evaluation
from core.training.configuration import TrainingConfiguration, read_configuration
from core.training.publishing import Callbacks, train

CONFIGURATION = Path(__file__).resolve().parents[1] / "assets" / "models" / "article-cnn-28" / "training.toml"
WAYS = ("none", "weighted", "balanced", "focal")
SEEDS = (1, 2, 3)


def main(folder: Path) -> None:
    """Train with every way and every seed; a row a way, the mean over seeds."""
    configuration = read_configuration(CONFIGURATION)
    table = Table("imbalance", "test AUROC", "test accuracy", "sensitivity", "specificity")
    for way in WAYS:
        figures = [_test_figures(configuration, folder, way, seed) for seed in SEEDS]
        table.add_row(way, *(f"{sum(column) / len(column):.3f}" for column in zip(*figures, strict=True)))
    Console().print(table)


def _test_figures(configuration: TrainingConfiguration, folder: Path, way: str, seed: int) -> Sequence[float]:
    changed = configuration.model_copy(
        update={"fit": configuration.fit.model_copy(update={"imbalance": way, "seed": seed})}
    )
    with TemporaryDirectory() as out:
        card = train(changed, folder, Path(out), Callbacks(lambda _text: None, lambda _record: None))
    return _figures(next(found for found in card.evaluations if found.split == "test"))


def _figures(measured: Evaluation) -> Sequence[float]:
    area, classes = measured.labels["pneumonia"].auroc, measured.classes
    if area is None or classes is None:
        message = "the test split has too few cases"
        raise ValueError(message)
    (normal_right, normal_wrong), (ill_wrong, ill_right) = classes.confusion
    return (
        area.value,
        classes.accuracy.value,
        ill_right / (ill_right + ill_wrong),
        normal_right / (normal_right + normal_wrong),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
