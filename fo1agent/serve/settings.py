"""What a server allows, and how much it takes on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from fo1agent.bearer import checked_token
from fo1agent.errors import InputError
from fo1agent.pictures.image import ImageLimits
from fo1agent.tools.base import Tool
from fo1agent.traces.lines import Place


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        token: what callers must send as `Authorization: Bearer …`; None lets everybody in.
        names: the host names that requests may be addressed to; None for any. Without a token this keeps web pages from
            reaching a server on loopback by a name of their own.
        origins: web origins, such as `https://example.com`, whose pages may call; none if empty.
        folders: the folders from which callers may open pictures by path; none if empty.
        hosts: the hosts from which callers may open pictures by address; none if empty.
        batching: answer what waits together; False lets each request compute for itself.
        batch: most passes of the model that are put together.
        batch_wait_s: most seconds that a pass waits for what other running requests may ask.
        running: requests that run at once, of all kinds together.
        opening: pictures that are opened at once.
        waiting: requests that wait for their turn; more are sent away with 429.
        max_wait_s: seconds for which a request waits for its turn at most; one that would wait longer gets 503.
        deadline_s: seconds that a request may take, waiting included.
        body_bytes: size of a request.
        body_s: seconds in which a request's body must have come.
        held_bytes: bodies that are here and answers that were not taken yet, all together; more get 503.
        max_pixels: width times height of a picture.
        keep: pictures that stay open.
        keep_bytes: memory for the pictures that stay open, pixels and encodings together.
        docs: also serve /docs and /openapi.json.
        planner: who decides how questions are answered, as for `Agent`; made once, for all requests.
        mode: as for `Agent`.
        verify: as for `Agent`.
        tools: tools of yours, beside those that come with fo1agent.
        traces: where every run is saved, as for `Agent`.
    """

    token: str | None = None
    names: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    batching: bool = True
    batch: int = 32
    batch_wait_s: float = 0.002
    running: int = 16
    opening: int = 2
    waiting: int = 64
    max_wait_s: float = 10.0
    deadline_s: float = 60.0
    body_bytes: int = 20_000_000
    body_s: float = 20.0
    held_bytes: int = 256 * 2**20
    max_pixels: int = 64_000_000
    keep: int = 256
    keep_bytes: int = 512 * 2**20
    docs: bool = False
    planner: Any = "rules"
    mode: Literal["plan", "steps"] = "plan"
    verify: bool = False
    tools: tuple[Tool, ...] = ()
    traces: str | os.PathLike[str] | Place | None = None

    @property
    def limits(self) -> ImageLimits:
        """What a picture may cost."""
        return ImageLimits(max_bytes=self.body_bytes, max_pixels=self.max_pixels, hosts=self.hosts)

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.strip():
            raise InputError("The token is empty. Set a long random one, or none at all.")
        checked_token(self.token)
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise InputError(f"An origin is http:// or https:// and a host, and no more, got {origin[:80]!r}.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                least = 0 if field.name in ("waiting", "batch_wait_s") else 1e-9
                if not value >= least:
                    raise InputError(
                        f"Settings.{field.name} must be {'0 or more' if not least else 'above 0'}, got {value!r}."
                    )
        _ = self.limits  # raises what is wrong with the hosts
