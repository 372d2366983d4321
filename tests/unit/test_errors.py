"""The error tree is the one drawn at the top of errors.py, and callers can catch at any level."""

import inspect
import re

import pytest

from fo1agent import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


def test_the_drawn_tree_is_the_real_one():
    drawn = re.findall(r"^    ([│ ├└─]*)(\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    parents: list[str] = []
    tree = {}
    for indent, name in drawn:
        depth = len(indent) // 4
        tree[name] = parents[depth - 1] if depth else "Exception"
        parents = [*parents[:depth], name]
    assert tree == {c.__name__: c.__bases__[0].__name__ for c in CLASSES}


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_ours_and_says_when_it_happens(error):
    assert issubclass(error, errors.FO1AgentError)
    assert error.__doc__


def test_bad_arguments_are_value_errors_and_missing_extras_import_errors():
    assert issubclass(errors.ImageError, ValueError)
    assert issubclass(errors.BoxError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
