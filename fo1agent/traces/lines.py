"""What the lines of a trace hold: every field with its type, checked alike when a line is written and when it is read.

docs/traces.md tells them to readers, `schema` gives them as JSON schema.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from fo1agent.runs.answer import Answer
from fo1agent.runs.costs import Costs
from fo1agent.runs.record import Arguments
from fo1agent.runs.step import StepRecord

FORMAT = 1
"""Raised when a field is dropped or means something else. One that is added has a value for lines without it, so that
older traces can be read."""

MAX_SIDE = 2**31 - 1
"""Pixels: no picture has more on a side, whatever its format."""


class Part(BaseModel):
    """Base of all lines and their parts: nothing missing but what older traces lack, nothing unknown, no NaN, no number
    given as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class ImagePart(Part):
    """The picture that was asked about; the picture itself is not kept."""

    id: str | None = Field(description="img_ and 8 hex digits or more; null for a scene that has no id")
    sha256: str | None = Field(
        pattern=r"^[0-9a-f]{64}$", description='of "WIDTHxHEIGHT:" and the RGB bytes of the upright picture'
    )
    source: str = Field(description="an absolute path, an address without its query, or what else it was")
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)


class BoxesPart(Part):
    """Where the picture's regions came from. The boxes themselves stand here unless the model proposes its own."""

    source: str
    count: int = Field(ge=0)
    boxes: tuple[tuple[float, float, float, float], ...] | None
    scores: tuple[float, ...] | None

    @model_validator(mode="after")
    def _complete(self) -> BoxesPart:
        if (self.boxes is None) != (self.scores is None) or len(self.boxes or ()) != len(self.scores or ()):
            raise ValueError("boxes and scores belong together, one each per region")
        return self


class ModelPart(Part):
    """The model that looked."""

    name: str
    fingerprint: str = Field(description="hash of the weights")
    thresholds: dict[str, float]


class PlannerPart(Part):
    """Who decided on the steps; `llm` names the language model that it asks, if any."""

    name: str
    llm: str | None


class OpenedPart(Part):
    """What opening the picture took."""

    seconds: float = Field(ge=0)
    costs: Costs


def _integer(value: Any) -> Any:
    if isinstance(value, bool):  # which equals 1
        raise ValueError("a truth value is no number")
    return value


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() is None:
        raise ValueError("a time needs its zone: 2026-01-31T12:00:00.000Z")
    return text


class RunLine(Part):
    """The first line: all that is known before the first step."""

    type: Literal["run"] = "run"
    format: Annotated[Literal[1], BeforeValidator(_integer)]
    started: Annotated[str, AfterValidator(_utc)] = Field(description="UTC, ISO 8601")
    question: str
    image: ImagePart
    regions: BoxesPart | None = Field(description="null for a scene that does not tell")
    model: ModelPart | None = Field(description="null for a scene without a model of ours")
    planner: PlannerPart
    verify: bool = Field(description="whether the evidence was looked at again before the answer")
    budget: dict[str, int | float] = Field(description="every limit of `Budget` by its name")
    opened: OpenedPart | None = Field(description="null when the picture was open already")
    versions: dict[str, str] = Field(description="of python, fo1agent, torch, transformers")
    platform: str


class EventLine(Part):
    """Base of the lines after the first: `at` is seconds since the run began."""

    at: float = Field(ge=0)


class PlanLine(EventLine):
    """A plan, the first one or one that took its place; `costs` is what making it took."""

    type: Literal["plan"] = "plan"
    planner: str
    revision: int = Field(ge=0)
    steps: list[dict[str, Any]]
    costs: Costs


class StepStartLine(EventLine):
    """A step begins."""

    type: Literal["step_start"] = "step_start"
    number: int = Field(ge=1)
    id: str
    tool: str
    args: Arguments


class StepEndLine(EventLine):
    """A step is over; `costs` is what was used since the line before that had costs."""

    type: Literal["step_end"] = "step_end"
    number: int = Field(ge=1)
    step: Annotated[StepRecord, Field(description="`StepRecord`, with the boxes of its regions in `found`")]
    costs: Costs


class AnswerLine(EventLine):
    """The last line of a run that came to its end; `costs` is all that it used, opening the picture included."""

    type: Literal["answer"] = "answer"
    answer: Annotated[Answer, Field(description="less its question and steps, which stand in their own lines")]
    seconds: float = Field(ge=0)
    costs: Costs


class ErrorPart(Part):
    """An exception: its class and message."""

    type: str
    message: str


class ErrorLine(EventLine):
    """The last line of a run that an exception ended."""

    type: Literal["error"] = "error"
    error: ErrorPart
    costs: Costs


AfterRun = PlanLine | StepStartLine | StepEndLine | AnswerLine | ErrorLine
Line = RunLine | AfterRun
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")], config=ConfigDict(defer_build=True))


def schema() -> dict[str, Any]:
    """JSON schema of a line."""
    return LINE.json_schema(mode="serialization")


class LineWriter(Protocol):
    """Takes the lines of one run, one by one."""

    def write(self, line: Line) -> None:
        """Add a line."""
        ...

    def finish(self) -> None:
        """The run is over, by an answer or by an error."""
        ...

    def close(self) -> None:
        """Nobody listens to the run any more, whether it is over or not. Called last, and always."""
        ...


class Place(Protocol):
    """Where traces go: `File`, `Folder`, `Memory`."""

    def open(self, run: RunLine) -> LineWriter:
        """A writer that has this first line.

        Raises:
            AgentError: nothing can be written there.
        """
        ...
