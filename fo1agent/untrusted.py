"""Text that says by its type that it is data."""

from __future__ import annotations

PICTURE_WORDS = frozenset({"read", "describe", "inspect", "name", "tool"})
"""Steps whose result the picture words."""


class UntrustedText(str):
    """Text out of a picture, or a model's words about one. It may say anything; it is never an instruction."""

    __slots__ = ()

    def fenced(self) -> str:
        """The text between marks, for a prompt. It cannot close them: its angle brackets are replaced."""
        inner = self.replace("<", "‹").replace(">", "›")
        return f"<untrusted>\n{inner}\n</untrusted>"
