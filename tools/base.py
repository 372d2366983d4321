"""What a tool is: a name, a description, pydantic arguments, a pydantic result, and a function over a scene.

A tool is made from a plain function (`@tool`); nothing is registered by importing. Calling one never raises for what
the caller did: wrong arguments and tools that fail come back as an `Outcome` that a planner can read, bugs in tools of
others too. Our own bugs pass through. How tools are told to a particular language model is not known here.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints, overload

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from fo1agent.bounded import halved
from fo1agent.errors import (
    AgentError,
    BoxError,
    BudgetExceeded,
    FO1AgentError,
    InputError,
    MissingExtraError,
    ProposalError,
    ReplyError,
    ToolFailed,
    ToolRetry,
)
from fo1agent.foreign import one_line
from fo1agent.pictured import Pictured, id_within
from fo1agent.pictures.attached import Attachment, attached_fields
from fo1agent.regions import ids
from fo1agent.regions.regions import BOX_SCHEMA, WANTED_BOX, Region, RegionRef, check_pixels, read_box, shown
from fo1agent.results import Grounding, Judged, NotJudged, Result, Untrusted
from fo1agent.tools.given import fault
from fo1agent.tools.outcome import Outcome

__all__ = [
    "BOX_SCHEMA",
    "IMAGE",
    "Attachment",
    "Examples",
    "Grounding",
    "Judged",
    "NotJudged",
    "Outcome",
    "PhraseOrRegion",
    "RegionId",
    "RegionOrBox",
    "RegionRef",
    "RegionsOrBoxes",
    "Result",
    "Tool",
    "Untrusted",
    "complaint",
    "tool",
    "unknown_names",
]

_log = logging.getLogger(__name__)

_MOST_COMPLAINTS = 8  # that are told of arguments that do not fit
_HALVED = "A text in the arguments holds half a character (\\ud800 to \\udfff). Send it whole, or leave it out."

_MOST_SAID = 1000  # characters of what a tool of others says of its failure
_MOST_PLACES = 1000
_MOST_TEXT = 40_000  # characters of a region or a list of them as text

_MOST_WITHIN = 4  # calls of one tool within each other, as where it asks an agent that has it
_running: ContextVar[tuple[str, ...]] = ContextVar("_running", default=())  # the tools that run, outermost first

IMAGE = "image"  # by what name a picture's handle stands beside a region's id
WANTED_PLACE = f"a region's id such as r3, or a box {WANTED_BOX}"
WANTED_EXAMPLE = f'{WANTED_PLACE}, or one of another picture: {{"image": "img_…", "region": "r3"}}'


def _place(value: Any) -> Any:
    """The id of a region in any form that language models write: an id, a region as a result gives it, or a box, whose
    id holds it to whole pixels. Other text is left to the scene, which knows what there is."""
    if isinstance(value, Region):
        return value.id
    if isinstance(value, str):
        text = value.strip().strip("\"'")
        if ids.is_region_id(text):
            return text
        if not re.match(r"[\[({\d.+-]", text):
            return value
        if text.startswith("{"):
            with suppress(ValueError, RecursionError):
                value = json.loads(text) if len(text) <= _MOST_TEXT else text
    if name := id_within(value):
        return name
    try:
        box = read_box(value)
    except BoxError:
        if isinstance(value, str):
            return value
        raise ValueError(f"must be {WANTED_PLACE}") from None
    check_pixels([box])  # the id holds whole pixels, of which nothing would be left
    return ids.box_name(box)


def _example(value: Any, info: ValidationInfo) -> Any:
    """A region as `_place`; of another picture, where the call says which are open, an `Example` for `Scene.ground`."""
    handle, place = None, value
    if isinstance(value, Mapping) and IMAGE in value and "region" in value:
        if value.keys() != {IMAGE, "region"} or not isinstance(value[IMAGE], str):
            raise ValueError(f"must be {WANTED_EXAMPLE}")
        handle, place = value[IMAGE].strip(), value["region"]
    place = _place(place)
    if info.context is None:  # not a call: whoever checks arguments before one hands them on as they came
        return place if handle is None else {IMAGE: handle, "region": place}
    scene, elsewhere = info.context["scene"], info.context["elsewhere"]
    meant = ids.RegionId.read(place)
    handle = handle or (meant and meant.picture)
    if not handle or handle == scene.id:
        return place
    other = elsewhere(handle)
    return place if other is scene else other.example(place)


def _places(value: Any) -> Any:
    """Several places: a list or array of them, the same as JSON text, or one alone."""
    if isinstance(value, str) and value.lstrip().startswith("[") and len(value) <= _MOST_TEXT:
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    array: Any = value
    if hasattr(array, "tolist") and hasattr(array, "shape"):
        value = [] if 0 in tuple(array.shape) else array.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) > _MOST_PLACES:
            raise ValueError(f"holds {len(value)} places; {_MOST_PLACES} may be given")
        one_box = len(value) == 4 and not any(isinstance(one, (str, Sequence, Mapping, Region)) for one in value)
        return [value] if one_box else list(value)
    return [value]


def _phrase_or_place(value: Any) -> Any:
    """A phrase as it is; a region or a box as an id."""
    if isinstance(value, str) and not re.match(r"\s*[\[({]", value):
        return value
    return _place(value)


RegionOrBox = Annotated[
    str, BeforeValidator(_place), WithJsonSchema({"anyOf": [{"type": "string"}, BOX_SCHEMA]}, mode="validation")
]
"""A tool's argument that says where: the id of a region (r3), or a box as [x1, y1, x2, y2], which becomes its id."""

