"""The closed language of plans: typed steps over one picture, each naming earlier steps it takes its input from.

A plan is data. It can be written by the rule planner, by a chat model or by hand, is checked before it runs (ids are
unique, references point backwards and to a step that gives the right kind of thing, the last step is the only
`answer`), and survives a round trip through JSON. It never holds code.

    find person → keep left_of bus → count → answer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fo1agent import bounded
from fo1agent.errors import PlanError

MAX_STEPS = 64

MAX_CHARACTERS = 64_000
"""Length of a plan's JSON; a long plan has a tenth of it."""

LARGEST = 10**15
"""No number of a plan, and no result of its arithmetic, is larger; up to here floats tell whole numbers apart."""

TOOL_NAME = r"^[A-Za-z_]\w{0,63}$"

_MOST_PROBLEMS = 8  # that are told of what is no plan

Kind = Literal["regions", "number", "bool", "text", "answer"]
Ref = Annotated[str, Field(pattern=r"^s[0-9]+$", description="id of an earlier step")]

Number = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]

Purpose = Literal["count", "exists", "ground", "the", "place"]
Relation = Literal[
    "left_of",
    "right_of",
    "above",
    "below",
    "on",
    "has_on",
    "inside",
    "contains",
    "near",
    "next_to",
    "overlaps",
    "in_front_of",
    "behind",
]
Side = Literal["left", "right", "top", "bottom", "middle"]
Order = Literal[
    "best", "largest", "smallest", "tallest", "shortest", "widest", "narrowest", "leftmost", "rightmost", "topmost",
    "lowest", "nearest", "farthest", "central", "middle",
]  # fmt: skip
VALUES: tuple[Kind, ...] = ("number", "bool", "text")


class Step(BaseModel):
    """One step. `gives` is the kind of its result, `inputs` names the steps it needs."""

    # What checks it is built when a plan is first read, so that a client and the command start without it.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    gives: ClassVar[Kind]
    id: Ref

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        """(id, kinds it may have) of each step this one takes its input from."""
        yield from ()


class OfRegions(Step):
    """A step that takes the regions of one other step, and nothing else."""

    of: Ref

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)


class OfSeveral(Step):
    """A step that takes several results, all of one of the kinds `takes`, and given numbers; and nothing else."""

    takes: ClassVar[tuple[Kind, ...]]
    of: tuple[Any, ...]

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        for ref in self.of:
            if isinstance(ref, str):
                yield ref, self.takes


class Find(Step):
    """Every region that the phrase names. Without a phrase: everything the model can name.

    `purpose` chooses the threshold: `count`, `exists`, `ground`, or `the` for something the question takes for granted
    ("the bus"), where the best region will do when none is sure, or `place` for where all of the picture may have been
    taken ("the kitchen"), which is then the whole picture if it shows no such thing.
    """

    gives: ClassVar[Kind] = "regions"
    op: Literal["find"] = "find"
    phrase: str | None = Field(default=None, min_length=1, max_length=200)
    purpose: Purpose = "ground"


class Keep(Step):
    """The regions of `of` in a relation to any region of `to`, or to `each` of them; `between` the best of `to` and of
    `and_to`."""

    gives: ClassVar[Kind] = "regions"
    op: Literal["keep"] = "keep"
    of: Ref
    relation: Relation | Literal["between"]
    to: Ref
    and_to: Ref | None = None
    each: bool = False
    negated: bool = False

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        for ref in (self.of, self.to, self.and_to):
            if ref is not None:
                yield ref, ("regions",)

    @model_validator(mode="after")
    def _between_takes_two(self) -> Keep:
        if (self.relation == "between") != (self.and_to is not None):
            raise ValueError('and_to belongs to the relation "between", and only to it')
        return self


