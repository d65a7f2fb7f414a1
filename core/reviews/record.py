"""What a review holds: the first read, what the network said at the reveal, the second read, the signature.

Records are immutable; a change of mind is a new version. Free text is kept literally, whatever it contains.
"""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Mark = Literal["present", "absent", "cannot tell"]
Decision = Literal["agree", "change", "reject"]
HowKnown = Literal["declared", "proxy", "oidc", "server"]
Stage = Literal["first read", "second read", "signed"]

LONGEST_TEXT = 100_000
_LONGEST_NAME = 200


def _without_nul(text: str) -> str:
    """The one character that no database keeps in a text."""
    return text.replace("\0", "")


def _one_line(name: str) -> str:
    """A name on one line, without characters that cannot be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


Text = Annotated[str, AfterValidator(_without_nul), Field(max_length=LONGEST_TEXT)]
Name = Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=_LONGEST_NAME)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reader(_Record):
    """Who reads, and how that is known: ``declared`` by themselves (not authenticated), or by a trusted proxy or OIDC.

    ``server`` is RadLens itself, where nobody asked: its start, what the retention limit deletes.
    """

    name: Name
    how_known: HowKnown = "declared"

    @model_validator(mode="after")
    def _is_named(self) -> "Reader":
        if not self.name:
            raise ValueError("a reader needs a name")
        return self

    @property
    def is_authenticated(self) -> bool:
        """Whether somebody other than the reader vouches for the name."""
        return self.how_known in ("proxy", "oidc")


SERVER = Reader(name="RadLens", how_known="server")


class Region(_Record):
    """Where a reader sees something: a box in pixels of the scan, edges, on a frame counted from 0."""

    frame: Annotated[int, Field(ge=0)]
    top: float
    left: float
    height: Annotated[float, Field(gt=0)]
    width: Annotated[float, Field(gt=0)]


class Finding(_Record):
    """A reader's answer to one label: ``confidence`` from 1 (a guess) to 5 (certain), None where none was given."""

    mark: Mark
    confidence: Annotated[int, Field(ge=1, le=5)] | None = None
    regions: tuple[Region, ...] = ()


class Read(_Record):
    """What a reader says of a case, by label code. Labels that are not named were not judged."""

    findings: dict[str, Finding] = Field(default_factory=dict)
    comment: Text = ""


class NetworkAnswer(_Record):
    """What the network said, as it was shown at the reveal: scores and thresholds by label code.

    ``calibrated`` and ``calibrated_thresholds`` hold labels whose card says how scores become shares, and no others.
    """

    model_id: str
    model_version: str
    weights_sha256: str
    frame: int
    scores: dict[str, float]
    thresholds: dict[str, float]
    calibrated: dict[str, float] = Field(default_factory=dict)
    calibrated_thresholds: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class SecondRead(_Record):
    """What the reader says after the reveal: a decision on each label of the network, the final findings, and why."""

    decisions: dict[str, Decision]
    read: Read
    reason: Text = ""

    @model_validator(mode="after")
    def _rejections_have_a_reason(self) -> "SecondRead":
        if "reject" in self.decisions.values() and not self.reason.strip():
            raise ValueError("a rejected answer needs a reason in a few words")
        return self


class Review(_Record):
    """One reader's review of one case, as it stood at one ``version``; versions count from 1.

    ``first`` is None where the case was opened with the network's answer shown. ``withheld`` says why there was no answer.
    Times are UTC.
    """

    case_id: str
    reader: Reader
    version: Annotated[int, Field(ge=1)]
    stage: Stage
    at: datetime
    opened_at: datetime
    first: Read | None = None
    first_at: datetime | None = None
    answer: NetworkAnswer | None = None
    withheld: str = ""
    second: SecondRead | None = None
    second_at: datetime | None = None

    @property
    def final(self) -> Read | None:
        """The findings that count: those of the second read where there is one."""
        return self.second.read if self.second is not None else self.first

    @property
    def changes(self) -> tuple[str, ...]:
        """The labels whose mark the reader changed between the two reads."""
        if self.first is None or self.second is None:
            return ()
        before, after = self.first.findings, self.second.read.findings
        return tuple(code for code in before if code in after and before[code].mark != after[code].mark)

    @property
    def sha256(self) -> str:
        """The hash of the whole record, which the audit trail names."""
        return digest_of(self)


def canonical(record: BaseModel) -> str:
    """A record as JSON that is the same for the same content: keys sorted, no blanks."""
    return json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(record: BaseModel) -> str:
    """SHA-256 of a record's canonical JSON."""
    return hashlib.sha256(canonical(record).encode()).hexdigest()