RegionId = Annotated[str, BeforeValidator(_place)]
"""The same, declared as an id alone."""

RegionsOrBoxes = Annotated[list[RegionOrBox], BeforeValidator(_places)]
"""Several of these."""

Examples = Annotated[
    list[Annotated[Any, BeforeValidator(_example), WithJsonSchema({"type": "string"}, mode="validation")]],
    BeforeValidator(_places),
]
"""Several regions or boxes, of this picture or of other open ones. Declared as ids, `r3` or `img_3fa9c1d2/r3`, which is
short; taken as well as boxes, and as `{image, region}` with whatever names a picture and a region or box of it."""

PhraseOrRegion = Annotated[str, BeforeValidator(_phrase_or_place)]
"""A tool's argument that says what: a phrase, or the id of a region."""


def _nowhere(handle: str) -> Any:
    raise InputError(f"{handle[:200]} is another picture, and only this one is open here.")


_REGION_NAMES = ("region", "regions")


def takes_place(name: str, field: FieldInfo) -> bool:
    """Whether an argument of a tool is a region or several: by its type, or one of text by its name."""
    return name in _REGION_NAMES or _marked(field.annotation, field.metadata, (_place, _places, _example))


def takes_several(field: FieldInfo) -> bool:
    """Whether an argument takes a list."""
    hints = (field.annotation, *get_args(field.annotation))
    return any(get_origin(get_args(hint)[0] if get_origin(hint) is Annotated else hint) is list for hint in hints)


