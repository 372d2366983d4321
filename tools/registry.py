"""The tools there are."""

from __future__ import annotations

from fo1agent.errors import InputError
from fo1agent.tools import counting, describing, grounding, imaging, looking, reading, relating
from fo1agent.tools.base import Tool


def registry(*extra: Tool) -> dict[str, Tool]:
    """Name → tool: all that come with fo1agent, and those passed.

    Raises:
        InputError: two tools have one name.
    """
    known: dict[str, Tool] = {}
    for one in (
        looking.look,
        grounding.ground,
        counting.count,
        reading.read,
        describing.describe,
        describing.inspect,
        relating.relate,
        imaging.zoom,
        imaging.annotate,
        *extra,
    ):
        if one.name in known:
            raise InputError(f'Two tools are called {one.name!r}. Name yours with @tool(name="…").')
        known[one.name] = one
    return known
