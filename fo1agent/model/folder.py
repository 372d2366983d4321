"""Files of a folder that anybody may have made: regular ones only, bounded in size and depth, and faults told alike.

An error is one line that names the file, the key in it, what was got and what was wanted. A link is followed, for the
Hugging Face cache is made of links; what it leads to must be a regular file: a pipe would wait for its writer for ever,
and a device never ends.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from fo1agent import bounded
from fo1agent.errors import CheckpointError

MAX_JSON = 64 << 20  # bytes; the largest tokenizer.json that is known has 35 MB
_LONGEST = 60  # characters of a value, of a key or of a name that a message shows
_NAMED = 8  # names that a message shows

M = TypeVar("M", bound=BaseModel)


class Stored(BaseModel):
    """Base of what an object in a JSON file says: no value is converted, and a key that is no field is an error.

    With `extra="ignore"` other keys may stand there, and are left alone.
    """

    # What checks it is built when a file is first read: a folder has some of these files and not others.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            raise wanted("an object")
        known = {field.alias or name: field for name, field in cls.model_fields.items()}
        if cls.model_config.get("extra") == "forbid":
            for key in tree:
                if key not in known:
                    raise wanted(f"one of {', '.join(known)}", word(key), "an unknown key")
        for key, field in known.items():
            if field.is_required() and key not in tree:
                raise wanted(_described(field), key, "missing")
        return tree


def wrong(path: Path, key: str, got: str, wanted: str) -> CheckpointError:
    """What a file holds and should not; `key` may be empty."""
    return CheckpointError(f"{path}: {f'{key} is' if key else 'got'} {got}, wanted {wanted}.")


def shown(value: Any) -> str:
    """A value of any kind and size, in a few words."""
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, (list, tuple)):
        plain = len(value) <= _NAMED and not any(isinstance(one, (list, tuple, Mapping)) for one in value)
        text = f"[{', '.join(map(shown, value))}]" if plain else ""
        return text if 0 < len(text) <= _LONGEST else f"a list of {len(value)}"
    # Cut first: a name may be as long as its file.
    text = repr(value[: _LONGEST + 1]) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def names(keys: Iterable[str]) -> str:
    """The first few of them, in order."""
    ordered = sorted(keys)
    return ", ".join(map(word, ordered[:_NAMED])) + (f" … ({len(ordered)} in all)" if len(ordered) > _NAMED else "")


def one_line(exc: BaseException) -> str:
    """What an error of another library says, short enough to stand within a line."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def word(key: object) -> str:
    """A key or a name, cut and spelled out where a message could not hold it."""
    text = str(key)
    return text if len(text) <= _LONGEST and text.isprintable() else shown(text)


# --- files -------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path, max_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """A regular file, open for reading.

    Raises:
        CheckpointError: there is none, it is something else, may not be read, or has more than `max_bytes` bytes.
    """
    try:
        descriptor = bounded.open_regular(path)
    except FileNotFoundError as exc:
        raise CheckpointError(f"There is no {path.name} in {path.parent}.") from exc
    except bounded.NotRegularError as exc:
        raise wrong(path, "", exc.kind, "a regular file") from exc
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if max_bytes is not None and size > max_bytes:
            raise wrong(path, "", f"{size} bytes", f"at most {max_bytes}")
        yield file


kind_of = bounded.kind_of


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """All of a regular file.

    Raises:
        CheckpointError: as for `opened`.
    """
    with opened(path, max_bytes) as file:
        try:
            data = bounded.read_most(file, max_bytes)
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    if len(data) > max_bytes:  # it has grown since it was opened
        raise wrong(path, "", "more bytes than it began with", f"at most {max_bytes}")
    return data


def read_json(path: Path, max_bytes: int = MAX_JSON) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        CheckpointError: as for `opened`; it is not JSON, is nested too deep, or holds no object.
    """
    data = read_bytes(path, max_bytes)
    try:
        tree = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise CheckpointError(f"{path} is not UTF-8 (byte {exc.start}), wanted a JSON object.") from exc
    except RecursionError as exc:
        raise CheckpointError(f"{path} is nested too deep, wanted a JSON object.") from exc
    except ValueError as exc:  # a number of thousands of digits is one, too
        raise CheckpointError(f"{path} is not JSON, wanted a JSON object: {one_line(exc)}.") from exc
    if not isinstance(tree, dict):
        raise wrong(path, "", shown(tree), "an object")
    return tree


