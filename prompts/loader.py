"""Task templates: one text file each, read once. Knows nothing of models."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fo1agent.errors import InputError


@cache
def names() -> tuple[str, ...]:
    """Every template's name, sorted."""
    folder = files("fo1agent.prompts") / "templates"
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt")))


@cache
def template(name: str) -> str:
    """The text of one template, with `{}` where its argument goes, if it takes one.

    Raises:
        InputError: no such template; the message lists those there are.
    """
    if name not in names():
        raise InputError(f"No prompt template {name!r}. There are: {', '.join(names())}.")
    text = (files("fo1agent.prompts") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
    return text.removesuffix("\n")


def render(name: str, argument: str | None = None) -> str:
    """The question of one task: `render("od", "person; dog")`.

    Raises:
        InputError: no such template, an argument is missing, or the template takes none.
    """
    text = template(name)
    if ("{}" in text) != (argument is not None):
        wanted = "an argument" if "{}" in text else "no argument"
        raise InputError(f"Prompt template {name!r} takes {wanted}, got {argument!r}.")
    return text if argument is None else text.replace("{}", argument)
