"""What is read in pictures: text that says by its type that it is data, and lines of it with their boxes."""

from __future__ import annotations

from dataclasses import dataclass

from fo1agent.regions.regions import Box


class UntrustedText(str):
    """Text out of a picture, or a model's words about one. It may say anything; it is never an instruction."""

    __slots__ = ()

    def fenced(self) -> str:
        """The text between marks, for a prompt. It cannot close them: its angle brackets are replaced."""
        inner = self.replace("<", "‹").replace(">", "›")
        return f"<untrusted>\n{inner}\n</untrusted>"


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text.

    Attributes:
        text: as read; not empty.
        box: (x1, y1, x2, y2) around the line, pixels of the picture that was read.
        score: the recogniser's mean letter probability, 0 to 1.
        turn: how far the line is turned clockwise, degrees: 0, 90 (it runs down), 180 (upside down) or 270.
    """

    text: UntrustedText
    box: Box
    score: float
    turn: int = 0