class Are(OfRegions):
    """The regions of `of` of which one of the words holds: `red`, `sitting on a bench`.

    A word that cannot be judged (a model with a closed vocabulary knows names and colours) leaves it open for each.
    """

    gives: ClassVar[Kind] = "regions"
    op: Literal["are"] = "are"
    words: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=1, max_length=8)
    negated: bool = False


class Except(Step):
    """The regions of `of` that are none of those of `without`; with `only`, those that are."""

    gives: ClassVar[Kind] = "regions"
    op: Literal["except"] = "except"
    of: Ref
    without: Ref
    only: bool = False

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)
        yield self.without, ("regions",)


class KeepSide(OfRegions):
    """The regions of `of` whose centre lies in that half (or the middle third) of the picture; with `third`, in the
    outer third."""

    gives: ClassVar[Kind] = "regions"
    op: Literal["side"] = "side"
    side: Side
    third: bool = False
    negated: bool = False


class Select(Step):
    """One region of `of`, or `number` of them: the `rank`-th (and those after it) in the order `by`; `nearest` and
    `farthest` are measured from `to`, `central` from the middle of the picture; `middle` is the one that has as many of
    them on either side."""

    gives: ClassVar[Kind] = "regions"
    op: Literal["select"] = "select"
    of: Ref
    by: Order
    to: Ref | None = None
    rank: int = Field(default=1, ge=1, le=100)
    number: int = Field(default=1, ge=1, le=100)

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)
        if self.to is not None:
            yield self.to, ("regions",)

    @model_validator(mode="after")
    def _distance_needs_a_place(self) -> Select:
        if (self.by in ("nearest", "farthest")) != (self.to is not None):
            raise ValueError('to belongs to "nearest" and "farthest", and only to them')
        return self


class Exactly(OfRegions):
    """The regions of `of`, which the question says are so many: "the two dogs"; none where they are not."""

    gives: ClassVar[Kind] = "regions"
    op: Literal["exactly"] = "exactly"
    number: int = Field(ge=1, le=1_000_000)


class Count(OfRegions):
    """How many regions."""

    gives: ClassVar[Kind] = "number"
    op: Literal["count"] = "count"


class Exists(OfRegions):
    """Whether there is any region."""

    gives: ClassVar[Kind] = "bool"
    op: Literal["exists"] = "exists"


class Measure(Step):
    """Size of the best region in pixels (area: square pixels, of its mask where there is a segmenter), where its centre
    is (`x` from the left, `y` from the top), or its gap to the best region of `to`; or, as `share`, how much of the
    picture all of the regions fill together, in percent."""

    gives: ClassVar[Kind] = "number"
    op: Literal["measure"] = "measure"
    of: Ref
    quantity: Literal["area", "height", "width", "x", "y", "distance", "share"]
    to: Ref | None = None

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)
        if self.to is not None:
            yield self.to, ("regions",)

    @model_validator(mode="after")
    def _distance_needs_a_place(self) -> Measure:
        if (self.quantity == "distance") != (self.to is not None):
            raise ValueError('to belongs to "distance", and only to it')
        return self


class Arithmetic(OfSeveral):
    """Sum or product of the numbers; or the first minus the others (`difference`, which may be negative; `take_away`,
    which cannot be more than there are); or the first as a `percentage` of the second, of which it is a part."""

    gives: ClassVar[Kind] = "number"
    takes: ClassVar[tuple[Kind, ...]] = ("number",)
    op: Literal["arithmetic"] = "arithmetic"
    operation: Literal["sum", "difference", "absolute_difference", "take_away", "product", "percentage"]
    of: tuple[Ref | Number, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _a_percentage_takes_two(self) -> Arithmetic:
        if self.operation == "percentage" and len(self.of) != 2:
            raise ValueError('"percentage" takes two numbers, a part and the whole')
        return self


class Kinds(OfRegions):
    """How many different names the regions have."""

    gives: ClassVar[Kind] = "number"
    op: Literal["kinds"] = "kinds"


class WhichKind(OfRegions):
    """The name that most (fewest) of the regions have, or those that exactly `number` of them have."""

    gives: ClassVar[Kind] = "text"
    op: Literal["which_kind"] = "which_kind"
    direction: Literal["most", "fewest"] = "most"
    number: int | None = Field(default=None, ge=1, le=1000)


class Share(Step):
    """Whether all, most, half, none, … of the regions of `among` are in `of`, which was made from them."""

    gives: ClassVar[Kind] = "bool"
    op: Literal["share"] = "share"
    of: Ref
    among: Ref
    quantity: Literal["all", "not_all", "most", "half", "at_least_half", "none", "some"]

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)
        yield self.among, ("regions",)


