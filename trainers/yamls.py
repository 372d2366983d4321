"""YAML that a person wrote: bounded in depth and size, no key twice, and where it is asked for, words as they stand."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

MAX_DEPTH = 32


def parse(text: str, most: int, as_written: bool = False) -> Any:
    """The value of a YAML text.

    Args:
        text: the text.
        most: values in it, at most; an alias counts as all that it stands for.
        as_written: numbers and dates that YAML writes in another way (0x10, 1:30, 010) stay the text that they are.

    Raises:
        ValueError: no YAML, a key that stands twice in one mapping, more values, or nested deeper than `MAX_DEPTH`; the
            message is a clause that begins with "is" or "holds".
    """
    try:
        tree = yaml.load(text, _AsWritten if as_written else _Unique)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except _Twice:
        raise
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as exc:  # !!int x, !!bool x, !!timestamp x
        told = " ".join(str(exc).split()).replace(' in "<unicode string>",', " in")
        raise ValueError(f"is not YAML: {told if len(told) <= 200 else told[:199] + '…'}") from exc
    left, parts = most, [(tree, 0)]
    while parts:
        part, depth = parts.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise ValueError(f"holds more than {most} values, or nests them over {MAX_DEPTH} deep")
        if isinstance(part, (dict, list)):
            inside = [*part, *part.values()] if isinstance(part, dict) else part
            parts += [(one, depth + 1) for one in inside]
    return tree


class _Twice(ValueError):
    pass


class _Unique(yaml.SafeLoader):
    """Refuses a key that a mapping has already; YAML itself would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                # By value, for 1 and 0x1 are one key; << takes in another mapping and has no value of its own.
                merges = key.tag == "tag:yaml.org,2002:merge"
                value = (key.tag,) if merges else self.construct_object(key)
                if not isinstance(value, Hashable):
                    continue
                if value in seen:
                    raise _Twice(f"holds the key {key.value!r:.60} twice, again in line {key.start_mark.line + 1}")
                seen.add(value)
        return node


class _AsWritten(_Unique):
    """Keeps as text what YAML takes for a number or a date, and which Python would write otherwise."""


def _plain(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    kind = loader.construct_yaml_int if node.tag.endswith(":int") else loader.construct_yaml_float
    try:
        value = kind(node)
    except ValueError:
        return node.value
    return value if str(value) == node.value else node.value


_AsWritten.add_constructor("tag:yaml.org,2002:int", _plain)
_AsWritten.add_constructor("tag:yaml.org,2002:float", _plain)
_AsWritten.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)
