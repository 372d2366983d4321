"""Credentials: bearer tokens as they may stand in a header, and addresses as messages may tell them."""

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


def without_password(address: str) -> str:
    """The address without the user and the password that may stand before its host.

    All up to the last @ goes, whatever there is: a password may hold a stroke that makes the address wrong.
    """
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else address.rpartition("@")[2]
