"""Recipes: YAML files read into frozen dataclasses, with `key=value` overrides. Knows no stage.

Not pydantic: its lax mode takes true for 1, its strict mode no 1e-3 (text in YAML 1.1), and to tell its errors with the
keys that are known takes as many lines as to read the types.

A recipe's dataclass is its documentation: each field's type is checked, nested dataclasses are YAML mappings, and a
key that is not a field is an error that names it and what it may have meant.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from fo1agent.errors import CheckpointError, InputError
from fo1agent.model.folder import read_bytes
from fo1agent.trainers import yamls

MAX_BYTES, MAX_VALUES = 1 << 18, 100_000

T = TypeVar("T")


def load_recipe(cls: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Read the recipe `path` as a `cls`.

    Args:
        cls: a frozen dataclass whose fields are numbers, strings, booleans, `X | None`, `Literal`, tuples, mappings
            with string keys, and such dataclasses.
        path: a YAML file, or the bare name (`proposals`) of a recipe that comes with the package.
        overrides: `train.lr=0.001` strings; the value is YAML.

    Raises:
        InputError: no such file, no YAML, an unknown or missing key, a value of another type; names file and key.
    """
    file = Path(path)
    packaged = Path(__file__).parent / "recipes"
    if not file.is_file() and (packaged / f"{path}.yaml").exists():
        file = packaged / f"{path}.yaml"
    try:
        text = read_bytes(file, MAX_BYTES).decode("utf-8")
    except CheckpointError as exc:
        known = ", ".join(sorted(f.stem for f in packaged.glob("*.yaml")))
        raise InputError(f"Cannot read the recipe {path}: {exc} Packaged recipes: {known}.") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{file} is not UTF-8 (byte {exc.start}), wanted YAML.") from exc
    tree = _parse(text, str(file))
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise InputError(f"{file} must be a mapping of keys to values, got {type(tree).__name__}.")
    for override in overrides:
        apply_override(tree, override)
    return build(cls, tree, where=file.name)


def _parse(text: str, where: str) -> Any:
    try:
        return yamls.parse(text, MAX_VALUES)
    except ValueError as exc:
        raise InputError(f"{where} {exc}.") from exc


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` in a tree of mappings, in place; a group takes the place of a value.

    Raises:
        InputError: no `=`, or a value that is no YAML.
    """
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise InputError(f"Override {override!r} is not of the form key=value, as in train.lr=0.001.")
    value = _parse(text, f"Override {override!r}: the value")
    *parents, last = key.strip().split(".")
    for name in parents:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[last] = value


def build(cls: type[T], tree: Mapping[str, Any], where: str = "recipe") -> T:
    """A `cls` from nested mappings; `where` stands first in messages.

    Raises:
        InputError: unknown or missing key, or a value of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    unknown = [key for key in tree if key not in fields]
    if unknown:
        guesses = difflib.get_close_matches(str(unknown[0]), fields, n=1)
        hint = f" Did you mean {guesses[0]}?" if guesses else ""
        raise InputError(f"{where}: unknown key(s) {', '.join(map(str, unknown))}.{hint} Known: {', '.join(fields)}.")
    required = [
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in tree
    ]
    if required:
        raise InputError(f"{where}: missing key(s) {', '.join(required)}.")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in tree.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        plain = [a for a in arguments if a is not type(None) and not dataclasses.is_dataclass(a)]
        groups = [a for a in arguments if dataclasses.is_dataclass(a)]
        (inner,) = groups if groups and (isinstance(value, Mapping) or not plain) else plain
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is one of {', '.join(map(str, arguments))}, got {value!r}.")
        return value
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is a group of keys, got {value!r}.")
        return build(typing.cast(type, kind), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} is a list, got {value!r}.")
        if arguments[1:] != (Ellipsis,) and len(arguments) != len(value):
            raise InputError(f"{where} has {len(arguments)} values, got {value!r}.")
        kinds = [arguments[0]] * len(value) if arguments[1:] == (Ellipsis,) else arguments
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is a group of keys, got {value!r}.")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            value = float(value)  # YAML reads 1e-3 (no dot) as a string
            if math.isfinite(value):
                return value
        except (TypeError, ValueError, OverflowError):
            pass
    elif kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    elif isinstance(value, Mapping) and kind is not Any:
        raise InputError(f"{where} is a value, not a group of keys; got {dict(value)!r}.")
    elif kind is Any or (kind in (int, bool, str) and type(value) is kind):
        return value
    raise InputError(f"{where} is of type {getattr(kind, '__name__', kind)}, got {value!r}.")
