"""Bearer tokens, as they may stand in a header."""

from __future__ import annotations

import re

from fo1agent.errors import InputError


def checked_token(token: str | None) -> str | None:
    """A bearer token without the blanks around it, which files and variables often add; None for none.

    Raises:
        InputError: a header cannot hold it. The message does not tell it.
    """
    token = (token or "").strip()
    if not re.fullmatch("[ -~]*", token):
        raise InputError("The token may hold only letters, digits, blanks and signs of ASCII, and no line breaks.")
    return token or None
