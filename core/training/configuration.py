"""TrainingConfiguration: one TOML file that says what to train, from what, and how."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ConfigurationError
from core.models.card import InputSpec, Label, Scope, Task
from core.models.card_fields import Identifier

DATA_VARIABLE = "RADLENS_DATA"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """What stands on the card before anything is measured."""

    id: Identifier
    version: str
    title: str
    task: Task = "classification"
    architecture: str
    head: Literal["sigmoid", "softmax"]
    labels: tuple[Label, ...]
    headline: str
    input: InputSpec
    scope: Scope
    target_layer: str
    intended_use: str
    limits: tuple[str, ...]
    licence: str
    citations: tuple[str, ...] = ()


class DataSection(_Section):
    """Which rows train and which are held out, how many simulated films are mixed in, and how many more measure.

    ``label_column`` is the column of index.csv that names the class; ``further_splits`` are measured for the card and
    used for nothing else. ``probes``: ask also whether labels can be told without the place of findings.
    """

    name: str
    folder: str = ""
    label_column: str = "label"
    train_split: str = "train"
    validation_split: str = "val"
    further_splits: tuple[str, ...] = ()
    simulated_films: Annotated[int, Field(ge=0)] = 0
    simulated_seed: int = 10_000
    evaluation_films: Annotated[int, Field(ge=0)] = 320
    probes: bool = False


class FitSection(_Section):
    """The optimiser's settings.

    ``imbalance``: "weighted" raises the loss of rare labels, "balanced" draws rare classes more often, "focal" lowers the
    loss of what is answered well already (Lin et al. 2017, arXiv 1708.02002), "none" does nothing.
    ``start_from``: the id of a model whose layers of the same name and size are taken over as they stand (outlines only).
    ``head_rate``: how much faster the last layer learns; after mean pooling a small lesion moves it only a little.
    ``box_weight`` pulls the evidence map into boxes and outlines, ``place_weight`` is the part of its strongest cell therein;
    ``centre_weight`` pulls the map to zero along the picture's edges, ``peak_weight`` teaches the strongest cells beside
    the mean of all.
    ``patience``: stop after so many epochs without a lower held-out loss, and keep the weights of the best; 0: never.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    imbalance: Literal["weighted", "balanced", "focal", "none"] = "weighted"
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    box_weight: Annotated[float, Field(ge=0)] = 0.0
    place_weight: Annotated[float, Field(ge=0)] = 0.3
    centre_weight: Annotated[float, Field(ge=0)] = 0.0
    peak_weight: Annotated[float, Field(ge=0)] = 0.0
    head_rate: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    patience: Annotated[int, Field(ge=0)] = 0
    start_from: str = ""


class AugmentSection(_Section):
    """What varies in training; each range is drawn evenly. ``mirror`` exchanges left and right: never for chests.

    ``rotation`` in degrees; ``shift``, ``bars`` and ``border_widths`` in shares of the side. Shares of pictures: ``soften``
    (fewer pixels, as after a smaller export, down to one of ``resolutions``), ``jpeg`` (stored with one of ``jpeg_qualities``
    and opened again), ``bar_share`` (black bars), ``borders`` (the outer ring is that of another picture of the batch, so
    that nothing can be learnt from it). ``transplants`` is the share of healthy pictures that get a finding of the labels
    ``transplanted`` from its box in another, or healthy tissue in its place.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 5.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.04
    scales: tuple[float, float] = (0.92, 1.08)
    gammas: tuple[float, float] = (0.8, 1.25)
    contrasts: tuple[float, float] = (0.85, 1.15)
    brightnesses: tuple[float, float] = (-0.05, 0.05)
    noises: tuple[float, float] = (0.0, 0.015)
    soften: Annotated[float, Field(ge=0, le=1)] = 0.15
    bar_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    bars: Annotated[float, Field(ge=0, le=0.5)] = 0.06
    resolutions: tuple[float, float] = (0.6, 0.9)
    jpeg: Annotated[float, Field(ge=0, le=1)] = 0.0
    jpeg_qualities: tuple[int, int] = (25, 95)
    borders: Annotated[float, Field(ge=0, le=1)] = 0.0
    border_widths: tuple[float, float] = (0.04, 0.14)
    transplants: Annotated[float, Field(ge=0, le=1)] = 0.0
    transplanted: tuple[str, ...] = ()
    mirror: bool = False

    @model_validator(mode="after")
    def _ranges_ascend(self) -> "AugmentSection":
        for name, value in self:
            if name != "transplanted" and isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} must be a lower and an upper end, not {list(value)}")
        return self


class TrainingConfiguration(_Section):
    """A whole training: ``[model]``, ``[data]``, ``[augment]``, ``[fit]``."""

    model: ModelSection
    data: DataSection
    augment: AugmentSection = AugmentSection()
    fit: FitSection


def read_configuration(path: Path) -> TrainingConfiguration:
    """The configuration of a TOML file.

    Raises ConfigurationError naming the first key that is unknown, missing or of the wrong kind.
    """
    try:
        return TrainingConfiguration.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise ConfigurationError("The training configuration cannot be opened; check the path.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The training configuration is not valid TOML: {exc}.") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"The training configuration is wrong at {where}: {first['msg']}.") from exc


def data_folder(given: Path | None, folder: str = "") -> Path:
    """The folder that holds index.csv: the given one or RADLENS_DATA, or ``folder`` below it; else a given one of class folders.

    Raises ConfigurationError when there is none: no path of any data stands in the project.
    """
    root = given or (Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None)
    if root is None:
        raise ConfigurationError(f"Say where the data is: --data FOLDER or the variable {DATA_VARIABLE}.")
    for candidate in (root, root / folder):
        if (candidate / "index.csv").is_file():
            return candidate
    if given is not None and any(child.is_dir() for child in given.glob("*")):
        return given
    raise ConfigurationError(
        "The data folder holds no index.csv and no class folders; expected one row an image with file, label and split, "
        "or a folder for each class."
    )
