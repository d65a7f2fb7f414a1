"""What every part of a model card is made of: records that allow nothing unknown, hashes, shares, figures with intervals."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A part of the card: immutable, finite numbers only, no field that is not named here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Interval(Record):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