class Compare(Step):
    """Whether one number is more than, fewer than, … another, or than a given number."""

    gives: ClassVar[Kind] = "bool"
    op: Literal["compare"] = "compare"
    left: Ref
    comparison: Literal["more", "fewer", "equal", "different", "at_least", "at_most"]
    right: Ref | Number

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.left, ("number",)
        if isinstance(self.right, str):
            yield self.right, ("number",)


class Which(OfSeveral):
    """The name of what there is most (fewest) of, or what measures most (least)."""

    gives: ClassVar[Kind] = "text"
    takes: ClassVar[tuple[Kind, ...]] = ("number",)
    op: Literal["which"] = "which"
    of: tuple[Ref, ...] = Field(min_length=2, max_length=16)
    direction: Literal["most", "fewest"] = "most"


class Colors(OfRegions):
    """The colours of the regions: of each, where they differ."""

    gives: ClassVar[Kind] = "text"
    op: Literal["colors"] = "colors"


class SameColor(OfSeveral):
    """Whether all of the regions have one colour."""

    gives: ClassVar[Kind] = "bool"
    takes: ClassVar[tuple[Kind, ...]] = ("regions",)
    op: Literal["same_color"] = "same_color"
    of: tuple[Ref, ...] = Field(min_length=1, max_length=8)


class Either(OfSeveral):
    """Which of several things is so: the names whose step of `of` says yes; "both", "none of these"."""

    gives: ClassVar[Kind] = "text"
    takes: ClassVar[tuple[Kind, ...]] = ("bool",)
    op: Literal["either"] = "either"
    of: tuple[Ref, ...] = Field(min_length=2, max_length=8)
    names: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=2, max_length=8)

    @model_validator(mode="after")
    def _one_name_each(self) -> Either:
        if len(self.names) != len(self.of):
            raise ValueError("names has one name for each step of `of`")
        return self


class Place(Step):
    """Which relation holds between the best regions of `of` and `to`; without `to`, which side of the picture."""

    gives: ClassVar[Kind] = "text"
    op: Literal["place"] = "place"
    of: Ref
    options: tuple[Relation | Side, ...] = Field(min_length=1, max_length=8)
    to: Ref | None = None

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("regions",)
        if self.to is not None:
            yield self.to, ("regions",)

    @model_validator(mode="after")
    def _options_fit(self) -> Place:
        sides = {"left", "right", "top", "bottom", "middle"}
        if any((option in sides) != (self.to is None) for option in self.options):
            raise ValueError("options are relations when there is a `to`, and sides of the picture when there is none")
        return self