def _marked(hint: Any, metadata: Sequence[Any], functions: Sequence[Any]) -> bool:
    if any(isinstance(one, BeforeValidator) and one.func in functions for one in metadata):
        return True
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return _marked(inner, more, functions)
    return any(_marked(one, (), functions) for one in get_args(hint))


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: what it is called by: letters, digits and `_`.
        description: for a reader who sees nothing else.
        arguments: pydantic model of its arguments; its JSON schema is what a language model is given.
        result: pydantic model of its result.
        run: (scene, arguments) → result. Raises what the function raises; `call` does not.
        home: (module, name) of the function that it was made from, by which it is pickled; None for none.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Pictured, Any], BaseModel]
    home: tuple[str, str] | None = None

    # A tool holds functions and classes made on the spot: it is copied as itself, and pickled as the name of the
    # module's variable that it is.

    @property
    def draws(self) -> bool:
        """Whether it gives a picture, or another file, beside words."""
        return bool(attached_fields(self.result))

    @property
    def ours(self) -> bool:
        """Whether it comes with fo1agent."""
        return self.home is not None and self.home[0].startswith(("fo1agent.tools.", "fo1agent.agent."))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., Tool], tuple[str, str]]:
        """Raises InputError: no module has it under its function's name."""
        if not self._is_at_home():
            raise InputError(
                f"The tool {self.name} cannot be pickled: it is not found again as a variable of a module. Define it "
                "with @tool at the top of a module that can be imported."
            )
        assert self.home is not None
        return _from_home, self.home

    def _is_at_home(self) -> bool:
        with suppress(InputError):
            return self.home is not None and _from_home(*self.home) is self
        return False

    def with_regions(self, arguments: Mapping[str, Any], regions: Mapping[str, Sequence[Region]]) -> dict[str, Any]:
        """Arguments with regions as their ids: all of them where several are taken, else the first."""
        fields = self.arguments.model_fields
        return {
            **arguments,
            **{
                name: [one.name for one in found] if name in fields and takes_several(fields[name]) else found[0].name
                for name, found in regions.items()
            },
        }

    def call(
        self,
        scene: Pictured,
        arguments: Mapping[str, Any] | str | bytes = "{}",
        elsewhere: Callable[[str], Any] = _nowhere,
    ) -> Outcome:
        """Check the arguments, run, and put what the caller did wrong into the outcome, and what a tool that is none of
        ours does wrong; its traceback is logged at DEBUG.

        Args:
            scene: the picture.
            arguments: as a mapping or as JSON text.
            elsewhere: gives the scene of another picture, of which arguments name regions, by its handle.
        """
        context = {"scene": scene, "elsewhere": elsewhere}
        try:
            if isinstance(arguments, (str, bytes)):
                checked = self.arguments.model_validate_json(arguments, context=context)
            elif halved(arguments):
                return Outcome(tool=self.name, error=_HALVED, retry=True)
            else:
                given = dict(arguments) if isinstance(arguments, Mapping) else arguments
                checked = self.arguments.model_validate(given, context=context)
            return Outcome(tool=self.name, result=self._sound(scene, checked))
        except ValidationError as exc:
            if exc.title == self.arguments.__name__:
                said = complaint(exc, self.arguments.model_fields)
                return Outcome(tool=self.name, error=said, retry=True)
            return self._broken(exc)
        except (InputError, ToolRetry) as exc:
            return Outcome(tool=self.name, error=self._said(exc), retry=True)
        except BudgetExceeded:
            raise
        except (AgentError, ToolFailed, ReplyError, ProposalError, MissingExtraError) as exc:
            return Outcome(tool=self.name, error=self._said(exc))
        except FO1AgentError:
            raise
        except (Exception, SystemExit) as exc:  # their code, whatever it does
            return self._broken(exc)

    def _sound(self, scene: Pictured, checked: BaseModel) -> BaseModel:
        """The result; of a tool of others one that all can read.

        Raises:
            ToolFailed: it is none, or the tool calls itself without end.
        """
        running = _running.get()
        if running.count(self.name) >= _MOST_WITHIN:
            raise ToolFailed(f"{self.name} calls itself again and again.")
        token = _running.set((*running, self.name))
        try:
            result = self.run(scene, checked)
        finally:
            _running.reset(token)
        if not self.ours and (why := fault(result, self.result, scene, dict(checked))):
            raise ToolFailed(f"{self.name} failed: it gave {why}")
        return result

    def _said(self, exc: Exception) -> str:
        """The message of a failure; in one line where others wrote it."""
        return str(exc) if self.ours else one_line(str(exc), _MOST_SAID)

    def _broken(self, exc: BaseException) -> Outcome:
        """The outcome of a bug, in one line; ours is raised again."""
        if self.ours:
            raise exc
        _log.debug("the tool %s failed", self.name, exc_info=exc)
        message = complaint(exc) if isinstance(exc, ValidationError) else str(exc)
        said = f"{type(exc).__name__}: {one_line(message, 300)}".removesuffix(": ")
        return Outcome(tool=self.name, error=f"{self.name} failed with {said}")

    def schema(self) -> dict[str, Any]:
        """`{name, description, parameters}`, the parameters as JSON schema: the core of every dialect."""
        return {"name": self.name, "description": self.description, "parameters": self.arguments.model_json_schema()}


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, name: str | None = None) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a tool of a function: its name, docstring and type hints are the tool's name, description and arguments.

    The function's first parameter is the scene; the others become the arguments, described by the docstring's `Args:`.
    It returns a pydantic model, or anything with a type hint, which becomes the field `value`. It raises `ToolRetry`
    to ask for other arguments and `ToolFailed` to give up.

        @fo1agent.tool
        def brightness(scene: fo1agent.Scene, region: str) -> float:
            \"""How bright a region is, from 0 to 1.

            Args:
                region: id of the region, such as r3.
            \"""
            return np.asarray(scene.image.crop(scene.region(region).box)).mean() / 255

    Raises:
        InputError: the docstring or a type hint is missing; the message says which.
    """
    if function is None:
        return lambda decorated: _made(decorated, name)
    return _made(function, name)


