"""Who calls over HTTP: the token that a request brings, the page that it is from, the host that it is addressed to."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit


class Refusal(NamedTuple):
    """Why a request is not let in."""

    status: int
    code: str
    message: str


def refusal(
    headers: Mapping[str, str],
    names: Collection[str] | None,
    origins: Collection[str],
    private: bool,
    token: str | None,
) -> Refusal | None:
    """Why a request is not let in, by its headers (names in lower case); None if it is.

    Args:
        headers: of the request.
        names: hosts that it may be addressed to; None for any. On loopback without a token only loopback's, or a web
            page could reach the server by a name of its own.
        origins: web origins whose pages may call, beside the server's own.
        private: whether what it asks for is no business of other sites' pages.
        token: what it must bring, if anything.
    """
    host, origin = headers.get("host", ""), headers.get("origin", "")
    if names is not None and host_name(host) not in names:
        return Refusal(403, "host", "The request is addressed to a host that is not served here.")
    if origin and origin not in origins and not is_of(origin, host):
        return Refusal(403, "origin", "Pages of this origin may not call.")
    if private and not origin and not is_own_site(headers.get("sec-fetch-site", "")):
        return Refusal(403, "site", "Pages of other sites may not use this.")
    if token and (wanted := token_wanted(headers.get("authorization", ""), token)):
        return Refusal(401, "token", wanted)
    return None


def brings(authorization: str | bytes, token: str) -> bool:
    """Whether an Authorization header holds this bearer token; compared in constant time.

    The scheme may be written in any case.
    """
    sent = authorization.encode("latin-1", "replace") if isinstance(authorization, str) else authorization
    scheme, _, given = sent.strip().partition(b" ")
    return hmac.compare_digest(given.strip(), token.strip().encode()) and scheme.lower() == b"bearer"


def token_wanted(authorization: str | bytes, token: str) -> str:
    """What to say to a caller who does not bring the token: that one is needed, or another; "" to one who does."""
    if brings(authorization, token):
        return ""
    sent = authorization.encode("latin-1", "replace") if isinstance(authorization, str) else authorization
    scheme, _, given = sent.strip().partition(b" ")
    if given.strip() and scheme.lower() == b"bearer":
        return "This is not the bearer token of the server."
    return "A bearer token is needed: Authorization: Bearer …"


def is_of(origin: str, host: str) -> bool:
    """Whether a page of this origin (`https://example.com`) came from the host, port included, that it now calls."""
    scheme, _, name = origin.partition("://")
    return scheme in ("http", "https") and name != "" and name == host


def is_own_site(fetch_site: str) -> bool:
    """Whether a `Sec-Fetch-Site` header is of no page, or of one that was served here; "" for none.

    What a page puts in itself, `<img>` or `<script>`, has no origin; browsers say so where it is from.
    """
    return fetch_site.strip().lower() in ("", "none", "same-origin")


def host_name(address: str) -> str:
    """The name in a Host header, without its port; "" for what is none."""
    if any(sign in address for sign in "/@?#\\ "):
        return ""
    try:
        return urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return ""