class Logic(OfSeveral):
    """All of the answers, any of them, or the opposite of the only one."""

    gives: ClassVar[Kind] = "bool"
    takes: ClassVar[tuple[Kind, ...]] = ("bool",)
    op: Literal["logic"] = "logic"
    operation: Literal["all", "any", "not"]
    of: tuple[Ref, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _not_takes_one(self) -> Logic:
        if self.operation == "not" and len(self.of) != 1:
            raise ValueError('"not" takes exactly one answer')
        return self


class Read(Step):
    """The text in the best region of `of`, in the picture where there is no `of`, or in a relation to `to`.

    `otherwise`: what to do when `of` found nothing; `picture` reads the whole picture, `nothing` gives up. `sides`: of
    the whole picture only the lines whose centre lies there: in that half (or the middle third), or in both; with
    `third`, in the outer third. `noun` is what bears the text, for the wording: "sign".
    """

    gives: ClassVar[Kind] = "text"
    op: Literal["read"] = "read"
    of: Ref | None = None
    relation: Relation | None = None
    to: Ref | None = None
    otherwise: Literal["picture", "nothing"] = "nothing"
    sides: tuple[Side, ...] = Field(default=(), max_length=2)
    third: bool = False
    noun: str | None = Field(default=None, max_length=100)

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        for ref in (self.of, self.to):
            if ref is not None:
                yield ref, ("regions",)

    @model_validator(mode="after")
    def _relation_needs_a_place(self) -> Read:
        if (self.relation is None) != (self.to is None):
            raise ValueError("relation and to belong together")
        if self.sides and (self.to is not None or (self.of is not None and self.otherwise == "nothing")):
            raise ValueError("sides are those of the whole picture, which is not read here")
        if self.third and not self.sides:
            raise ValueError("third belongs to sides")
        return self


class Says(Step):
    """Whether the text that was read has these words in it; capitals, blanks and punctuation do not count. Without
    words: whether there is any text."""

    gives: ClassVar[Kind] = "bool"
    op: Literal["says"] = "says"
    of: Ref
    words: str | None = Field(default=None, min_length=1, max_length=200)

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        yield self.of, ("text",)


class Describe(Step):
    """A caption of the best region of `of`, or of the whole picture."""

    gives: ClassVar[Kind] = "text"
    op: Literal["describe"] = "describe"
    of: Ref | None = None

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        if self.of is not None:
            yield self.of, ("regions",)


class Name(OfRegions):
    """What the regions are called: "a dog and 2 chairs"."""

    gives: ClassVar[Kind] = "text"
    op: Literal["name"] = "name"


class Inspect(OfRegions):
    """The model's own answer to a question about the best region of `of`."""

    gives: ClassVar[Kind] = "text"
    op: Literal["inspect"] = "inspect"
    question: str = Field(min_length=1, max_length=500)


class Locate(OfRegions):
    """Where the regions are in the picture, in words, and what they are on or beside; the evidence shows them."""

    gives: ClassVar[Kind] = "text"
    op: Literal["locate"] = "locate"


class Segment(OfRegions):
    """Which pixels are the regions': how many, in words; the evidence has their masks. Needs a segmenter."""

    gives: ClassVar[Kind] = "text"
    op: Literal["segment"] = "segment"


class Point(OfRegions):
    """Where to click to hit the regions: a point in pixels for each, in words."""

    gives: ClassVar[Kind] = "text"
    op: Literal["point"] = "point"


class Corners(OfRegions):
    """The boxes of the regions, in words: [x1, y1, x2, y2] in pixels for each."""

    gives: ClassVar[Kind] = "text"
    op: Literal["corners"] = "corners"


class UseTool(Step):
    """What a tool gives that is none of this language's: called with `args`, and with the regions of steps for the
    arguments that `of` names; `gives` is the kind of its result."""

    op: Literal["tool"] = "tool"
    name: str = Field(pattern=TOOL_NAME)
    args: dict[str, Any] = {}
    of: dict[str, Ref] = {}
    gives: Literal["regions", "number", "bool", "text"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        for ref in self.of.values():
            yield ref, ("regions",)

    @model_validator(mode="after")
    def _one_value_each(self) -> UseTool:
        if twice := sorted(self.args.keys() & self.of.keys()):
            raise ValueError(f"{', '.join(twice)} of {self.name} is given twice, in args and in of")
        return self


class Answer(Step):
    """The last step: the results that answer the question, in the order they were asked for; and sentences of the
    question that no step uses, for the answer to say so."""

    gives: ClassVar[Kind] = "answer"
    op: Literal["answer"] = "answer"
    of: tuple[Ref, ...] = Field(min_length=1, max_length=8)
    unused: tuple[str, ...] = ()

    def inputs(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        for ref in self.of:
            yield ref, VALUES


AnyStep = Annotated[
    Find | Keep | Are | Except | KeepSide | Select | Exactly | Count | Kinds | Exists | Measure | Arithmetic | Compare
    | Share | Which | WhichKind | Colors | SameColor | Either | Place | Logic | Read | Says | Describe | Name | Inspect
    | Locate | Segment | Point | Corners | UseTool | Answer,
    Field(discriminator="op"),
]  # fmt: skip


@dataclass(frozen=True)
class Offered:
    """A tool as a planner may use it.

    Attributes:
        name: what it is called by.
        description: for a language model that plans.
        gives: the kind of its result.
        arguments: argument → its JSON schema.
        required: the arguments that it must have.
        places: those that take the regions of a step.
    """

    name: str
    description: str
    gives: Kind
    arguments: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    places: tuple[str, ...]


class Plan(BaseModel):
    """A checked list of steps that answers one question."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    question: str
    steps: tuple[AnyStep, ...] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _check(self) -> Plan:
        known: dict[str, Kind] = {}
        for step in self.steps:
            for ref, kinds in step.inputs():
                if ref not in known:
                    raise ValueError(f"step {step.id} ({step.op}) refers to {ref}, which is no earlier step")
                if known[ref] not in kinds:
                    wanted = " or ".join(kinds)
                    raise ValueError(f"step {step.id} ({step.op}) needs {wanted}, but {ref} gives {known[ref]}")
            if step.id in known:
                raise ValueError(f"two steps have the id {step.id}")
            known[step.id] = step.gives
        answers = [step.id for step in self.steps if step.op == "answer"]
        if answers != [self.steps[-1].id]:
            raise ValueError("a plan ends with its only answer step")
        return self

    @classmethod
    def parse(cls, data: str | bytes | dict[str, Any]) -> Plan:
        """Read a plan from JSON text or from the dict that JSON gives.

        Raises:
            PlanError: it is not a plan, or longer than `MAX_CHARACTERS`; the message names the first steps that are
                wrong, and what is wrong with them.
        """
        what = "the JSON is wrong: " if isinstance(data, (str, bytes)) else ""
        try:
            if isinstance(data, (str, bytes)):
                data = bounded.parse(data, MAX_CHARACTERS)
            else:
                bounded.check(data, MAX_CHARACTERS)
        except ValueError as exc:
            raise PlanError(f"Not a plan: {what}{str(exc)[:300]}.") from exc
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_input=False)
            # A step that is wrong is missing in the plan, and pydantic complains of what is left as well.
            errors = [one for one in errors if one["type"] != "too_short" or len(errors) == 1] or errors
            problems = [_problem(error) for error in errors[:_MOST_PROBLEMS]]
            problems += [f"and {len(errors) - _MOST_PROBLEMS} more"] if len(errors) > _MOST_PROBLEMS else []
            raise PlanError(
                f"Not a plan: {'; '.join(problems)}. Steps and fields are those of fo1agent.plans.language."
            ) from exc

    def to_json(self) -> str:
        """JSON that `parse` reads back to an equal plan."""
        return self.model_dump_json(exclude_defaults=False)

    def step(self, step_id: str) -> AnyStep:
        """The step of that id."""
        return next(step for step in self.steps if step.id == step_id)


def _problem(error: Any) -> str:
    """One thing that is wrong with a plan; what it quotes of the plan is cut, the names that it lists are not."""
    place = ".".join(str(part)[:64] for part in error["loc"]) or "plan"
    message = error["msg"].removeprefix("Value error, ")
    tag = str(error.get("ctx", {}).get("tag", ""))
    if len(tag) > 64:
        message = message.replace(tag, tag[:64] + "…")
    return f"{place[:200]}: {message[:1000]}"
