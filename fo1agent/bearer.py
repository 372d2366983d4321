"""Credentials: bearer tokens as they may stand in a header, and addresses as messages may tell them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from urllib.parse import unquote

from fo1agent.errors import InputError

_SHORT = 4  # characters of a secret that may be a part of other words


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


def hiding(address: str, token: str | None = None) -> Callable[[str], str]:
    """What takes an address's password and a bearer token out of a text, by whoever was sent them.

    They become `***`, as they are written in the address, in clear and in the header. What is of fewer than four
    characters goes only where it stands apart, so that other words stay whole.
    """
    user_and_password = address.partition("://")[2].rpartition("@")[0]
    clear = unquote(user_and_password)
    in_header = base64.b64encode(clear.encode()).decode() if clear else ""
    passwords = (one.partition(":")[2] for one in (user_and_password, clear))
    secrets = sorted({user_and_password, clear, in_header, token or "", *passwords} - {""}, key=len, reverse=True)
    if not secrets:
        return lambda text: text
    forms = (re.escape(one) if len(one) >= _SHORT else rf"(?<!\w){re.escape(one)}(?!\w)" for one in secrets)
    hidden = re.compile("|".join(forms))
    return lambda text: hidden.sub("***", text)