# --- what a JSON file says ---------------------------------------------------------------------------------------


def integer(low: int, high: int) -> PlainValidator:
    """Marks a field as an integer in `low` .. `high`; true is none."""
    return PlainValidator(_Within(low, high, "an integer"))


def number(low: float, high: float, above: bool = False) -> PlainValidator:
    """Marks a field as a finite number in `low` .. `high`, or with `above`, greater than `low`."""

    return PlainValidator(_Within(low, high, "a finite number", above))


class _Within:
    """A validator that can say beforehand what it wants."""

    def __init__(self, low: float, high: float, kind: str, above: bool = False) -> None:
        self._low, self._high, self._whole, self._above = low, high, kind == "an integer", above
        show = str if self._whole else "{:g}".format
        self.wants = f"{kind} {'above' if above else 'from'} {show(low)} to {show(high)}"

    def __call__(self, value: Any) -> Any:
        number = type(value) is int or (type(value) is float and not self._whole and math.isfinite(value))
        if not number or not self._low <= value <= self._high or (self._above and value == self._low):
            raise wanted(self.wants)
        return value


Width = Annotated[int, integer(1, 65_536)]
TokenId = Annotated[int, integer(0, 2**22 - 1)]


def wanted(what: str, key: str = "", got: str = "") -> PydanticCustomError:
    """For validators: what was wanted, and, where the fault is not the validated value itself, its key and value."""
    return PydanticCustomError("wanted", "{what}", {"what": what, "key": key, "got": got})


def _described(field: FieldInfo) -> str:
    """What a field is to hold, in words."""
    for mark in field.metadata:
        if isinstance(mark, PlainValidator) and isinstance(mark.func, _Within):
            return mark.func.wants
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return {str: "a string", list: "a list"}.get(get_origin(kind) or kind, "an object")


def checked(model: type[M], tree: Any, path: Path) -> M:
    """`tree`, read from `path`, as the model describes it.

    Raises:
        CheckpointError: it does not; names the first key that is wrong and counts the others.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as exc:
        first, *others = exc.errors(include_url=False)
        key, got, want = _told(first, tree)
        more = f" {len(others)} more of its keys are wrong." if others else ""
        raise CheckpointError(f"{wrong(path, key, got, want)}{more}") from exc


_WANTED = {
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_attributes_type": "an object",
}


def _told(error: ErrorDetails, tree: Any) -> tuple[str, str, str]:
    """Key, what was got, what was wanted."""
    kind, context = error["type"], error.get("ctx", {})
    *parents, last = _keys(error["loc"], tree) or [""]
    key = ".".join([*parents, last])
    got = shown(error["input"])
    if kind == "wanted":
        if context["key"] and len(error["loc"]) > 1:
            # What was validated is an object in the file, so a last part that is none names a choice.
            key = ".".join(_keys((*error["loc"], ""), tree)[:-1])
        own = ".".join(part for part in (key, context["key"]) if part)
        return own, context["got"] or got, context["what"]
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return key, got, f"{bound} of them"
    if kind == "literal_error":
        return key, got, context["expected"]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        name = context["discriminator"].strip("'")
        given = error["input"]
        tag = shown(given[name]) if isinstance(given, dict) and name in given else "missing"
        tags = context.get("expected_tags")  # which pydantic tells only of a wrong one
        return f"{key}.{name}", tag, f"one of {tags}" if tags else "the name of a kind"
    return key, got, _WANTED.get(kind, error["msg"].removeprefix("Input should be "))


def _keys(location: Sequence[int | str], tree: Any) -> list[str]:
    """Where in the file an error is: pydantic's own names of choices are no keys of it."""
    found: list[str] = []
    for place, part in enumerate(location):
        if isinstance(tree, dict):
            if part not in tree and place < len(location) - 1:
                continue
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        found.append(word(part))
    return found