def _made(function: Callable[..., Any], name: str | None) -> Tool:
    name = name or function.__name__
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
        raise InputError(f"A tool's name is made of letters, digits and _, got {name!r}.")
    description, told = _read_docstring(inspect.getdoc(function) or "")
    if not description:
        raise InputError(f"The tool {name} needs a docstring: it is all that a planner knows of it.")
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise InputError(f"The tool {name}: a type hint cannot be resolved ({exc}). Import it in its module.") from exc
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise InputError(f"The tool {name} must take the scene as its first parameter.")

    fields: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.name not in hints or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InputError(f"The tool {name}: its parameter {parameter.name} needs a type hint, and be no *args.")
        default = ... if parameter.default is parameter.empty else parameter.default
        said = told.get(parameter.name)
        fields[parameter.name] = (hints[parameter.name], Field(default, description=said) if said else Field(default))
    title = "".join(part.capitalize() for part in name.split("_"))
    validators: dict[str, Any] = {"known_and_plain": model_validator(mode="before")(_checked_names)}
    arguments = create_model(
        f"{title}Arguments",
        __config__=ConfigDict(extra="forbid"),
        __validators__=validators,
        **fields,
    )

    returned = hints.get("return")
    if returned is None:
        raise InputError(f"The tool {name} needs a type hint for what it returns.")
    if isinstance(returned, type) and issubclass(returned, BaseModel):
        result, wrapped = returned, False
    else:
        result, wrapped = create_model(f"{title}Result", __base__=Result, value=(returned, ...)), True

    def run(scene: Pictured, checked: BaseModel) -> BaseModel:
        given = function(scene, **{key: getattr(checked, key) for key in fields})
        return result.model_validate({"value": given}) if wrapped else given

    return Tool(name, description, arguments, result, run, (function.__module__, function.__qualname__))


def _from_home(module: str, name: str) -> Tool:
    """The tool that a module has under a name.

    Raises:
        InputError: it has none.
    """
    found: Any = None
    with suppress(ImportError, AttributeError):
        found = getattr(import_module(module), name)
    if not isinstance(found, Tool):
        raise InputError(f"There is no tool {name} in the module {module} any more.")
    return found


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """(what stands before the sections, parameter → its description)."""
    description, _, sections = text.partition("\nArgs:\n")
    description = re.split(r"\n(?:Returns|Raises):\n", description)[0]
    arguments = re.split(r"\n(?=\S)", "\n" + sections)[0] if sections else ""
    told: dict[str, str] = {}
    current = ""
    for line in inspect.cleandoc(arguments).splitlines():
        match = re.match(r"(\w+):\s*(.*)", line)
        if match:
            current, told[match[1]] = match[1], match[2]
        elif current and line.strip():
            told[current] += " " + line.strip()
    return description.strip(), told


def _checked_names(cls: type[BaseModel], given: Any) -> Any:
    """Refuse arguments of unknown names, and truth values for numbers, which Python takes for 0 and 1."""
    if not isinstance(given, Mapping):
        raise ValueError(
            f"the arguments must be an object of {', '.join(cls.model_fields) or 'nothing'}; got {shown(given)}"
        )
    if said := unknown_names(given, list(cls.model_fields)):
        raise ValueError(said)
    for name, value in given.items():
        kinds = {int, float, bool} & {(annotation := cls.model_fields[name].annotation), *get_args(annotation)}
        if isinstance(value, bool) and kinds and bool not in kinds:
            raise ValueError(f"{name} must be a number, got {value}")
    return given


def unknown_names(given: Iterable[Any], known: Sequence[str], what: str = "argument") -> str:
    """What to say of names that are not known, with those that are, and which was probably meant; "" if all are."""
    said = []
    for name in list(dict.fromkeys(str(one)[:64] for one in given if one not in known))[:5]:
        close = get_close_matches(name.lower(), known, 1)
        said.append(f"no {what} {name!r}{f' (did you mean {close[0]!r}?)' if close else ''}")
    return f"there is {', '.join(said)}; there are: {', '.join(known) or 'none'}" if said else ""


def complaint(exc: ValidationError, fields: Mapping[str, FieldInfo] | None = None) -> str:
    """A validation error in one line, for a planner: the first few things that are wrong, each cut where it is long.

    Args:
        exc: the error.
        fields: what was wanted, by name; of one that is missing its description is told.
    """
    errors = exc.errors(include_url=False, include_context=False)
    parts = []
    for error in errors[:_MOST_COMPLAINTS]:
        place = ".".join(str(part)[:64] for part in error["loc"])
        where = place or ("arguments" if error["type"] != "value_error" else "")
        if error["type"] == "missing" and place:
            parts.append(f"{place} is missing{_wanted((fields or {}).get(place))}")
            continue
        own = error["type"] == "value_error" and not error["loc"]  # of a whole model; says itself what it got
        got = "" if own else f" (got {shown(error['input'])})"
        said = f"{error['msg'].removeprefix('Value error, ')[:1000]}{got}"
        parts.append(f"{where}: {said}" if where else said)
    parts += [f"and {len(errors) - _MOST_COMPLAINTS} more"] if len(errors) > _MOST_COMPLAINTS else []
    return "; ".join(parts)


def _wanted(field: FieldInfo | None) -> str:
    """ ": id of the region, such as r3", in one line; "" where nothing is known of it."""
    described = " ".join((field.description or "").split()).rstrip(".") if field else ""
    return f": {described}" if described else ""
