"""A picture that goes along with text, as chats and tool results carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drawn:
    """A picture in a result: its media type, such as `image/png`, and the file as base64."""

    media_type: str
    base64: str

    @property
    def url(self) -> str:
        """As a `data:` URL."""
        return f"data:{self.media_type};base64,{self.base64}"
