"""What a tool of others gave, checked once for all who read it: of the kind that was declared, about this picture, and
fit for JSON and for a line of text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fo1agent.bounded import halved, unfit
from fo1agent.errors import InputError
from fo1agent.pictures.attached import Attachment
from fo1agent.regions.regions import shown
from fo1agent.results import bound, line_of
from fo1agent.tools.telling import as_json, attachments


def fault(result: Any, declared: type[BaseModel], picture: Any, arguments: Mapping[str, Any]) -> str:
    """What a reader of a result could not use, as a clause that goes on after "it gave"; "" for nothing. What the
    result's own methods raise passes through.

    Args:
        result: of the tool.
        declared: what it should be.
        picture: that the tool looked at.
        arguments: that it was called with.
    """
    if not isinstance(result, declared):
        return f"a {type(result).__name__}, not the {declared.__name__} that it declares"
    attached = {name for name in type(result).model_fields if isinstance(getattr(result, name), Attachment)}
    # It raises where a field is of another type than declared, and keeps what JSON would have as null.
    fields = result.model_dump(exclude=attached, warnings="error")
    words = getattr(result, "not_judged", ())
    if not isinstance(words, (list, tuple)) or not all(isinstance(one, str) for one in words):
        return "a not_judged that is no list of words"
    least, most = getattr(result, "at_least", None), getattr(result, "at_most", None)
    if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
        return f"at_least {shown(least)} and at_most {shown(most)}, which contradict each other"
    if any(one.media_type.startswith("image/") and not _opens(one) for one in attachments(result)):
        return "a picture that is no PNG, JPEG or WebP file"
    if why := unfit([fields, as_json(result)]):
        return why
    try:
        regions = bound(result, picture, arguments)
    except InputError as exc:
        return f"what is no region of this picture: {exc}"
    line: object = line_of(result, regions)
    if not isinstance(line, str):
        return f"a {type(line).__name__} for its line of text"
    return "half a character in its line of text" if halved(line) else ""


def _opens(picture: bytes) -> bool:
    """Whether hosts can show it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture), formats=["PNG", "JPEG", "WEBP"]) as opened:
            opened.load()
    except Exception:  # Pillow raises many kinds for damaged files
        return False
    return True
