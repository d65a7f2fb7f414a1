"""TrainingConfiguration: one TOML file that says what to train, from what, and how."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ConfigurationError
from core.models.card import Identifier, InputSpec, Label, Scope

DATA_VARIABLE = "RADLENS_DATA"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """What stands on the card before anything is measured."""

    id: Identifier
    version: str
    title: str
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
    """Which rows train and which are held out, how many simulated films are mixed in, and how many more measure."""

    name: str
    folder: str = ""
    train_split: str = "train"
    validation_split: str = "val"
    simulated_films: Annotated[int, Field(ge=0)] = 0
    simulated_seed: int = 10_000
    evaluation_films: Annotated[int, Field(ge=1)] = 320


class FitSection(_Section):
    """The optimiser's settings. ``imbalance`` "weighted" raises the loss of a rare label's positives.

    ``head_rate``: how much faster the last layer learns; after mean pooling a small lesion moves it only a little.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    imbalance: Literal["weighted", "none"] = "weighted"
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    box_weight: Annotated[float, Field(ge=0)] = 0.0
    head_rate: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class TrainingConfiguration(_Section):
    """A whole training: ``[model]``, ``[data]``, ``[fit]``."""

    model: ModelSection
    data: DataSection
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
    """The folder that holds index.csv: the given one or RADLENS_DATA, or ``folder`` below it.

    Raises ConfigurationError when there is none: no path of any data stands in the project.
    """
    root = given or (Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None)
    if root is None:
        raise ConfigurationError(f"Say where the data is: --data FOLDER or the variable {DATA_VARIABLE}.")
    for candidate in (root, root / folder):
        if (candidate / "index.csv").is_file():
            return candidate
    raise ConfigurationError(
        "The data folder holds no index.csv; expected one row an image with file, label and split."
    )
